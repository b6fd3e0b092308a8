//! The distinct keys of a batch, and where each one occurs.

use std::ops::Range;

/// N occurrences of U distinct keys.
#[derive(Default)]
pub(crate) struct Distinct {
    /// \[U\], in order of first occurrence (within its owner, once grouped).
    pub(crate) keys: Vec<u64>,
    /// \[N\]: the position in `keys` of each occurrence.
    pub(crate) slots: Vec<u32>,
    /// [U + 1]: `occurrences[starts[u]..starts[u + 1]]` belong to `keys[u]`. Counts until `place`.
    starts: Vec<u32>,
    /// \[N\]: bags, in order of occurrence for each key.
    pub(crate) occurrences: Vec<u32>,
    /// \[N\]: what the gradient of each of `occurrences` counts, or empty where all count 1.
    pub(crate) scales: Vec<f32>,
}

/// Room for the search of a key's slot, kept by a thread from table to table.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Slot + 1, or 0 where there is none.
    probe: Vec<u32>,
    slot_new: Vec<u32>,
    keys: Vec<u64>,
    starts: Vec<u32>,
}

/// Slots to begin with: 128 KiB, which stays in the second cache level; most tables of a batch
/// have fewer distinct keys than half of it.
const PROBE_FIRST: usize = 1 << 15;

impl Distinct {
    /// Forgets the last batch; `occurrences` are to come. `keys_below`, if all keys are below it and
    /// it is small, saves the hashing.
    pub(crate) fn begin<'a>(
        &'a mut self,
        scratch: &'a mut Scratch,
        occurrences: usize,
        keys_below: Option<u64>,
    ) -> Finder<'a> {
        self.keys.clear();
        self.slots.clear();
        self.slots.reserve(occurrences);
        self.starts.clear();
        self.starts.push(0);
        let direct = keys_below.filter(|below| *below <= 4 * occurrences as u64);
        let probe = match direct {
            Some(below) => below as usize,
            None => (2 * occurrences).next_power_of_two().clamp(2, PROBE_FIRST),
        };
        scratch.probe.clear();
        scratch.probe.resize(probe, 0);
        Finder { distinct: self, probe: &mut scratch.probe, direct: direct.is_some() }
    }

    /// Number of distinct keys U.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Positions in `occurrences` of the run of key `u`.
    #[inline(always)]
    pub(crate) fn run(&self, u: usize) -> Range<usize> {
        self.starts[u] as usize..self.starts[u + 1] as usize
    }

    /// Reorders the keys by owner, keeping their order within each; returns in `groups` [R + 1]
    /// where each owner's begin. Before [`Distinct::place_begin`].
    pub(crate) fn group(
        &mut self,
        scratch: &mut Scratch,
        groups: &mut Vec<u32>,
        ranks: usize,
        owner: impl Fn(u64) -> usize,
    ) {
        groups.clear();
        groups.resize(ranks + 1, 0);
        for key in &self.keys {
            groups[owner(*key) + 1] += 1;
        }
        for rank in 0..ranks {
            groups[rank + 1] += groups[rank];
        }
        let mut next = groups.clone();
        scratch.slot_new.clear();
        scratch.keys.clone_from(&self.keys);
        scratch.starts.clone_from(&self.starts);
        for (key, count) in scratch.keys.iter().zip(&scratch.starts[1..]) {
            let slot = &mut next[owner(*key)];
            self.keys[*slot as usize] = *key;
            self.starts[*slot as usize + 1] = *count;
            scratch.slot_new.push(*slot);
            *slot += 1;
        }
        for slot in &mut self.slots {
            *slot = scratch.slot_new[*slot as usize];
        }
    }

    /// Turns counts into places; [`Distinct::place`] then fills them.
    pub(crate) fn place_begin(&mut self) {
        let mut sum = 0;
        for count in &mut self.starts[1..] {
            let next = sum + *count;
            *count = sum;
            sum = next;
        }
        // What is already there is overwritten by `place`.
        self.occurrences.resize(self.slots.len(), 0);
        self.scales.clear();
    }

    /// As [`Distinct::place_begin`], for [`Distinct::place_scaled`].
    pub(crate) fn place_scaled_begin(&mut self) {
        self.place_begin();
        self.scales.resize(self.slots.len(), 0.0);
    }

    /// Notes the bag of each of the occurrences `range`. All occurrences must be placed, in order.
    pub(crate) fn place(&mut self, range: Range<usize>, bags: impl Iterator<Item = u32>) {
        // While filling, `starts[u + 1]` is the next place of key u; afterwards its end, which is
        // the start of key u + 1.
        for (slot, bag) in self.slots[range].iter().zip(bags) {
            let next = &mut self.starts[*slot as usize + 1];
            self.occurrences[*next as usize] = bag;
            *next += 1;
        }
    }

    /// As [`Distinct::place`], with the scale of each occurrence.
    pub(crate) fn place_scaled(
        &mut self,
        range: Range<usize>,
        bags: impl Iterator<Item = (u32, f32)>,
    ) {
        for (slot, (bag, scale)) in self.slots[range].iter().zip(bags) {
            let next = &mut self.starts[*slot as usize + 1];
            self.occurrences[*next as usize] = bag;
            self.scales[*next as usize] = scale;
            *next += 1;
        }
    }
}

/// Finds the slot of each key of a batch.
pub(crate) struct Finder<'a> {
    distinct: &'a mut Distinct,
    probe: &'a mut Vec<u32>,
    direct: bool,
}

/// 2^64 over the golden ratio: the top bits of a product with it depend on all bits of the key
/// below them, and runs of neighbouring keys spread evenly.
const FIBONACCI: u64 = 0x9e37_79b9_7f4a_7c15;

impl Finder<'_> {
    /// The next occurrences.
    pub(crate) fn add(&mut self, keys: impl Iterator<Item = u64>) {
        if self.direct {
            for key in keys {
                let entry = self.probe[key as usize];
                let slot = if entry == 0 { self.open(key, key as usize) } else { entry - 1 };
                self.count(slot);
            }
        } else {
            for key in keys {
                let slot = self.search(key);
                self.count(slot);
            }
        }
    }

    #[inline(always)]
    fn count(&mut self, slot: u32) {
        self.distinct.slots.push(slot);
        self.distinct.starts[slot as usize + 1] += 1;
    }

    #[inline(always)]
    fn search(&mut self, key: u64) -> u32 {
        let mask = self.probe.len() - 1;
        let mut at = home(key, self.probe.len());
        loop {
            match self.probe[at & mask] {
                0 => {
                    let slot = self.open(key, at & mask);
                    if 2 * self.distinct.keys.len() > self.probe.len() {
                        self.grow();
                    }
                    return slot;
                }
                entry if self.distinct.keys[entry as usize - 1] == key => return entry - 1,
                _ => at += 1,
            }
        }
    }

    #[inline(always)]
    fn open(&mut self, key: u64, at: usize) -> u32 {
        let slot = self.distinct.keys.len() as u32;
        self.distinct.keys.push(key);
        self.distinct.starts.push(0);
        self.probe[at] = slot + 1;
        slot
    }

    #[cold]
    fn grow(&mut self) {
        let size = 2 * self.probe.len();
        self.probe.clear();
        self.probe.resize(size, 0);
        for (slot, key) in self.distinct.keys.iter().enumerate() {
            let mut at = home(*key, size);
            while self.probe[at & (size - 1)] != 0 {
                at += 1;
            }
            self.probe[at & (size - 1)] = slot as u32 + 1;
        }
    }
}

/// Where the search for `key` begins in a probe of `size`, a power of two of at least 2.
#[inline(always)]
fn home(key: u64, size: usize) -> usize {
    (key.wrapping_mul(FIBONACCI) >> (64 - size.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn distinct_matches_a_search_through_the_list(
            keys in prop::collection::vec(prop_oneof![0..9u64, 0..2_000u64, any::<u64>()], 0..3_000),
            bounded in any::<bool>(),
            ranks in 1..4usize,
        ) {
            let keys: Vec<u64> =
                keys.into_iter().map(|key| if bounded { key % 500 } else { key }).collect();
            let (mut distinct, mut scratch) = (Distinct::default(), Scratch::default());
            let mut groups = Vec::new();
            for _ in 0..2 {
                let below = bounded.then_some(500);
                distinct.begin(&mut scratch, keys.len(), below).add(keys.iter().copied());
                distinct.group(&mut scratch, &mut groups, ranks, |key| key as usize % ranks);
                distinct.place_begin();
                distinct.place(0..keys.len(), 0..keys.len() as u32);
            }
            let mut expected = Vec::new();
            prop_assert_eq!(groups.len(), ranks + 1);
            for (rank, first) in groups[..ranks].iter().enumerate() {
                prop_assert_eq!(*first as usize, expected.len());
                for (at, key) in keys.iter().enumerate() {
                    if *key as usize % ranks == rank && !keys[..at].contains(key) {
                        expected.push(*key);
                    }
                }
            }
            prop_assert_eq!(&distinct.keys, &expected);
            for (at, key) in keys.iter().enumerate() {
                prop_assert_eq!(distinct.keys[distinct.slots[at] as usize], *key);
            }
            for (u, key) in expected.iter().enumerate() {
                let found = distinct.occurrences[distinct.run(u)].iter().map(|at| *at as usize);
                let places = (0..keys.len()).filter(|at| keys[*at] == *key);
                prop_assert!(found.eq(places), "occurrences of {}", key);
            }
        }
    }
}
