//! Some tables, and steps with them that are timed.

use std::sync::Arc;
use std::time::Instant;

use rectool_base::Stream;
use rectool_comm::{Comm, Solo};

use super::cold::{Cold, median};
use super::machine::Lookup;
use crate::{
    EmbeddingCollection, EmbeddingError, FeatureOptions, Ids, IndexKind, Layout, Mode,
    OptimizerOptions, Pooling, TableOptions,
};

/// Tables of a trial: a training has several, and threads share them out.
pub(super) const TABLES: usize = 8;
/// Rows of a batch, each with one id for every table.
pub(super) const ROWS: usize = 1 << 13;
/// Ids of a row as they lie in memory. A packed column of a click log is about as wide: the ids of a
/// table are lines apart, and those of a batch do not fit into the nearest caches.
const WIDTH: usize = 26;
/// Ids of a batch.
pub(super) const IDS: f64 = (ROWS * TABLES) as f64;
/// Batches that are timed.
const BATCHES: usize = 9;
/// Keys of a table that most ids are of. Their rows cost next to nothing: they stay in the first-level
/// cache once they are there.
pub(super) const HOT_KEYS: u64 = 64;
/// One id of so many is of any key of the table, as likely as any other: about as many as in clicks.
const ONE_COLD_OF: u64 = 4;

/// Tables alike, with one feature of single ids each.
pub(super) struct Trial {
    tables: EmbeddingCollection,
    layout: Layout,
    dim: usize,
    /// Rows of each table.
    rows: u64,
    values: Vec<f32>,
    stream: Stream,
}

/// Nanoseconds of a batch.
#[derive(Clone, Copy)]
pub(super) struct StepTimes {
    pub(super) prepare_ns: f64,
    pub(super) lookup_ns: f64,
    pub(super) update_ns: f64,
    /// Its distinct keys.
    pub(super) keys: f64,
}

impl StepTimes {
    /// What `one` makes of each time of `all`.
    fn each_of(all: &[Self], one: impl Fn(Vec<f64>) -> f64) -> Self {
        let of = |time: fn(&Self) -> f64| one(all.iter().map(time).collect());
        Self {
            prepare_ns: of(|times| times.prepare_ns),
            lookup_ns: of(|times| times.lookup_ns),
            update_ns: of(|times| times.update_ns),
            keys: of(|times| times.keys),
        }
    }
}

impl Trial {
    /// Tables of `rows_all` rows together.
    pub(super) fn new(lookup: Lookup, dim: usize, rows_all: u64) -> Result<Self, EmbeddingError> {
        let optimizer = OptimizerOptions::RowWiseAdagrad {
            learning_rate: 0.1,
            epsilon: 1e-8,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        let rows = (rows_all / TABLES as u64).max(1);
        let index = match lookup {
            Lookup::Dense => IndexKind::Dense { rows },
            Lookup::Hash => IndexKind::Hash,
        };
        let name = |at: usize| format!("measured {at}");
        let table = |at: usize| TableOptions {
            index: index.clone(),
            ..TableOptions::new(name(at), dim, optimizer.clone())
        };
        let feature = |at: usize| FeatureOptions::new(name(at), name(at), Pooling::Sum);
        let features = (0..TABLES).map(feature).collect();
        let tables = (0..TABLES).map(table).collect();
        let tables = EmbeddingCollection::new(tables, features, 0, Arc::new(Solo))?;
        let values = vec![1e-3; ROWS * TABLES * dim];
        let layout = Layout::packed([dim; TABLES]);
        Ok(Self { tables, layout, dim, rows, values, stream: Stream::new(0, &[]) })
    }

    /// Gives every key its row; returns the time of looking each up for the first time, in
    /// nanoseconds.
    pub(super) fn fill(&mut self) -> Result<f64, EmbeddingError> {
        let keys: Vec<i64> = (0..self.rows as i64).collect();
        let mut all_ns = 0.0;
        for keys in keys.chunks(ROWS) {
            let ids: Vec<i64> = keys.iter().flat_map(|key| [*key; WIDTH]).collect();
            let mut batch = self.tables.prepare(&columns(&ids), keys.len(), 0)?;
            let out = &mut self.values[..keys.len() * TABLES * self.dim];
            let started = Instant::now();
            self.tables.forward(&mut batch, Mode::Train, out, &self.layout)?;
            all_ns += nanoseconds(started);
            self.tables.recycle(batch);
        }
        Ok(all_ns / (keys.len() * TABLES) as f64)
    }

    /// What batches of `rows` rows take that find nothing in the caches: the middle one of several times.
    ///
    /// # Collective
    /// Every rank must call it, as all are to work at the same time.
    pub(super) fn typical(
        &mut self,
        comm: &dyn Comm,
        cold: &mut Cold,
        rows: usize,
    ) -> Result<StepTimes, EmbeddingError> {
        Ok(StepTimes::each_of(&self.steps(comm, cold, rows)?, median))
    }

    /// As [`Trial::typical`], the shortest time of each: of a batch with next to nothing to do, whose times
    /// are taken from those of others, so that a busy machine leaves something of them.
    ///
    /// # Collective
    /// As above.
    pub(super) fn shortest(
        &mut self,
        comm: &dyn Comm,
        cold: &mut Cold,
        rows: usize,
    ) -> Result<StepTimes, EmbeddingError> {
        let least = |times: Vec<f64>| times.into_iter().fold(f64::INFINITY, f64::min);
        Ok(StepTimes::each_of(&self.steps(comm, cold, rows)?, least))
    }

    fn steps(
        &mut self,
        comm: &dyn Comm,
        cold: &mut Cold,
        rows: usize,
    ) -> Result<Vec<StepTimes>, EmbeddingError> {
        let mut all = Vec::with_capacity(BATCHES);
        // The first one makes rows, if there are none yet.
        for at in 0..=BATCHES {
            let ids: Vec<i64> = (0..rows * WIDTH).map(|_| self.draw()).collect();
            comm.barrier()?;
            let times = self.step(&ids, cold)?;
            if at > 0 {
                all.push(times);
            }
        }
        Ok(all)
    }

    fn draw(&mut self) -> i64 {
        let below = match self.stream.below(ONE_COLD_OF) {
            0 => self.rows,
            _ => self.rows.min(HOT_KEYS),
        };
        self.stream.below(below) as i64
    }

    fn step(&mut self, ids: &[i64], cold: &mut Cold) -> Result<StepTimes, EmbeddingError> {
        let Self { tables, layout, dim, values, .. } = self;
        let rows = ids.len() / WIDTH;
        cold.cool();
        let started = Instant::now();
        let mut batch = tables.prepare(&columns(ids), rows, 0)?;
        let prepare_ns = nanoseconds(started);
        let values = &mut values[..rows * TABLES * *dim];
        cold.cool();
        let started = Instant::now();
        tables.forward(&mut batch, Mode::Train, values, layout)?;
        let lookup_ns = nanoseconds(started);
        cold.cool();
        let started = Instant::now();
        tables.backward(&mut batch, values, layout, 1.0)?;
        let update_ns = nanoseconds(started);
        let keys = batch.keys_distinct() as f64;
        tables.recycle(batch);
        Ok(StepTimes { prepare_ns, lookup_ns, update_ns, keys })
    }
}

/// The ids of each table, from all over the rows of a packed column.
fn columns(ids: &[i64]) -> [Ids<'_>; TABLES] {
    let at = |table: usize| table * WIDTH / TABLES;
    std::array::from_fn(|table| Ids::Fixed { values: ids, width: WIDTH, at: at(table) })
}

fn nanoseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e9
}
