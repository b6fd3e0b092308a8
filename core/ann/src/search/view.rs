//! A search from query to results, over a part and the changes laid over it.

use super::flat;
use super::options::{Crowding, Effort, Hit, SearchOptions};
use super::query::check_k;
use super::selection::Selection;
use super::way::Way;
use super::{Scratch, TreeScratch, query::Query};
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::filter::{Bits, Selected};
use crate::graph;
use crate::kernel::prefetch;
use crate::live::Delta;
use crate::part::Part;
use crate::partition::LEAVES_PER_VECTOR;

/// Cost of comparing one row, in codes scanned under a filter: rows come in order, and of codes each
/// that may get in asks the filter. Measured with filters of 1 and 10 % on a million vectors.
const ROW_COST: usize = 24;
/// Up to this part of what scanning costs, all rows are compared: the results are exact then.
const EXACT_SHARE: usize = 4;
/// Leaves whose own rows are compared for each that would be scanned: rows lie in one leaf only there.
const OWN_LEAVES: usize = 3;
/// Results looked at per result wanted, where alike ones may be dropped.
const CROWD: usize = 4;
/// Ids of results that are asked for at once.
const IDS_AHEAD: usize = 128;

/// A part and the changes laid over it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a> {
    pub(crate) part: &'a Part,
    pub(crate) dead: Option<&'a Bits>,
    pub(crate) delta: Option<&'a Delta>,
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
        scratch.tree.query.set(query, part)?;
        let filter = options.filter.as_ref().filter(|filter| !filter.is_empty());
        if let Some(filter) = filter {
            self.check_names(filter)?;
        }
        let selected = filter.map(|filter| part.selected(filter));
        let allowed = selected.as_ref().map(|selected| &selected.bits);
        let masks = selected.as_ref().and_then(|selected| selected.masks(part.lanes()));
        let frequent = masks.and(selected.as_deref());
        let changes = frequent.zip(delta).and_then(|(selected, delta)| selected.changes(delta));
        let (rows, changes) = (part.rows() as u32, changes.as_ref());
        let selection = Selection { rows, allowed, dead, delta, filter, masks, changes };
        let crowd = if options.crowding.is_some() { CROWD } else { 1 };
        let mut k = options.k * crowd;
        let mut way = self.way(options, selected.as_deref(), k);
        loop {
            self.find(&selection, way, (selected.as_deref(), k), scratch);
            self.take(options, scratch, out);
            let everywhere = match way {
                Way::All => true,
                Way::Rows { leaves } => leaves >= part.leaves(),
                // Nobody knows what no link leads to.
                Way::Reach(_) if part.kind() == IndexKind::Graph => false,
                Way::Reach(reach) => {
                    reach.leaves >= part.leaves()
                        && reach.candidates / LEAVES_PER_VECTOR >= self.rows_max()
                }
            };
            let all_found = scratch.found.len() < k || k >= self.rows_max();
            if out.len() >= options.k || (everywhere && all_found) {
                return Ok(());
            }
            if scratch.found.len() >= k {
                k = k.saturating_mul(4).min(self.rows_max());
            }
            way = match way {
                _ if part.kind() == IndexKind::Graph => graph::grown(way, part),
                Way::All => way,
                Way::Rows { leaves } => Way::Rows { leaves: leaves.saturating_mul(4) },
                Way::Reach(reach) => Way::Reach(reach.grown()),
            };
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

    /// Compares rows, of some leaves or all, where that costs less than scanning codes.
    fn way(&self, options: &SearchOptions, selected: Option<&Selected>, k: usize) -> Way {
        let part = self.part;
        if part.kind() == IndexKind::Flat || options.effort == Effort::Exact {
            return Way::All;
        }
        if part.kind() == IndexKind::Graph {
            return graph::choose(part, options, selected, k);
        }
        let reach = options.effort.reach(part.curve(), part.leaves(), k);
        let Some(Selected { count, .. }) = selected else { return Way::Reach(reach) };
        let share = *count as f64 / part.rows().max(1) as f64;
        let reach = reach.filtered(share, part.leaves());
        let codes = reach.leaves.saturating_mul(2 * part.rows() / part.leaves().max(1));
        let scanned = codes.saturating_add(reach.candidates.saturating_mul(ROW_COST));
        let leaves = reach.leaves.saturating_mul(OWN_LEAVES).min(part.leaves());
        let own = *count as f64 * leaves as f64 / part.leaves() as f64;
        if leaves == part.leaves() || count * ROW_COST <= scanned / EXACT_SHARE {
            Way::All
        } else if own * ROW_COST as f64 <= scanned as f64 {
            Way::Rows { leaves }
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
        let Scratch { tree, graph, pool, found } = scratch;
        let part = self.part;
        if part.kind() == IndexKind::Flat {
            return flat::search(part.flat_rows(), &tree.query, selection, (pool, k), found);
        }
        let bits = selected.map(|Selected { bits, .. }| bits);
        match (way, part.kind()) {
            (Way::All, _) => {
                let buffer = &mut tree.rerank.rows;
                buffer.clear();
                match bits {
                    Some(bits) => buffer.extend(bits.rows().filter(|row| selection.has(*row))),
                    None => buffer.extend((0..selection.rows).filter(|row| selection.has(*row))),
                }
                buffer.extend(selection.changed_rows());
                tree.compare(part.stored(), selection, k);
            }
            (Way::Reach(reach), IndexKind::Graph) => {
                let TreeScratch { query, rerank, .. } = tree;
                graph.search((&part.graph(), query), selection, (reach, k), &mut rerank.rows);
                tree.compare(part.stored(), selection, k);
            }
            (Way::Reach(reach), _) => tree.search(&part.tree(), selection, reach, k),
            (Way::Rows { leaves }, kind) => {
                let Some(bits) = bits else { return };
                if kind == IndexKind::Graph {
                    let TreeScratch { query, rerank, .. } = tree;
                    let view = part.graph();
                    let rows = &mut rerank.rows;
                    graph.search_rows((&view, query), selection, (bits, leaves, k), rows);
                    tree.compare(part.stored(), selection, k);
                } else {
                    tree.search_rows(&part.tree(), selection, (bits, leaves), k);
                }
            }
        }
        let Query { metric, square, .. } = tree.query;
        found.clear();
        found.extend(tree.found.iter().map(|(rank, row)| (metric.score(*rank, square), *row)));
    }

    /// Makes results of what was found.
    fn take(&self, options: &SearchOptions, scratch: &Scratch, out: &mut Vec<Hit>) {
        out.clear();
        // Ids lie anywhere: asked for together, their cache misses cost as much as one.
        let ids = self.part.ids();
        for (_, row) in scratch.found.iter().take(options.k.min(IDS_AHEAD)) {
            prefetch(ids, *row as usize);
        }
        out.reserve(options.k.min(scratch.found.len()));
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
            if let Some(id) = self.id(ids, *row) {
                out.push(Hit { id, score: *score });
            }
        }
    }

    /// The id of a row; `ids` are those of the part.
    fn id(&self, ids: &[u64], row: u32) -> Option<u64> {
        let rows = self.part.rows() as u32;
        if row < rows {
            return ids.get(row as usize).copied();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::world::{exact, shares, vectors};
    use crate::{BuildInput, BuildOptions, Filter, Metric, Vectors, build};

    /// A part of vectors with [`shares`].
    fn part(folder: &std::path::Path, base: &[f32], dim: usize) -> Part {
        let attributes = shares(base.len() / dim);
        let vectors = Vectors::new(dim, base).unwrap();
        let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&vectors) };
        let path = folder.join("part");
        build(&path, &input, &BuildOptions::default(), &()).unwrap();
        Part::open(&path).unwrap()
    }

    #[test]
    fn each_share_is_searched_its_own_way_and_well() {
        let folder = tempfile::tempdir().unwrap();
        let (rows, dim, k) = (20_000, 16, 10);
        let base = vectors(rows, dim, 1);
        let part = part(folder.path(), &base, dim);
        let view = View { part: &part, dead: None, delta: None };
        let mut ways = Vec::new();
        for (token, every) in [("one", 0..1), ("ten", 1..11), ("rest", 11..100)] {
            let filter: Filter = format!("share={token}").parse().unwrap();
            let selected = part.selected(&filter);
            let options = SearchOptions { filter: Some(filter), ..SearchOptions::new(k) };
            ways.push(view.way(&options, Some(&selected), k));
            let rows: Vec<usize> = (0..rows).filter(|row| every.contains(&(row % 100))).collect();
            let own: Vec<f32> =
                rows.iter().flat_map(|row| &base[row * dim..][..dim]).copied().collect();
            let (mut found, mut wanted) = (0, 0);
            for query in vectors(100, dim, 2).chunks_exact(dim) {
                let hits = part.search(query, &options).unwrap();
                assert_eq!(hits.len(), k);
                assert!(hits.iter().all(|hit| every.contains(&(hit.id as usize % 100))));
                let truth = exact(Metric::InnerProduct, query, &own, k);
                let hit = |(at, _): &&(u64, f64)| {
                    hits.iter().any(|hit| hit.id as usize == rows[*at as usize])
                };
                found += truth.iter().filter(hit).count();
                wanted += k;
            }
            assert!(found as f64 > 0.9 * f64::from(wanted as u32), "{token}: {found} {wanted}");
        }
        let [Way::Rows { leaves }, Way::Reach(_), Way::Reach(_)] = ways[..] else {
            panic!("{ways:?}")
        };
        assert!(leaves < part.leaves());
    }
}
