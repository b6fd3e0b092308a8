//! Which row numbers are in use.

/// Numbers 0..end, but for those that were given back. The lowest free one is used next, so that
/// rows stay close together.
#[derive(Default)]
pub(super) struct RowNumbers {
    end: u32,
    /// Bit r: row r, below `end`, was given back.
    free: Vec<u64>,
    /// No word of `free` below this one has a bit.
    lowest: usize,
}

impl RowNumbers {
    /// The number that is used next; `None` if all are in use but the last, which means "absent".
    #[inline]
    pub(super) fn next(&self) -> Option<u32> {
        let mut words = self.free[self.lowest..].iter().zip(self.lowest as u32..);
        let free = words.find(|(word, _)| **word != 0);
        let free = free.map(|(word, at)| at * 64 + word.trailing_zeros());
        free.or_else(|| (self.end != super::ABSENT).then_some(self.end))
    }

    /// Uses the number that [`RowNumbers::next`] named.
    #[inline]
    pub(super) fn take(&mut self, row: u32) {
        if row == self.end {
            self.end += 1;
            self.lowest = self.free.len();
        } else {
            let word = row as usize / 64;
            self.free[word] &= !(1 << (row % 64));
            self.lowest = word;
        }
    }

    /// Frees a number in use.
    pub(super) fn give_back(&mut self, row: u32) {
        let word = row as usize / 64;
        if row + 1 < self.end {
            if self.free.len() <= word {
                self.free.resize(word + 1, 0);
            }
            self.free[word] |= 1 << (row % 64);
            self.lowest = self.lowest.min(word);
            return;
        }
        self.end = row;
        while self.end > 0 && self.is_free(self.end - 1) {
            self.end -= 1;
            self.free[self.end as usize / 64] &= !(1 << (self.end % 64));
        }
        self.free.truncate((self.end as usize).div_ceil(64));
        self.lowest = self.lowest.min(self.free.len());
    }

    fn is_free(&self, row: u32) -> bool {
        self.free.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Memory.
    pub(super) fn bytes(&self) -> usize {
        self.free.capacity() * size_of::<u64>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rectool_base::Stream;

    use super::*;

    #[test]
    fn the_lowest_free_number_comes_first() {
        let mut numbers = RowNumbers::default();
        let (mut used, mut stream) = (BTreeSet::new(), Stream::new(1, &[]));
        let phase = if cfg!(miri) { 40 } else { 1_000 };
        for step in 0..4 * phase {
            // Grows, shrinks to nothing, grows again.
            if stream.below(1_000) < if step / phase % 2 == 0 { 700 } else { 200 } {
                let row = numbers.next().unwrap();
                assert!(!used.contains(&row) && (0..row).all(|row| used.contains(&row)));
                numbers.take(row);
                used.insert(row);
            } else if !used.is_empty() {
                let at = stream.below(used.len() as u64) as usize;
                let row = *used.iter().nth(at).unwrap();
                used.remove(&row);
                numbers.give_back(row);
            }
            assert_eq!(numbers.end, used.last().map_or(0, |row| row + 1));
        }
        for row in &used {
            numbers.give_back(*row);
        }
        assert_eq!((numbers.end, numbers.free.len()), (0, 0));
    }

    #[test]
    fn the_last_number_is_never_used() {
        let mut numbers = RowNumbers { end: super::super::ABSENT, ..RowNumbers::default() };
        assert_eq!(numbers.next(), None);
        numbers.give_back(7);
        assert_eq!(numbers.next(), Some(7));
        numbers.take(7);
        assert_eq!(numbers.next(), None);
    }
}
