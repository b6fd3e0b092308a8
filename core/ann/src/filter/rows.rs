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
    pub(crate) fn rows_in(&self, range: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        let words = self.words.len().min((range.end as usize).div_ceil(64));
        let first = (range.start as usize / 64).min(words);
        let words = self.words[first..words].iter().enumerate();
        words.flat_map(move |(at, word)| {
            let base = (first + at) as u32 * 64;
            let mut left = *word;
            if base < range.start {
                left &= u64::MAX << (range.start - base);
            }
            if range.end - base < 64 {
                left &= (1 << (range.end - base)) - 1;
            }
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    base + bit
                })
            })
        })
    }
}
