//! The scan, the directory's products and whole-number products for 64-bit ARM, all of which has NEON.

use std::arch::aarch64::{
    int8x16_t, int32x4_t, uint8x16_t, uint16x8_t, vaddvq_s32, vaddvq_u16, vaddw_high_u8, vaddw_u8,
    vandq_u8, vandq_u16, vcgtq_u16, vdupq_n_s32, vdupq_n_u8, vdupq_n_u16, vget_high_s16,
    vget_low_s8, vget_low_s16, vget_low_u8, vld1q_s8, vld1q_s16, vld1q_u8, vld1q_u16,
    vmlal_high_s16, vmlal_s16, vmovl_high_s8, vmovl_high_u8, vmovl_s8, vmovl_u8, vpaddq_s32,
    vqtbl1q_u8, vreinterpretq_s16_u16, vshrq_n_u8, vst1q_s32, vst1q_u16,
};

use super::panels::LANES;
use super::scan::{BLOCK, GROUP, Line, Scan};

/// Bytes of a register.
const BYTES: usize = 16;
/// Columns of four centroids that lie in a register.
const COLUMNS: usize = 4;
/// One bit for each of eight sums.
const BITS: [u16; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// The sixteen bytes of a line from 16·`at` on.
#[inline]
#[target_feature(enable = "neon")]
fn quarter(line: &Line, at: usize) -> uint8x16_t {
    let bytes: &[u8] = &line.0[BYTES * at..][..BYTES];
    #[expect(unsafe_code, reason = "vector load")]
    // SAFETY: the slice was just cut to the sixteen bytes that the load reads.
    unsafe {
        vld1q_u8(bytes.as_ptr())
    }
}

/// Which of eight sums are above the threshold, a bit each.
#[inline]
#[target_feature(enable = "neon")]
fn above(sums: uint16x8_t, threshold: uint16x8_t, bits: uint16x8_t) -> u32 {
    u32::from(vaddvq_u16(vandq_u16(vcgtq_u16(sums, threshold), bits)))
}

/// See [`super::scan::scan`].
#[target_feature(enable = "neon")]
pub(super) fn scan(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    let Scan { codes, table, next, threshold } = scan;
    let (nibble, threshold) = (vdupq_n_u8(15), vdupq_n_u16(threshold));
    #[expect(unsafe_code, reason = "vector load")]
    // SAFETY: the array holds the eight 16-bit numbers that the load reads.
    let bits = unsafe { vld1q_u16(BITS.as_ptr()) };
    let mut at = 0;
    for ((lines, sums), mask) in codes.chunks_exact(table.len()).zip(sums).zip(masks) {
        let mut totals = [vdupq_n_u16(0); BLOCK / 8];
        for (line, entries) in lines.iter().zip(table) {
            prefetch(next.as_ptr().wrapping_add(at));
            at += 1;
            for position in 0..GROUP {
                let (code, entry) = (quarter(line, position), quarter(entries, position));
                let first = vqtbl1q_u8(entry, vandq_u8(code, nibble));
                let second = vqtbl1q_u8(entry, vshrq_n_u8::<4>(code));
                totals[0] = vaddw_u8(totals[0], vget_low_u8(first));
                totals[1] = vaddw_high_u8(totals[1], first);
                totals[2] = vaddw_u8(totals[2], vget_low_u8(second));
                totals[3] = vaddw_high_u8(totals[3], second);
            }
        }
        *mask = 0;
        for (eighth, total) in totals.into_iter().enumerate() {
            let out = &mut sums[8 * eighth..][..8];
            #[expect(unsafe_code, reason = "vector store")]
            // SAFETY: the slice was just cut to the eight 16-bit numbers that the store writes.
            unsafe {
                vst1q_u16(out.as_mut_ptr(), total);
            }
            *mask |= above(total, threshold, bits) << (8 * eighth);
        }
    }
}

/// See [`super::directory::sums_at`]. Bytes widened to 16 bits; a sum for each column of a centroid, added
/// up in the end.
#[target_feature(enable = "neon")]
pub(super) fn sums(panels: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    for (lines, sums) in panels.chunks_exact(query.len()).zip(sums) {
        let mut totals = [vdupq_n_s32(0); LANES];
        for (line, packed) in lines.iter().zip(query) {
            let [a, b, c, d] = packed.to_le_bytes().map(|byte| i16::from(byte as i8));
            let values = [a, b, c, d, a, b, c, d];
            #[expect(unsafe_code, reason = "vector load")]
            // SAFETY: the array holds the eight 16-bit numbers that the load reads.
            let values = unsafe { vld1q_s16(values.as_ptr()) };
            for (at, totals) in totals.chunks_exact_mut(COLUMNS).enumerate() {
                let bytes = quarter(line, at);
                // Numbers below 256 are the same with sign.
                let low = vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(bytes)));
                let high = vreinterpretq_s16_u16(vmovl_high_u8(bytes));
                let values_low = vget_low_s16(values);
                totals[0] = vmlal_s16(totals[0], vget_low_s16(low), values_low);
                totals[1] = vmlal_high_s16(totals[1], low, values);
                totals[2] = vmlal_s16(totals[2], vget_low_s16(high), values_low);
                totals[3] = vmlal_high_s16(totals[3], high, values);
            }
        }
        for (totals, out) in totals.chunks_exact(COLUMNS).zip(sums.chunks_exact_mut(COLUMNS)) {
            let [first, second] =
                [vpaddq_s32(totals[0], totals[1]), vpaddq_s32(totals[2], totals[3])];
            #[expect(unsafe_code, reason = "vector store")]
            // SAFETY: the piece holds the four 32-bit numbers that the store writes.
            unsafe {
                vst1q_s32(out.as_mut_ptr(), vpaddq_s32(first, second));
            }
        }
    }
}

/// The inner product of as many bytes and 16-bit numbers as both have.
#[target_feature(enable = "neon")]
pub(super) fn integer_dot(row: &[i8], query: &[i16]) -> i32 {
    let mut totals = [vdupq_n_s32(0); 4];
    let (mut rows, mut values) = (row.chunks_exact(BYTES), query.chunks_exact(BYTES));
    for (row, values) in rows.by_ref().zip(values.by_ref()) {
        sixteen(&mut totals, row, values);
    }
    // What is left of the shorter: filled up with zeros.
    let done = row.len().min(query.len()) / BYTES * BYTES;
    let rest = row[done..].iter().zip(&query[done..]);
    let (mut last, mut factors) = ([0i8; BYTES], [0i16; BYTES]);
    for (at, (byte, value)) in rest.enumerate() {
        (last[at], factors[at]) = (*byte, *value);
    }
    sixteen(&mut totals, &last, &factors);
    totals.into_iter().fold(0i32, |sum, total| sum.wrapping_add(vaddvq_s32(total)))
}

/// Adds sixteen products.
///
/// # Panics
/// If there are fewer.
#[inline]
#[target_feature(enable = "neon")]
fn sixteen(totals: &mut [int32x4_t; 4], row: &[i8], values: &[i16]) {
    let (row, low, high) = (&row[..BYTES], &values[..BYTES / 2], &values[BYTES / 2..BYTES]);
    #[expect(unsafe_code, reason = "vector loads")]
    // SAFETY: the slices were just cut to the sixteen bytes and eight 16-bit numbers that the loads
    // read.
    let (bytes, low, high): (int8x16_t, _, _) =
        unsafe { (vld1q_s8(row.as_ptr()), vld1q_s16(low.as_ptr()), vld1q_s16(high.as_ptr())) };
    let (first, second) = (vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes));
    totals[0] = vmlal_s16(totals[0], vget_low_s16(first), vget_low_s16(low));
    totals[1] = vmlal_high_s16(totals[1], first, low);
    totals[2] = vmlal_s16(totals[2], vget_low_s16(second), vget_low_s16(high));
    totals[3] = vmlal_s16(totals[3], vget_high_s16(second), vget_high_s16(high));
}

/// Asks for the cache line at an address.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[expect(unsafe_code, reason = "prefetch instruction")]
    // SAFETY: prefetching is defined for every address, and changes neither memory nor flags.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{at}]", at = in(reg) at, options(nostack, preserves_flags, readonly));
    }
}
