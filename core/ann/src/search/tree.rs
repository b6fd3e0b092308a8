//! Search of a tree: promising leaves, their codes, then the vectors of the best.

use super::options::Reach;
use super::pool::{Pool, order_of, row_of};
use super::query::{Query, ordered, unordered};
use super::rerank::{RerankScratch, rerank};
use super::selection::Selection;
use crate::code::Table;
use crate::kernel::{BLOCK, Line, Scan, dots, scan};
use crate::part::Tree;

/// Leaves compared exactly for each leaf that is scanned: the directory's codes misjudge some.
const FIRST_CHOICE: usize = 3;
/// Blocks of the directory between two looks at the floor.
const DIRECTORY_BLOCKS: usize = 16;
/// The offset that makes whole numbers with sign order as those without.
const MIDDLE: u32 = 1 << 31;

/// Buffers of a search, to be used again.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeScratch {
    pub(crate) query: Query,
    near: Vec<u32>,
    nearness: Vec<f32>,
    leaves: Pool,
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
        self.choose_leaves(tree, reach.leaves);
        let Self { query, leaves, scanner, rerank: buffers, found, .. } = self;
        scanner.table.set(tree.codebook, &query.values);
        scanner.candidates.reset(reach.candidates);
        scan_leaves(tree, selection, leaves.sorted(), scanner);
        buffers.rows.clear();
        buffers.rows.extend(scanner.candidates.best().iter().map(|key| row_of(*key)));
        rerank(tree.rows, selection, (query, k), buffers, found);
    }

    /// Compares exactly the rows in `self.rerank.rows` and leaves the best in `self.found`.
    pub(crate) fn compare(&mut self, tree: &Tree<'_>, selection: &Selection<'_>, k: usize) {
        rerank(tree.rows, selection, (&self.query, k), &mut self.rerank, &mut self.found);
    }

    /// Leaves the `count` most promising leaves in `self.leaves`: the best by the codes of the
    /// directory, compared exactly.
    fn choose_leaves(&mut self, tree: &Tree<'_>, count: usize) {
        let all = tree.leaves.len();
        let count = count.clamp(1, all);
        let Self { query, near, nearness, leaves, scanner, .. } = self;
        leaves.reset(count);
        near.clear();
        let first = FIRST_CHOICE * count + 32;
        if first >= all {
            near.extend(0..all as u32);
        } else {
            scanner.scan_directory(tree, query, first);
            near.extend(scanner.candidates.best().iter().map(|key| row_of(*key)));
        }
        dots(tree.centroids, &query.values, near, nearness);
        for (leaf, near) in near.iter().zip(nearness) {
            leaves.push(ordered(*near + tree.leaves[*leaf as usize].bias), *leaf);
        }
    }
}

/// Scans chosen leaves, the best first, so that the floor rises early.
fn scan_leaves(tree: &Tree<'_>, selection: &Selection<'_>, leaves: &[u64], scanner: &mut Scanner) {
    for (at, key) in leaves.iter().enumerate() {
        let next = leaves.get(at + 1).map(|next| tree.blocks(row_of(*next) as usize).0);
        let leaf = row_of(*key) as usize;
        let base = scanner.table.in_steps(unordered(order_of(*key)) + scanner.table.offset);
        let (codes, lanes) = tree.blocks(leaf);
        let vectors = tree.leaves[leaf].vectors as usize;
        let blocks = Blocks { codes, lanes, vectors, next: next.unwrap_or_default() };
        scanner.scan(&blocks, selection, base);
        if let Some(changed) = selection.delta.and_then(|delta| delta.leaf(leaf)) {
            let (codes, lanes) = (&changed.codes, &changed.lanes);
            let blocks = Blocks { codes, lanes, vectors: changed.vectors, next: &[] };
            scanner.scan(&blocks, selection, base);
        }
    }
}

/// Codes of one leaf.
struct Blocks<'a> {
    codes: &'a [Line],
    lanes: &'a [u32],
    vectors: usize,
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
        let Blocks { codes, lanes, vectors, next } = *blocks;
        let count = lanes.len() / BLOCK;
        self.sums.resize(count, [0; BLOCK]);
        self.masks.resize(count, 0);
        // A sum of the floor itself may still win by its row.
        let threshold = needed.saturating_sub(1).max(0) as u16;
        let asked = Scan { codes, table: &self.table.lines, next, threshold };
        scan(asked, &mut self.sums, &mut self.masks);
        let every = needed <= 0;
        for (block, mask) in self.masks.iter().enumerate() {
            let filled = vectors.saturating_sub(block * BLOCK).clamp(1, BLOCK);
            let valid = u32::MAX >> (BLOCK - filled);
            let mut mask = if every { valid } else { mask & valid };
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let order = (base + i32::from(self.sums[block][lane])) as u32 ^ MIDDLE;
                let row = lanes[block * BLOCK + lane];
                if order >= self.candidates.floor() && selection.has(row) {
                    self.candidates.push(order, row);
                }
            }
        }
    }

    /// Leaves the `count` best leaves by their codes in the pool.
    fn scan_directory(&mut self, tree: &Tree<'_>, query: &Query, count: usize) {
        let Self { table, sums, masks, candidates } = self;
        table.set(tree.directory_codebook, &query.values);
        candidates.reset(count);
        let all = tree.leaves.len();
        for (piece, codes) in tree.directory.chunks(DIRECTORY_BLOCKS * tree.lines).enumerate() {
            let blocks = codes.len() / tree.lines;
            sums.resize(blocks, [0; BLOCK]);
            masks.resize(blocks, 0);
            let every = candidates.floor() == 0;
            let threshold = candidates.floor().saturating_sub(1) as u16;
            scan(Scan { codes, table: &table.lines, next: &[], threshold }, sums, masks);
            let from = piece * DIRECTORY_BLOCKS * BLOCK;
            for (block, mask) in masks.iter().enumerate() {
                let from = from + block * BLOCK;
                let valid = u32::MAX >> (BLOCK - (all - from).min(BLOCK));
                let mut mask = if every { valid } else { mask & valid };
                while mask != 0 {
                    let lane = mask.trailing_zeros() as usize;
                    mask &= mask - 1;
                    candidates.push(u32::from(sums[block][lane]), (from + lane) as u32);
                }
            }
        }
    }
}
