//! What this machine can do at most.

use std::time::Instant;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::aligned::Aligned;
use super::{Around, Finish, Level, Panels, Start, multiply, vectorised};

/// A product that fits the first-level cache: with 8 rows, 24 KB in all.
const ROWS: usize = 8;
const DEPTH: usize = 96;
const COLUMNS: usize = 48;

/// Products per sample of the speed: about 1 ms.
const PRODUCTS: usize = 1000;

/// Samples of which the best counts: other work on the machine only slows them.
const SAMPLES: usize = 20;

/// Floats that all threads together read: 128 MB, beyond most caches.
const FLOATS: usize = 1 << 25;

/// Passes over them, the best of which counts.
const PASSES: usize = 4;

/// What the threads of the current pool can do together, measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineLimits {
    /// Billions of additions and multiplications per second, in matrix products within the
    /// first-level cache.
    pub gflops: f64,
    /// Billions of bytes per second that they read from memory.
    pub memory_gb_per_s: f64,
}

/// What a row of a batch costs a training step at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RowWork {
    /// Additions and multiplications of forward and backward.
    pub flops: f64,
    /// Bytes that go to or come from memory: activations and gradients that outlive a block, and
    /// embedding rows.
    pub bytes: f64,
}

impl MachineLimits {
    /// Measures them, which takes about a tenth of a second.
    pub fn measure() -> Self {
        let gflops = rayon::broadcast(|_| product_gflops()).into_iter().sum();
        Self { gflops, memory_gb_per_s: memory_gb_per_s() }
    }

    /// Seconds per row that `work` takes if computing and memory take turns, each at its limit.
    ///
    /// ```
    /// use rectool_model::{MachineLimits, RowWork};
    /// let limits = MachineLimits { gflops: 200.0, memory_gb_per_s: 20.0 };
    /// let work = RowWork { flops: 2.8e6, bytes: 40e3 };
    /// assert!((limits.row_seconds(work) - 16e-6).abs() < 1e-12);
    /// ```
    pub fn row_seconds(&self, work: RowWork) -> f64 {
        work.flops / (self.gflops * 1e9) + work.bytes / (self.memory_gb_per_s * 1e9)
    }
}

fn product_gflops() -> f64 {
    let (mut left, mut right) = (Panels::zeros(ROWS, DEPTH), Panels::zeros(DEPTH, COLUMNS));
    left.values_mut().fill(0.5);
    right.values_mut().fill(0.25);
    let mut out = Panels::zeros(ROWS, COLUMNS);
    let level = Level::best();
    let around = Around { start: Start::Zero, finish: Finish::Keep };
    let fastest = fastest(SAMPLES, || {
        for _ in 0..PRODUCTS {
            multiply(level, ROWS, [&left, &right], &mut out, around);
        }
        std::hint::black_box(out.values());
    });
    (PRODUCTS * 2 * ROWS * DEPTH * COLUMNS) as f64 / fastest / 1e9
}

fn memory_gb_per_s() -> f64 {
    let values = Aligned::new(FLOATS);
    let part = FLOATS.div_ceil(rayon::current_num_threads());
    let level = Level::best();
    let fastest = fastest(PASSES, || {
        let sums = values.values().par_chunks(part).map(|values| sum(level, values));
        std::hint::black_box(sums.sum::<f32>());
    });
    (FLOATS * 4) as f64 / fastest / 1e9
}

fn fastest(times: usize, mut work: impl FnMut()) -> f64 {
    let mut time = || {
        let started = Instant::now();
        work();
        started.elapsed().as_secs_f64()
    };
    (0..times).map(|_| time()).fold(f64::INFINITY, f64::min)
}

vectorised! {
    fn sum(values: &[f32]) -> f32 {
        let mut sums = [0.0f32; 64];
        for values in values.chunks_exact(64) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sums.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_numbers() {
        let limits = MachineLimits::measure();
        assert!(limits.gflops > 0.0 && limits.gflops.is_finite());
        assert!(limits.memory_gb_per_s > 0.0 && limits.memory_gb_per_s.is_finite());
    }
}
