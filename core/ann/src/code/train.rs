//! Training of codebooks on a sample of residuals.

use rayon::prelude::*;

use super::codebook::{CODES, COLUMNS, Codebook, Entries};
use super::encode::{Encoder, along, nearest, pair};
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
    dim: usize,
    (residuals, directions): (&[f32], &[f32]),
    biases: &[f32],
    weight: f32,
    seed: u64,
) -> Vec<Entries> {
    let positions = Codebook::column_positions(dim);
    let mut entries: Vec<Entries> = (0..positions)
        .into_par_iter()
        .map(|position| {
            let points = residuals.chunks_exact(dim).flat_map(|row| pair(row, position));
            let points: Vec<f32> = points.collect();
            let seed = seed.wrapping_add(position as u64);
            as_entries(&partition::train(&points, COLUMNS, CODES, seed), COLUMNS)
        })
        .collect();
    if weight > 0.0 {
        let mut codes = vec![0; residuals.len() / dim * positions];
        for _ in 0..ROUNDS {
            let encoder = Encoder { codebook: Codebook { dim, entries: &entries }, weight };
            let chunks = residuals.par_chunks(CHUNK * dim).zip(directions.par_chunks(CHUNK * dim));
            chunks.zip(codes.par_chunks_mut(CHUNK * positions)).for_each_init(
                Vec::new,
                |found, (sample, codes)| {
                    encoder.encode(sample, &[], found);
                    codes.copy_from_slice(found);
                },
            );
            fit(&mut entries, dim, (residuals, directions), &codes, weight);
        }
    }
    if !biases.is_empty() {
        let coarse = as_entries(&partition::train(biases, 1, CODES, seed), 1);
        let rest =
            biases.iter().map(|bias| bias - coarse.x[usize::from(nearest(&coarse.x, *bias))]);
        let rest: Vec<f32> = rest.collect();
        let fine = as_entries(&partition::train(&rest, 1, CODES, seed), 1);
        entries.extend([coarse, fine]);
    }
    entries
}

/// Centroids [16, `width`] as the values of a position.
fn as_entries(centroids: &[f32], width: usize) -> Entries {
    let y = |code: usize| if width > 1 { centroids[code * width + 1] } else { 0.0 };
    Entries { x: std::array::from_fn(|code| centroids[code * width]), y: std::array::from_fn(y) }
}

/// Moves the values of one position after the other to where the loss over the residuals that use
/// them is least: two linear equations for each pair of values.
fn fit(
    entries: &mut [Entries],
    dim: usize,
    (residuals, directions): (&[f32], &[f32]),
    codes: &[u8],
    weight: f32,
) {
    let positions = entries.len();
    let rows = || residuals.chunks_exact(dim).zip(directions.chunks_exact(dim));
    let mut errors: Vec<f32> = rows()
        .zip(codes.chunks_exact(positions))
        .map(|(row, codes)| along(entries, row, codes))
        .collect();
    for position in 0..positions {
        let mut sums = [Equations::default(); CODES];
        let own = &entries[position];
        for (at, (residual, direction)) in rows().enumerate() {
            let code = usize::from(codes[at * positions + position]);
            let [r, u] = [residual, direction].map(|row| pair(row, position));
            // The error of all other positions plus this one's whole residual: what is left to fit.
            let target = errors[at] + own.x[code] * u[0] + own.y[code] * u[1];
            sums[code].add(r, u, target, weight);
        }
        let mut next = *own;
        for (code, sums) in sums.iter().enumerate() {
            if let Some([x, y]) = sums.solve() {
                (next.x[code], next.y[code]) = (x, y);
            }
        }
        for (at, (_, direction)) in rows().enumerate() {
            let code = usize::from(codes[at * positions + position]);
            let u = pair(direction, position);
            errors[at] += (own.x[code] - next.x[code]) * u[0] + (own.y[code] - next.y[code]) * u[1];
        }
        entries[position] = next;
    }
}

/// Sums of Σ (I + weight·u·uᵀ)·v = Σ (r + weight·target·u).
#[derive(Clone, Copy, Debug, Default)]
struct Equations {
    matrix: [f64; 3],
    right: [f64; 2],
}

impl Equations {
    fn add(&mut self, r: [f32; 2], u: [f32; 2], target: f32, weight: f32) {
        let ([r0, r1], [u0, u1]) = (r.map(f64::from), u.map(f64::from));
        let (target, weight) = (f64::from(target), f64::from(weight));
        self.matrix[0] += 1.0 + weight * u0 * u0;
        self.matrix[1] += weight * u0 * u1;
        self.matrix[2] += 1.0 + weight * u1 * u1;
        self.right[0] += r0 + weight * target * u0;
        self.right[1] += r1 + weight * target * u1;
    }

    /// The pair of values; `None` if no residual uses it.
    fn solve(&self) -> Option<[f32; 2]> {
        let [a, b, d] = self.matrix;
        let determinant = a * d - b * b;
        let [e, f] = self.right;
        (determinant > 0.0)
            .then(|| [(d * e - b * f) / determinant, (a * f - b * e) / determinant])
            .map(|pair| pair.map(|value| value as f32))
    }
}
