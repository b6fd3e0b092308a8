//! Rounds of k-means: each point to its nearest centroid, each centroid to the mean of its points.

use rayon::prelude::*;

use super::group::Groups;
use crate::idle::give_way;
use crate::kernel::{Arithmetic, Kernel, LANES, Panels, dispatch, dot};

/// Points that are compared with all centroids at once: their products fit into the second cache.
pub(super) const POINTS: usize = 96;

/// Centroids [L, D] ready to be compared with.
pub(super) struct Centers {
    pub(super) panels: Panels,
    /// −|c|²/2, and −∞ for the filling of the last panel.
    pub(super) biases: Vec<f32>,
}

impl Centers {
    pub(super) fn new<'a>(
        dim: usize,
        centroids: impl ExactSizeIterator<Item = &'a [f32]> + Clone,
    ) -> Self {
        let mut biases: Vec<f32> = centroids.clone().map(|c| -0.5 * dot(c, c)).collect();
        biases.resize(biases.len().next_multiple_of(LANES), f32::NEG_INFINITY);
        Self { panels: Panels::new(dim, centroids), biases }
    }

    /// q·c − |c|²/2 of each point with each centroid: the larger, the nearer.
    pub(super) fn nearness(&self, points: &[f32], out: &mut Vec<f32>) {
        give_way();
        let width = self.biases.len();
        let rows = points.len() / self.panels.dim();
        out.resize(rows * width, 0.0);
        self.panels.view().products(points, out);
        for row in out.chunks_exact_mut(width) {
            row.iter_mut().zip(&self.biases).for_each(|(value, bias)| *value += bias);
        }
    }

    /// As [`Self::nearest`], a few points at a time.
    pub(super) fn nearest_in_pieces(&self, points: &[f32], out: &mut [u32]) {
        let mut scratch = Vec::new();
        let pieces = points.chunks(POINTS * self.panels.dim()).zip(out.chunks_mut(POINTS));
        pieces.for_each(|(points, out)| self.nearest(points, &mut scratch, out));
    }

    /// The nearest centroid of each point.
    pub(super) fn nearest(&self, points: &[f32], scratch: &mut Vec<f32>, out: &mut [u32]) {
        self.nearness(points, scratch);
        let width = self.biases.len();
        for (row, nearest) in scratch.chunks_exact(width).zip(out) {
            *nearest = largest(row) as u32;
        }
    }
}

/// Where the largest value is, the first of equals.
#[inline]
pub(super) fn largest(values: &[f32]) -> usize {
    dispatch(Largest(values))
}

struct Largest<'a>(&'a [f32]);

impl Kernel for Largest<'_> {
    type Output = usize;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> usize {
        let mut best = [f32::NEG_INFINITY; LANES];
        let mut chunk_of = [0u32; LANES];
        for (at, lanes) in self.0.chunks_exact(LANES).enumerate() {
            for ((best, chunk), value) in best.iter_mut().zip(&mut chunk_of).zip(lanes) {
                let better = *value > *best;
                *chunk = if better { at as u32 } else { *chunk };
                *best = if better { *value } else { *best };
            }
        }
        let mut found = (f32::NEG_INFINITY, usize::MAX);
        for (lane, (best, chunk)) in best.iter().zip(chunk_of).enumerate() {
            let at = chunk as usize * LANES + lane;
            if *best > found.0 || (*best == found.0 && at < found.1) {
                found = (*best, at);
            }
        }
        found.1
    }
}

/// The nearest centroid of every point, in parallel.
pub(super) fn nearest_of_all(points: &[f32], dim: usize, centers: &Centers) -> Vec<u32> {
    let mut out = vec![0; points.len() / dim];
    points
        .par_chunks(POINTS * dim)
        .zip(out.par_chunks_mut(POINTS))
        .for_each_init(Vec::new, |scratch, (points, out)| centers.nearest(points, scratch, out));
    out
}

/// Moves each centroid to the mean of its points; one without points stays where it is.
pub(super) fn move_to_means(points: &[f32], dim: usize, groups: &Groups, centroids: &mut [f32]) {
    centroids.par_chunks_mut(dim).enumerate().for_each(|(group, centroid)| {
        let members = groups.members(group);
        if members.is_empty() {
            return;
        }
        let mut sums = vec![0.0f64; dim];
        for member in members {
            let point = &points[*member as usize * dim..][..dim];
            sums.iter_mut().zip(point).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        for (value, sum) in centroid.iter_mut().zip(sums) {
            *value = (sum / members.len() as f64) as f32;
        }
    });
}
