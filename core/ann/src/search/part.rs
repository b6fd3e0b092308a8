//! Searches of one part.

use super::batch::search_batch;
use super::options::{Hit, Reach, SearchOptions};
use super::pool::Pool;
use super::selection::Selection;
use super::tree::TreeScratch;
use super::view::View;
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::graph::GraphScratch;
use crate::part::Part;

/// Buffers of searches, to be used again: a search in a warm scratch allocates nothing.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    pub(super) tree: TreeScratch,
    pub(super) graph: GraphScratch,
    pub(super) pool: Pool,
    pub(super) found: Vec<(f32, u32)>,
}

impl Scratch {
    /// The ranks and rows that a search of this reach finds in a tree or a graph, the best first.
    pub(crate) fn found_at(
        &mut self,
        part: &Part,
        query: &[f32],
        selection: &Selection<'_>,
        (reach, k): (Reach, usize),
    ) -> Result<&[(f32, u32)], AnnError> {
        self.tree.query.set(query, part)?;
        if part.kind() == IndexKind::Graph {
            self.search_graph(part, selection, reach, k);
        } else {
            self.tree.search(&part.tree(), selection, reach, k);
        }
        Ok(&self.tree.found)
    }

    /// Goes along the links of a graph; what it finds is in `self.tree.found`.
    pub(super) fn search_graph(
        &mut self,
        part: &Part,
        selection: &Selection<'_>,
        reach: Reach,
        k: usize,
    ) {
        let TreeScratch { query, rerank, .. } = &mut self.tree;
        self.graph.search((&part.graph(), query), selection, (reach, k), &mut rerank.rows);
        self.tree.compare(part.stored(), selection, k);
    }
}

impl Part {
    /// The vectors nearest to a query \[D\], the nearest first; fewer than k if no more may be found.
    ///
    /// # Errors
    /// If the query or the options do not fit.
    pub fn search(&self, query: &[f32], options: &SearchOptions) -> Result<Vec<Hit>, AnnError> {
        let mut out = Vec::with_capacity(options.k.min(1024));
        self.search_with(query, options, &mut Scratch::default(), &mut out)?;
        Ok(out)
    }

    /// As [`Self::search`], with buffers of the caller's; `out` is replaced.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_with(
        &self,
        query: &[f32],
        options: &SearchOptions,
        scratch: &mut Scratch,
        out: &mut Vec<Hit>,
    ) -> Result<(), AnnError> {
        View { part: self, dead: None, delta: None }.search(query, options, scratch, out)
    }

    /// The vectors nearest to each query [Q, D], on all threads of the current rayon pool.
    ///
    /// # Errors
    /// As [`Self::search`].
    ///
    /// # Determinism
    /// The same results as one query at a time, for any number of threads.
    pub fn search_batch(
        &self,
        queries: &[f32],
        options: &SearchOptions,
    ) -> Result<Vec<Vec<Hit>>, AnnError> {
        let view = View { part: self, dead: None, delta: None };
        search_batch(queries, self, |query, scratch, out| view.search(query, options, scratch, out))
    }
}
