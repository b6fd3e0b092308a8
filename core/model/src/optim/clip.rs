//! The norm of a gradient, and its limit.

use rayon::prelude::*;

use crate::kernel::{Level, vectorised};

/// Values whose squares are summed by one task: fixed, so that the sum does not depend on threads.
const TASK_VALUES: usize = 1 << 14;

/// The sum of squares, for a global norm over several slices and ranks.
///
/// # Determinism
/// The same bits for any number of threads and any machine.
pub fn norm_squared(values: &[f32]) -> f64 {
    let level = Level::best();
    let partial: Vec<f64> =
        values.par_chunks(TASK_VALUES).map(|values| squares(level, values)).collect();
    partial.iter().sum()
}

/// Scales `gradients` so that a global norm whose square is `norm_squared_total` is at most
/// `norm_max`. Returns the scale, 1 where the norm is within the limit.
///
/// A norm that is not finite is not repaired: the scale is then 1 and the caller sees the broken
/// values it would see without a limit.
pub fn clip_by_global_norm(gradients: &mut [f32], norm_squared_total: f64, norm_max: f32) -> f32 {
    let norm = norm_squared_total.sqrt();
    if !norm.is_finite() || norm <= f64::from(norm_max) {
        return 1.0;
    }
    let scale = (f64::from(norm_max) / norm) as f32;
    gradients.par_chunks_mut(TASK_VALUES).for_each(|values| {
        for value in values {
            *value *= scale;
        }
    });
    scale
}

vectorised! {
    /// Eight sums side by side: a single one would be a chain that no compiler may vectorise.
    fn squares(values: &[f32]) -> f64 {
        let mut sums = [0.0; 8];
        let mut chunks = values.chunks_exact(8);
        for chunk in &mut chunks {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum += f64::from(*value) * f64::from(*value);
            }
        }
        for (sum, value) in sums.iter_mut().zip(chunks.remainder()) {
            *sum += f64::from(*value) * f64::from(*value);
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn norm_is_exact_for_whole_numbers() {
        let values: Vec<f32> = (0..50_001).map(|at| (at % 7) as f32).collect();
        let expected: f64 = values.iter().map(|x| f64::from(x * x)).sum();
        assert_eq!(norm_squared(&values), expected);
        assert!(Level::available().into_iter().all(|level| squares(level, &values) == expected));
    }

    #[test]
    fn a_long_gradient_is_cut_to_the_limit() {
        let mut gradients = [3.0, 4.0];
        assert_eq!(clip_by_global_norm(&mut gradients, 25.0, 5.0), 1.0);
        assert_eq!(clip_by_global_norm(&mut gradients, 25.0, 2.5), 0.5);
        assert_eq!(gradients, [1.5, 2.0]);
        assert_eq!(clip_by_global_norm(&mut gradients, f64::NAN, 1.0), 1.0);
    }
}
