//! Clocks, and what the memory of this machine can do.

use std::time::Instant;

use rayon::prelude::*;

/// A moment on the clock and in this process's use of processors.
#[derive(Clone, Copy)]
pub(crate) struct Moment(Instant, f64);

impl Moment {
    #[expect(unsafe_code, reason = "reads a clock that std does not know")]
    pub(crate) fn now() -> Self {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the structure is valid for the call, which keeps no reference to it.
        unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
        Self(Instant::now(), time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6)
    }

    /// Milliseconds since `start`: on the clock, and of all processors together.
    pub(crate) fn since(self, start: Self) -> [f64; 2] {
        [(self.0 - start.0).as_secs_f64() * 1e3, self.1 - start.1]
    }
}

/// Bytes read and written per second, in GB, by a copy of `count` floats with the threads of the
/// current pool.
pub(crate) fn copy_gb_s(count: usize) -> f64 {
    let from = vec![1.0f32; count];
    let mut to = vec![2.0f32; count];
    let part = count.div_ceil(rayon::current_num_threads());
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let start = Instant::now();
        to.par_chunks_mut(part).zip(from.par_chunks(part)).for_each(|(to, from)| {
            to.copy_from_slice(from);
        });
        best = best.min(start.elapsed().as_secs_f64());
    }
    assert_eq!(to[count - 1], 1.0);
    (2 * count * size_of::<f32>()) as f64 / best / 1e9
}
