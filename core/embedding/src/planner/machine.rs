//! What the tables of one rank can do, measured with the tables themselves.

use std::sync::Arc;
use std::time::Instant;

use rectool_base::Stream;
use rectool_comm::{Comm, Solo};
use serde::{Deserialize, Serialize};

use crate::{
    EmbeddingCollection, EmbeddingError, FeatureOptions, Ids, IndexKind, Layout, Mode,
    OptimizerOptions, Pooling, TableOptions,
};

/// Widths at which rows are measured: one cache line of values, and eight.
const DIMS: [usize; 2] = [16, 128];
/// Bytes of rows that are measured: within the second-level cache, within the third, and far beyond.
const SET_BYTES: [usize; 3] = [1 << 20, 1 << 23, 1 << 27];
/// Ids of a measured batch, at most: enough that the work is shared out among threads. A small table
/// is measured with fewer, so that most ids are of different keys.
const BATCH_IDS: usize = 1 << 15;
/// Ids of a measured batch, at least.
const BATCH_IDS_MIN: u64 = 1 << 12;
/// Ids of a batch that fills a table.
const FILL_IDS: usize = 1 << 16;
/// Batches of each kind. The fastest counts, as whatever disturbs one makes it slower.
const BATCHES: usize = 16;
/// Keys of a batch whose rows cost nothing: they stay in the first-level cache.
const HOT_KEYS: u64 = 64;

/// How keys find their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lookup {
    /// By position.
    Dense,
    /// Through the hash index.
    Hash,
}

/// Time of each distinct key of a batch, over all threads of a rank, while the other ranks of the
/// machine do the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RowTime {
    /// How its row is found.
    pub lookup: Lookup,
    /// Width D; the optimizer keeps one more float.
    pub dim: usize,
    /// Rows of the table, each as likely as any other.
    pub rows: u64,
    /// Nanoseconds to find the row and to copy its values.
    pub lookup_ns: f64,
    /// Nanoseconds of the optimizer's step on the row.
    pub update_ns: f64,
}

/// Time of each id of a batch, whether its key is new in it or not.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OccurrenceTime {
    /// Width D.
    pub dim: usize,
    /// Nanoseconds to pool its values.
    pub pool_ns: f64,
    /// Nanoseconds to sum its gradient.
    pub sum_ns: f64,
    /// Nanoseconds to find out that its key is new in the batch.
    pub distinct_ns: f64,
}

/// The tables that are measured.
fn cases() -> Vec<(Lookup, usize, u64)> {
    let rows = |dim: usize, bytes: usize| (bytes / (size_of::<f32>() * dim)) as u64;
    let dense = DIMS.iter().flat_map(|dim| SET_BYTES.map(|set| (Lookup::Dense, *dim, set)));
    let hashed = SET_BYTES.map(|set| (Lookup::Hash, DIMS[0], set));
    dense.chain(hashed).map(|(lookup, dim, set)| (lookup, dim, rows(dim, set))).collect()
}

/// Measures this rank's rows.
///
/// # Collective
/// Every rank must call it, as all are to work at the same time.
pub(super) fn measure(
    comm: &dyn Comm,
) -> Result<(Vec<RowTime>, Vec<OccurrenceTime>), EmbeddingError> {
    let mut occurrences = Vec::new();
    for dim in DIMS {
        let mut bench = Bench::new(Lookup::Dense, dim, HOT_KEYS)?;
        let hot = bench.fastest(comm, BATCH_IDS)?;
        occurrences.push(OccurrenceTime {
            dim,
            pool_ns: hot.forward_ns / BATCH_IDS as f64,
            sum_ns: hot.backward_ns / BATCH_IDS as f64,
            distinct_ns: hot.prepare_ns / BATCH_IDS as f64,
        });
    }
    let mut rows = Vec::new();
    for (lookup, dim, count) in cases() {
        let mut bench = Bench::new(lookup, dim, count)?;
        bench.fill()?;
        let ids = count.clamp(BATCH_IDS_MIN, BATCH_IDS as u64) as usize;
        let found = bench.fastest(comm, ids)?;
        let own = occurrences.iter_mut().find(|time| time.dim == dim);
        let own = own.expect("every measured width has occurrences");
        let each = |all_ns: f64, occurrence_ns: f64| {
            ((all_ns - occurrence_ns * ids as f64) / found.keys).max(0.0)
        };
        rows.push(RowTime {
            lookup,
            dim,
            rows: count,
            lookup_ns: each(found.forward_ns, own.pool_ns),
            update_ns: each(found.backward_ns, own.sum_ns),
        });
        if lookup == Lookup::Hash {
            own.distinct_ns = own.distinct_ns.max(found.prepare_ns / ids as f64);
        }
    }
    level(&mut rows);
    Ok((rows, occurrences))
}

/// Takes out what only a disturbed measurement can show: a row of a smaller table, or a narrower row
/// of one as large in bytes, that costs more.
fn level(rows: &mut [RowTime]) {
    for at in 0..rows.len() {
        let own = rows[at];
        let bytes = |time: &RowTime| time.rows * time.dim as u64;
        let dearer = rows.iter().filter(|other| {
            other.lookup == own.lookup && other.dim >= own.dim && bytes(other) >= bytes(&own)
        });
        let least = dearer.fold((own.lookup_ns, own.update_ns), |least, other| {
            (least.0.min(other.lookup_ns), least.1.min(other.update_ns))
        });
        (rows[at].lookup_ns, rows[at].update_ns) = least;
    }
}

/// A table with one feature of single ids.
struct Bench {
    tables: EmbeddingCollection,
    dim: usize,
    rows: u64,
    buffer: Vec<f32>,
    stream: Stream,
}

/// Times of a batch.
struct BatchTimes {
    prepare_ns: f64,
    forward_ns: f64,
    backward_ns: f64,
    /// Its distinct keys.
    keys: f64,
}

impl Bench {
    fn new(lookup: Lookup, dim: usize, rows: u64) -> Result<Self, EmbeddingError> {
        let optimizer = OptimizerOptions::RowWiseAdagrad {
            learning_rate: 0.1,
            epsilon: 1e-8,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        let index = match lookup {
            Lookup::Dense => IndexKind::Dense { rows },
            Lookup::Hash => IndexKind::Hash,
        };
        let table = TableOptions { index, ..TableOptions::new("measured", dim, optimizer) };
        let feature = FeatureOptions::new("measured", "measured", Pooling::Sum);
        let tables = EmbeddingCollection::new(vec![table], vec![feature], 0, Arc::new(Solo))?;
        let buffer = vec![1e-3; FILL_IDS * dim];
        Ok(Self { tables, dim, rows, buffer, stream: Stream::new(0, &[]) })
    }

    /// Gives every key its row.
    fn fill(&mut self) -> Result<(), EmbeddingError> {
        let keys: Vec<i64> = (0..self.rows as i64).collect();
        keys.chunks(FILL_IDS).try_for_each(|keys| self.step(keys).map(drop))
    }

    /// The fastest of some batches of `ids` random keys.
    fn fastest(&mut self, comm: &dyn Comm, ids: usize) -> Result<BatchTimes, EmbeddingError> {
        let mut best: Option<BatchTimes> = None;
        for _ in 0..BATCHES {
            let key = |_| self.stream.below(self.rows) as i64;
            let ids: Vec<i64> = (0..ids).map(key).collect();
            comm.barrier()?;
            let next = self.step(&ids)?;
            best = Some(match best {
                None => next,
                Some(best) => BatchTimes {
                    prepare_ns: best.prepare_ns.min(next.prepare_ns),
                    forward_ns: best.forward_ns.min(next.forward_ns),
                    backward_ns: best.backward_ns.min(next.backward_ns),
                    keys: best.keys.max(next.keys),
                },
            });
        }
        Ok(best.expect("there is at least one batch"))
    }

    fn step(&mut self, ids: &[i64]) -> Result<BatchTimes, EmbeddingError> {
        let layout = Layout::packed([self.dim]);
        let started = Instant::now();
        let rows = ids.len();
        let column = Ids::Fixed { values: ids, width: 1, at: 0 };
        let mut batch = self.tables.prepare(&[column], rows, 0)?;
        let prepared = Instant::now();
        let buffer = &mut self.buffer[..rows * self.dim];
        self.tables.forward(&mut batch, Mode::Train, buffer, &layout)?;
        let looked_up = Instant::now();
        self.tables.backward(&mut batch, buffer, &layout, 1.0)?;
        let updated = Instant::now();
        let keys = batch.keys_distinct() as f64;
        self.tables.recycle(batch);
        let ns = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e9;
        Ok(BatchTimes {
            prepare_ns: ns(started, prepared),
            forward_ns: ns(prepared, looked_up),
            backward_ns: ns(looked_up, updated),
            keys,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disturbed_measurement_is_set_right_by_the_others() {
        let time = |dim, rows, lookup_ns| RowTime {
            lookup: Lookup::Dense,
            dim,
            rows,
            lookup_ns,
            update_ns: 2.0 * lookup_ns,
        };
        let mut rows = [
            time(16, 1_000, 900.0),
            time(16, 8_000, 12.0),
            time(16, 64_000, 30.0),
            time(128, 1_000, 25.0),
            time(128, 8_000, 90.0),
        ];
        level(&mut rows);
        assert_eq!(rows.map(|time| time.lookup_ns), [12.0, 12.0, 30.0, 25.0, 90.0]);
        assert_eq!(rows.map(|time| time.update_ns), [24.0, 24.0, 60.0, 50.0, 180.0]);
    }
}
