//! Which rows a search may find, in a part and in the changes laid over it.

use super::query::Query;
use crate::filter::{Bits, Filter, SelectedChanges};
use crate::live::Delta;

/// The rows that a search may find. Rows below `rows` are the part's; those from there on are slots of
/// the changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Selection<'a> {
    pub(crate) rows: u32,
    /// Rows of the part that satisfy the filter; all if there is no filter.
    pub(crate) allowed: Option<&'a Bits>,
    /// Rows of the part that were replaced or deleted.
    pub(crate) dead: Option<&'a Bits>,
    pub(crate) delta: Option<&'a Delta>,
    pub(crate) filter: Option<&'a Filter>,
    /// Lanes of each block that satisfy the filter, if that is known already.
    pub(crate) masks: Option<&'a [u32]>,
    /// Changes that satisfy the filter, if some are known already.
    pub(crate) changes: Option<&'a SelectedChanges>,
}

impl Selection<'_> {
    /// Every row of a part of `rows`.
    pub(crate) fn all(rows: usize) -> Self {
        let rows = rows as u32;
        let (allowed, dead, delta, filter) = (None, None, None, None);
        Self { rows, allowed, dead, delta, filter, masks: None, changes: None }
    }

    /// Whether a filter says which rows may be found.
    pub(crate) fn is_filtered(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether rows were replaced, deleted or added.
    pub(crate) fn is_changed(&self) -> bool {
        self.dead.is_some() || self.delta.is_some()
    }

    /// Whether a row may be found.
    #[inline(always)]
    pub(crate) fn has(&self, row: u32) -> bool {
        if row >= self.rows {
            return self.has_slot(row - self.rows);
        }
        self.allowed.is_none_or(|bits| bits.has(row))
            && !self.dead.is_some_and(|bits| bits.has(row))
    }

    fn has_slot(&self, slot: u32) -> bool {
        self.delta.is_some_and(|delta| delta.lives(slot) && self.satisfies(delta, slot))
    }

    /// Whether a row satisfies the filter, if it can still be found.
    #[inline(always)]
    pub(crate) fn allows(&self, row: u32) -> bool {
        if row >= self.rows {
            return self.delta.is_some_and(|delta| self.satisfies(delta, row - self.rows));
        }
        self.allowed.is_none_or(|bits| bits.has(row))
    }

    fn satisfies(&self, delta: &Delta, slot: u32) -> bool {
        let Some(filter) = self.filter else { return true };
        let known = self.changes.and_then(|changes| changes.has(slot));
        known.unwrap_or_else(|| delta.satisfies(slot, filter))
    }

    /// Adds the changes among `rows` to `out`, with their ranks.
    pub(crate) fn rank_changes(&self, query: &Query, rows: &[u32], out: &mut Vec<(f32, u32)>) {
        let Some(delta) = self.delta else { return };
        let changed = || rows.iter().filter(|row| **row >= self.rows);
        changed().for_each(|row| delta.ask_for_vector(*row - self.rows));
        for row in changed() {
            if let Some(rank) = delta.rank(query, *row - self.rows) {
                out.push((rank, *row));
            }
        }
    }

    /// Rows of every change that may be found.
    pub(crate) fn changed_rows(&self) -> impl Iterator<Item = u32> + '_ {
        let slots = self.delta.map_or(0, Delta::slots);
        (0..slots).filter(move |slot| self.has_slot(*slot)).map(move |slot| slot + self.rows)
    }
}
