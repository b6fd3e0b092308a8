//! Stores that pass the caches by, for buffers too large to stay in them.
//!
//! An ordinary store first fetches the line that it changes, and drives out others. One that passes by does
//! neither: on AMD's processors with a last cache of 32 MiB the embeddings of a large batch cost up to a quarter less
//! so (109 MB of them, Zen 5), and about a third less than ordinary stores to lines that are asked for in time (218 MB,
//! Zen 3; a sixth of 109 MB with two threads, nothing of 54 MB). Intel's hold a line until memory has taken it, in one of the few places that reads need too: there
//! they took up to twice as long (Cascade Lake).

use std::sync::OnceLock;

/// What the last cache is taken to hold where the system does not tell.
const CACHE_BYTES_DEFAULT: usize = 32 << 20;

/// How a buffer is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stores {
    /// As ever: who reads the buffer next finds it in a cache.
    Cached,
    /// Past the caches. A thread that has stored so must [`Stores::settle`] before others may read it.
    Streamed,
}

impl Stores {
    /// Those for a buffer of `bytes` that is read once it is full.
    pub(crate) fn for_buffer(bytes: usize) -> Self {
        if bytes > streamed_from_bytes() { Self::Streamed } else { Self::Cached }
    }

    /// Copies `from` to `to`, which is as long.
    #[inline(always)]
    pub(crate) fn copy(self, to: &mut [f32], from: &[f32]) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Streamed {
            return copy_streamed(to, from);
        }
        to.copy_from_slice(from);
    }

    /// Waits until what this thread stored is where other threads find it.
    #[inline]
    pub(crate) fn settle(self) {
        #[cfg(target_arch = "x86_64")]
        if self == Self::Streamed {
            #[expect(unsafe_code, reason = "a fence for such stores is an intrinsic")]
            // SAFETY: SSE is part of x86-64.
            unsafe {
                std::arch::x86_64::_mm_sfence();
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn copy_streamed(to: &mut [f32], from: &[f32]) {
    use std::arch::x86_64::{__m128, _mm_loadu_ps, _mm_stream_ps};
    const LANES: usize = size_of::<__m128>() / size_of::<f32>();
    if !to.as_ptr().addr().is_multiple_of(size_of::<__m128>()) {
        return to.copy_from_slice(from);
    }
    let (blocks, rest) = to.as_chunks_mut::<LANES>();
    let (from_blocks, from_rest) = from.as_chunks::<LANES>();
    assert_eq!(blocks.len(), from_blocks.len(), "blocks of a copy");
    for (to, from) in blocks.iter_mut().zip(from_blocks) {
        #[expect(unsafe_code, reason = "stores past the caches are intrinsics")]
        // SAFETY: SSE is part of x86-64; both are four floats, and `to`, a whole number of such blocks behind an
        // aligned address, is aligned.
        unsafe {
            _mm_stream_ps(to.as_mut_ptr(), _mm_loadu_ps(from.as_ptr()));
        }
    }
    rest.copy_from_slice(from_rest);
}

/// Larger buffers are filled past the caches on this processor.
fn streamed_from_bytes() -> usize {
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| if is_amd() { last_cache_bytes() } else { usize::MAX })
}

/// Whether AMD made this processor, or another maker to AMD's design.
fn is_amd() -> bool {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        let maker = std::arch::x86_64::__cpuid(0);
        let name = [maker.ebx, maker.edx, maker.ecx].map(u32::to_le_bytes);
        [b"AuthenticAMD".as_slice(), b"HygonGenuine"].contains(&name.as_flattened())
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    false
}

/// What the last cache of this processor holds.
fn last_cache_bytes() -> usize {
    // Linux tells for each level, first those of instructions and of data.
    let sizes = (0..8).filter_map(|index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        bytes_of(std::fs::read_to_string(path).ok()?.trim())
    });
    sizes.max().unwrap_or(CACHE_BYTES_DEFAULT)
}

/// The bytes of a size as Linux writes it, such as `32768K`.
fn bytes_of(size: &str) -> Option<usize> {
    let kilobytes: usize = size.strip_suffix('K')?.parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_store_copies_the_same_whatever_the_alignment() {
        let from: Vec<f32> = (0..40).map(|at| at as f32).collect();
        for stores in [Stores::Cached, Stores::Streamed] {
            for (start, len) in (0..5).flat_map(|start| (0..33).map(move |len| (start, len))) {
                let mut to = vec![-1.0; 40];
                stores.copy(&mut to[start..start + len], &from[3..3 + len]);
                stores.settle();
                let mut expected = vec![-1.0; 40];
                expected[start..start + len].copy_from_slice(&from[3..3 + len]);
                assert_eq!(to, expected, "{stores:?}, {len} from {start} on");
            }
        }
    }

    #[test]
    fn only_what_no_cache_holds_is_streamed() {
        assert_eq!(
            [bytes_of("32768K"), bytes_of("none"), bytes_of("")],
            [Some(32 << 20), None, None]
        );
        assert_eq!(Stores::for_buffer(0), Stores::Cached);
        let streams = streamed_from_bytes() < usize::MAX;
        assert_eq!(Stores::for_buffer(usize::MAX) == Stores::Streamed, streams);
    }
}
