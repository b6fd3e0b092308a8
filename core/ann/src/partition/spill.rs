//! Further leaves of a vector, which see it from elsewhere.
//!
//! A second leaf is chosen as in SOAR (Sun, Guo, Chern, Kumar, 2024): one whose residual points another
//! way than the first residual r, so that a query for which the first leaf misjudges the vector does
//! not misjudge it here too. It minimises |x − c|² + λ·((x − c)·r / |r|)². A third one adds the same
//! term for the second residual, and so on.
//!
//! How many leaves a vector gets depends on how far it lies from the nearest (our own): those far off
//! are what large inner products are made of and what their leaf misjudges most, those close by are
//! found through it anyway.

use crate::kernel::{dot, reaching};

/// Shares of vectors, those farthest from their nearest leaf, that lie in a second leaf, a third one, …
/// Found on a million vectors of two towers; together they come to less than one further leaf each.
const SHARES: [f64; 5] = [0.5, 0.2, 0.1, 0.05, 0.02];
/// Most leaves of a vector.
pub(crate) const LEAVES_PER_VECTOR: usize = 1 + SHARES.len();
/// The nearest leaves, among which further ones are chosen.
pub(super) const LISTED: usize = 64;
/// No leaf.
pub(crate) const NO_LEAF: u32 = u32::MAX;

/// How many leaves a vector lies in.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spilling {
    /// λ of the loss.
    pub(crate) weight: f32,
    /// Squared distances from the nearest centroid from which on a vector lies in a second leaf, a
    /// third one, …: rising.
    pub(crate) squares: Vec<f32>,
}

impl Spilling {
    /// Distances such that of vectors with these `squares` the usual shares lie beyond them.
    pub(super) fn fit(weight: f32, squares: &[f32]) -> Self {
        let mut sorted = squares.to_vec();
        sorted.sort_unstable_by(f32::total_cmp);
        let at = |share: &f64| {
            let beyond = (sorted.len() as f64 * share) as usize;
            sorted.get(sorted.len() - beyond).copied().unwrap_or(f32::INFINITY)
        };
        Self { weight, squares: SHARES.iter().map(at).collect() }
    }

    /// Leaves of a vector whose nearest centroid lies at this squared distance, besides the nearest.
    pub(super) fn further(&self, square: f32) -> usize {
        self.squares.partition_point(|least| *least <= square)
    }

    /// The squared distance from which on a vector lies in a third leaf.
    pub(super) fn far(&self) -> f32 {
        self.squares.get(1).copied().unwrap_or(f32::INFINITY)
    }
}

/// Chooses further leaves.
#[derive(Debug, Default)]
pub(super) struct Chooser {
    costs: Vec<f32>,
    residual: Vec<f32>,
}

impl Chooser {
    /// Fills `out` with further leaves of `point` from `list`, the nearest leaves with their squared
    /// distances, the nearest of all first; with none where the list ends.
    pub(super) fn choose(
        &mut self,
        (point, centroids): (&[f32], &[f32]),
        list: &[(u32, f32)],
        weight: f32,
        out: &mut [u32],
    ) {
        let dim = point.len();
        let centroid = |leaf: u32| &centroids[leaf as usize * dim..][..dim];
        let Self { costs, residual } = self;
        costs.clear();
        costs.extend(list.iter().map(|(_, square)| *square));
        let mut last = 0;
        for place in out {
            *place = NO_LEAF;
            let Some((leaf, square)) = list.get(last) else { continue };
            costs[last] = f32::INFINITY;
            residual.clear();
            residual.extend(point.iter().zip(centroid(*leaf)).map(|(x, c)| x - c));
            let own = dot(point, residual);
            let scale = weight / square.max(f32::MIN_POSITIVE);
            for (cost, (leaf, _)) in costs.iter_mut().zip(list) {
                let along = own - dot(centroid(*leaf), residual);
                *cost += scale * along * along;
            }
            let usable = costs.iter().enumerate().filter(|(_, cost)| cost.is_finite());
            let best = usable.min_by(|a, b| a.1.total_cmp(b.1)).map(|(at, _)| at);
            last = best.unwrap_or(list.len());
            *place = list.get(last).map_or(NO_LEAF, |(leaf, _)| *leaf);
        }
    }
}

/// The leaves with the largest of `nearness` (x·c − |c|²/2), at most [`LISTED`], with their squared
/// distances from a vector of this squared length; the nearest first.
pub(super) fn nearest_listed(nearness: &[f32], square: f32, out: &mut Vec<(u32, f32)>) {
    list(nearness, f32::NEG_INFINITY, out);
    out.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    for (_, near) in out {
        *near = (square - 2.0 * *near).max(0.0);
    }
}

/// The leaves with the largest of `nearness`, at most [`LISTED`], in no order. Enough leaves are known to
/// reach `floor`.
pub(super) fn list(nearness: &[f32], mut floor: f32, out: &mut Vec<(u32, f32)>) {
    out.clear();
    let by_nearness = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    // The filling of the last panel has a nearness of −∞.
    let least = floor.max(f32::MIN);
    reaching(nearness, least, |leaf, near| {
        if near < floor || near == f32::INFINITY {
            return;
        }
        out.push((leaf, near));
        if out.len() >= 4 * LISTED {
            out.select_nth_unstable_by(LISTED - 1, by_nearness);
            out.truncate(LISTED);
            floor = out[LISTED - 1].1;
        }
    });
    if out.len() > LISTED {
        out.select_nth_unstable_by(LISTED - 1, by_nearness);
        out.truncate(LISTED);
    }
}
