//! Search of a graph: from the most promising leaves along links to what is nearest.

use std::ops::RangeInclusive;

use super::beam::Beam;
use super::view::Graph;
use super::visited::Visited;
use crate::file::Fact;
use crate::filter::Bits;
use crate::kernel::{Plane, integer_dots};
use crate::live::Delta;
use crate::search::{LeafChoice, Pool, Query, Reach, Selection, finalists, ordered, row_of};

/// Leaves whose changes are compared, as no link leads to them: some for each step of the beam's width,
/// within these bounds. A million vectors of two towers, a fifth of them changed, were found with a recall of
/// 0.918 with one leaf for each, 0.939 with two, where it was 0.946 without changes.
const CHANGED_LEAVES_PER_STEP: usize = 3;
const CHANGED_LEAVES: RangeInclusive<usize> = 192..=768;

/// Buffers of a search, to be used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct GraphScratch {
    leaves: LeafChoice,
    visited: Visited,
    beam: Beam,
    fresh: Vec<u32>,
    dots: Vec<i32>,
    passing: Pool,
}

impl GraphScratch {
    /// Finds candidates for the best `k` and leaves them in `out`.
    pub(crate) fn search(
        &mut self,
        (graph, query): (&Graph<'_>, &Query),
        selection: &Selection<'_>,
        (reach, k): (Reach, usize),
        out: &mut Vec<u32>,
    ) {
        let kept = finalists(k);
        let wide = reach.candidates.saturating_mul(CHANGED_LEAVES_PER_STEP);
        let wide = wide.clamp(*CHANGED_LEAVES.start(), *CHANGED_LEAVES.end());
        let looked_at = if selection.delta.is_some() { wide } else { 0 };
        self.leaves.choose(&query.values, graph.directory, reach.leaves.max(looked_at));
        self.visited.reset(graph.rows.facts.len());
        self.beam.reset(reach.candidates);
        self.passing.reset(kept);
        let choosy = selection.is_filtered() || selection.is_changed();
        let choosy = choosy.then_some(selection);
        self.fresh.clear();
        for key in self.leaves.keys.iter().take(reach.leaves) {
            let entry = graph.entries.get(row_of(*key) as usize).copied().unwrap_or(u32::MAX);
            if self.visited.insert(entry) {
                graph.rows.ask_for(entry);
                self.fresh.push(entry);
            }
        }
        self.score(graph, query, choosy);
        while let Some(row) = self.beam.pop() {
            self.fresh.clear();
            for link in graph.links_of(row) {
                if self.visited.insert(*link) {
                    graph.rows.ask_for(*link);
                    self.fresh.push(*link);
                }
            }
            self.score(graph, query, choosy);
        }
        out.clear();
        if choosy.is_some() {
            out.extend(self.passing.best().iter().map(|key| row_of(*key)));
        } else {
            out.extend(self.beam.rows().take(kept));
        }
        self.add_changes((query, kept), selection, looked_at, out);
    }

    /// As [`Self::search`], for few `allowed` rows: those in the `leaves` most promising leaves.
    pub(crate) fn search_rows(
        &mut self,
        (graph, query): (&Graph<'_>, &Query),
        selection: &Selection<'_>,
        (allowed, leaves, k): (&Bits, usize, usize),
        out: &mut Vec<u32>,
    ) {
        self.leaves.choose(&query.values, graph.directory, leaves);
        self.leaves.rows((|leaf| graph.rows_of(leaf), graph.rows), (allowed, selection), out);
        self.add_changes((query, finalists(k)), selection, leaves, out);
    }

    /// Adds the best `kept` of the changes in the best leaves, all of which are compared.
    fn add_changes(
        &mut self,
        (query, kept): (&Query, usize),
        selection: &Selection<'_>,
        looked_at: usize,
        out: &mut Vec<u32>,
    ) {
        let Some(delta) = selection.delta else { return };
        let Self { leaves, fresh, dots, passing, .. } = self;
        passing.reset(kept);
        let unit = 256.0 * query.integer.scale;
        let looked_at = &leaves.keys[..looked_at.min(leaves.keys.len())];
        for changed in delta.in_leaves(looked_at, Delta::ask_for_codes) {
            fresh.clear();
            fresh.extend(0..changed.vectors as u32);
            let high = Plane::new(query.values.len(), &changed.planes.high);
            integer_dots(high, &query.integer.values, fresh, dots);
            let facts = changed.planes.facts.iter();
            for ((dot, Fact { scale, bias }), row) in dots.iter().zip(facts).zip(&changed.lanes) {
                let order = ordered(*dot as f32 * unit * scale + bias);
                if order >= passing.floor() && selection.has(*row) {
                    passing.push(order, *row);
                }
            }
        }
        out.extend(passing.best().iter().map(|key| row_of(*key)));
    }

    /// Compares the rows in `self.fresh`.
    #[inline(always)]
    fn score(&mut self, graph: &Graph<'_>, query: &Query, choosy: Option<&Selection<'_>>) {
        let Self { beam, fresh, dots, passing, .. } = self;
        integer_dots(graph.rows.high, &query.integer.values, fresh, dots);
        let unit = 256.0 * query.integer.scale;
        for (row, dot) in fresh.iter().zip(&*dots) {
            let Some(fact) = graph.rows.facts.get(*row as usize) else { continue };
            let order = ordered(*dot as f32 * unit * fact.scale + fact.bias);
            if beam.push(order, *row) {
                graph.ask_for_links(*row);
            }
            if let Some(selection) = choosy
                && order >= passing.floor()
                && selection.has(*row)
            {
                passing.push(order, *row);
            }
        }
    }
}
