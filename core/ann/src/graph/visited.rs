//! The rows that a search has seen.

/// A bit per row, emptied in as many steps as it holds rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Visited {
    words: Vec<u64>,
    seen: Vec<u32>,
}

impl Visited {
    /// Empties it, for a part of `rows`.
    pub(crate) fn reset(&mut self, rows: usize) {
        for row in self.seen.drain(..) {
            // All bits of a word were set by rows that are dropped.
            if let Some(word) = self.words.get_mut(row as usize / 64) {
                *word = 0;
            }
        }
        self.words.resize(rows.div_ceil(64), 0);
    }

    /// Adds a row; whether it was new and is one of the part's.
    #[inline(always)]
    pub(crate) fn insert(&mut self, row: u32) -> bool {
        let Some(word) = self.words.get_mut(row as usize / 64) else { return false };
        let bit = 1 << (row % 64);
        if *word & bit != 0 {
            return false;
        }
        *word |= bit;
        self.seen.push(row);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_new_once_until_it_is_emptied() {
        let mut visited = Visited::default();
        for rows in [130, 70, 200] {
            visited.reset(rows);
            for row in [0, 63, 64, 69] {
                assert!(visited.insert(row) && !visited.insert(row));
            }
            assert!(!visited.insert(u32::MAX) && !visited.insert(1 << 20));
        }
    }
}
