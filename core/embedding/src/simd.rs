//! Wide registers and prefetching, which depend on the processor, as do the stores of
//! [`crate::stream`]. A kernel is written once in safe Rust; here it is compiled a second time with AVX2
//! and chosen at run time. Rust never fuses a multiply and an add by itself, so both versions give the
//! same bytes.

/// A loop worth compiling for wider registers. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    /// Does the work.
    fn run(self);
}

/// Runs `kernel` with the widest registers that this processor has.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
        // SAFETY: the processor was just asked whether it has AVX2.
        unsafe {
            with_avx2(kernel);
        }
        return;
    }
    kernel.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<K: Kernel>(kernel: K) {
    kernel.run();
}

/// Asks for the cache lines of `count` floats from `start` on; any address will do, since a
/// prefetch reads nothing that the program sees and never faults.
#[inline(always)]
pub(crate) fn prefetch(start: *const f32, count: usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let line = |at: *const f32| {
            #[expect(unsafe_code, reason = "prefetch intrinsic")]
            // SAFETY: SSE is part of x86-64, and prefetching is defined for every address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(at.cast());
            }
        };
        let mut asked = 0;
        while asked < count {
            line(start.wrapping_add(asked));
            asked += FLOATS_PER_LINE;
        }
        // A row need not start on a line: its last float may lie on one more.
        let before = start.addr() / size_of::<f32>() % FLOATS_PER_LINE;
        if before + count > asked {
            line(start.wrapping_add(count - 1));
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, count);
}

/// Asks for the cache line in which `at` begins.
#[inline(always)]
pub(crate) fn prefetch_line<T>(at: &T) {
    prefetch(std::ptr::from_ref(at).cast(), 1);
}

#[cfg(target_arch = "x86_64")]
const FLOATS_PER_LINE: usize = 16;
