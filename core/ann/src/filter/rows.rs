//! Sets of rows.

use std::ops::Range;

/// One bit per row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// No rows of `rows`.
    pub(crate) fn none(rows: usize) -> Self {
        Self { words: vec![0; rows.div_ceil(64)] }
    }

    /// All of `rows`.
    pub(crate) fn all(rows: usize) -> Self {
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if !rows.is_multiple_of(64)
            && let Some(last) = words.last_mut()
        {
            *last = (1 << (rows % 64)) - 1;
        }
        Self { words }
    }

    /// Makes room for `rows`.
    pub(crate) fn grow(&mut self, rows: usize) {
        self.words.resize(rows.div_ceil(64).max(self.words.len()), 0);
    }

    /// Whether a row is in the set.
    #[inline(always)]
    pub(crate) fn has(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds a row, if the set has room for it.
    #[inline]
    pub(crate) fn insert(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut(row as usize / 64) {
            *word |= 1 << (row % 64);
        }
    }

    /// Keeps rows that are in both.
    pub(crate) fn keep(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= other);
    }

    /// Drops rows that are in the other.
    pub(crate) fn drop_all(&mut self, other: &Self) {
        self.words.iter_mut().zip(&other.words).for_each(|(word, other)| *word &= !other);
    }

    /// Number of rows.
    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows, rising.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.rows_in(0..u32::MAX)
    }

    /// The rows within a range, rising.
    #[inline]
    pub(crate) fn rows_in(&self, range: Range<u32>) -> RowsIn<'_> {
        let first = (range.start / 64) as usize;
        let mut words = self.words.get(first..).unwrap_or_default().iter();
        let left = words.next().map_or(0, |word| word & u64::MAX << (range.start % 64));
        RowsIn { words, left, base: range.start / 64 * 64, end: range.end }
    }
}

/// Rows of a set, rising.
#[derive(Clone, Debug)]
pub(crate) struct RowsIn<'a> {
    words: std::slice::Iter<'a, u64>,
    /// What is left of the word of the rows from `base` on.
    left: u64,
    base: u32,
    end: u32,
}

impl Iterator for RowsIn<'_> {
    type Item = u32;

    #[inline]
    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            // A set has no row beyond u32, so that there is a word only if this fits.
            self.base = self.base.wrapping_add(64);
            if self.base >= self.end {
                return None;
            }
            self.left = *self.words.next()?;
        }
        let row = self.base + self.left.trailing_zeros();
        self.left &= self.left - 1;
        (row < self.end).then_some(row)
    }
}
