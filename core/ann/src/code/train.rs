//! Training of codebooks on a sample of residuals.

use nalgebra::{Matrix4, Vector4};
use rayon::prelude::*;

use super::codebook::{CODES, Codebook, Entries};
use super::encode::{Encoder, along, nearest, product_of};
use crate::partition;

/// Rounds that fit the values to the loss with its weight along the vectors.
const ROUNDS: usize = 3;
/// Residuals encoded at a time.
const CHUNK: usize = 1 << 10;

/// The values of every position, trained on residuals [N, D] of vectors with directions [N, D], and
/// on `biases` [N] if there are any. N ≥ 1.
///
/// # Determinism
/// A function of sample and seed, for any number of threads.
pub(crate) fn train(
    (dim, widths): (usize, &[u8]),
    (residuals, directions): (&[f32], &[f32]),
    biases: &[f32],
    weight: f32,
    seed: u64,
) -> Vec<Entries> {
    let mut entries: Vec<Entries> = (0..widths.len())
        .into_par_iter()
        .map(|position| {
            let (from, width) = (start(widths, position), usize::from(widths[position]));
            let points = residuals.chunks_exact(dim).flat_map(|row| &row[from..from + width]);
            let points: Vec<f32> = points.copied().collect();
            let seed = seed.wrapping_add(position as u64);
            as_entries(&partition::train(&points, width, CODES, seed), width)
        })
        .collect();
    if weight > 0.0 {
        let positions = widths.len();
        let mut codes = vec![0; residuals.len() / dim * positions];
        for _ in 0..ROUNDS {
            let codebook = Codebook { dim, widths, entries: &entries };
            let encoder = Encoder { codebook, weight };
            let chunks = residuals.par_chunks(CHUNK * dim).zip(directions.par_chunks(CHUNK * dim));
            chunks.zip(codes.par_chunks_mut(CHUNK * positions)).for_each_init(
                Vec::new,
                |found, (sample, codes)| {
                    encoder.encode(sample, &[], found);
                    codes.copy_from_slice(found);
                },
            );
            fit(&mut entries, (dim, widths), (residuals, directions), &codes, weight);
        }
    }
    if !biases.is_empty() {
        let coarse = as_entries(&partition::train(biases, 1, CODES, seed), 1);
        let values = &coarse.values[0];
        let rest = biases.iter().map(|bias| bias - values[usize::from(nearest(values, *bias))]);
        let rest: Vec<f32> = rest.collect();
        let fine = as_entries(&partition::train(&rest, 1, CODES, seed), 1);
        entries.extend([coarse, fine]);
    }
    entries
}

/// The first column of a position.
fn start(widths: &[u8], position: usize) -> usize {
    widths[..position].iter().map(|width| usize::from(*width)).sum()
}

/// Centroids [16, `width`] as the values of a position.
fn as_entries(centroids: &[f32], width: usize) -> Entries {
    let mut entries = Entries::default();
    for (code, centroid) in centroids.chunks_exact(width).enumerate() {
        for (values, value) in entries.values.iter_mut().zip(centroid) {
            values[code] = *value;
        }
    }
    entries
}

/// Moves the values of one position after the other to where the loss over the residuals that use
/// them is least: as many linear equations for each code as it has columns.
fn fit(
    entries: &mut [Entries],
    (dim, widths): (usize, &[u8]),
    (residuals, directions): (&[f32], &[f32]),
    codes: &[u8],
    weight: f32,
) {
    let positions = entries.len();
    let rows = || residuals.chunks_exact(dim).zip(directions.chunks_exact(dim));
    let codebook = Codebook { dim, widths, entries };
    let mut errors: Vec<f32> = rows()
        .zip(codes.chunks_exact(positions))
        .map(|(row, codes)| along(&codebook, row, codes))
        .collect();
    for position in 0..positions {
        let from = start(widths, position);
        let part = from..from + usize::from(widths[position]);
        let mut sums = [Equations::default(); CODES];
        let own = entries[position];
        for (at, (residual, direction)) in rows().enumerate() {
            let code = codes[at * positions + position];
            let (r, u) = (&residual[part.clone()], &direction[part.clone()]);
            // The error of all other positions plus this one's whole residual: what is left to fit.
            let target = errors[at] + product_of(&own, u, code);
            sums[usize::from(code)].add(r, u, target, weight);
        }
        let mut next = own;
        for (code, sums) in sums.iter().enumerate() {
            if let Some(solved) = sums.solve() {
                for (values, value) in next.values.iter_mut().zip(solved.iter()).take(part.len()) {
                    values[code] = *value as f32;
                }
            }
        }
        for (at, (_, direction)) in rows().enumerate() {
            let (code, u) = (codes[at * positions + position], &direction[part.clone()]);
            errors[at] += product_of(&own, u, code) - product_of(&next, u, code);
        }
        entries[position] = next;
    }
}

/// Sums of Σ (I + weight·u·uᵀ)·v = Σ (r + weight·target·u).
#[derive(Clone, Copy, Debug, Default)]
struct Equations {
    matrix: Matrix4<f64>,
    right: Vector4<f64>,
}

impl Equations {
    fn add(&mut self, r: &[f32], u: &[f32], target: f32, weight: f32) {
        let vector = |values: &[f32]| {
            Vector4::from_fn(|at, _| values.get(at).copied().map_or(0.0, f64::from))
        };
        let (r, u) = (vector(r), vector(u));
        let (target, weight) = (f64::from(target), f64::from(weight));
        self.matrix += Matrix4::identity() + weight * u * u.transpose();
        self.right += r + weight * target * u;
    }

    /// The values; `None` if no residual uses them.
    fn solve(&self) -> Option<Vector4<f64>> {
        self.matrix.cholesky().map(|cholesky| cholesky.solve(&self.right))
    }
}
