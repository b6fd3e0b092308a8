//! One cache line of the cuckoo index: five keys with their rows.

use bytemuck::{Pod, Zeroable};

use super::ABSENT;

/// Keys of a bucket.
pub(super) const SLOTS: usize = 5;

/// Five keys and their rows fill a line but for the word that says which slots are in use, so one
/// line read is all that most lookups cost. The key compares as a whole: that it lies in the same
/// line makes a tag to be compared before it pointless.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub(super) struct Bucket {
    pub(super) keys: [u64; SLOTS],
    pub(super) rows: [u32; SLOTS],
    /// Bit s: slot s holds a key.
    pub(super) used: u32,
}

const FULL: u32 = (1 << SLOTS) - 1;

impl Bucket {
    /// A slot that holds no key.
    #[inline(always)]
    pub(super) fn vacant(&self) -> Option<usize> {
        (self.used != FULL).then(|| self.used.trailing_ones() as usize)
    }

    #[inline(always)]
    pub(super) fn put(&mut self, slot: usize, (key, row): (u64, u32)) {
        self.keys[slot] = key;
        self.rows[slot] = row;
        self.used |= 1 << slot;
    }

    /// Empties a slot; returns what it held.
    #[inline(always)]
    pub(super) fn take(&mut self, slot: usize) -> (u64, u32) {
        self.used &= !(1 << slot);
        (self.keys[slot], self.rows[slot])
    }

    /// The keys with their rows.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let used = (0..SLOTS).filter(|slot| self.used >> slot & 1 == 1);
        used.map(|slot| (self.keys[slot], self.rows[slot]))
    }

    /// The row in the lowest slot of `slots`, or [`ABSENT`] if there is none.
    #[inline(always)]
    pub(super) fn row(&self, slots: u32) -> u32 {
        // Always read, so that no branch hangs on what was found.
        let row = self.rows[(slots.trailing_zeros() as usize).min(SLOTS - 1)];
        if slots == 0 { ABSENT } else { row }
    }
}
