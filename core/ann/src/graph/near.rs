//! Which rows lie near to those of one leaf: the candidates for links.

use std::ops::Range;

use super::ordered::Ordered;
use crate::kernel::{Arithmetic, Kernel, LANES, Panels, dispatch, dot};
use crate::metric::Metric;
use crate::search::{Pool, order_of, ordered, row_of, unordered};

/// Rows that those of a leaf are compared with: the leaf's own and those of the leaves around it. On
/// a million vectors of two towers 6,000 and 64 candidates gave a recall of 0.957, 10,000 and 128 gave
/// 0.967, this many and 200 gave 0.971.
const ROWS_MAX: usize = 16_000;
const ROWS_MIN: usize = 1_024;
/// Values of those rows, at most, unless the least number of rows has more.
const VALUES_MAX: usize = 1 << 21;
/// Leaves around a leaf that are looked at: enough of them even if many are small.
const LEAVES_AROUND: usize = 256;
/// Leaves with large products for each that lies near, where products are the metric.
const LARGE_PER_NEAR: usize = 4;
/// Rows of a leaf that are compared together.
const TOGETHER: usize = 64;

/// The leaves of a graph: their rows follow each other.
pub(crate) struct Leaves<'a> {
    pub(crate) metric: Metric,
    /// Centroids [L, D].
    pub(crate) centroids: &'a [f32],
    /// −|c|²/2 of each, whatever the metric.
    pub(crate) biases: Vec<f32>,
    /// First row of each leaf, and the number of rows.
    pub(crate) starts: &'a [u32],
    /// Centroids, packed.
    panels: Panels,
}

impl<'a> Leaves<'a> {
    pub(crate) fn new(metric: Metric, dim: usize, centroids: &'a [f32], starts: &'a [u32]) -> Self {
        let biases = centroids.chunks_exact(dim).map(|c| -0.5 * dot(c, c)).collect();
        let panels = Panels::new(dim, centroids.chunks_exact(dim));
        Self { metric, centroids, biases, starts, panels }
    }

    fn count(&self) -> usize {
        self.biases.len()
    }

    /// The rows of a leaf.
    pub(crate) fn rows(&self, leaf: usize) -> Range<u32> {
        self.starts[leaf]..self.starts[leaf + 1]
    }

    /// The rows that those in `part` of a leaf are compared with: its own, those of the leaves nearest to it,
    /// and, for inner products, mostly those of the leaves with the largest products.
    fn around(&self, leaf: usize, part: &Range<u32>) -> Vec<u32> {
        let most = (VALUES_MAX / self.panels.dim()).clamp(ROWS_MIN, ROWS_MAX);
        // Of a leaf of very many rows, those around the part that is asked for.
        let own = self.rows(leaf);
        let first = part.start.saturating_sub(most as u32 / 2).max(own.start);
        let mut rows: Vec<u32> = (first..own.end.min(first + most as u32)).collect();
        let mut taken = vec![false; self.count()];
        taken[leaf] = true;
        for other in self.leaves_around(leaf) {
            let room = most - rows.len();
            if room == 0 {
                break;
            }
            if !std::mem::replace(&mut taken[other], true) {
                rows.extend(self.rows(other).take(room));
            }
        }
        rows
    }

    /// Leaves around a leaf, the most promising first; some come twice.
    fn leaves_around(&self, leaf: usize) -> Vec<usize> {
        let dim = self.panels.dim();
        let mut products = vec![0.0; self.panels.view().panels() * LANES];
        self.panels.view().products(&self.centroids[leaf * dim..][..dim], &mut products);
        products.truncate(self.count());
        let near = products.iter().zip(&self.biases).map(|(product, bias)| product + bias);
        let near = best_of(near.collect());
        if self.metric != Metric::InnerProduct {
            return near;
        }
        let large = best_of(products);
        let pairs = large.chunks(LARGE_PER_NEAR).zip(near);
        pairs.flat_map(|(large, near)| std::iter::once(near).chain(large.iter().copied())).collect()
    }
}

/// The places of the largest ranks, the largest first.
fn best_of(ranks: Vec<f32>) -> Vec<usize> {
    let mut ranks: Vec<(f32, usize)> =
        ranks.into_iter().enumerate().map(|(at, rank)| (rank, at)).collect();
    let order = |a: &(f32, usize), b: &(f32, usize)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if ranks.len() > LEAVES_AROUND {
        ranks.select_nth_unstable_by(LEAVES_AROUND, order);
        ranks.truncate(LEAVES_AROUND);
    }
    ranks.sort_unstable_by(order);
    ranks.into_iter().map(|(_, at)| at).collect()
}

/// Rows copied, to be compared with each other.
#[derive(Default)]
pub(crate) struct Copied {
    pub(crate) rows: Vec<u32>,
    pub(crate) values: Vec<f32>,
    /// |x|²/2.
    pub(crate) halves: Vec<f32>,
}

impl Copied {
    pub(crate) fn of(source: &Ordered<'_>, rows: Vec<u32>) -> Self {
        let values = source.gather(&rows);
        let halves = values.chunks_exact(source.dim()).map(|x| 0.5 * dot(x, x)).collect();
        Self { rows, values, halves }
    }
}

/// A candidate: its product with the row, and its place among the rows copied.
pub(crate) type Candidate = (f32, u32);

/// Candidates of one row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Candidates {
    /// The nearest, the nearest first; without the row itself.
    pub(crate) nearest: Vec<Candidate>,
    /// Those with the largest products, the largest first; empty unless the metric is the inner product.
    pub(crate) largest: Vec<Candidate>,
}

/// Calls `each` with every row of `part`, its place among `copied` and its candidates, `count` of each
/// kind.
pub(crate) fn candidates(
    leaves: &Leaves<'_>,
    (leaf, part): (usize, Range<u32>),
    source: &Ordered<'_>,
    count: usize,
    mut each: impl FnMut(&Copied, u32, &Candidates),
) {
    let dim = source.dim();
    let copied = Copied::of(source, leaves.around(leaf, &part));
    let panels = Panels::new(dim, copied.values.chunks_exact(dim));
    let width = panels.view().panels() * LANES;
    let mut halves = copied.halves.clone();
    halves.resize(width, f32::INFINITY);
    let first = (part.start - copied.rows[0]) as usize;
    let places: Vec<usize> = (first..first + part.len()).collect();
    let (mut products, mut pool) = (Vec::new(), Pool::default());
    let mut found = Candidates::default();
    for places in places.chunks(TOGETHER) {
        products.resize(places.len() * width, 0.0);
        let values = &copied.values[places[0] * dim..][..places.len() * dim];
        panels.view().products(values, &mut products);
        for (place, products) in places.iter().zip(products.chunks_exact(width)) {
            let own = *place as u32;
            let mut best = |halves: Option<&[f32]>, out: &mut Vec<Candidate>| {
                pool.reset(count + 1);
                dispatch(Best { products, halves, rows: copied.rows.len(), pool: &mut pool });
                out.clear();
                for key in pool.sorted() {
                    let place = row_of(*key);
                    if place != own && out.len() < count {
                        let rank = unordered(order_of(*key));
                        let half = halves.map_or(0.0, |halves| halves[place as usize]);
                        out.push((rank + half, place));
                    }
                }
            };
            best(Some(&halves), &mut found.nearest);
            if leaves.metric == Metric::InnerProduct {
                best(None, &mut found.largest);
            }
            each(&copied, own, &found);
        }
    }
}

/// Pushes what may be among the best.
struct Best<'a> {
    products: &'a [f32],
    halves: Option<&'a [f32]>,
    rows: usize,
    pool: &'a mut Pool,
}

impl Kernel for Best<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { products, halves, rows, pool } = self;
        for (at, lanes) in products.chunks_exact(LANES).enumerate() {
            let mut ranks = [0.0f32; LANES];
            match halves {
                Some(halves) => {
                    let halves = &halves[at * LANES..][..LANES];
                    for lane in 0..LANES {
                        ranks[lane] = lanes[lane] - halves[lane];
                    }
                }
                None => ranks.copy_from_slice(lanes),
            }
            // Most groups of sixteen have nothing to offer.
            let floor = if pool.floor() == 0 { f32::NEG_INFINITY } else { unordered(pool.floor()) };
            let mut any = false;
            for rank in ranks {
                any |= rank >= floor;
            }
            if any {
                for (lane, rank) in ranks.iter().enumerate() {
                    let place = at * LANES + lane;
                    if *rank >= floor && place < rows {
                        pool.push(ordered(*rank), place as u32);
                    }
                }
            }
        }
    }
}
