//! Counts of rare keys in a small space: the sightings of keys that have no row yet.

use std::collections::TryReserveError;
use std::ops::Range;

use rectool_base::mix64;

use crate::placement::BUCKETS;

/// Bits of a cell that count; the others tell keys apart.
const COUNT_BITS: u32 = 4;

/// The highest count of a cell.
pub(crate) const COUNT_MAX: u16 = (1 << COUNT_BITS) - 1;

/// Cells in which a key may lie: half a cache line.
const PROBES: usize = 16;

/// Counts of keys in cells of 16 bits: 12 of the key's hash and 4 of count. A key lies in one of 16
/// cells of its logical bucket; two keys of a bucket are taken for one in about one of 4,096 cases.
///
/// There are two generations, of half a window each: counts are made in the current one, sums are
/// read from both, and at the end of half a window the older one is dropped.
///
/// Every logical bucket has cells of its own, so its counts are the same on whatever rank it is, and
/// move with it.
pub(crate) struct Sketch {
    buckets: Range<u32>,
    cells_per_bucket: usize,
    half_steps: u64,
    /// Half windows since the first step.
    generation: u64,
    /// [buckets, cells].
    current: Vec<u16>,
    past: Vec<u16>,
}

/// The cells of some buckets' sketch, as checkpoints keep them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SketchState {
    /// Half windows since the first step.
    pub generation: u64,
    /// Cells of the current half of the window, [buckets, cells].
    pub current: Vec<u16>,
    /// Those of the half before.
    pub past: Vec<u16>,
}

impl Sketch {
    /// # Errors
    /// If the system has no memory for so many cells.
    pub(crate) fn new(
        buckets: Range<u32>,
        cells: u64,
        window_steps: u32,
    ) -> Result<Self, TryReserveError> {
        let cells_per_bucket = Self::cells_per_bucket(cells);
        let half_steps = u64::from(window_steps).div_ceil(2).max(1);
        let count = cells_per_bucket.saturating_mul(buckets.len());
        // What is asked for in vain ends the process; a `Vec` says so, and is given back at once.
        Vec::<[u16; 2]>::new().try_reserve_exact(count)?;
        let (current, past) = (vec![0; count], vec![0; count]);
        Ok(Self { buckets, cells_per_bucket, half_steps, generation: 0, current, past })
    }

    fn cells_per_bucket(cells: u64) -> usize {
        (cells.div_ceil(u64::from(BUCKETS)) as usize).max(PROBES)
    }

    /// Memory of the sketch of `cells` over all buckets.
    pub(crate) fn bytes_of(cells: u64) -> u64 {
        (Self::cells_per_bucket(cells) as u64)
            .saturating_mul(u64::from(BUCKETS))
            .saturating_mul(size_of::<[u16; 2]>() as u64)
    }

    /// The first cell in which a key may lie, counted in its bucket, and the upper bits of that cell.
    fn home(&self, key: u64) -> (usize, u16) {
        // Not the hash that dealt keys out to buckets, which are alike in its upper bits.
        let hash = mix64(mix64(key) ^ 0x5ce7_c400);
        let first = ((hash >> 32) * self.cells_per_bucket as u64) >> 32;
        (first as usize, (hash as u16) << COUNT_BITS)
    }

    /// Where the cells of a key are.
    fn places(&self, bucket: u32, first: usize) -> impl Iterator<Item = usize> + use<> {
        let start = (bucket - self.buckets.start) as usize * self.cells_per_bucket;
        let count = self.cells_per_bucket;
        (first..first + PROBES).map(move |at| start + if at < count { at } else { at - count })
    }

    /// Sightings within the window, or `None` if there are none and no cell is left for one.
    pub(crate) fn count(&self, bucket: u32, key: u64) -> Option<u32> {
        let (first, mark) = self.home(key);
        let (mut count, mut room) = (0, false);
        for at in self.places(bucket, first) {
            let (current, past) = (self.current[at], self.past[at]);
            count += of(current, mark) + of(past, mark);
            room |= current & COUNT_MAX == 0 || of(current, mark) > 0;
        }
        (count > 0 || room).then_some(count)
    }

    /// Counts a sighting, if there is a cell for it. A count of 15 stays.
    pub(crate) fn record(&mut self, bucket: u32, key: u64) {
        let (first, mark) = self.home(key);
        let places = || self.places(bucket, first);
        let known = places().find(|at| of(self.current[*at], mark) > 0);
        let free = || places().find(|at| self.current[*at] & COUNT_MAX == 0);
        let Some(at) = known.or_else(free) else { return };
        let count = of(self.current[at], mark) as u16;
        self.current[at] = mark | (count + 1).min(COUNT_MAX);
    }

    /// Empties the cells of a key.
    pub(crate) fn forget(&mut self, bucket: u32, key: u64) {
        let (first, mark) = self.home(key);
        for at in self.places(bucket, first) {
            for cells in [&mut self.current, &mut self.past] {
                if of(cells[at], mark) > 0 {
                    cells[at] = 0;
                }
            }
        }
    }

    /// Drops what has left the window after `steps` steps.
    pub(crate) fn advance(&mut self, steps: u64) {
        let generation = steps / self.half_steps;
        if generation == self.generation {
            return;
        }
        let next = generation == self.generation + 1;
        let empty = || vec![0; self.current.len()];
        let past = if next { std::mem::take(&mut self.current) } else { empty() };
        self.current = vec![0; past.len()];
        self.past = past;
        self.generation = generation;
    }

    pub(crate) fn clear(&mut self) {
        self.current = vec![0; self.current.len()];
        self.past = vec![0; self.past.len()];
        self.generation = 0;
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.current.as_slice()) + size_of_val(self.past.as_slice())
    }

    /// Cells in use in the fuller generation, and all of one.
    pub(crate) fn cells(&self) -> (u64, u64) {
        let used = |cells: &[u16]| cells.iter().filter(|cell| **cell & COUNT_MAX > 0).count();
        (used(&self.current).max(used(&self.past)) as u64, self.current.len() as u64)
    }

    pub(crate) fn state(&self) -> SketchState {
        SketchState {
            generation: self.generation,
            current: self.current.clone(),
            past: self.past.clone(),
        }
    }

    /// Takes over the buckets that are also this one's. Returns the number of cells found and
    /// expected if the sketch was of another size.
    pub(crate) fn load(
        &mut self,
        buckets: &Range<u32>,
        state: &SketchState,
    ) -> Result<(), (u64, u64)> {
        let cells = self.cells_per_bucket;
        for part in [&state.current, &state.past] {
            let expected = buckets.len() * cells;
            if part.len() != expected {
                return Err((part.len() as u64, expected as u64));
            }
        }
        self.generation = state.generation;
        let common = self.buckets.start.max(buckets.start)..self.buckets.end.min(buckets.end);
        if common.is_empty() {
            return Ok(());
        }
        let within = |buckets: &Range<u32>| {
            let start = (common.start - buckets.start) as usize * cells;
            start..start + common.len() * cells
        };
        let (to, from) = (within(&self.buckets), within(buckets));
        self.current[to.clone()].copy_from_slice(&state.current[from.clone()]);
        self.past[to].copy_from_slice(&state.past[from]);
        Ok(())
    }
}

/// The count of a cell, if it is of a key with these upper bits.
fn of(cell: u16, mark: u16) -> u32 {
    let same = cell & !COUNT_MAX == mark;
    if same { u32::from(cell & COUNT_MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rectool_base::Stream;

    use super::*;

    #[test]
    fn counts_are_those_of_a_map_but_for_rare_mistakes() {
        let mut sketch = Sketch::new(0..BUCKETS, 200_000, 10).unwrap();
        let mut exact: [BTreeMap<u64, u32>; 2] = Default::default();
        let mut stream = Stream::new(3, &[]);
        let (mut wrong, mut asked) = (0, 0);
        for step in 0..60 {
            for _ in 0..5_000 {
                let key = stream.below(1 + stream.clone().below(100_000));
                let bucket = rectool_base::bucket_of(key, BUCKETS);
                let expected: u32 = exact.iter().filter_map(|counts| counts.get(&key)).sum();
                wrong += usize::from(sketch.count(bucket, key) != Some(expected));
                asked += 1;
                if exact[0].get(&key).is_none_or(|count| *count < u32::from(COUNT_MAX)) {
                    *exact[0].entry(key).or_default() += 1;
                }
                sketch.record(bucket, key);
                if stream.below(50) == 0 {
                    for counts in &mut exact {
                        counts.remove(&key);
                    }
                    sketch.forget(bucket, key);
                    assert_eq!(sketch.count(bucket, key), Some(0));
                }
            }
            sketch.advance(step + 1);
            if (step + 1) % 5 == 0 {
                exact[1] = std::mem::take(&mut exact[0]);
            }
        }
        assert!(wrong * 200 < asked, "{wrong} of {asked}");
    }

    #[test]
    fn a_full_bucket_says_so() {
        let mut sketch = Sketch::new(7..8, 1, 100).unwrap();
        (0..100).for_each(|key| sketch.record(7, key));
        assert_eq!(sketch.cells(), (16, 16));
        let full = (0..1_000).filter(|key| sketch.count(7, *key).is_none()).count();
        assert!(full > 950, "{full}");
        sketch.advance(50);
        assert!((0..1_000).all(|key| sketch.count(7, key).is_some()));
        sketch.advance(150);
        assert_eq!(sketch.cells(), (0, 16));
    }
}
