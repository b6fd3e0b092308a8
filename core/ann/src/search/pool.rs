//! The best of many candidates, kept without sorting.

/// Keys of the largest scores seen. A key is a score's order in the high half, and the row, turned
/// round, in the low half: of equal scores the lower row is better, so that results do not depend on
/// the order in which leaves are scanned.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    keys: Vec<u64>,
    keep: usize,
    floor: u32,
}

impl Pool {
    /// Empties it; from now on it keeps `keep` keys.
    pub(crate) fn reset(&mut self, keep: usize) {
        self.keys.clear();
        // Far more than rows of a part, and twice it is still a number.
        self.keep = keep.clamp(1, u32::MAX as usize);
        self.floor = 0;
    }

    /// Scores of this order or below cannot get in any more.
    #[inline(always)]
    pub(crate) fn floor(&self) -> u32 {
        self.floor
    }

    /// Adds a row with the order of its score.
    #[inline(always)]
    pub(crate) fn push(&mut self, order: u32, row: u32) {
        if order < self.floor {
            return;
        }
        self.keys.push(key_of(order, row));
        // Keeping twice as many as asked for makes the cost of choosing constant per candidate.
        if self.keys.len() >= 2 * self.keep + 64 {
            self.shrink();
        }
    }

    /// Drops all but the best, and raises the floor.
    pub(crate) fn shrink(&mut self) {
        if self.keys.len() > self.keep {
            self.keys.select_nth_unstable_by(self.keep - 1, |a, b| b.cmp(a));
            self.keys.truncate(self.keep);
            self.floor = (self.keys[self.keep - 1] >> 32) as u32;
        }
    }

    /// The best keys, in no order.
    pub(crate) fn best(&mut self) -> &[u64] {
        self.shrink();
        &self.keys
    }

    /// The best keys, the best first.
    pub(crate) fn sorted(&mut self) -> &[u64] {
        self.shrink();
        self.keys.sort_unstable_by(|a, b| b.cmp(a));
        &self.keys
    }
}

/// The key of a row with the order of its score.
#[inline(always)]
pub(crate) fn key_of(order: u32, row: u32) -> u64 {
    u64::from(order) << 32 | u64::from(!row)
}

/// The row of a key.
#[inline(always)]
pub(crate) fn row_of(key: u64) -> u32 {
    !(key as u32)
}

/// The order of the score of a key.
#[inline(always)]
pub(crate) fn order_of(key: u64) -> u32 {
    (key >> 32) as u32
}
