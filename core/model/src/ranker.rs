//! A ranking model: feature chain, embedding tables, dense network, optimizers.

use std::sync::Arc;
use std::time::Instant;

use rectool_base::{Batch, PluginSource, Prediction, Schema};
use rectool_comm::{Comm, Reduce, Values, agree};
use rectool_data::{FeatureChain, Split};
use rectool_embedding::{EmbeddingCollection, FeatureOptions, Mode, Prepared, TableOptions};

use crate::input::InputPlan;
use crate::kernel::RowWork;
use crate::loss::{Objective, Weighting};
use crate::negatives::Items;
use crate::network::{Dlrm, DlrmShape, Network, Pass};
use crate::optim::{clip_by_global_norm, norm_squared};
use crate::parameters::{Declaration, Parameters};
use crate::train::Window;
use crate::{BoundSpec, Compute, DenseOptimizer, DlrmSpec, ModelError};

/// A model that scores rows, with everything needed to train it.
///
/// Every rank holds one: the dense weights whole, the tables in parts.
pub struct Ranker {
    pub(crate) spec: DlrmSpec,
    pub(crate) comm: Arc<dyn Comm>,
    /// The dataset's columns that the model reads, before the chain.
    pub(crate) schema: Schema,
    pub(crate) chain: Arc<FeatureChain>,
    pub(crate) tables: EmbeddingCollection,
    pub(crate) parameters: Parameters,
    pub(crate) optimizer: DenseOptimizer,
    pub(crate) input: InputPlan,
    pub(crate) objective: Objective,
    pub(crate) plugins: Arc<dyn PluginSource>,
    /// Where negatives come from; set by the first split that is read.
    pub(crate) items: Option<Items>,
    pub(crate) network: Box<dyn Network>,
    prepared: Option<Prepared>,
    compute: Compute,
    row_work: RowWork,
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
        spec: DlrmSpec,
        schema: &Schema,
        environment: Environment,
    ) -> Result<Self, ModelError> {
        spec.check()?;
        let Environment { comm, compute, plugins } = environment;
        let BoundSpec { schema, chain, loss } = spec.bind(schema, &*plugins)?;
        let objective = Objective::new(loss, spec.loss.plugin().is_some());
        let input = InputPlan::new(&spec.features, objective.demands(), chain.schema())?;
        let (tables, features) = spec.tables();
        let tables = EmbeddingCollection::new(tables, features, spec.seed, Arc::clone(&comm))?;
        let mut declaration = Declaration::default();
        let shape = DlrmShape::declare(&spec, input.dense_width, &mut declaration);
        let row_work = shape.row_work();
        let mut parameters = Parameters::new(declaration, compute.device())?;
        let network = Dlrm::build(shape, &mut parameters, compute)?;
        let optimizer = DenseOptimizer::new(&spec.dense_optimizer, parameters.values().len())?;
        Ok(Self {
            spec,
            comm,
            schema,
            chain,
            tables,
            parameters,
            optimizer,
            input,
            objective,
            plugins,
            items: None,
            network,
            prepared: None,
            compute,
            row_work,
        })
    }

    /// The options it was built from.
    pub fn spec(&self) -> &DlrmSpec {
        &self.spec
    }

    /// Its tables.
    pub fn tables(&self) -> &EmbeddingCollection {
        &self.tables
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

    /// What its logits stand for.
    pub fn prediction(&self) -> Prediction {
        self.objective.demands().prediction
    }

    /// Logits \[B\] of a batch that went through the chain.
    ///
    /// # Errors
    /// If a value of the batch cannot be used, or a peer failed.
    ///
    /// # Collective
    /// Every rank must call it, each with its slice of the batch, which may be empty.
    pub fn score(&mut self, batch: &Batch) -> Result<&[f32], ModelError> {
        self.prepare(batch)?;
        self.look_up_prepared()?;
        self.network.forward(&self.parameters, Pass::Evaluate)
    }

    /// Looks up the embeddings of the batch that [`Ranker::prepare`] took in, to score it.
    pub(crate) fn look_up_prepared(&mut self) -> Result<(), ModelError> {
        self.look_up(Mode::Evaluate)?;
        self.release();
        Ok(())
    }

    /// What can fail because of the batch alone, without talking to other ranks.
    pub(crate) fn prepare(&mut self, batch: &Batch) -> Result<(), ModelError> {
        self.release();
        self.network.begin(batch.rows)?;
        self.input.dense(batch, self.network.dense_mut())?;
        let ids = self.input.ids(batch);
        self.prepared = Some(self.tables.prepare(&ids, batch.rows, batch.row_first)?);
        Ok(())
    }

    fn look_up(&mut self, mode: Mode) -> Result<(), ModelError> {
        let prepared = self.prepared.as_mut().expect("`prepare` comes first");
        let (vectors, layout) = self.network.embeddings_mut();
        Ok(self.tables.forward(prepared, mode, vectors, layout)?)
    }

    fn release(&mut self) {
        if let Some(prepared) = self.prepared.take() {
            self.tables.recycle(prepared);
        }
    }

    /// Trains on a batch that [`Ranker::prepare`] took in, and notes it in `window`.
    ///
    /// # Collective
    /// Every rank, each with its slice of the same global batch.
    pub(crate) fn step(
        &mut self,
        batch: &Batch,
        rule: StepRule,
        window: &mut Window,
    ) -> Result<(), ModelError> {
        let phases = &mut window.phases;
        let started = Instant::now();
        self.look_up(Mode::Train)?;
        phases.lookup_ms += milliseconds(started);

        let started = Instant::now();
        let pass = Pass::Train { step: rule.step, row_first: batch.row_first };
        let logits = self.network.forward(&self.parameters, pass)?;
        phases.forward_ms += milliseconds(started);

        let started = Instant::now();
        let done = self.objective.evaluate(&self.input, batch, logits, Weighting::Column);
        let done = done.map_err(ModelError::from);
        // A plugin may fail on this rank alone, and the others must not wait in the all-reduce.
        if self.objective.is_plugin { agree(&*self.comm, done) } else { done }?;
        let scale = 1.0 / batch.rows_global as f32;
        self.objective.gradients.iter_mut().for_each(|gradient| *gradient *= scale);
        match self.objective.demands().prediction {
            Prediction::Logit => {
                let labels = self.input.label_values(batch);
                window.running.add(&self.objective.losses, logits, labels);
            }
            _ => window.running.add_losses(&self.objective.losses),
        }
        phases.loss_ms += milliseconds(started);

        let started = Instant::now();
        self.network.backward(&mut self.parameters, &self.objective.gradients)?;
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
        let prepared = self.prepared.as_mut().expect("`prepare` comes first");
        let (gradient, layout) = self.network.embedding_gradient();
        self.tables.backward(prepared, gradient, layout, rule.rate)?;
        self.release();
        phases.embedding_update_ms += milliseconds(started);
        Ok(())
    }
}

pub(crate) fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

impl DlrmSpec {
    /// Tables and features as the embedding engine takes them.
    pub fn tables(&self) -> (Vec<TableOptions>, Vec<FeatureOptions>) {
        let table = |table: &crate::TableSpec| TableOptions {
            name: table.name.clone(),
            dim: self.embedding_dim,
            index: table.index.clone(),
            init: table.init.clone(),
            optimizer: self.embedding_optimizer.clone(),
        };
        let feature = |feature: &crate::IdFeatureSpec| FeatureOptions {
            name: feature.name.clone(),
            table: feature.table.clone(),
            pooling: feature.pooling,
        };
        let features = self.features.ids.iter().map(feature).collect();
        (self.tables.iter().map(table).collect(), features)
    }
}
