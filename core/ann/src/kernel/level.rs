//! Which instructions a kernel is compiled for, chosen at run time.

use std::sync::OnceLock;

#[cfg(target_arch = "aarch64")]
use super::neon;

/// An instruction set that kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every processor of the target has.
    Portable,
    /// x86-64 with AVX2 and FMA: 256-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 F, BW, DQ and VL: 512-bit registers.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// 64-bit ARM with NEON: 128-bit registers.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Level {
    /// The best level of this processor.
    #[inline]
    pub(crate) fn best() -> Self {
        static BEST: OnceLock<Level> = OnceLock::new();
        *BEST.get_or_init(|| Self::supported().last().copied().unwrap_or(Self::Portable))
    }

    /// Every level that this processor has, the best one last.
    pub(crate) fn supported() -> Vec<Self> {
        let mut levels = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            levels.push(Self::Avx2);
            if std::arch::is_x86_feature_detected!("avx512f")
                && std::arch::is_x86_feature_detected!("avx512bw")
                && std::arch::is_x86_feature_detected!("avx512dq")
                && std::arch::is_x86_feature_detected!("avx512vl")
            {
                levels.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        if std::arch::is_aarch64_feature_detected!("neon") {
            levels.push(Self::Neon);
        }
        levels
    }
}

/// Whether the processor multiplies and adds bytes in one instruction (AVX-512 VNNI).
#[cfg(target_arch = "x86_64")]
pub(super) fn has_vnni() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni")
}

/// Whether the processor looks bytes up among 64 in one instruction (AVX-512 VBMI).
#[cfg(target_arch = "x86_64")]
pub(super) fn has_vbmi() -> bool {
    std::arch::is_x86_feature_detected!("avx512vbmi")
}

/// How a level multiplies and adds. A fused multiply-add without hardware for it is a slow library
/// call, so the portable level rounds twice: levels agree within rounding, not bit for bit, wherever
/// floats are summed.
pub(crate) trait Arithmetic {
    /// `a`·`b` + `c`.
    fn multiply_add(a: f32, b: f32, c: f32) -> f32;

    /// The inner product of bytes and 16-bit numbers, as many as both have, modulo 2³².
    #[inline(always)]
    fn integer_dot(row: &[i8], query: &[i16]) -> i32 {
        let dim = row.len().min(query.len());
        let (row, query) = (&row[..dim], &query[..dim]);
        let mut sum = 0i32;
        for at in 0..dim {
            sum = sum.wrapping_add(i32::from(row[at]) * i32::from(query[at]));
        }
        sum
    }
}

/// Rounds the product, then the sum.
pub(crate) struct Separate;

impl Arithmetic for Separate {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Rounds once.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Fused;

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Fused {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

/// NEON: rounds once.
#[cfg(target_arch = "aarch64")]
pub(crate) struct Neon;

#[cfg(target_arch = "aarch64")]
impl Arithmetic for Neon {
    #[inline(always)]
    fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }

    #[inline(always)]
    fn integer_dot(row: &[i8], query: &[i16]) -> i32 {
        #[expect(unsafe_code, reason = "calls a function compiled for NEON")]
        // SAFETY: this type is used at the level of that name only, which comes from `supported`, which
        // asked the processor; the function has no other demand.
        unsafe {
            neon::integer_dot(row, query)
        }
    }
}

/// A loop written once in safe Rust and compiled for every level. `run` must be
/// `#[inline(always)]`.
pub(crate) trait Kernel {
    /// What the loop gives.
    type Output;

    /// Does the work.
    fn run<A: Arithmetic>(self) -> Self::Output;
}

/// Runs `kernel` with the best instructions of this processor.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    dispatch_at(Level::best(), kernel)
}

/// Runs `kernel` with the instructions of `level`, which must be one of [`Level::supported`].
#[inline]
pub(crate) fn dispatch_at<K: Kernel>(level: Level, kernel: K) -> K::Output {
    match level {
        Level::Portable => kernel.run::<Separate>(),
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
        // SAFETY: a `Level` above portable only comes from `supported`, which asked the processor.
        Level::Avx2 => unsafe { with_avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX-512")]
        // SAFETY: as above.
        Level::Avx512 => unsafe { with_avx512(kernel) },
        // Every processor of the target has NEON, so that all of its code is compiled for it.
        #[cfg(target_arch = "aarch64")]
        Level::Neon => kernel.run::<Neon>(),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Fused>()
}

/// Asks for the cache line at `at` of `values`; past the end, for nothing.
#[inline(always)]
pub(crate) fn prefetch<T>(values: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(value) = values.get(at) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        #[expect(unsafe_code, reason = "prefetch intrinsic")]
        // SAFETY: SSE is part of x86-64, and prefetching is defined for every address.
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(value).cast());
        }
    }
    #[cfg(target_arch = "aarch64")]
    if let Some(value) = values.get(at) {
        neon::prefetch(std::ptr::from_ref(value));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = (values, at);
}
