//! Search of a tree: promising leaves, their codes, then the vectors of the best.

use super::leaves::LeafChoice;
use super::options::Reach;
use super::pool::{Pool, order_of, row_of};
use super::query::{Query, unordered};
use super::rerank::{RerankScratch, rerank};
use super::selection::Selection;
use crate::code::Table;
use crate::file::Leaf;
use crate::filter::Bits;
use crate::kernel::{BLOCK, Line, Scan, prefetch, scan};
use crate::live::{ChangedLeaf, Delta};
use crate::part::{ROWS_AHEAD, StoredRows, Tree};

/// How many lanes ahead the rows of candidates are asked for.
const LANES_AHEAD: usize = 16;
/// The offset that makes whole numbers with sign order as those without.
const MIDDLE: u32 = 1 << 31;

/// Buffers of a search, to be used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeScratch {
    pub(crate) query: Query,
    leaves: LeafChoice,
    scanner: Scanner,
    pub(crate) rerank: RerankScratch,
    /// Ranks and rows found, the best first.
    pub(crate) found: Vec<(f32, u32)>,
}

impl TreeScratch {
    /// Finds the best `k` or more rows for `self.query` and leaves them in `self.found`.
    pub(crate) fn search(
        &mut self,
        tree: &Tree<'_>,
        selection: &Selection<'_>,
        reach: Reach,
        k: usize,
    ) {
        self.leaves.choose(&self.query.values, tree.directory, reach.leaves);
        let Self { query, leaves, scanner, rerank: buffers, found, .. } = self;
        // The other leaves are asked for while the one before is scanned.
        let first = leaves.keys.first().map_or(&[][..], |key| tree.blocks(row_of(*key) as usize).0);
        for at in 0..first.len() {
            prefetch(first, at);
        }
        scanner.table.set(tree.codebook, &query.values);
        scanner.candidates.reset(reach.candidates);
        scan_leaves(tree, selection, &leaves.keys, scanner);
        buffers.rows.clear();
        let places = scanner.candidates.best().iter().map(|key| row_of(*key));
        resolve(tree, selection, places, &mut buffers.rows);
        // A vector comes once from each of its leaves.
        buffers.rows.sort_unstable();
        buffers.rows.dedup();
        if selection.is_changed() {
            // Looking up whether all that might get in are still there would cost more than a few candidates.
            buffers.rows.retain(|row| selection.has(*row));
        }
        rerank(tree.rows, selection, (query, k), buffers, found);
    }

    /// As [`Self::search`], for few `allowed` rows: those whose nearest leaves are the `leaves` most
    /// promising are all compared, without a look at their codes.
    pub(crate) fn search_rows(
        &mut self,
        tree: &Tree<'_>,
        selection: &Selection<'_>,
        (allowed, leaves): (&Bits, usize),
        k: usize,
    ) {
        self.leaves.choose(&self.query.values, tree.directory, leaves);
        let Self { leaves, rerank: RerankScratch { rows, .. }, .. } = self;
        leaves.rows((|leaf| tree.rows_of(leaf), tree.rows), (allowed, selection), rows);
        let own = rows.len();
        if let Some(delta) = selection.delta {
            for changed in delta.in_leaves(&leaves.keys, Delta::ask_for_lanes) {
                let lanes = &changed.lanes[..changed.vectors];
                rows.extend(lanes.iter().filter(|row| selection.has(**row)));
            }
        }
        // A change comes once from each of its leaves.
        rows[own..].sort_unstable();
        rows.dedup();
        self.compare(tree.rows, selection, k);
    }

    /// Compares exactly the rows in `self.rerank.rows` and leaves the best in `self.found`.
    pub(crate) fn compare(&mut self, rows: StoredRows<'_>, selection: &Selection<'_>, k: usize) {
        rerank(rows, selection, (&self.query, k), &mut self.rerank, &mut self.found);
    }
}

/// Adds the rows at places to `rows`. A place is the number of a lane of the part, or, behind all of
/// them, of a slot of the changes.
fn resolve(
    tree: &Tree<'_>,
    selection: &Selection<'_>,
    places: impl Iterator<Item = u32>,
    rows: &mut Vec<u32>,
) {
    let start = rows.len();
    rows.extend(places);
    // Lanes lie anywhere: one that is read without having been asked for costs a cache miss.
    for place in rows[start..].iter().take(LANES_AHEAD) {
        prefetch(tree.lanes, *place as usize);
    }
    for at in start..rows.len() {
        if let Some(next) = rows.get(at + LANES_AHEAD) {
            prefetch(tree.lanes, *next as usize);
        }
        let place = rows[at] as usize;
        rows[at] = match tree.lanes.get(place) {
            Some(row) => {
                if at < ROWS_AHEAD {
                    tree.rows.ask_for(*row);
                }
                *row
            }
            None => selection.rows + (place - tree.lanes.len()) as u32,
        };
    }
}

/// Scans chosen leaves, the best first, so that the floor rises early.
fn scan_leaves(tree: &Tree<'_>, selection: &Selection<'_>, leaves: &[u64], scanner: &mut Scanner) {
    let leaf_at = |at: usize| leaves.get(at).map(|key| row_of(*key) as usize);
    for (at, key) in leaves.iter().enumerate() {
        let next = leaf_at(at + 1).map(|next| tree.blocks(next).0);
        if let Some(delta) = selection.delta {
            // Two steps to a leaf's changes, each a cache miss unless it was asked for.
            if let Some(leaf) = leaf_at(at + 4) {
                delta.ask_for_leaf(leaf);
            }
            if let Some(leaf) = leaf_at(at + 2) {
                delta.ask_for_codes(leaf);
            }
        }
        let leaf = row_of(*key) as usize;
        let base = scanner.table.in_steps(unordered(order_of(*key)) + scanner.table.offset);
        let (codes, lanes) = tree.blocks(leaf);
        let Leaf { block, vectors, .. } = tree.leaves[leaf];
        let blocks = Blocks {
            codes,
            lanes,
            vectors: vectors as usize,
            first: block * BLOCK as u32,
            masks: selection.masks.map(|masks| &masks[block as usize..]),
            changes: false,
            next: next.unwrap_or_default(),
        };
        scanner.scan(&blocks, selection, base);
        if let Some(changed) = selection.delta.and_then(|delta| delta.leaf(leaf)) {
            let ChangedLeaf { codes, lanes, vectors, .. } = changed;
            let (vectors, first) = (*vectors, tree.lanes.len() as u32);
            let blocks =
                Blocks { codes, lanes, vectors, first, masks: None, changes: true, next: &[] };
            scanner.scan(&blocks, selection, base);
        }
    }
}

/// Codes of one leaf, or of its changes.
struct Blocks<'a> {
    codes: &'a [Line],
    /// The row in each lane.
    lanes: &'a [u32],
    vectors: usize,
    /// What the first lane, or of changes the first slot, is called among candidates. A lane's row is
    /// looked up in the end.
    first: u32,
    /// Lanes of each block that satisfy the filter, if that is known.
    masks: Option<&'a [u32]>,
    changes: bool,
    /// Codes of the next leaf.
    next: &'a [Line],
}

/// The scan of codes into a pool of candidates.
#[derive(Clone, Debug, Default)]
struct Scanner {
    table: Table,
    sums: Vec<[u16; BLOCK]>,
    masks: Vec<u32>,
    candidates: Pool,
}

impl Scanner {
    fn scan(&mut self, blocks: &Blocks<'_>, selection: &Selection<'_>, base: i32) {
        let floor = (self.candidates.floor() ^ MIDDLE) as i32;
        let needed = floor.saturating_sub(base);
        if needed > self.table.sum_max {
            return;
        }
        let Blocks { codes, lanes, vectors, first, masks, changes, next } = *blocks;
        let count = codes.len() / self.table.lines.len();
        self.sums.resize(count, [0; BLOCK]);
        self.masks.resize(count, 0);
        // A sum of the floor itself may still win by its row.
        let threshold = needed.saturating_sub(1).max(0) as u16;
        let asked = Scan { codes, table: &self.table.lines, next, threshold };
        scan(asked, &mut self.sums, &mut self.masks);
        let every = needed <= 0;
        let free = masks.is_some() || !selection.is_filtered();
        for (block, mask) in self.masks.iter().enumerate() {
            let filled = vectors.saturating_sub(block * BLOCK).clamp(1, BLOCK);
            let valid = u32::MAX >> (BLOCK - filled);
            let valid = masks.map_or(valid, |masks| valid & masks[block]);
            let mut mask = if every { valid } else { mask & valid };
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let order = (base + i32::from(self.sums[block][lane])) as u32 ^ MIDDLE;
                let lane = block * BLOCK + lane;
                if order < self.candidates.floor() || !(free || selection.allows(lanes[lane])) {
                    continue;
                }
                let place = if changes { lanes[lane] - selection.rows } else { lane as u32 };
                self.candidates.push(order, first + place);
            }
        }
    }
}
