//! What this machine and its communicator can do, measured.

use std::time::Instant;

use rectool_comm::{Comm, CommExt, Reduce, Values};
use serde::{Deserialize, Serialize};

use super::cold::{Cold, median};
use super::curve::between;
use super::link::{Link, all_reduce, all_to_all, link_of};
use super::machine::{EmptyStep, Lookup, Measured, OccurrenceTime, RowTime, measure};
use crate::EmbeddingError;

/// Copies that are timed.
const COPIES: usize = 5;

/// What a short run on this machine, with these ranks and threads, has shown. Plain data, to be kept
/// for the next time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of ranks R.
    pub ranks: usize,
    /// Ranks of one node.
    pub ranks_per_node: usize,
    /// Threads of each rank.
    pub threads: usize,
    /// Time of each distinct key of a batch, for tables of several sizes and widths.
    pub rows: Vec<RowTime>,
    /// Time of each id of a batch, for several widths.
    pub occurrences: Vec<OccurrenceTime>,
    /// Time of a step's calls, whatever its batch brings.
    pub empty: EmptyStep,
    /// Bytes copied from one buffer to another, per millisecond.
    pub copy_bytes_per_ms: f64,
    /// All-to-all within a node.
    pub exchange_local: Link,
    /// All-to-all between nodes; free where there is one node.
    pub exchange_remote: Link,
    /// All-reduce over all ranks.
    pub all_reduce: Link,
    /// Time that measuring took.
    pub seconds: f64,
}

/// Measures this machine, with the threads of the current rayon pool, and `comm`. It takes a few
/// seconds, and 300 MB on each rank. What is timed begins with caches that hold something else, as it
/// does in a training, and the middle one of several times counts.
///
/// ```no_run
/// let found = rectool_embedding::calibrate(&rectool_comm::Solo)?;
/// assert_eq!(found.ranks, 1);
/// # Ok::<(), rectool_embedding::EmbeddingError>(())
/// ```
///
/// # Errors
/// If a collective fails or memory runs out.
///
/// # Collective
/// Every rank must call it. All get the same result: the times of the slowest rank.
pub fn calibrate(comm: &dyn Comm) -> Result<Calibration, EmbeddingError> {
    let started = Instant::now();
    let ranks_per_node = ranks_per_node(comm)?;
    let node = |rank: usize| rank / ranks_per_node;
    let mut cold = Cold::new();
    let Measured { mut rows, mut occurrences, mut empty } = measure(comm, &mut cold)?;
    let own = node(comm.rank());
    let mut links = Vec::new();
    if ranks_per_node > 1 {
        links.push(all_to_all(comm, &mut cold, |rank| node(rank) == own)?);
    }
    if ranks_per_node < comm.size() {
        links.push(all_to_all(comm, &mut cold, |rank| node(rank) != own)?);
    }
    if comm.size() > 1 {
        links.push(all_reduce(comm, &mut cold)?);
    }
    let mut copy = [copy_ms_per_byte(comm, &mut cold)?];
    let seconds = &mut [started.elapsed().as_secs_f64()];
    let mut times: Vec<&mut f64> = Vec::new();
    for row in &mut rows {
        times.extend([&mut row.lookup_ns, &mut row.update_ns, &mut row.insert_ns]);
    }
    for time in &mut occurrences {
        times.extend([&mut time.pool_ns, &mut time.sum_ns, &mut time.distinct_ns]);
    }
    times.extend([&mut empty.prepare_ns, &mut empty.lookup_ns, &mut empty.update_ns]);
    times.extend(links.iter_mut().flatten().chain(&mut copy).chain(&mut *seconds));
    slowest(comm, times)?;
    let mut links = links.iter().map(|times| link_of(times));
    let none = || Link::fit(Vec::new());
    let mut next = |there: bool| if there { links.next() } else { None }.unwrap_or_else(none);
    Ok(Calibration {
        ranks: comm.size(),
        ranks_per_node,
        threads: rayon::current_num_threads(),
        exchange_local: next(ranks_per_node > 1),
        exchange_remote: next(ranks_per_node < comm.size()),
        all_reduce: next(comm.size() > 1),
        rows,
        occurrences,
        empty,
        copy_bytes_per_ms: 1.0 / copy[0].max(1e-12),
        seconds: seconds[0],
    })
}

/// Ranks of a node, if every node has as many and they are numbered node by node; otherwise every
/// rank counts as a node of its own.
fn ranks_per_node(comm: &dyn Comm) -> Result<usize, EmbeddingError> {
    let local = comm.local_size();
    let regular = comm.size().is_multiple_of(local) && comm.rank() % local == comm.local_rank();
    let mut sizes = [if regular { local as u64 } else { 0 }];
    comm.all_reduce(Values::U64(&mut sizes), Reduce::Min)?;
    let same = comm.max_u64(local as u64)? == sizes[0];
    Ok(if same { local } else { 1 })
}

fn copy_ms_per_byte(comm: &dyn Comm, cold: &mut Cold) -> Result<f64, EmbeddingError> {
    let mut times = Vec::with_capacity(COPIES);
    for _ in 0..COPIES {
        comm.barrier()?;
        let started = Instant::now();
        let bytes = cold.copy();
        times.push(started.elapsed().as_secs_f64() * 1e3 / bytes as f64);
    }
    Ok(median(times))
}

/// Replaces each of `times` by the greatest over ranks.
fn slowest(comm: &dyn Comm, times: Vec<&mut f64>) -> Result<(), EmbeddingError> {
    let mut values: Vec<f64> = times.iter().map(|time| **time).collect();
    comm.all_reduce(Values::F64(&mut values), Reduce::Max)?;
    for (time, value) in times.into_iter().zip(values) {
        *time = value;
    }
    Ok(())
}

impl Calibration {
    /// Nanoseconds to find the row of a distinct key and to copy `dim` values of it, in a table of
    /// `rows` rows, when the tables of the rank take `set_bytes` together.
    pub(super) fn lookup_ns(&self, lookup: Lookup, dim: f64, rows: f64, set_bytes: f64) -> f64 {
        let dense = self.at_width(dim, |dim| self.at_set(dim, set_bytes, |time| time.lookup_ns));
        dense + if lookup == Lookup::Hash { self.hashing_ns(rows) } else { 0.0 }
    }

    /// Nanoseconds of the step on a row of `floats` floats, with its optimizer state.
    pub(super) fn update_ns(&self, floats: f64, set_bytes: f64) -> f64 {
        // Rows were measured with one float of state.
        self.at_width(floats - 1.0, |dim| self.at_set(dim, set_bytes, |time| time.update_ns))
    }

    /// Nanoseconds to make a row, beyond what looking it up takes: in the largest tables that were
    /// measured, where the growth of a table is spread over most rows.
    pub(super) fn insert_ns(&self, lookup: Lookup, dim: f64) -> f64 {
        let made = |lookup: Lookup, dim: usize| {
            let same = self.rows.iter().filter(|time| time.lookup == lookup && time.dim == dim);
            same.max_by_key(|time| time.rows).map_or(0.0, |time| time.insert_ns)
        };
        let dense = self.at_width(dim, |dim| made(Lookup::Dense, dim));
        let narrow = self.occurrences.first().map_or(0, |time| time.dim);
        match lookup {
            Lookup::Dense => dense,
            Lookup::Hash => dense.max(dense + made(lookup, narrow) - made(Lookup::Dense, narrow)),
        }
    }

    /// What the hash index costs more than a dense one.
    fn hashing_ns(&self, rows: f64) -> f64 {
        let hashed = self.rows.iter().filter(|time| time.lookup == Lookup::Hash);
        let extra = hashed.filter_map(|time| {
            let same = |other: &&RowTime| {
                other.lookup == Lookup::Dense && (other.dim, other.rows) == (time.dim, time.rows)
            };
            let dense = self.rows.iter().find(same)?;
            Some(((time.rows as f64).ln(), (time.lookup_ns - dense.lookup_ns).max(0.0)))
        });
        between(&extra.collect::<Vec<_>>(), rows.max(1.0).ln())
    }

    /// Nanoseconds to pool an id of `dim` values.
    pub(super) fn pool_ns(&self, dim: f64) -> f64 {
        self.at_width(dim, |dim| self.occurrence(dim).pool_ns)
    }

    /// Nanoseconds to add the gradient of an id.
    pub(super) fn sum_ns(&self, dim: f64) -> f64 {
        self.at_width(dim, |dim| self.occurrence(dim).sum_ns)
    }

    /// Nanoseconds to tell whether a key was there before.
    pub(super) fn distinct_ns(&self) -> f64 {
        self.occurrences.first().map_or(0.0, |time| time.distinct_ns)
    }

    fn occurrence(&self, dim: usize) -> OccurrenceTime {
        let found = self.occurrences.iter().find(|time| time.dim == dim);
        let none = OccurrenceTime { dim, pool_ns: 0.0, sum_ns: 0.0, distinct_ns: 0.0 };
        found.copied().unwrap_or(none)
    }

    /// A value at `dim` from those at the measured widths: each further cache line costs the same.
    fn at_width(&self, dim: f64, value: impl Fn(usize) -> f64) -> f64 {
        let mut widths = self.occurrences.iter().map(|time| time.dim);
        let (Some(narrow), Some(wide)) = (widths.next(), widths.next_back()) else { return 0.0 };
        let (low, high) = (value(narrow), value(wide));
        let slope = ((high - low) / (wide - narrow) as f64).max(0.0);
        // A row narrower than a cache line still takes one.
        low + slope * (dim - narrow as f64).max(0.0)
    }

    fn at_set(&self, dim: usize, set_bytes: f64, value: impl Fn(&RowTime) -> f64) -> f64 {
        let same = |time: &&RowTime| time.lookup == Lookup::Dense && time.dim == dim;
        let point = |time: &RowTime| {
            let bytes = time.rows as f64 * (dim * size_of::<f32>()) as f64;
            (bytes.ln(), value(time))
        };
        let points: Vec<(f64, f64)> = self.rows.iter().filter(same).map(point).collect();
        between(&points, set_bytes.max(1.0).ln())
    }
}
