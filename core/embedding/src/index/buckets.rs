//! The memory of the cuckoo index: buckets in chunks that never move.

use std::io;

use memmap2::MmapMut;

use super::bucket::Bucket;
use crate::backing::claim_memory;
use crate::simd::prefetch_line;

/// log2 of the buckets of the first chunk, which fills one page.
const FIRST_BITS: u32 = 6;

/// Chunks of the largest index.
const CHUNKS_MAX: usize = (u32::BITS - FIRST_BITS + 1) as usize;

/// The smallest chunk that asks for huge pages.
const HUGE_BYTES_MIN: usize = 4 << 20;

/// Buckets 0..count. Each chunk after the second holds as many as all before it; the system claims
/// only what was written to.
#[derive(Default)]
pub(super) struct Buckets {
    chunks: Vec<MmapMut>,
    count: u32,
}

/// The chunk of bucket `at`, and its place there.
#[inline(always)]
fn locate(at: u32) -> (usize, usize) {
    let chunk = u32::BITS - (at >> FIRST_BITS).leading_zeros();
    let size_half = (1 << (FIRST_BITS - 1)) << chunk.max(1);
    (chunk as usize, (at & (size_half - 1)) as usize)
}

impl Buckets {
    /// Number of buckets.
    #[inline(always)]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Adds an empty bucket.
    ///
    /// # Errors
    /// If the system has no memory left.
    pub(super) fn push(&mut self) -> io::Result<()> {
        let (chunk, within) = locate(self.count);
        if chunk == self.chunks.len() {
            let bytes = size_of::<Bucket>() << (FIRST_BITS as usize + chunk.saturating_sub(1));
            self.chunks.push(claim_memory(bytes, bytes >= HUGE_BYTES_MIN)?);
        }
        debug_assert_eq!(buckets(&self.chunks[chunk])[within].used, 0);
        self.count += 1;
        Ok(())
    }

    /// Takes the last bucket away; returns what it held.
    pub(super) fn pop(&mut self) -> Bucket {
        self.count -= 1;
        let (chunk, within) = locate(self.count);
        let last = &mut bytemuck::cast_slice_mut(&mut self.chunks[chunk])[within];
        let held = std::mem::replace(last, bytemuck::Zeroable::zeroed());
        if within == 0 {
            self.chunks.pop();
        }
        held
    }

    #[inline(always)]
    pub(super) fn get(&self, at: u32) -> &Bucket {
        let (chunk, within) = locate(at);
        &buckets(&self.chunks[chunk])[within]
    }

    #[inline(always)]
    pub(super) fn get_mut(&mut self, at: u32) -> &mut Bucket {
        let (chunk, within) = locate(at);
        &mut bytemuck::cast_slice_mut(&mut self.chunks[chunk])[within]
    }

    /// Asks the memory for a bucket.
    #[inline(always)]
    pub(super) fn prefetch(&self, at: u32) {
        prefetch_line(self.get(at));
    }

    /// A view that finds its buckets faster.
    pub(super) fn view(&self) -> View<'_> {
        let mut chunks: [&[Bucket]; CHUNKS_MAX] = [&[]; CHUNKS_MAX];
        for (view, chunk) in chunks.iter_mut().zip(&self.chunks) {
            *view = buckets(chunk);
        }
        View { chunks }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bucket> {
        self.chunks.iter().flat_map(buckets).take(self.count as usize)
    }
}

fn buckets(chunk: &MmapMut) -> &[Bucket] {
    bytemuck::cast_slice(chunk)
}

pub(super) struct View<'a> {
    chunks: [&'a [Bucket]; CHUNKS_MAX],
}

impl<'a> View<'a> {
    #[inline(always)]
    pub(super) fn get(&self, at: u32) -> &'a Bucket {
        let (chunk, within) = locate(at);
        &self.chunks[chunk][within]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_a_place_of_its_own() {
        let mut expected = (0, 0);
        for at in 0..if cfg!(miri) { 300 } else { 5_000 } {
            assert_eq!(locate(at), expected, "bucket {at}");
            expected.1 += 1;
            if expected.1 == 64usize << expected.0.max(1) >> 1 {
                expected = (expected.0 + 1, 0);
            }
        }
        assert!(locate(u32::MAX).0 < CHUNKS_MAX);
    }

    #[test]
    fn buckets_come_empty_and_go_with_what_they_hold() {
        let mut buckets = Buckets::default();
        for round in 0..3 {
            for at in 0..1_000 {
                buckets.push().unwrap();
                assert_eq!(buckets.get(at).used, 0, "round {round}");
                buckets.get_mut(at).put(2, (u64::from(at), at));
            }
            assert_eq!(
                buckets.iter().map(|bucket| u64::from(bucket.rows[2])).sum::<u64>(),
                499_500
            );
            for at in (0..1_000).rev() {
                assert_eq!(buckets.pop().entries().collect::<Vec<_>>(), [(u64::from(at), at)]);
            }
            assert!(buckets.chunks.is_empty());
        }
    }
}
