//! Which slot of a bucket holds a key: in plain Rust, and with wide registers.

use super::bucket::{Bucket, SLOTS};

/// A way to compare a key with those of a bucket. `slots` must be `#[inline(always)]`.
pub(super) trait Probe: Copy {
    /// Bit s: slot s holds `key`.
    fn slots(self, bucket: &Bucket, key: u64) -> u32;
}

/// In plain Rust.
#[derive(Clone, Copy)]
pub(super) struct Scalar;

impl Probe for Scalar {
    #[inline(always)]
    fn slots(self, bucket: &Bucket, key: u64) -> u32 {
        let equal = |slot: usize| u32::from(bucket.keys[slot] == key) << slot;
        (0..SLOTS).fold(0, |slots, slot| slots | equal(slot)) & bucket.used
    }
}

/// Work to be done with the fastest probe that this processor has. `run` must be
/// `#[inline(always)]`.
pub(super) trait Probing {
    fn run<P: Probe>(self, probe: P);
}

#[inline]
pub(super) fn dispatch(work: impl Probing) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("bmi2")
        && std::arch::is_x86_feature_detected!("lzcnt")
    {
        #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
        // SAFETY: the processor was just asked whether it has AVX2.
        unsafe {
            wide::run(work);
        }
        return;
    }
    work.run(Scalar);
}

#[cfg(target_arch = "x86_64")]
pub(super) mod wide {
    use std::arch::x86_64::{
        __m256i, _mm256_castsi256_pd, _mm256_cmpeq_epi64, _mm256_load_si256, _mm256_movemask_pd,
        _mm256_set1_epi64x,
    };

    use super::{Bucket, Probe, Probing};

    /// With AVX2. Made only where the processor has it.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx2(());

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    pub(super) fn run(work: impl Probing) {
        work.run(Avx2(()));
    }

    impl Probe for Avx2 {
        #[inline(always)]
        fn slots(self, bucket: &Bucket, key: u64) -> u32 {
            #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
            // SAFETY: an `Avx2` exists only where the processor has it.
            unsafe {
                slots(bucket, key)
            }
        }
    }

    /// The line as eight words: five keys, then what `used` masks out.
    #[target_feature(enable = "avx2")]
    fn slots(bucket: &Bucket, key: u64) -> u32 {
        let start = std::ptr::from_ref(bucket).cast::<__m256i>();
        let key = _mm256_set1_epi64x(key as i64);
        #[expect(unsafe_code, reason = "vector loads")]
        // SAFETY: a bucket is 64 bytes, at a multiple of 64.
        let (low, high) = unsafe { (_mm256_load_si256(start), _mm256_load_si256(start.add(1))) };
        let mask =
            |words| _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(words, key))) as u32;
        (mask(low) | mask(high) << 4) & bucket.used
    }
}
