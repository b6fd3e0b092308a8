//! [`super::directory::sums_at`] for x86-64.

use std::arch::x86_64::{
    _mm_load_si128, _mm_set1_epi32, _mm256_add_epi32, _mm256_cvtepi8_epi16, _mm256_cvtepu8_epi16,
    _mm256_hadd_epi32, _mm256_madd_epi16, _mm256_permute4x64_epi64, _mm256_setzero_si256,
    _mm256_storeu_si256, _mm512_dpbusd_epi32, _mm512_set1_epi32, _mm512_setzero_si512,
    _mm512_storeu_si512,
};
use std::ptr::from_ref;

use super::panels::LANES;
use super::scan::Line;
use super::scan_x86::load;

/// Panels that are multiplied side by side: their sums do not wait for each other.
const PANELS: usize = 4;

/// One instruction per line.
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
pub(super) fn vnni(panels: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    let mut tiles = panels.chunks_exact(PANELS * query.len());
    let mut outs = sums.chunks_exact_mut(PANELS);
    for (lines, sums) in tiles.by_ref().zip(outs.by_ref()) {
        multiply::<PANELS>(lines, query, sums);
    }
    let rest = tiles.remainder().chunks_exact(query.len());
    for (lines, sums) in rest.zip(outs.into_remainder().chunks_exact_mut(1)) {
        multiply::<1>(lines, query, sums);
    }
}

/// Multiplies N panels.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn multiply<const N: usize>(lines: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    // An array with a number of sums that is known here stays in registers.
    let mut totals = [_mm512_setzero_si512(); N];
    for (at, packed) in query.iter().enumerate() {
        let packed = _mm512_set1_epi32(*packed);
        for (panel, total) in totals.iter_mut().enumerate() {
            let line = &lines[panel * query.len() + at];
            *total = _mm512_dpbusd_epi32(*total, load(line), packed);
        }
    }
    for (total, sums) in totals.into_iter().zip(sums) {
        #[expect(unsafe_code, reason = "vector store")]
        // SAFETY: the array holds sixteen 32-bit numbers, which is what the store writes.
        unsafe {
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), total);
        }
    }
}

/// Bytes widened to 16 bits: two sums of pairs per lane, added up in the end.
#[target_feature(enable = "avx2")]
pub(super) fn avx2(panels: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    for (lines, sums) in panels.chunks_exact(query.len()).zip(sums) {
        let mut totals = [_mm256_setzero_si256(); 4];
        for (line, packed) in lines.iter().zip(query) {
            let value = _mm256_cvtepi8_epi16(_mm_set1_epi32(*packed));
            for (quarter, total) in totals.iter_mut().enumerate() {
                #[expect(unsafe_code, reason = "vector load")]
                // SAFETY: a `Line` is 64 bytes, aligned to 64: each quarter is an aligned 16 bytes.
                let bytes = unsafe {
                    _mm_load_si128(from_ref(line).cast::<[u8; 16]>().add(quarter).cast())
                };
                let products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(bytes), value);
                *total = _mm256_add_epi32(*total, products);
            }
        }
        let [a, b, c, d] = totals;
        // Adding neighbours works within 128-bit lanes; the permutation restores the order.
        let first = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(a, b));
        let second = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(c, d));
        let (low, high) = sums.split_at_mut(LANES / 2);
        #[expect(unsafe_code, reason = "vector stores")]
        // SAFETY: each half was just cut to eight 32-bit numbers, which is what a store writes.
        unsafe {
            _mm256_storeu_si256(low.as_mut_ptr().cast(), first);
            _mm256_storeu_si256(high.as_mut_ptr().cast(), second);
        }
    }
}
