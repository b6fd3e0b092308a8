//! Memory that is not in a cache.

use std::hint::black_box;

use crate::parallel::for_each;

/// Bytes that are read, and as many that are written: about what the layers of a step move, and beyond
/// the second-level caches.
const COLD_BYTES: usize = 1 << 25;
/// Bytes of a task.
const TASK_BYTES: usize = 1 << 19;

/// Fills the caches between timed calls, as the layers of a training do between two uses of its
/// tables. Calls that follow each other at once would find buffers and rows where no step finds them.
pub(super) struct Cold {
    from: Vec<u8>,
    to: Vec<u8>,
}

impl Cold {
    pub(super) fn new() -> Self {
        Self { from: vec![1; COLD_BYTES], to: vec![0; COLD_BYTES] }
    }

    /// Takes whatever else is in the caches of this rank's threads out of them.
    pub(super) fn cool(&mut self) {
        let from = black_box(&self.from).chunks(TASK_BYTES);
        let tasks = self.to.chunks_mut(TASK_BYTES).zip(from).collect();
        for_each(tasks, |(to, from): (&mut [u8], &[u8])| to.copy_from_slice(from));
        black_box(&self.to);
    }

    /// Copies on this thread alone; returns how many bytes.
    pub(super) fn copy(&mut self) -> usize {
        self.to.copy_from_slice(black_box(&self.from));
        black_box(&self.to);
        self.to.len()
    }
}

/// The middle one of some times, which neither one disturbance nor one lucky call moves.
///
/// # Panics
/// If there is none.
pub(super) fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_not_the_mean() {
        assert_eq!(median(vec![900.0, 1.0, 3.0]), 3.0);
        assert_eq!(median(vec![2.0]), 2.0);
    }
}
