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
/// A time that no machine needs for a row, an id or a call. Sums and squares of such times stay finite.
const TIME_NS_MAX: f64 = 1e12;
/// Bytes per millisecond that every machine moves.
const BYTES_PER_MS_MIN: f64 = 1.0;

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
    /// What makes it no measurement of `ranks` ranks of `threads` threads, such as a number that no
    /// machine shows; `None` if plans can be made with it. To be asked of one that comes from a file.
    ///
    /// ```
    /// # let found = rectool_embedding::Calibration {
    /// #     ranks: 2, ranks_per_node: 2, threads: 4, rows: vec![], occurrences: vec![],
    /// #     empty: Default::default(), copy_bytes_per_ms: 1e7, exchange_local: Default::default(),
    /// #     exchange_remote: Default::default(), all_reduce: Default::default(), seconds: 1.0,
    /// # };
    /// assert_eq!(found.flaw(8, 4).unwrap(), "`ranks` is 2, expected 8");
    /// ```
    pub fn flaw(&self, ranks: usize, threads: usize) -> Option<String> {
        let differs = |name: &str, found: usize, expected: usize| {
            (found != expected).then(|| format!("`{name}` is {found}, expected {expected}"))
        };
        let node = self.ranks_per_node;
        let no_node = || format!("`ranks_per_node` is {node}, expected 1 to {ranks}");
        differs("ranks", self.ranks, ranks)
            .or_else(|| differs("threads", self.threads, threads))
            .or_else(|| (!(1..=ranks).contains(&node)).then(no_node))
            .or_else(|| self.flaw_of_points())
            .or_else(|| self.flaw_of_times())
            .or_else(|| self.flaw_of_rates())
    }

    /// What interpolation cannot work with: it takes two widths or more, and points in order.
    fn flaw_of_points(&self) -> Option<String> {
        let dims: Vec<usize> = self.occurrences.iter().map(|time| time.dim).collect();
        if dims.len() < 2 || dims[0] == 0 || !dims.is_sorted_by(|a, b| a < b) {
            return Some(format!("`occurrences` has the widths {dims:?}, expected two, rising"));
        }
        let dense = dims.iter().map(|dim| (Lookup::Dense, *dim));
        dense.chain([(Lookup::Hash, dims[0])]).find_map(|(lookup, dim)| {
            let same = self.rows.iter().filter(|time| time.lookup == lookup && time.dim == dim);
            let rows: Vec<u64> = same.map(|time| time.rows).collect();
            let usable = rows.first().is_some_and(|rows| *rows > 0);
            (!usable || !rows.is_sorted_by(|a, b| a < b)).then(|| {
                let place = format!("of {lookup:?} tables of width {dim}");
                format!("`rows` has the sizes {rows:?} {place}, expected some, rising")
            })
        })
    }

    fn flaw_of_times(&self) -> Option<String> {
        let rows = self.rows.iter().flat_map(|time| {
            let RowTime { lookup_ns, update_ns, insert_ns, .. } = *time;
            [("lookup_ns", lookup_ns), ("update_ns", update_ns), ("insert_ns", insert_ns)]
        });
        let occurrences = self.occurrences.iter().flat_map(|time| {
            let OccurrenceTime { pool_ns, sum_ns, distinct_ns, .. } = *time;
            [("pool_ns", pool_ns), ("sum_ns", sum_ns), ("distinct_ns", distinct_ns)]
        });
        let EmptyStep { prepare_ns, lookup_ns, update_ns } = self.empty;
        let empty =
            [("prepare_ns", prepare_ns), ("lookup_ns", lookup_ns), ("update_ns", update_ns)];
        let wrong = |(_, ns): &(&str, f64)| !(0.0..=TIME_NS_MAX).contains(ns);
        let (name, ns) = rows.chain(occurrences).chain(empty).find(wrong)?;
        Some(format!("`{name}` is {ns}, expected 0 to {TIME_NS_MAX:e}"))
    }

    fn flaw_of_rates(&self) -> Option<String> {
        let (ranks, node) = (self.ranks, self.ranks_per_node);
        let links = [
            ("exchange_local", &self.exchange_local, node > 1),
            ("exchange_remote", &self.exchange_remote, node < ranks),
            ("all_reduce", &self.all_reduce, ranks > 1),
        ];
        let rates = links.map(|(name, link, _)| (name, link.bytes_per_ms));
        let slow = |(_, rate): &(&str, f64)| !(rate.is_finite() && *rate >= BYTES_PER_MS_MIN);
        if let Some((name, rate)) =
            rates.into_iter().chain([("copy", self.copy_bytes_per_ms)]).find(slow)
        {
            let expected = format!("at least {BYTES_PER_MS_MIN} and finite");
            return Some(format!("`{name}` moves {rate} bytes per ms, expected {expected}"));
        }
        links.into_iter().find_map(|(name, link, used)| {
            let latency_ns = link.latency_ms * 1e6;
            if !(0.0..=TIME_NS_MAX).contains(&latency_ns) {
                let found = format!("`latency_ms` of `{name}` is {}", link.latency_ms);
                return Some(format!("{found}, expected 0 to {:e}", TIME_NS_MAX * 1e-6));
            }
            let unknown = used && link.measured.is_empty();
            unknown.then(|| format!("`{name}` has no measured times, expected some"))
        })
    }

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
