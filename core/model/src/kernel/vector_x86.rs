//! One vector register of AVX2 or AVX-512, so that a kernel is written once for both.

#![expect(unsafe_code, reason = "vector instructions take pointers and need detection first")]
#![expect(clippy::inline_always, reason = "must take its caller's instructions")]

use std::arch::x86_64::{
    __m256, __m512, _CMP_GT_OQ, _mm256_and_ps, _mm256_broadcast_ss, _mm256_cmp_ps, _mm256_fmadd_ps,
    _mm256_loadu_ps, _mm256_max_ps, _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps,
    _mm256_storeu_ps, _mm512_cmp_ps_mask, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_maskz_mul_ps,
    _mm512_max_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

/// A vector register. The functions are inlined into code compiled for the instructions.
///
/// # Safety
/// All need the instructions; `load` and `store` need a readable or writable place of `LANES`
/// values, `splat` one of one value.
pub(super) trait Vector: Copy {
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn load(at: *const f32) -> Self;
    unsafe fn store(self, at: *mut f32);
    /// The value at `at` in every lane.
    unsafe fn splat(at: *const f32) -> Self;
    /// `self + scale * other`, rounded once.
    unsafe fn fused(self, scale: Self, other: Self) -> Self;
    /// The lanes that are negative replaced by 0; NaN stays NaN.
    unsafe fn relu(self) -> Self;
    /// `self * scale` in the lanes where `activated` is positive, 0 elsewhere.
    unsafe fn masked(self, activated: Self, scale: f32) -> Self;
}

impl Vector for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm256_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the trait's promise.
        unsafe { _mm256_storeu_ps(at, self) }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm256_broadcast_ss(&*at) }
    }
    #[inline(always)]
    unsafe fn fused(self, scale: Self, other: Self) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm256_fmadd_ps(scale, other, self) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the trait's promise. The second operand is what max gives for NaN.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), self) }
    }
    #[inline(always)]
    unsafe fn masked(self, activated: Self, scale: f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe {
            let positive = _mm256_cmp_ps::<_CMP_GT_OQ>(activated, _mm256_setzero_ps());
            _mm256_and_ps(_mm256_mul_ps(self, _mm256_set1_ps(scale)), positive)
        }
    }
}

impl Vector for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn store(self, at: *mut f32) {
        // SAFETY: the trait's promise.
        unsafe { _mm512_storeu_ps(at, self) }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm512_set1_ps(*at) }
    }
    #[inline(always)]
    unsafe fn fused(self, scale: Self, other: Self) -> Self {
        // SAFETY: the trait's promise.
        unsafe { _mm512_fmadd_ps(scale, other, self) }
    }
    #[inline(always)]
    unsafe fn relu(self) -> Self {
        // SAFETY: the trait's promise. The second operand is what max gives for NaN.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), self) }
    }
    #[inline(always)]
    unsafe fn masked(self, activated: Self, scale: f32) -> Self {
        // SAFETY: the trait's promise.
        unsafe {
            let positive = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(activated, _mm512_setzero_ps());
            _mm512_maskz_mul_ps(positive, self, _mm512_set1_ps(scale))
        }
    }
}
