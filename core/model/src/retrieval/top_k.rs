//! The k candidates with the highest dot products, exactly, by our own kernels.

use rayon::prelude::*;

use crate::kernel::{
    Around, Finish, Level, PANEL, Panels, Start, multiply, transpose_panel, vectorised,
};

/// Queries of a block: their products with a tile stay in the cache.
const QUERIES: usize = 64;
/// Candidates of a tile.
const TILE: usize = 512;
/// Candidates kept before the lists are cut to k.
const SLACK: usize = 64;

/// What was recommended to some queries: items with their scores, highest first.
pub type Recommended = Vec<Vec<(u32, f32)>>;

/// Vectors to search, in the layout of the product kernels.
///
/// ```
/// use rectool_model::Candidates;
/// let candidates = Candidates::new(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2);
/// let found = candidates.top_k(&[2.0, 1.0], 2, |_| &[2]);
/// assert_eq!(found, [vec![(0, 2.0), (1, 1.0)]]);
/// ```
#[derive(Debug)]
pub struct Candidates {
    /// Tiles [E, ≤ 512] of the transpose.
    tiles: Vec<Panels>,
    width: usize,
    count: usize,
}

impl Candidates {
    /// Takes over `vectors` [V, E], E = `width`.
    ///
    /// # Panics
    /// If `width` is 0 or `vectors` are no whole number of rows.
    pub fn new(vectors: &[f32], width: usize) -> Self {
        let count = rows_of(vectors, width);
        let tile = |rows: &[f32]| {
            let mut tile = Panels::zeros(width, rows.len() / width);
            let panels = tile.values_mut().chunks_exact_mut(width * PANEL);
            panels.enumerate().for_each(|(at, panel)| transpose_panel(rows, at * PANEL, panel));
            tile
        };
        let tiles = vectors.par_chunks(TILE * width).map(tile).collect();
        Self { tiles, width, count }
    }

    /// Number of candidates V.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// For each query the k candidates with the highest dot products, highest first, and the lower
    /// number first among equal ones. `excluded` gives the numbers, rising, that query q must not
    /// get. A list is shorter than k where fewer are left; products that are NaN or -∞ are not in it.
    ///
    /// Shapes: `queries` [Q, E].
    ///
    /// # Panics
    /// If `queries` are no whole number of rows.
    ///
    /// # Determinism
    /// The same bits for any number of threads.
    pub fn top_k<'a>(
        &self,
        queries: &[f32],
        k: usize,
        excluded: impl Fn(usize) -> &'a [u32] + Sync,
    ) -> Recommended {
        rows_of(queries, self.width);
        let k = k.min(self.count);
        let blocks = queries.par_chunks(QUERIES * self.width).enumerate();
        let blocks = blocks.map(|(block, queries)| {
            self.block(queries, k, |query| excluded(block * QUERIES + query))
        });
        blocks.collect::<Vec<_>>().into_iter().flatten().collect()
    }

    fn block<'a>(
        &self,
        queries: &[f32],
        k: usize,
        excluded: impl Fn(usize) -> &'a [u32],
    ) -> Recommended {
        let (level, count) = (Level::best(), queries.len() / self.width);
        if k == 0 {
            return vec![Vec::new(); count];
        }
        let mut left = Panels::zeros(QUERIES, self.width);
        left.write_rows(queries, self.width);
        let rows = count.next_multiple_of(crate::kernel::ROW_TILE);
        let mut products = Panels::zeros(QUERIES, TILE);
        let mut lists: Vec<Best> = (0..count).map(|_| Best::new(k)).collect();
        let mut floors = vec![f32::NEG_INFINITY; count];
        let mut above = Vec::new();
        for (at, tile) in self.tiles.iter().enumerate() {
            products.reshape(tile.columns());
            let around = Around { start: Start::Zero, finish: Finish::Keep };
            multiply(level, rows, [&left, tile], &mut products, around);
            for (panel, lines) in products.values().chunks_exact(QUERIES * PANEL).enumerate() {
                let first = at * TILE + panel * PANEL;
                if first >= self.count {
                    break;
                }
                let width = PANEL.min(self.count - first);
                above.clear();
                lines_above(level, &lines[..count * PANEL], &floors, &mut above);
                for query in above.iter().map(|query| *query as usize) {
                    let line = &lines[query * PANEL..query * PANEL + width];
                    lists[query].add(line, first as u32, excluded(query));
                    floors[query] = lists[query].floor;
                }
            }
        }
        lists.into_iter().map(Best::sorted).collect()
    }
}

/// The rows of `width` values that `values` are.
///
/// # Panics
/// If `width` is 0 or they are no whole number of rows.
pub(super) fn rows_of(values: &[f32], width: usize) -> usize {
    let whole = width > 0 && values.len().is_multiple_of(width);
    assert!(whole, "{} values in rows of {width}", values.len());
    values.len() / width
}

vectorised! {
    /// The lines of 16 values with one above the line's floor.
    fn lines_above(lines: &[f32], floors: &[f32], above: &mut Vec<u32>) {
        for (at, (line, floor)) in lines.chunks_exact(PANEL).zip(floors).enumerate() {
            let mut any = 0u32;
            for value in line {
                any |= u32::from(*value > *floor);
            }
            if any != 0 {
                above.push(at as u32);
            }
        }
    }
}

/// The best of what one query was shown, in rising order of candidates.
#[derive(Debug)]
pub(super) struct Best {
    k: usize,
    /// What a score must exceed; -∞ until there are k.
    floor: f32,
    kept: Vec<(u32, f32)>,
}

impl Best {
    pub(super) fn new(k: usize) -> Self {
        Self { k, floor: f32::NEG_INFINITY, kept: Vec::with_capacity(k + k.min(SLACK)) }
    }

    /// Takes in scores of consecutive candidates.
    pub(super) fn add(&mut self, scores: &[f32], first: u32, excluded: &[u32]) {
        for (at, score) in scores.iter().enumerate() {
            let candidate = first + at as u32;
            if *score > self.floor && excluded.binary_search(&candidate).is_err() {
                self.kept.push((candidate, *score));
                if self.kept.len() >= self.k + self.k.min(SLACK) {
                    self.cut();
                }
            }
        }
    }

    /// Keeps the best k. A later candidate has a higher number, so it must score more than the last.
    fn cut(&mut self) {
        self.kept.select_nth_unstable_by(self.k - 1, before);
        self.kept.truncate(self.k);
        self.floor = self.kept[self.k - 1].1;
    }

    pub(super) fn sorted(mut self) -> Vec<(u32, f32)> {
        self.kept.sort_unstable_by(before);
        self.kept.truncate(self.k);
        self.kept
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what sorting takes")]
pub(super) fn before(a: &(u32, f32), b: &(u32, f32)) -> std::cmp::Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}
