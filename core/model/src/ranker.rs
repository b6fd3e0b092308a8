//! A ranking model: feature chain, embedding tables, dense network, optimizers.

use std::sync::Arc;
use std::time::Instant;

use rectool_base::{Batch, PluginSource, Prediction, Schema};
use rectool_comm::{Clocked, Comm, Reduce, Values, agree};
use rectool_data::{DataError, FeatureChain, Split};
use rectool_embedding::{
    EmbeddingCollection, FeatureOptions, Mode, Prepared, Preparer, ShardingPlan, TableOptions,
};

use crate::checkpoint::Saved;
use crate::input::InputPlan;
use crate::kernel::RowWork;
use crate::learning::{Learning, Outcome};
use crate::negatives::Items;
use crate::network::{Network, Pass, Shape};
use crate::optim::{clip_by_global_norm, norm_squared};
use crate::parameters::{Declaration, Parameters};
use crate::train::Window;
use crate::{BoundSpec, Compute, DenseOptimizer, ModelError, ModelSpec, Outputs, PhaseTimes};

/// A model that scores rows, with everything needed to train it.
///
/// Every rank holds one: the dense weights whole, the tables in parts.
pub struct Ranker {
    pub(crate) spec: ModelSpec,
    pub(crate) comm: Arc<dyn Comm>,
    /// The same, as the tables use it.
    clocked: Arc<Clocked>,
    /// The dataset's columns that the model reads, before the chain.
    pub(crate) schema: Schema,
    pub(crate) chain: Arc<FeatureChain>,
    pub(crate) tables: EmbeddingCollection,
    pub(crate) parameters: Parameters,
    pub(crate) optimizer: DenseOptimizer,
    pub(crate) input: Arc<InputPlan>,
    pub(crate) learning: Learning,
    pub(crate) plugins: Arc<dyn PluginSource>,
    /// Where negatives come from; set by the first split that is read.
    pub(crate) items: Option<Items>,
    /// What it was last saved to or loaded from.
    pub(crate) saved: Option<Saved>,
    pub(crate) network: Box<dyn Network>,
    prepared: Option<Prepared>,
    /// For collectives ahead of the step; made when a training first wants them.
    fork: Option<Arc<dyn Comm>>,
    compute: Compute,
    row_work: RowWork,
}

/// Takes batches in, also on another thread: what can fail because of a batch alone, without talking
/// to other ranks.
#[derive(Clone)]
pub(crate) struct Intake {
    input: Arc<InputPlan>,
    preparer: Preparer,
}

impl Intake {
    /// Checks the values that the model reads, and finds the distinct keys.
    pub(crate) fn prepare(&self, batch: &Batch) -> Result<Prepared, ModelError> {
        self.input.check_dense(batch)?;
        Ok(self.preparer.prepare(&self.input.ids(batch)?, batch.rows, batch.row_first)?)
    }

    /// As [`Intake::prepare`], of a batch with labels as it comes from a loader.
    pub(crate) fn take(
        &self,
        next: Option<Result<Batch, DataError>>,
    ) -> Result<Option<(Batch, Prepared)>, ModelError> {
        let Some(batch) = next.transpose()? else { return Ok(None) };
        self.input.check_labels(&batch)?;
        let prepared = self.prepare(&batch)?;
        Ok(Some((batch, prepared)))
    }
}

/// What a model runs on.
#[derive(Clone)]
pub struct Environment {
    /// The ranks.
    pub comm: Arc<dyn Comm>,
    /// Device of the dense part.
    pub compute: Compute,
    /// Where the plugins of the model come from.
    pub plugins: Arc<dyn PluginSource>,
}

/// How a training step updates the weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepRule {
    /// Steps done since training began.
    pub(crate) step: u64,
    /// Learning-rate multiplier.
    pub(crate) rate: f32,
    /// Greatest norm of the dense gradient; 0: not clipped.
    pub(crate) clip_norm: f64,
}

impl Ranker {
    /// Builds the model with its initial weights, for rows of the given dataset schema.
    ///
    /// # Errors
    /// If an option is out of range, a column is missing or has the wrong type, or memory runs out.
    ///
    /// # Determinism
    /// Initial weights are a function of the seed alone: the same for every number of ranks.
    pub fn new(
        spec: ModelSpec,
        schema: &Schema,
        environment: Environment,
    ) -> Result<Self, ModelError> {
        let (tables, _) = spec.tables();
        Self::with_plan(spec, schema, environment, &ShardingPlan::row_wise(&tables))
    }

    /// [`Ranker::new`] with its tables where `plan` says. The plan is no part of the model: a
    /// checkpoint made under one is loaded under any other.
    ///
    /// # Errors
    /// As there, and if the plan does not fit the tables or the ranks.
    pub fn with_plan(
        spec: ModelSpec,
        schema: &Schema,
        environment: Environment,
        plan: &ShardingPlan,
    ) -> Result<Self, ModelError> {
        spec.check()?;
        let Environment { comm, compute, plugins } = environment;
        let BoundSpec { schema, chain, losses } = spec.bind(schema, &*plugins)?;
        let learning = Learning::new(&spec, losses, &chain)?;
        let input = InputPlan::new(&spec.features, learning.learned(), chain.schema())?;
        let input = Arc::new(input);
        let (tables, features) = spec.tables();
        let clocked = Arc::new(Clocked::new(Arc::clone(&comm)));
        let tables_comm: Arc<dyn Comm> = Arc::clone(&clocked) as _;
        let seed = spec.seed;
        let tables = EmbeddingCollection::with_plan(tables, features, seed, tables_comm, plan)?;
        let mut declaration = Declaration::default();
        let shape = Shape::declare(&spec, &input.dense_widths(), &mut declaration)?;
        let row_work = shape.row_work();
        let mut parameters = Parameters::new(declaration, compute.device())?;
        let network = shape.build(&mut parameters, compute)?;
        let optimizer = DenseOptimizer::new(&spec.dense_optimizer, parameters.values().len())?;
        Ok(Self {
            spec,
            comm,
            clocked,
            schema,
            chain,
            tables,
            parameters,
            optimizer,
            input,
            learning,
            plugins,
            items: None,
            saved: None,
            network,
            prepared: None,
            fork: None,
            compute,
            row_work,
        })
    }

    /// The options it was built from.
    pub fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Its tables.
    pub fn tables(&self) -> &EmbeddingCollection {
        &self.tables
    }

    /// Outputs O of a row: 1 for a logit, 2 E for the vectors of two towers, and those of all heads.
    pub fn outputs(&self) -> usize {
        self.network.width()
    }

    /// Weights of the dense part.
    pub fn dense_parameters(&self) -> usize {
        self.parameters.count()
    }

    /// The device of the dense part.
    pub fn compute(&self) -> Compute {
        self.compute
    }

    /// What a row of a batch costs a training step at least, for comparison with
    /// [`crate::MachineLimits`].
    pub fn row_work(&self) -> RowWork {
        self.row_work
    }

    /// The transforms that batches go through before [`Ranker::score`].
    pub fn chain(&self) -> &Arc<FeatureChain> {
        &self.chain
    }

    /// Makes `split` the one whose items negatives are drawn from, if the features ask for any.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn take_items(&mut self, split: &Split) -> Result<(), ModelError> {
        let Some(spec) = &self.spec.features.negatives else { return Ok(()) };
        let items = Items::of(spec, split, &*self.plugins);
        self.items = Some(agree(&*self.comm, items)?);
        Ok(())
    }

    /// Which of the scores of a row, as [`Ranker::predict`] gives them, stand for what.
    pub fn scored(&self) -> Vec<Outputs> {
        self.learning.outputs()
    }

    /// What the scores of each thing that is learned stand for, that of no head first.
    pub fn predictions(&self) -> Vec<Prediction> {
        self.learning.predictions()
    }

    /// Outputs [B, O] of a batch that went through the chain: of a ranker its logits.
    ///
    /// # Errors
    /// If a value of the batch cannot be used, or a peer failed.
    ///
    /// # Collective
    /// Every rank must call it, each with its slice of the batch, which may be empty.
    pub fn score(&mut self, batch: &Batch) -> Result<&[f32], ModelError> {
        let prepared = self.intake().prepare(batch)?;
        self.admit(batch, prepared)?;
        self.look_up_prepared()?;
        self.network.forward(&self.parameters, Pass::Evaluate)
    }

    /// Looks up the embeddings of the batch that [`Ranker::admit`] took, to score it.
    pub(crate) fn look_up_prepared(&mut self) -> Result<(), ModelError> {
        self.look_up(Mode::Evaluate)?;
        self.release();
        Ok(())
    }

    /// What takes batches in for this model.
    pub(crate) fn intake(&self) -> Intake {
        Intake { input: Arc::clone(&self.input), preparer: self.tables.preparer() }
    }

    /// Takes a batch over from the intake, to score it or train on it. Fails only if there is no
    /// memory for more rows than ever before.
    pub(crate) fn admit(&mut self, batch: &Batch, prepared: Prepared) -> Result<(), ModelError> {
        self.release();
        // Rows in files come while the dense values are copied.
        self.tables.read_ahead(&prepared)?;
        self.prepared = Some(prepared);
        self.network.begin(batch.rows)?;
        self.input.copy_dense(batch, self.network.dense_mut());
        Ok(())
    }

    /// Makes room for this rank's slice of batches of `batch_size` rows that are read.
    ///
    /// # Collective
    /// Every rank: one that has no memory tells the others.
    pub(crate) fn reserve(&mut self, batch_size: usize) -> Result<(), ModelError> {
        let times = self.spec.features.negatives.as_ref().map_or(1, |spec| 1 + spec.per_row);
        let rows = batch_size.div_ceil(self.comm.size()).saturating_mul(times);
        let reserved = self.network.begin(rows);
        agree(&*self.comm, reserved)
    }

    /// A group of the same ranks for collectives ahead of the step.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn fork(&mut self) -> Result<Arc<dyn Comm>, ModelError> {
        if let Some(fork) = &self.fork {
            return Ok(Arc::clone(fork));
        }
        let fork = self.comm.fork()?;
        self.fork = Some(Arc::clone(&fork));
        Ok(fork)
    }

    fn look_up(&mut self, mode: Mode) -> Result<(), ModelError> {
        let prepared = self.prepared.as_mut().expect("`admit` comes first");
        let (vectors, layout) = self.network.embeddings_mut();
        Ok(self.tables.forward(prepared, mode, vectors, layout)?)
    }

    fn release(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            self.tables.recycle(prepared);
        }
    }

    /// Trains on a batch that [`Ranker::admit`] took, and notes it in `window`. `ahead` is called
    /// between the lookup and the dense part, with tables that no later batch has changed.
    ///
    /// # Collective
    /// Every rank, each with its slice of the same global batch.
    pub(crate) fn step(
        &mut self,
        batch: &Batch,
        rule: StepRule,
        window: &mut Window,
        ahead: impl FnOnce(&mut EmbeddingCollection, &mut PhaseTimes) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let phases = &mut window.phases;
        let started = Instant::now();
        let exchanged_ms = self.clocked.elapsed_ms();
        self.look_up(Mode::Train)?;
        ahead(&mut self.tables, phases)?;
        let exchange_ms = self.clocked.elapsed_ms() - exchanged_ms;
        phases.exchange_ms += exchange_ms;
        phases.lookup_ms += (milliseconds(started) - exchange_ms).max(0.0);

        let started = Instant::now();
        let pass = Pass::Train { step: rule.step, row_first: batch.row_first };
        let outputs = self.network.forward(&self.parameters, pass)?;
        phases.forward_ms += milliseconds(started);

        let started = Instant::now();
        let outcome = Outcome { input: &self.input, batch, outputs };
        self.learning.learn(&*self.comm, outcome, &mut window.tally)?;
        phases.loss_ms += milliseconds(started);

        let started = Instant::now();
        self.network.backward(&mut self.parameters, self.learning.gradients())?;
        phases.backward_ms += milliseconds(started);

        let started = Instant::now();
        let gradients = Values::F32(self.parameters.gradients_mut());
        self.comm.all_reduce(gradients, Reduce::Sum)?;
        phases.all_reduce_ms += milliseconds(started);

        let started = Instant::now();
        if rule.clip_norm > 0.0 {
            let gradients = self.parameters.gradients_mut();
            let norm_squared = norm_squared(gradients);
            clip_by_global_norm(gradients, norm_squared, rule.clip_norm as f32);
        }
        let (values, gradients) = self.parameters.values_and_gradients();
        self.optimizer.step(values, gradients, rule.rate);
        self.parameters.publish();
        phases.dense_update_ms += milliseconds(started);

        let started = Instant::now();
        let exchanged_ms = self.clocked.elapsed_ms();
        let prepared = self.prepared.as_mut().expect("`admit` comes first");
        let (gradient, layout) = self.network.embedding_gradient();
        self.tables.backward(prepared, gradient, layout, rule.rate)?;
        self.release();
        let exchange_ms = self.clocked.elapsed_ms() - exchanged_ms;
        phases.exchange_ms += exchange_ms;
        phases.embedding_update_ms += (milliseconds(started) - exchange_ms).max(0.0);
        Ok(())
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

impl ModelSpec {
    /// Tables and features as the embedding engine takes them.
    pub fn tables(&self) -> (Vec<TableOptions>, Vec<FeatureOptions>) {
        let table = |table: &crate::TableSpec| {
            let rows = table.rows.clone();
            let dim = table.dim.unwrap_or(self.embedding_dim) + self.architecture.weights_per_row();
            let mut optimizer = self.embedding_optimizer.clone();
            if let Some(learning_rate) = rows.learning_rate {
                optimizer.set_learning_rate(learning_rate);
            }
            TableOptions {
                index: table.index.clone(),
                init: table.init.clone(),
                storage: rows.storage,
                clip_norm: rows.clip_norm,
                backing: rows.backing,
                admission: rows.admission,
                unadmitted: rows.unadmitted,
                expiry: rows.expiry,
                ..TableOptions::new(&table.name, dim, optimizer)
            }
        };
        let feature = |feature: &crate::IdFeatureSpec| {
            FeatureOptions::new(&feature.name, &feature.table, feature.pooling)
        };
        let features = self.features.ids.iter().map(feature).collect();
        (self.tables.iter().map(table).collect(), features)
    }
}
