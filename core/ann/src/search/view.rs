//! A search from query to results, over a part and the changes laid over it.

use super::flat;
use super::options::{Crowding, Effort, Hit, Reach, SearchOptions};
use super::query::check_k;
use super::selection::Selection;
use super::{Scratch, query::Query};
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::filter::Bits;
use crate::live::Delta;
use crate::part::{Part, Selected};

/// Cost of comparing one row, in codes scanned: rows of a filter come in order. An estimate.
const ROW_COST: usize = 16;
/// Results looked at per result wanted, where alike ones may be dropped.
const CROWD: usize = 4;

/// A part and the changes laid over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) part: &'a Part,
    pub(crate) dead: Option<&'a Bits>,
    pub(crate) delta: Option<&'a Delta>,
}

/// How a search goes about it.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// Every row that may be found is compared with.
    All,
    /// The rows of this reach.
    Reach(Reach),
}

impl View<'_> {
    /// Leaves the `k` nearest in `out`, the nearest first: fewer only if no more may be found.
    pub(crate) fn search(
        &self,
        query: &[f32],
        options: &SearchOptions,
        scratch: &mut Scratch,
        out: &mut Vec<Hit>,
    ) -> Result<(), AnnError> {
        let Self { part, dead, delta } = *self;
        check_k(options.k)?;
        scratch.tree.query.set(query, part.dim(), part.metric())?;
        let filter = options.filter.as_ref().filter(|filter| !filter.is_empty());
        if let Some(filter) = filter {
            self.check_names(filter)?;
        }
        let selected = filter.map(|filter| part.selected(filter));
        let allowed = selected.as_ref().map(|selected| &selected.bits);
        let selection = Selection { rows: part.rows() as u32, allowed, dead, delta, filter };
        let crowd = if options.crowding.is_some() { CROWD } else { 1 };
        let mut k = options.k * crowd;
        let mut way = self.way(options, selected.as_deref(), k);
        loop {
            self.find(&selection, way, (selected.as_deref(), k), scratch);
            self.take(options, scratch, out);
            let everywhere = match way {
                Way::All => true,
                Way::Reach(reach) => {
                    reach.leaves >= part.leaves() && reach.candidates / 2 >= self.rows_max()
                }
            };
            let all_found = scratch.found.len() < k || k >= self.rows_max();
            if out.len() >= options.k || (everywhere && all_found) {
                return Ok(());
            }
            if scratch.found.len() >= k {
                k = k.saturating_mul(4).min(self.rows_max());
            }
            if let Way::Reach(reach) = way {
                way = Way::Reach(reach.grown());
            }
        }
    }

    /// Rows and changes together.
    fn rows_max(&self) -> usize {
        self.part.rows() + self.delta.map_or(0, |delta| delta.slots() as usize)
    }

    fn check_names(&self, filter: &crate::Filter) -> Result<(), AnnError> {
        match self.part.attributes().check(filter) {
            Err(_) if self.delta.is_some_and(|delta| delta.knows(filter)) => Ok(()),
            checked => checked,
        }
    }

    /// Compares all rows where that costs less than scanning codes.
    fn way(&self, options: &SearchOptions, selected: Option<&Selected>, k: usize) -> Way {
        let part = self.part;
        if part.kind() == IndexKind::Flat || options.effort == Effort::Exact {
            return Way::All;
        }
        let reach = options.effort.reach(part.curve(), part.leaves(), k);
        let Some(Selected { count, .. }) = selected else { return Way::Reach(reach) };
        let share = *count as f64 / part.rows().max(1) as f64;
        let reach = reach.filtered(share, part.leaves());
        let codes = reach.leaves * (2 * part.rows() / part.leaves().max(1));
        if count * ROW_COST <= codes.saturating_add(reach.candidates.saturating_mul(ROW_COST)) {
            Way::All
        } else {
            Way::Reach(reach)
        }
    }

    /// Leaves at least the best `k` in `scratch.found`, with scores.
    fn find(
        &self,
        selection: &Selection<'_>,
        way: Way,
        (selected, k): (Option<&Selected>, usize),
        scratch: &mut Scratch,
    ) {
        let Scratch { tree, pool, found } = scratch;
        if self.part.kind() == IndexKind::Flat {
            return flat::search(self.part.flat_rows(), &tree.query, selection, (pool, k), found);
        }
        let view = self.part.tree();
        match way {
            Way::Reach(reach) => tree.search(&view, selection, reach, k),
            Way::All => {
                let buffer = &mut tree.rerank.rows;
                buffer.clear();
                match selected {
                    Some(Selected { bits, .. }) => {
                        buffer.extend(bits.rows().filter(|row| selection.has(*row)));
                    }
                    None => {
                        buffer.extend((0..selection.rows).filter(|row| selection.has(*row)));
                    }
                }
                tree.rerank.rows.extend(selection.changes());
                tree.compare(&view, selection, k);
            }
        }
        let Query { metric, square, .. } = tree.query;
        found.clear();
        found.extend(tree.found.iter().map(|(rank, row)| (metric.score(*rank, square), *row)));
    }

    /// Makes results of what was found.
    fn take(&self, options: &SearchOptions, scratch: &Scratch, out: &mut Vec<Hit>) {
        out.clear();
        let mut crowd = options.crowding.as_ref().map(|crowding| (crowding, Vec::new()));
        for (score, row) in &scratch.found {
            if out.len() >= options.k {
                return;
            }
            if let Some((crowding, taken)) = &mut crowd
                && !self.has_room(crowding, *row, taken)
            {
                continue;
            }
            if let Some(id) = self.id(*row) {
                out.push(Hit { id, score: *score });
            }
        }
    }

    fn id(&self, row: u32) -> Option<u64> {
        let rows = self.part.rows() as u32;
        if row < rows {
            return self.part.ids().get(row as usize).copied();
        }
        self.delta?.id(row - rows)
    }

    /// Counts a result among those like it; whether there is room for it.
    fn has_room<'b>(
        &'b self,
        crowding: &Crowding,
        row: u32,
        taken: &mut Vec<(&'b str, usize)>,
    ) -> bool {
        let rows = self.part.rows() as u32;
        let token = if row < rows {
            self.part.attributes().first_token(&crowding.namespace, row)
        } else {
            let attributes = self.delta.and_then(|delta| delta.attributes(row - rows));
            attributes.and_then(|attributes| attributes.tokens(&crowding.namespace).next())
        };
        let Some(token) = token else { return true };
        if let Some((_, count)) = taken.iter_mut().find(|(known, _)| *known == token) {
            *count += 1;
            return *count <= crowding.results_max;
        }
        taken.push((token, 1));
        crowding.results_max > 0
    }
}
