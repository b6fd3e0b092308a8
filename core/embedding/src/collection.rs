//! The tables of a model, and a batch's way through them.

use std::ops::Range;
use std::sync::Arc;

use rectool_comm::{Comm, CommExt};

use crate::answer::{answers, own_values};
use crate::bags::FeatureBags;
use crate::exchange::Exchanger;
use crate::index::ABSENT;
use crate::lookup::resolve;
use crate::parallel::for_each;
use crate::placement::Placement;
use crate::plan::Plan;
use crate::pool::{FeatureValues, pool};
use crate::prepare::{Phase, Prepared, PreparedFeature, PreparedTable, Preparer};
use crate::step::{Tick, Update, update};
use crate::stream::Stores;
use crate::sums::{FeatureGradients, TableGradients, sum_gradients};
use crate::table::Table;
use crate::{EmbeddingError, FeatureOptions, Ids, Layout, Mode, ShardingPlan, TableOptions, Wire};

/// Embedding tables, spread over the ranks by a plan, and the features that are looked up in them.
///
/// ```
/// use std::sync::Arc;
/// use rectool_comm::Solo;
/// use rectool_embedding::{
///     EmbeddingCollection, FeatureOptions, Ids, Layout, Mode, OptimizerOptions, Pooling,
///     TableOptions,
/// };
///
/// # fn main() -> Result<(), rectool_embedding::EmbeddingError> {
/// let city = TableOptions::new("city", 2, OptimizerOptions::sgd(0.5));
/// let home = FeatureOptions::new("home", "city", Pooling::Sum);
/// let mut tables = EmbeddingCollection::new(vec![city], vec![home], 1, Arc::new(Solo))?;
///
/// let ids = Ids::Fixed { values: &[7, 9, 7], width: 1, at: 0 };
/// let layout = Layout::packed([2]);
/// let mut out = [0.0; 6];
/// let mut batch = tables.prepare(&[ids], 3, 0)?;
/// tables.forward(&mut batch, Mode::Train, &mut out, &layout)?;
/// tables.backward(&mut batch, &[1.0; 6], &layout, 1.0)?;
/// tables.forward(&mut batch, Mode::Evaluate, &mut out, &layout)?;
/// // Id 7 came twice, so its gradient is 2.
/// assert_eq!(out, [-1.0, -1.0, -0.5, -0.5, -1.0, -1.0]);
/// # Ok(())
/// # }
/// ```
pub struct EmbeddingCollection {
    pub(crate) plan: Arc<Plan>,
    pub(crate) comm: Arc<dyn Comm>,
    pub(crate) tables: Vec<Table>,
    /// Counts the times the rows were dropped.
    pub(crate) generation: u64,
    /// Counts the updates.
    pub(crate) steps: u64,
    exchanger: Exchanger,
}

/// What one rank holds of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableInfo {
    /// The table.
    pub name: String,
    /// Width D.
    pub dim: usize,
    /// Those of the columns 0..D that are here.
    pub columns: Range<usize>,
    /// State floats S per row, for those columns.
    pub state_width: usize,
    /// Rows in use on this rank.
    pub rows: usize,
    /// Rows that this rank could come to use, if that is known.
    pub rows_max: Option<usize>,
    /// Memory of the rows in use, of the index and of the sketch, on this rank.
    pub bytes: usize,
}

impl EmbeddingCollection {
    /// Makes the tables, each row-wise over all ranks; every row has its initial values.
    ///
    /// # Errors
    /// If an option is out of range, names repeat or cannot be a folder's, a feature's table is missing, a dense table
    /// has more rows per rank than can be numbered, or the system has no memory for a sketch.
    pub fn new(
        tables: Vec<TableOptions>,
        features: Vec<FeatureOptions>,
        seed: u64,
        comm: Arc<dyn Comm>,
    ) -> Result<Self, EmbeddingError> {
        let plan = ShardingPlan::row_wise(&tables);
        Self::with_plan(tables, features, seed, comm, &plan)
    }

    /// As [`EmbeddingCollection::new`], with the tables where `plan` says.
    ///
    /// # Errors
    /// As there, and if `plan` does not fit.
    ///
    /// # Determinism
    /// A plan changes where work is done and what travels, but no result: on the same number of ranks
    /// all plans give the same bytes.
    pub fn with_plan(
        tables: Vec<TableOptions>,
        features: Vec<FeatureOptions>,
        seed: u64,
        comm: Arc<dyn Comm>,
        plan: &ShardingPlan,
    ) -> Result<Self, EmbeddingError> {
        let (rank, ranks) = (comm.rank(), comm.size());
        let plan = Plan::new(tables, features, seed, plan, (rank, ranks))?;
        let tables = plan.tables.iter().zip(&plan.placements);
        let tables = tables
            .map(|(table, place)| {
                // A rank that holds no columns holds no rows either: their width is no matter.
                let columns = Some(place.columns(rank)).filter(|columns| !columns.is_empty());
                let columns = columns.unwrap_or(0..table.dim);
                Table::new(table.clone(), columns, place.buckets(rank), seed)
            })
            .collect::<Result<_, _>>()?;
        let plan = Arc::new(plan);
        let exchanger = Exchanger::new(Arc::clone(&plan), Arc::clone(&comm), Wire::F32);
        Ok(Self { plan, comm, tables, generation: 0, steps: 0, exchanger })
    }

    /// How values and gradients travel from now on; [`Wire::F32`] until it is called. It must be the
    /// same on every rank.
    pub fn set_wire(&mut self, wire: Wire) {
        self.exchanger.set_wire(wire);
    }

    /// A handle that exchanges batches on another thread, over `comm`: a group of the same ranks
    /// ([`Comm::fork`]) that this collection does not use.
    pub fn exchanger(&self, comm: Arc<dyn Comm>) -> Exchanger {
        self.exchanger.over(comm)
    }

    /// A handle that prepares batches on other threads.
    pub fn preparer(&self) -> Preparer {
        Preparer(Arc::clone(&self.plan))
    }

    /// As [`Preparer::prepare`].
    ///
    /// # Errors
    /// As there.
    pub fn prepare(
        &self,
        ids: &[Ids<'_>],
        rows: usize,
        row_first: usize,
    ) -> Result<Prepared, EmbeddingError> {
        self.preparer().prepare(ids, rows, row_first)
    }

    /// Looks up what other ranks asked for a batch whose keys [`Exchanger::keys`] exchanged, for it to
    /// be trained on. After [`Exchanger::values`], `forward` takes these values, though steps may have
    /// been taken since.
    ///
    /// # Errors
    /// If the keys were not exchanged, or a table is full.
    pub fn answer(&mut self, prepared: &mut Prepared) -> Result<(), EmbeddingError> {
        self.exchanger.check_owner("answer", prepared)?;
        if self.comm.size() > 1 && !prepared.asked {
            let (call, found) = ("answer", "did not tell the ranks its keys");
            return Err(EmbeddingError::Phase { call, found, expected: "did" });
        }
        self.look_up(prepared, Mode::Train)
    }

    /// Writes the embedding of each feature and row to `out`; floats between them stay as they are.
    ///
    /// Shapes: `out` [B, F, D] as `layout` says, with [L, D] in the place of D for a sequence.
    ///
    /// # Errors
    /// If a shape does not fit, a table is full, or an exchange failed.
    ///
    /// # Collective
    /// Every rank must call it, in the same mode; a rank without rows passes a batch of none.
    ///
    /// # Determinism
    /// The same bytes for any number of threads; the same values for any number of ranks, up to
    /// what rounding makes of sums that are taken in another order.
    pub fn forward(
        &mut self,
        prepared: &mut Prepared,
        mode: Mode,
        out: &mut [f32],
        layout: &Layout,
    ) -> Result<(), EmbeddingError> {
        self.exchanger.check_owner("forward", prepared)?;
        layout.check(&self.plan.widths, prepared.rows, out.len())?;
        if mode == Mode::Evaluate || prepared.phase != Phase::Valued(self.generation) {
            self.exchanger.keys(prepared)?;
            self.look_up(prepared, mode)?;
            self.exchanger.values(prepared)?;
        }
        let stores = Stores::for_buffer(size_of_val(out));
        pool(&self.feature_values(prepared), prepared.rows, (out, stores), layout);
        prepared.phase = match mode {
            Mode::Train => Phase::Trained(self.generation),
            Mode::Evaluate => Phase::Evaluated,
        };
        Ok(())
    }

    /// Sums the gradients of each key and takes one step of its table's optimizer on its row.
    /// `rate` multiplies every table's learning rate. Gives rows up where [`crate::Expiry`] says so;
    /// other batches on their way must go through `forward` again then.
    ///
    /// Shapes: `gradient` [B, F, D] as `layout` says, with [L, D] in the place of D for a sequence,
    /// where gradients of the filling zeros are not read.
    ///
    /// # Errors
    /// If a shape does not fit, an exchange failed, or the batch did not last go through `forward`
    /// in [`Mode::Train`].
    ///
    /// # Collective
    /// Every rank must call it, with the same `rate`.
    ///
    /// # Determinism
    /// Gradients of a key are summed in order of occurrence (features, then rows) on each rank,
    /// then over ranks in rank order, so the number of threads does not matter.
    pub fn backward(
        &mut self,
        prepared: &mut Prepared,
        gradient: &[f32],
        layout: &Layout,
        rate: f32,
    ) -> Result<(), EmbeddingError> {
        self.exchanger.check_owner("backward", prepared)?;
        layout.check(&self.plan.widths, prepared.rows, gradient.len())?;
        self.check_trained(prepared)?;
        let tick = Tick { step: self.steps + 1, rate };
        sum_gradients(&mut gradients(&self.plan, prepared, gradient, layout));
        if self.comm.size() == 1 {
            let (lookups, sums) = prepared.lay_out_values(&self.plan.placements);
            let parts = self.tables.iter_mut().zip(lookups).zip(sums);
            let updates: Vec<Update<'_>> = parts
                .map(|((table, prepared), sums)| Update::new(table, &prepared.local, sums, tick))
                .collect();
            update(&updates);
        } else {
            self.exchanger.gradients(prepared)?;
            update(&self.exchanger.updates(&mut self.tables, prepared, tick));
        }
        self.steps = tick.step;
        prepared.phase = Phase::Updated;
        let alone = self.comm.size() == 1;
        let tables = self.tables.iter_mut().zip(&prepared.tables).collect();
        for_each(tables, |(table, prepared): (&mut Table, &PreparedTable)| {
            table.end_step(if alone { &prepared.local } else { &prepared.asked }, self.steps);
        });
        self.expire_where(|expiry| expiry.is_due(tick.step))?;
        Ok(())
    }

    /// Has the system read the rows of a batch that comes later, in tables backed by a file, without
    /// waiting for them. Changes no result. Of several ranks, each asks for the rows that it both
    /// looks up and owns.
    ///
    /// # Errors
    /// If another collection prepared the batch.
    pub fn read_ahead(&self, prepared: &Prepared) -> Result<(), EmbeddingError> {
        self.exchanger.check_owner("read_ahead", prepared)?;
        let filed = self.tables.iter().zip(&self.plan.placements).zip(&prepared.tables);
        let filed = filed.filter(|((table, _), _)| table.slab.is_filed()).collect();
        for_each(
            filed,
            |((table, placement), prepared): ((&Table, &Placement), &PreparedTable)| {
                let keys = &prepared.local.distinct.keys;
                let keys = match self.comm.size() {
                    1 => keys,
                    _ => &keys[prepared.keys_at(self.comm.rank(), placement)],
                };
                let mut rows = vec![ABSENT; keys.len()];
                table.index.find(keys, &mut rows);
                table.slab.read_ahead(&rows);
            },
        );
        Ok(())
    }

    /// Takes back a batch that is done with, so that the next one need not allocate.
    pub fn recycle(&self, prepared: Prepared) {
        self.plan.keep_spare(prepared);
    }

    /// What this rank holds of each table.
    pub fn tables(&self) -> Vec<TableInfo> {
        let info = |table: &Table| TableInfo {
            name: table.options.name.clone(),
            dim: table.options.dim,
            columns: table.columns.clone(),
            state_width: table.layout.state,
            rows: table.index.len(),
            rows_max: table.index.rows_max(),
            bytes: table.bytes(),
        };
        self.tables.iter().map(info).collect()
    }

    /// The tables' options, in order.
    pub fn table_options(&self) -> &[TableOptions] {
        &self.plan.tables
    }

    /// The features' options, in order.
    pub fn feature_options(&self) -> &[FeatureOptions] {
        &self.plan.features
    }

    /// Width D of each feature's table.
    pub fn dims(&self) -> &[usize] {
        &self.plan.dims
    }

    /// Floats of each feature in a row of the batch: L * D for a sequence, otherwise D.
    pub fn widths(&self) -> &[usize] {
        &self.plan.widths
    }

    /// Rows in use over all tables and ranks.
    ///
    /// # Errors
    /// If the exchange failed.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn rows_total(&self) -> Result<u64, EmbeddingError> {
        let tables = self.tables.iter().zip(&self.plan.placements);
        let counted = tables.filter(|(_, place)| place.counts(self.plan.rank));
        let rows: usize = counted.map(|(table, _)| table.index.len()).sum();
        Ok(self.comm.sum_u64(rows as u64)?)
    }

    /// Memory of this rank's rows in use and of the indexes.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(Table::bytes).sum()
    }

    /// Drops every row and begins at step 0: all have their initial values again. Batches on their
    /// way cannot go on to `backward`.
    pub fn clear(&mut self) {
        self.generation += 1;
        self.steps = 0;
        for_each(self.tables.iter_mut().collect(), Table::clear);
    }

    /// Finds the rows that a batch needs here, and copies their values out.
    fn look_up(&mut self, prepared: &mut Prepared, mode: Mode) -> Result<(), EmbeddingError> {
        let alone = self.comm.size() == 1;
        let lookups = prepared.tables.iter_mut();
        let lookups = lookups.map(|table| if alone { &mut table.local } else { &mut table.asked });
        resolve(&mut self.tables, lookups, mode)?;
        if alone {
            own_values(&self.plan, &self.tables, prepared);
        } else {
            answers(&self.plan, self.comm.size(), &self.tables, prepared);
        }
        prepared.phase = Phase::Answered(self.generation);
        Ok(())
    }

    fn check_trained(&self, prepared: &Prepared) -> Result<(), EmbeddingError> {
        let found = match prepared.phase {
            Phase::Trained(generation) if generation == self.generation => return Ok(()),
            Phase::Trained(_) => "is from before rows were dropped",
            Phase::Prepared | Phase::Answered(_) | Phase::Valued(_) => "did not go through forward",
            Phase::Evaluated => "went through forward in evaluation mode",
            Phase::Updated => "went through backward already",
        };
        let expected = "went through forward in training mode";
        Err(EmbeddingError::Phase { call: "backward", found, expected })
    }

    fn feature_values<'a>(&'a self, prepared: &'a Prepared) -> Vec<FeatureValues<'a>> {
        let plan = &*self.plan;
        let features = plan.features.iter().zip(&plan.place_of).zip(&plan.dims);
        features
            .map(|((options, (t, f)), dim)| {
                let table = &prepared.tables[*t];
                let place = (&table.features[*f], prepared.rows);
                let distinct = &table.local.distinct;
                let bags = FeatureBags::new(options.pooling, place, &distinct.slots);
                FeatureValues { dim: *dim, bags, values: prepared.values_of(table, *dim) }
            })
            .collect()
    }
}

/// \[T\]: the gradients of each table, to be summed where its values lay.
fn gradients<'a>(
    plan: &Plan,
    prepared: &'a mut Prepared,
    gradient: &'a [f32],
    layout: &Layout,
) -> Vec<TableGradients<'a>> {
    let rows = prepared.rows;
    let (tables, sums) = prepared.lay_out_values(&plan.placements);
    let tables = plan.features_of.iter().zip(&plan.placements).zip(tables).zip(sums);
    tables
        .map(|(((features, place), table), sums)| {
            let own = |(feature, own): (&usize, &'a PreparedFeature)| FeatureGradients {
                bags: FeatureBags::new(
                    plan.features[*feature].pooling,
                    (own, rows),
                    &table.local.distinct.slots,
                ),
                // Without rows there may be no float at all.
                values: gradient.get(layout.offsets[*feature]..).unwrap_or_default(),
                stride: layout.row_stride,
                rows,
            };
            let features = features.iter().zip(&table.features).map(own).collect();
            TableGradients { dim: place.dim(), features, sums }
        })
        .collect()
}
