//! What a filter selects, kept for the searches that ask for it again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, TryLockError};

use super::{Bits, Filter};
use crate::kernel::BLOCK;
use crate::live::Delta;

/// Filters whose rows are kept: serving asks for the same few again and again.
const FILTERS_KEPT: usize = 32;
/// Searches with a filter before all lanes and changes are asked whether they satisfy it: that costs as
/// much as some dozens of searches that ask only those which they meet.
const RARE_SEARCHES: u32 = 16;
/// Changes asked by one search for those to come: it takes a fraction of a millisecond longer.
const CHANGES_AT_ONCE: u32 = 4096;

/// What filters of late select, the latest last.
#[derive(Debug, Default)]
pub(crate) struct Selections {
    kept: Mutex<Vec<Arc<Selected>>>,
}

impl Selections {
    /// What a filter selects; `rows` finds the rows of the part.
    pub(crate) fn get(&self, filter: &Filter, rows: impl FnOnce() -> Bits) -> Arc<Selected> {
        // A thread that panicked cannot have left the list half changed.
        let lock = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().iter().find(|known| known.filter == *filter) {
            return found.clone();
        }
        let found = Arc::new(Selected::new(filter.clone(), rows()));
        let mut kept = lock();
        if kept.len() >= FILTERS_KEPT {
            kept.remove(0);
        }
        kept.push(found.clone());
        found
    }
}

/// The rows and changes that satisfy a filter.
#[derive(Debug)]
pub(crate) struct Selected {
    filter: Filter,
    /// Rows of the part.
    pub(crate) bits: Bits,
    pub(crate) count: usize,
    searches: AtomicU32,
    lanes: OnceLock<Vec<u32>>,
    changes: Mutex<SelectedChanges>,
}

/// Which of the first changes satisfy a filter.
#[derive(Clone, Debug, Default)]
pub(crate) struct SelectedChanges {
    bits: Arc<Bits>,
    /// How many were asked.
    asked: u32,
}

impl SelectedChanges {
    /// Whether a change satisfies the filter; `None` if it was not asked.
    #[inline]
    pub(crate) fn has(&self, slot: u32) -> Option<bool> {
        (slot < self.asked).then(|| self.bits.has(slot))
    }
}

impl Selected {
    fn new(filter: Filter, bits: Bits) -> Self {
        let count = bits.count();
        Self {
            filter,
            bits,
            count,
            searches: AtomicU32::new(0),
            lanes: OnceLock::new(),
            changes: Mutex::default(),
        }
    }

    /// Counts a search. A mask of the lanes that satisfy the filter for each block, whose rows are in
    /// `lanes`, once the filter is asked for often.
    pub(crate) fn masks(&self, lanes: &[u32]) -> Option<&[u32]> {
        // One search finds them, the others do without meanwhile.
        if self.searches.fetch_add(1, Ordering::Relaxed) == RARE_SEARCHES {
            let bit = |(lane, row): (usize, &u32)| u32::from(self.bits.has(*row)) << lane;
            let mask =
                |rows: &[u32]| rows.iter().enumerate().map(bit).fold(0, |all, bit| all | bit);
            // They are there already after four billions of searches.
            let _ = self.lanes.set(lanes.chunks(BLOCK).map(mask).collect());
        }
        self.lanes.get().map(Vec::as_slice)
    }

    /// Which changes satisfy the filter, as far as they were asked. Attributes of a slot never change, so
    /// that what was asked stays true for every later state.
    pub(crate) fn changes(&self, delta: &Delta) -> Option<SelectedChanges> {
        let mut known = match self.changes.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(known)) => known.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let SelectedChanges { bits, asked } = &mut *known;
        let ask = delta.slots().min(*asked + CHANGES_AT_ONCE);
        if *asked < ask {
            let bits = Arc::make_mut(bits);
            bits.grow(ask as usize);
            let satisfies = |slot: &u32| delta.satisfies(*slot, &self.filter);
            (*asked..ask).filter(satisfies).for_each(|slot| bits.insert(slot));
            *asked = ask;
        }
        Some(known.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_come_once_a_filter_is_frequent_and_say_what_its_rows_say() {
        let mut bits = Bits::none(100);
        (0..100).step_by(7).for_each(|row| bits.insert(row));
        let selected = Selected::new(Filter::default(), bits.clone());
        // Lanes without a row are of none.
        let lanes: Vec<u32> = (0..90).rev().chain([u32::MAX; 6]).collect();
        for _ in 0..RARE_SEARCHES {
            assert_eq!(selected.masks(&lanes), None);
        }
        let masks = selected.masks(&lanes).unwrap();
        for (lane, row) in lanes.iter().enumerate() {
            assert_eq!(masks[lane / BLOCK] >> (lane % BLOCK) & 1 == 1, bits.has(*row), "{lane}");
        }
    }
}
