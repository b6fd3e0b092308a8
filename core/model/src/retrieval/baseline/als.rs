//! Matrix factorisation of implicit feedback by alternating least squares.

use rayon::prelude::*;
use rectool_base::Stream;

use crate::kernel::{Level, vectorised};
use crate::retrieval::{Interactions, RetrievalError};

/// Rows whose products are summed on one thread.
const BLOCK: usize = 256;
/// The widest vectors: a user's system has D² values.
const WIDTH_MAX: usize = 1024;
/// Marks the seed of the first item vectors.
const ITEMS: u64 = 0x616c_7349;

/// Settings of [`Als`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AlsOptions {
    /// Width of a vector D.
    pub width: usize,
    /// Passes over users and items.
    pub epochs: usize,
    /// λ, above 0.
    pub regularization: f32,
    /// ν: how much a frequent user's or item's vector is regularised more.
    pub frequency_exponent: f32,
    /// α₀: weight of a pair that was not observed, beside 1 for one that was.
    pub unobserved_weight: f32,
    /// Of the first item vectors.
    pub seed: u64,
}

impl Default for AlsOptions {
    /// What does well on MovieLens-1M without tuning.
    fn default() -> Self {
        Self {
            width: 64,
            epochs: 12,
            regularization: 0.007,
            frequency_exponent: 1.0,
            unobserved_weight: 0.3,
            seed: 0,
        }
    }
}

impl AlsOptions {
    fn check(&self) -> Result<(), RetrievalError> {
        let wrong = |option, found: String, expected| {
            Err(RetrievalError::Option { option, found, expected })
        };
        if self.width == 0 || self.width > WIDTH_MAX {
            return wrong("width", self.width.to_string(), "1 to 1024");
        }
        if !(self.regularization > 0.0 && self.regularization.is_finite()) {
            return wrong("regularization", self.regularization.to_string(), "a number above 0");
        }
        if !(self.unobserved_weight >= 0.0 && self.unobserved_weight.is_finite()) {
            return wrong(
                "unobserved_weight",
                self.unobserved_weight.to_string(),
                "a number from 0",
            );
        }
        if !self.frequency_exponent.is_finite() {
            return wrong("frequency_exponent", self.frequency_exponent.to_string(), "a number");
        }
        Ok(())
    }
}

/// Item vectors that minimise, with vectors w of users and h of items,
///
/// Σ over observed (u, i) of (w·h − 1)² + α₀ Σ over all (u, i) of (w·h)²
/// + λ Σ over u of (|I(u)| + α₀ V)^ν |w|² + λ Σ over i of (|U(i)| + α₀ U)^ν |h|²
///
/// (Hu et al. 2008, in the form of Rendle et al. 2021, Revisiting the Performance of iALS on Item
/// Recommendation Benchmarks). Each vector in turn is the exact solution given the other side.
///
/// ```
/// use rectool_model::{Als, AlsOptions, Interactions};
/// let train = Interactions::new(vec![(1, 10), (1, 11), (2, 11), (2, 12)]).unwrap();
/// let als = Als::fit(&train, AlsOptions { width: 4, ..AlsOptions::default() }).unwrap();
/// assert_eq!(als.item_vectors().len(), 3 * 4);
/// assert_eq!(als.user_vectors(&train).len(), 2 * 4);
/// ```
#[derive(Clone, Debug)]
pub struct Als {
    options: AlsOptions,
    /// [V, D].
    items: Vec<f32>,
}

/// What one side's vectors are solved from.
struct Side<'a> {
    options: AlsOptions,
    /// Vectors of the other side [N, D].
    others: &'a [f32],
    /// α₀ times the sum of their products [D, D].
    gram: Vec<f32>,
}

impl Als {
    /// Fits the vectors to training pairs numbered by the catalogue.
    ///
    /// # Errors
    /// If a setting is out of range.
    ///
    /// # Determinism
    /// A function of pairs and settings, whatever the threads.
    pub fn fit(train: &Interactions, options: AlsOptions) -> Result<Self, RetrievalError> {
        options.check()?;
        let width = options.width;
        let scale = 0.1 / (width as f32).sqrt();
        let mut items = vec![0.0; train.items().len() * width];
        for (item, vector) in items.chunks_exact_mut(width).enumerate() {
            let mut stream = Stream::new(options.seed, &[ITEMS, item as u64]);
            vector.fill_with(|| scale * stream.next_normal());
        }
        let by_user: Vec<&[u32]> =
            (0..train.users().len()).map(|user| train.items_of(user)).collect();
        let by_item = train.transposed();
        let by_item: Vec<&[u32]> = by_item.iter().map(Vec::as_slice).collect();
        for _ in 0..options.epochs {
            let users = Side::new(options, &items).solve(&by_user);
            items = Side::new(options, &users).solve(&by_item);
        }
        Ok(Self { options, items })
    }

    /// Vectors of the items [V, D].
    pub fn item_vectors(&self) -> &[f32] {
        &self.items
    }

    /// Vectors of users [U, D] by what they have seen, numbered by the same catalogue: zeros for one
    /// without history.
    pub fn user_vectors(&self, seen: &Interactions) -> Vec<f32> {
        let histories: Vec<&[u32]> =
            (0..seen.users().len()).map(|user| seen.items_of(user)).collect();
        Side::new(self.options, &self.items).solve(&histories)
    }
}

impl<'a> Side<'a> {
    fn new(options: AlsOptions, others: &'a [f32]) -> Self {
        let (level, width) = (Level::best(), options.width);
        let partial = others.par_chunks(BLOCK * width).map(|vectors| {
            let mut sum = vec![0.0; width * width];
            vectors.chunks_exact(width).for_each(|vector| add_product(level, vector, &mut sum));
            sum
        });
        let mut gram = vec![0.0; width * width];
        for partial in partial.collect::<Vec<_>>() {
            gram.iter_mut().zip(partial).for_each(|(sum, value)| *sum += value);
        }
        for value in &mut gram {
            *value *= options.unobserved_weight;
        }
        Self { options, others, gram }
    }

    fn solve(&self, observed: &[&[u32]]) -> Vec<f32> {
        let width = self.options.width;
        let mut vectors = vec![0.0; observed.len() * width];
        vectors.par_chunks_exact_mut(width).zip(observed).for_each_init(
            || vec![0.0; width * width],
            |system, (vector, observed)| self.solve_one(observed, system, vector),
        );
        vectors
    }

    fn solve_one(&self, observed: &[u32], system: &mut [f32], vector: &mut [f32]) {
        if observed.is_empty() {
            return;
        }
        let (level, width) = (Level::best(), self.options.width);
        let AlsOptions { regularization, frequency_exponent, unobserved_weight, .. } = self.options;
        system.copy_from_slice(&self.gram);
        let all = (self.others.len() / width) as f32;
        let frequency = observed.len() as f32 + unobserved_weight * all;
        let ridge = regularization * frequency.powf(frequency_exponent);
        system.iter_mut().step_by(width + 1).for_each(|value| *value += ridge);
        for other in observed {
            let other = &self.others[*other as usize * width..][..width];
            add_product(level, other, system);
            vector.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
        }
        solve_positive(level, system, vector);
    }
}

vectorised! {
    /// Adds the lower triangle of `vector` · `vector`ᵀ to `sum` [D, D], by rows.
    fn add_product(vector: &[f32], sum: &mut [f32]) {
        for (at, (row, scale)) in sum.chunks_exact_mut(vector.len()).zip(vector).enumerate() {
            for (sum, value) in row[..=at].iter_mut().zip(vector) {
                *sum += scale * value;
            }
        }
    }
}

vectorised! {
    /// Replaces `vector` b by the solution of A x = b, of which `system` [D, D] holds the lower
    /// triangle: positive definite, and replaced by its Cholesky factor.
    fn solve_positive(system: &mut [f32], vector: &mut [f32]) {
        let width = vector.len();
        for row in 0..width {
            let (above, rest) = system.split_at_mut(row * width);
            for (column, done) in above.chunks_exact(width).enumerate() {
                let before: f32 = dot(&rest[..column], &done[..column]);
                rest[column] = (rest[column] - before) / done[column];
            }
            let pivot = rest[row] - dot(&rest[..row], &rest[..row]);
            // Rounding may leave a tiny pivot not positive; the ridge bounds a true one from below.
            rest[row] = pivot.max(f32::MIN_POSITIVE).sqrt();
            vector[row] = (vector[row] - dot(&rest[..row], &vector[..row])) / rest[row];
        }
        for row in (0..width).rev() {
            let line = &system[row * width..];
            vector[row] /= line[row];
            let value = vector[row];
            for (left, factor) in vector[..row].iter_mut().zip(line) {
                *left -= factor * value;
            }
        }
    }
}

/// A dot product in eight chains, so that it fills a vector register.
#[inline]
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (left_chunks, right_chunks) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest = left_chunks.remainder().iter().zip(right_chunks.remainder());
    let rest: f32 = rest.map(|(a, b)| a * b).sum();
    for (left, right) in left_chunks.zip(right_chunks) {
        for (sum, (a, b)) in sums.iter_mut().zip(left.iter().zip(right)) {
            *sum += a * b;
        }
    }
    sums.iter().sum::<f32>() + rest
}
