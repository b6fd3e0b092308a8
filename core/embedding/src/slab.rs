//! Rows of one width, in chunks that never move.

use std::io;
use std::marker::PhantomData;

use memmap2::MmapMut;

use crate::Backing;
use crate::backing::claim;
use crate::row::RowLayout;
use crate::simd::prefetch;

/// A chunk of 32 MiB holds many huge pages, and a table of a terabyte has few chunks. Tables of unit tests are small, and
/// are to have several too.
const CHUNK_BYTES_MIN: usize = if cfg!(test) { 1 << 12 } else { 32 << 20 };

/// The largest slab that is not filled from its start on and still gets huge pages: random rows of a
/// larger one could claim far more memory than they need.
const HUGE_SCATTERED_BYTES_MAX: usize = 1 << 30;

/// The rows of a table, addressed by number. Memory that no row was written to is not claimed, to
/// within a page.
pub(crate) struct Slab {
    /// 4-byte words from one row to the next.
    stride: usize,
    /// log2 of the rows of a chunk.
    shift: u32,
    /// Whether to ask for huge pages, with which rows are found 15 to 40 % faster (2 threads, 38,000
    /// rows of 17 floats out of 6.9 million).
    huge: bool,
    backing: Backing,
    /// Zeroed memory of `stride << shift` words each.
    chunks: Vec<Option<MmapMut>>,
}

impl Slab {
    /// `rows_max`, if known, keeps the chunk of a small table small; otherwise rows come in order.
    pub(crate) fn new(layout: RowLayout, rows_max: Option<usize>, backing: Backing) -> Self {
        let row_bytes = layout.bytes();
        let rows = CHUNK_BYTES_MIN.div_ceil(row_bytes);
        let rows = rows.min(rows_max.unwrap_or(rows)).max(1).next_power_of_two();
        let scattered_bytes = rows_max.unwrap_or(0).saturating_mul(row_bytes);
        let huge = scattered_bytes <= HUGE_SCATTERED_BYTES_MAX;
        Self {
            stride: layout.stride(),
            shift: rows.trailing_zeros(),
            huge,
            backing,
            chunks: Vec::new(),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.chunks.clear();
    }

    #[inline(always)]
    fn place(&self, row: u32) -> (usize, usize) {
        let within = row as usize & ((1 << self.shift) - 1);
        ((row >> self.shift) as usize, within * self.stride)
    }

    /// The row, for reading.
    ///
    /// # Panics
    /// If it was never opened with [`Slab::open`].
    #[inline(always)]
    pub(crate) fn row(&self, row: u32) -> &[u32] {
        let (chunk, start) = self.place(row);
        let chunk = self.chunks[chunk].as_ref().expect("a row is opened before it is read");
        &bytemuck::cast_slice(chunk)[start..start + self.stride]
    }

    /// The row, for writing.
    ///
    /// # Panics
    /// As [`Slab::row`].
    pub(crate) fn row_mut(&mut self, row: u32) -> &mut [u32] {
        let (chunk, start) = self.place(row);
        let chunk = self.chunks[chunk].as_mut().expect("a row is opened before it is written");
        &mut bytemuck::cast_slice_mut(chunk)[start..start + self.stride]
    }

    /// Makes room for the row.
    ///
    /// # Errors
    /// If the system has no memory left, or no place in the folder of the slab's files.
    pub(crate) fn open(&mut self, row: u32) -> io::Result<()> {
        let (chunk, _) = self.place(row);
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, || None);
        }
        if self.chunks[chunk].is_none() {
            let words = self.stride << self.shift;
            self.chunks[chunk] = Some(claim(&self.backing, words * size_of::<u32>(), self.huge)?);
        }
        Ok(())
    }

    /// Copies a row to the place of another one that was opened.
    pub(crate) fn copy(&mut self, from: u32, to: u32) {
        let words = self.row(from).to_vec();
        self.row_mut(to).copy_from_slice(&words);
    }

    /// Gives back all memory but that of the chunks in which `rows` lie.
    pub(crate) fn keep(&mut self, rows: impl Iterator<Item = u32>) {
        let mut used = vec![false; self.chunks.len()];
        for row in rows {
            used[self.place(row).0] = true;
        }
        for (chunk, used) in self.chunks.iter_mut().zip(used) {
            *chunk = chunk.take().filter(|_| used);
        }
    }

    /// Whether half of the chunks that hold memory have room for `rows` rows.
    pub(crate) fn is_half_empty(&self, rows: usize) -> bool {
        2 * rows.div_ceil(1 << self.shift) <= self.chunks_open()
    }

    /// Chunks that hold memory.
    pub(crate) fn chunks_open(&self) -> usize {
        self.chunks.iter().flatten().count()
    }

    /// A view through which rows are read.
    pub(crate) fn reader(&self) -> RowReader<'_> {
        let chunks = self.chunks.iter().map(|chunk| match chunk {
            Some(chunk) => bytemuck::cast_slice(chunk),
            None => [].as_slice(),
        });
        let chunks = chunks.collect();
        RowReader { stride: self.stride, shift: self.shift, chunks }
    }

    /// Whether rows may have to be read from a disk.
    pub(crate) fn is_filed(&self) -> bool {
        self.backing != Backing::Memory
    }

    /// Has the system read the pages of those rows of `rows` that were opened, without waiting.
    pub(crate) fn read_ahead(&self, rows: &[u32]) {
        let row_bytes = self.stride * size_of::<u32>();
        let mut pages = Vec::with_capacity(rows.len());
        for row in rows {
            let (chunk, start) = self.place(*row);
            if let Some(Some(_)) = self.chunks.get(chunk) {
                let first = start * size_of::<u32>() / PAGE;
                let last = (start * size_of::<u32>() + row_bytes - 1) / PAGE;
                pages.extend((first..=last).map(|page| (chunk, page)));
            }
        }
        pages.sort_unstable();
        pages.dedup();
        let near = |a: &(usize, usize), b: &(usize, usize)| a.0 == b.0 && b.1 - a.1 <= PAGES_APART;
        for run in pages.chunk_by(near) {
            let ((chunk, first), (_, last)) = (run[0], run[run.len() - 1]);
            advise(self.chunks[chunk].as_ref(), first * PAGE, (last + 1 - first) * PAGE);
        }
    }

    /// A view through which threads write to different rows at the same time.
    pub(crate) fn shared(&mut self) -> SharedRows<'_> {
        let start = |chunk: &mut Option<MmapMut>| match chunk {
            Some(chunk) => bytemuck::cast_slice_mut(chunk).as_mut_ptr(),
            None => std::ptr::null_mut(),
        };
        let starts = self.chunks.iter_mut().map(start).collect();
        SharedRows { stride: self.stride, shift: self.shift, starts, slab: PhantomData }
    }
}

/// Bytes of a page, or a part of one.
const PAGE: usize = 4096;

/// Pages this close are asked for together: reading a few more costs less than asking twice.
const PAGES_APART: usize = 4;

fn advise(chunk: Option<&MmapMut>, start: usize, bytes: usize) {
    #[cfg(unix)]
    if let Some(chunk) = chunk {
        let bytes = bytes.min(chunk.len() - start);
        // Advice that the system does not take costs time, not results.
        let _ = chunk.advise_range(memmap2::Advice::WillNeed, start, bytes);
    }
    #[cfg(not(unix))]
    let _ = (chunk, start, bytes);
}

/// Rows of a [`Slab`], with less on the way to each than [`Slab::row`] has.
pub(crate) struct RowReader<'a> {
    stride: usize,
    shift: u32,
    /// Empty where there is none.
    chunks: Vec<&'a [u32]>,
}

impl<'a> RowReader<'a> {
    /// The first `count` words of the row.
    ///
    /// # Panics
    /// If it was never opened.
    #[inline(always)]
    pub(crate) fn words(&self, row: u32, count: usize) -> &'a [u32] {
        let start = (row as usize & ((1 << self.shift) - 1)) * self.stride;
        &self.chunks[(row >> self.shift) as usize][start..start + count]
    }

    /// Asks the memory for the first `count` words of the row, if there is such a row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32, count: usize) {
        let start = (row as usize & ((1 << self.shift) - 1)) * self.stride;
        if let Some(chunk) = self.chunks.get((row >> self.shift) as usize) {
            prefetch(chunk.as_ptr().wrapping_add(start).cast(), count);
        }
    }
}

/// Rows of a [`Slab`] that is borrowed as a whole.
pub(crate) struct SharedRows<'a> {
    stride: usize,
    shift: u32,
    /// First word of each chunk; null where there is none.
    starts: Vec<*mut u32>,
    slab: PhantomData<&'a mut Slab>,
}

#[expect(unsafe_code, reason = "raw pointers to rows that threads share out")]
// SAFETY: the pointers lead into memory that is borrowed for 'a, and are used only by `row_mut`,
// whose callers keep to different rows.
unsafe impl Send for SharedRows<'_> {}

#[expect(unsafe_code, reason = "raw pointers to rows that threads share out")]
// SAFETY: as above.
unsafe impl Sync for SharedRows<'_> {}

impl SharedRows<'_> {
    /// Asks the memory for the row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, row: u32) {
        let within = row as usize & ((1 << self.shift) - 1);
        let start = self.starts[(row >> self.shift) as usize];
        prefetch(start.wrapping_add(within * self.stride).cast(), self.stride);
    }

    /// The row, for writing.
    ///
    /// # Safety
    /// No other reference to this row may exist while the returned one does.
    ///
    /// # Panics
    /// If the row was never opened.
    #[inline(always)]
    #[expect(unsafe_code, reason = "threads write to different rows of one slab")]
    #[expect(clippy::mut_from_ref, reason = "the caller keeps to different rows")]
    pub(crate) unsafe fn row_mut(&self, row: u32) -> &mut [u32] {
        let start = self.starts[(row >> self.shift) as usize];
        assert!(!start.is_null(), "row {row} was never opened");
        let within = row as usize & ((1 << self.shift) - 1);
        // SAFETY: a chunk holds `stride << shift` words and `within` is below `1 << shift`, so the
        // row lies inside of it; the slab is borrowed mutably for the life of `self`; that no one
        // else holds this row is the caller's part.
        unsafe { std::slice::from_raw_parts_mut(start.add(within * self.stride), self.stride) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Storage;

    #[test]
    fn rows_keep_their_place_across_chunks() {
        let layout = RowLayout { dim: 1, state: 1, storage: Storage::F32 };
        let mut slab = Slab::new(layout, Some(4), Backing::Memory);
        let rows = [0, 3, 4, 17, 1_000];
        for row in rows {
            slab.open(row).unwrap();
            slab.row_mut(row).fill(row);
        }
        for row in rows {
            assert_eq!(slab.row(row), [row; 4]);
        }
        assert_eq!(slab.row(1_001), [0; 4]);
    }
}
