//! The best rows seen, in order, and which of them were gone on from.

/// Bit of a key that says that the search has gone on from its row.
const DONE: u64 = 1;

/// The best rows of a search, the best first. A key is a score's order in the high half, then the row,
/// turned round, so that of equal scores the lower row is better, then a bit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beam {
    keys: Vec<u64>,
    width: usize,
    /// All keys before it are done.
    next: usize,
}

/// Rows of a part have 30 bits.
const ROW: u32 = (1 << 30) - 1;

fn row_of(key: u64) -> u32 {
    !((key >> 1) as u32) & ROW
}

impl Beam {
    /// Empties it; from now on it holds the best `width`.
    pub(crate) fn reset(&mut self, width: usize) {
        self.keys.clear();
        self.width = width.max(1);
        self.next = 0;
    }

    /// Adds a row with the order of its score, if it is among the best; whether it is.
    #[inline(always)]
    pub(crate) fn push(&mut self, order: u32, row: u32) -> bool {
        let key = u64::from(order) << 32 | u64::from(!row & ROW) << 1;
        if self.keys.len() >= self.width {
            if self.keys.last().is_some_and(|last| key < *last) {
                return false;
            }
            self.keys.pop();
        }
        let at = self.keys.partition_point(|known| *known > key);
        self.keys.insert(at, key);
        self.next = self.next.min(at);
        true
    }

    /// The best row that the search has not gone on from; from now on it has.
    #[inline(always)]
    pub(crate) fn pop(&mut self) -> Option<u32> {
        while let Some(key) = self.keys.get_mut(self.next) {
            self.next += 1;
            if *key & DONE == 0 {
                *key |= DONE;
                return Some(row_of(*key));
            }
        }
        None
    }

    /// The best rows, the best first.
    pub(crate) fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().map(|key| row_of(*key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beam_keeps_the_best_and_gives_each_once() {
        let mut beam = Beam::default();
        beam.reset(3);
        assert!(beam.push(5, 10) && beam.push(9, 11) && beam.push(5, 9));
        assert_eq!(beam.pop(), Some(11));
        // Worse than all, and of two equal ones the higher row, stay out.
        assert!(!beam.push(4, 1) && !beam.push(5, 12));
        assert!(beam.push(7, (1 << 30) - 1));
        assert_eq!(beam.rows().collect::<Vec<_>>(), [11, (1 << 30) - 1, 9]);
        assert_eq!([beam.pop(), beam.pop(), beam.pop()], [Some((1 << 30) - 1), Some(9), None]);
        // One that comes late and is better than those that are done has its turn.
        assert!(beam.push(20, 3));
        assert_eq!([beam.pop(), beam.pop()], [Some(3), None]);
        beam.reset(1);
        assert_eq!(beam.pop(), None);
    }
}
