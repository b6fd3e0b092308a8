//! The distinct keys of a batch, and which of them each occurrence is.

/// N occurrences of U distinct keys.
#[derive(Default)]
pub(crate) struct Distinct {
    /// \[U\], in order of first occurrence (within its owner, once grouped).
    pub(crate) keys: Vec<u64>,
    /// \[N\]: the position in `keys` of each occurrence.
    pub(crate) slots: Vec<u32>,
}

/// Room for the search of a key's slot, kept by a thread from table to table.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Slot + 1, or 0 where there is none.
    probe: Vec<u32>,
    /// At least [N + 1], of former batches from some place on.
    found: Vec<u64>,
    slot_new: Vec<u32>,
    keys: Vec<u64>,
}

/// Slots to begin with: 128 KiB, which stays in the second cache level; most tables of a batch
/// have fewer distinct keys than half of it.
const PROBE_FIRST: usize = 1 << 15;

impl Distinct {
    /// Forgets the last batch; `occurrences` are to come. All keys are to be below `keys_below`, if there is
    /// a bound; a small one saves the hashing.
    pub(crate) fn begin<'a>(
        &'a mut self,
        scratch: &'a mut Scratch,
        occurrences: usize,
        keys_below: Option<u64>,
    ) -> Finder<'a> {
        let direct = keys_below.filter(|below| *below <= 4 * occurrences as u64);
        let size = match direct {
            Some(below) => below as usize,
            None => (2 * occurrences).next_power_of_two().clamp(2, PROBE_FIRST),
        };
        let Scratch { probe, found, .. } = scratch;
        probe.clear();
        probe.resize(size, 0);
        if found.len() <= occurrences {
            found.resize(occurrences + 1, 0);
        }
        // What is already there is overwritten by the slots to come.
        self.slots.resize(occurrences, 0);
        let Self { keys, slots } = self;
        Finder { keys, slots, found, probe, direct: direct.is_some(), keys_below, n: 0, u: 0 }
    }

    /// Number of distinct keys U.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Reorders the keys by owner, keeping their order within each; returns in `groups` [R + 1]
    /// where each owner's begin.
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
        for key in &scratch.keys {
            let slot = &mut next[owner(*key)];
            self.keys[*slot as usize] = *key;
            scratch.slot_new.push(*slot);
            *slot += 1;
        }
        for slot in &mut self.slots {
            *slot = scratch.slot_new[*slot as usize];
        }
    }
}

/// Finds the slot of each key of a batch. Whether a key is new is a coin toss to the processor's
/// branch prediction, so nothing here branches on it: an empty place of the probe stands for the
/// next free slot, in which the key in hand always lies already.
pub(crate) struct Finder<'a> {
    /// Where the distinct ones go at the end.
    keys: &'a mut Vec<u64>,
    /// \[N\], of which `n` are found.
    slots: &'a mut Vec<u32>,
    /// [N + 1] or more, of which `u` are found.
    found: &'a mut Vec<u64>,
    probe: &'a mut Vec<u32>,
    direct: bool,
    keys_below: Option<u64>,
    n: usize,
    u: u32,
}

/// A key that is not below the bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Which of the N.
    pub(crate) occurrence: usize,
    pub(crate) key: u64,
}

/// 2^64 over the golden ratio: the top bits of a product with it depend on all bits of the key
/// below them, and runs of neighbouring keys spread evenly.
const FIBONACCI: u64 = 0x9e37_79b9_7f4a_7c15;

impl Finder<'_> {
    /// Takes the next occurrences.
    ///
    /// # Errors
    /// At the first key that is not below the bound.
    ///
    /// # Panics
    /// If there are more than [`Distinct::begin`] was told.
    pub(crate) fn add(&mut self, keys: impl Iterator<Item = u64>) -> Result<(), Beyond> {
        if self.direct {
            for key in keys {
                // As long as the bound.
                if key >= self.probe.len() as u64 {
                    return Err(Beyond { occurrence: self.n, key });
                }
                self.found[self.u as usize] = key;
                let slot = self.take(key as usize);
                self.note(slot);
            }
        } else {
            let key_last = self.keys_below.map_or(u64::MAX, |below| below.saturating_sub(1));
            for key in keys {
                if key > key_last {
                    return Err(Beyond { occurrence: self.n, key });
                }
                let slot = self.search(key);
                self.note(slot);
                if 2 * self.u as usize > self.probe.len() {
                    self.grow();
                }
            }
        }
        Ok(())
    }

    /// There are no more.
    pub(crate) fn end(self) {
        self.keys.clear();
        self.keys.extend_from_slice(&self.found[..self.u as usize]);
        self.slots.truncate(self.n);
    }

    #[inline(always)]
    fn note(&mut self, slot: u32) {
        self.slots[self.n] = slot;
        self.n += 1;
    }

    /// The slot that place `at` of the probe stands for, which is its own from now on.
    #[inline(always)]
    fn take(&mut self, at: usize) -> u32 {
        let entry = self.probe[at];
        let slot = if entry == 0 { self.u } else { entry - 1 };
        self.probe[at] = slot + 1;
        self.u += u32::from(entry == 0);
        slot
    }

    #[inline(always)]
    fn search(&mut self, key: u64) -> u32 {
        let mask = self.probe.len() - 1;
        let mut at = home(key, self.probe.len());
        self.found[self.u as usize] = key;
        loop {
            let entry = self.probe[at & mask];
            let slot = if entry == 0 { self.u } else { entry - 1 };
            if self.found[slot as usize] == key {
                return self.take(at & mask);
            }
            at += 1;
        }
    }

    #[cold]
    fn grow(&mut self) {
        let size = 2 * self.probe.len();
        self.probe.clear();
        self.probe.resize(size, 0);
        for (slot, key) in self.found[..self.u as usize].iter().enumerate() {
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

    /// Interpreters are slow.
    const KEYS_MAX: usize = if cfg!(miri) { 100 } else { 3_000 };

    proptest! {
        #[test]
        fn distinct_matches_a_search_through_the_list(
            keys in prop::collection::vec(prop_oneof![0..9u64, 0..2_000u64, any::<u64>()], 0..KEYS_MAX),
            bounded in any::<bool>(),
            ranks in 1..4usize,
        ) {
            let keys: Vec<u64> =
                keys.into_iter().map(|key| if bounded { key % 500 } else { key }).collect();
            let (mut distinct, mut scratch) = (Distinct::default(), Scratch::default());
            let mut groups = Vec::new();
            for _ in 0..2 {
                let below = bounded.then_some(500);
                let mut finder = distinct.begin(&mut scratch, keys.len(), below);
                let (first, rest) = keys.split_at(keys.len() / 3);
                finder.add(first.iter().copied()).unwrap();
                finder.add(rest.iter().copied()).unwrap();
                finder.end();
                distinct.group(&mut scratch, &mut groups, ranks, |key| key as usize % ranks);
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
            prop_assert_eq!(distinct.slots.len(), keys.len());
        }
    }
    #[test]
    fn a_key_beyond_the_bound_is_refused() {
        // Few enough keys to be found by position, and more than that.
        for below in [5, 1_000_000] {
            let (mut distinct, mut scratch) = (Distinct::default(), Scratch::default());
            let mut finder = distinct.begin(&mut scratch, 8, Some(below));
            assert_eq!(finder.add([0, below - 1].into_iter()), Ok(()));
            for key in [below, u64::MAX] {
                let mut finder = distinct.begin(&mut scratch, 8, Some(below));
                let refused = finder.add([1, 0, key, 2].into_iter());
                assert_eq!(refused, Err(Beyond { occurrence: 2, key }));
            }
        }
        let (mut distinct, mut scratch) = (Distinct::default(), Scratch::default());
        let mut finder = distinct.begin(&mut scratch, 1, None);
        assert_eq!(finder.add([u64::MAX].into_iter()), Ok(()));
    }
}
