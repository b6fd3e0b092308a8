//! The scan for AVX2 and AVX-512.
//!
//! A shuffle looks sixteen codes up in each 128-bit lane. Entries are bytes and sums are 16 bits wide:
//! adding the looked-up bytes as 16-bit words gives even + 256·odd, adding them shifted right by eight
//! gives odd, and even = first − 256·second modulo 65,536 (the accumulation of André, Kermarrec and
//! Le Scouarnec, "Quicker ADC", 2019). One unpacking per block instead of one per lookup.
//!
//! With AVX-512 VBMI a lookup among the 64 entries of a line is one instruction, see [`vbmi`].

use std::arch::x86_64::{
    __m256i, __m512i, _MM_HINT_T1, _mm_prefetch, _mm256_add_epi16, _mm256_and_si256,
    _mm256_cmpeq_epi16, _mm256_load_si256, _mm256_max_epu16, _mm256_movemask_epi8,
    _mm256_packs_epi16, _mm256_permute2x128_si256, _mm256_permute4x64_epi64, _mm256_set1_epi8,
    _mm256_set1_epi16, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi16,
    _mm256_srli_epi16, _mm256_storeu_si256, _mm256_sub_epi16, _mm256_unpackhi_epi16,
    _mm256_unpacklo_epi16, _mm512_add_epi16, _mm512_and_si512, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_cmpgt_epu16_mask, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_inserti64x4, _mm512_load_si512, _mm512_loadu_si512,
    _mm512_permutex2var_epi16, _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi16,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi16,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32,
};
use std::ptr::from_ref;

use super::scan::{BLOCK, Line, Scan};

/// Sums so far of the vectors 0..16 or 16..32 of a block, in lanes of 128 bits that belong to
/// different positions: `both` holds even + 256·odd, `odd` the odd vectors.
#[derive(Clone, Copy)]
struct Half<T> {
    both: T,
    odd: T,
}

/// The sums of 32 vectors in order, sixteen to a register.
#[target_feature(enable = "avx2")]
fn unpack(low: Half<__m256i>, high: Half<__m256i>) -> [__m256i; 2] {
    // Adds the two lanes: vectors 0..16 end in the first lane, 16..32 in the second.
    let [both, odd] = [(low.both, high.both), (low.odd, high.odd)].map(|(low, high)| {
        _mm256_add_epi16(
            _mm256_permute2x128_si256::<0x20>(low, high),
            _mm256_permute2x128_si256::<0x31>(low, high),
        )
    });
    let even = _mm256_sub_epi16(both, _mm256_slli_epi16::<8>(odd));
    let (first, second) = (_mm256_unpacklo_epi16(even, odd), _mm256_unpackhi_epi16(even, odd));
    [
        _mm256_permute2x128_si256::<0x20>(first, second),
        _mm256_permute2x128_si256::<0x31>(first, second),
    ]
}

/// The sum of the two halves of each register.
#[target_feature(enable = "avx512f,avx512bw,avx2")]
fn fold(half: Half<__m512i>) -> Half<__m256i> {
    let add =
        |sums| _mm256_add_epi16(_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums));
    Half { both: add(half.both), odd: add(half.odd) }
}

/// Asks for the line that will be scanned later, at the place of this one.
#[inline(always)]
fn prefetch(next: &[Line], at: usize) {
    let line = next.as_ptr().wrapping_add(at);
    #[expect(unsafe_code, reason = "prefetch intrinsic")]
    // SAFETY: SSE is part of x86-64, and prefetching is defined for every address.
    unsafe {
        _mm_prefetch::<_MM_HINT_T1>(line.cast());
    }
}

/// See [`super::scan::scan`].
#[target_feature(enable = "avx2")]
pub(super) fn avx2(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    let Scan { codes, table, next, threshold } = scan;
    let nibble = _mm256_set1_epi8(15);
    // Sums above the threshold are those that a maximum with threshold + 1 leaves as they are.
    let least = _mm256_set1_epi16(threshold.saturating_add(1) as i16);
    let none = threshold == u16::MAX;
    let mut at = 0;
    for ((lines, sums), mask) in codes.chunks_exact(table.len()).zip(sums).zip(masks) {
        let zero = _mm256_setzero_si256();
        let mut low = Half { both: zero, odd: zero };
        let mut high = low;
        for (line, entries) in lines.iter().zip(table) {
            prefetch(next, at);
            at += 1;
            for half in 0..2 {
                #[expect(unsafe_code, reason = "vector loads")]
                // SAFETY: a `Line` is 64 bytes, aligned to 64: each half is an aligned 32 bytes.
                let (code, entry) = unsafe {
                    (
                        _mm256_load_si256(from_ref(line).cast::<__m256i>().add(half)),
                        _mm256_load_si256(from_ref(entries).cast::<__m256i>().add(half)),
                    )
                };
                let first = _mm256_shuffle_epi8(entry, _mm256_and_si256(code, nibble));
                let code = _mm256_and_si256(_mm256_srli_epi16::<4>(code), nibble);
                let second = _mm256_shuffle_epi8(entry, code);
                low.both = _mm256_add_epi16(low.both, first);
                low.odd = _mm256_add_epi16(low.odd, _mm256_srli_epi16::<8>(first));
                high.both = _mm256_add_epi16(high.both, second);
                high.odd = _mm256_add_epi16(high.odd, _mm256_srli_epi16::<8>(second));
            }
        }
        let unpacked = unpack(low, high);
        let (first, second) = sums.split_at_mut(16);
        #[expect(unsafe_code, reason = "vector stores")]
        // SAFETY: each half was just cut to sixteen 16-bit numbers, which is what a store writes.
        unsafe {
            _mm256_storeu_si256(first.as_mut_ptr().cast(), unpacked[0]);
            _mm256_storeu_si256(second.as_mut_ptr().cast(), unpacked[1]);
        }
        *mask = if none { 0 } else { reaching(unpacked, least) };
    }
}

/// Which sums are at least `least`, compared without sign.
#[target_feature(enable = "avx2")]
fn reaching(sums: [__m256i; 2], least: __m256i) -> u32 {
    let [low, high] = sums.map(|sums| _mm256_cmpeq_epi16(_mm256_max_epu16(sums, least), sums));
    // Packing works within 128-bit lanes; the permutation puts the quarters back in order.
    let packed = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi16(low, high));
    _mm256_movemask_epi8(packed) as u32
}

/// The bytes of a line.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(line: &Line) -> __m512i {
    #[expect(unsafe_code, reason = "vector load")]
    // SAFETY: a `Line` is 64 bytes, aligned to 64.
    unsafe {
        _mm512_load_si512(from_ref(line).cast())
    }
}

/// Where in a line the code lies that comes at byte 4·v + p: that of vector v, position p.
const BY_VECTOR: Line = {
    let mut order = [0; 64];
    let mut at = 0;
    while at < 64 {
        order[at] = (at % 4 * 16 + at / 4) as u8;
        at += 1;
    }
    Line(order)
};
/// The low halves of the 32-bit numbers of two registers.
const LOW_HALVES: [u16; BLOCK] = {
    let mut order = [0; BLOCK];
    let mut at = 0;
    while at < BLOCK {
        order[at] = 2 * at as u16;
        at += 1;
    }
    order
};

/// See [`super::scan::scan`]. With the four positions of each vector side by side, one instruction looks
/// 64 codes up, each among the sixteen entries of its position, and another adds the four of each vector.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
pub(super) fn vbmi(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    let Scan { codes, table, next, threshold } = scan;
    let (nibble, ones) = (_mm512_set1_epi8(15), _mm512_set1_epi8(1));
    // Each position's entries, at 16·p.
    let entries_at = _mm512_set1_epi32(0x30_20_10_00);
    let threshold = _mm512_set1_epi16(threshold as i16);
    let by_vector = load(&BY_VECTOR);
    #[expect(unsafe_code, reason = "vector load")]
    // SAFETY: the array holds 32 16-bit numbers, 64 bytes, which is what the load reads.
    let low_halves = unsafe { _mm512_loadu_si512(LOW_HALVES.as_ptr().cast()) };
    let mut at = 0;
    for ((lines, sums), mask) in codes.chunks_exact(table.len()).zip(sums).zip(masks) {
        let mut low = _mm512_setzero_si512();
        let mut high = low;
        for (line, entries) in lines.iter().zip(table) {
            prefetch(next, at);
            at += 1;
            let (code, entry) = (load(line), load(entries));
            let code = _mm512_permutexvar_epi8(by_vector, code);
            // entries_at | code & nibble.
            let first = _mm512_ternarylogic_epi32::<0xf8>(entries_at, code, nibble);
            let code = _mm512_srli_epi16::<4>(code);
            let second = _mm512_ternarylogic_epi32::<0xf8>(entries_at, code, nibble);
            low = _mm512_dpbusd_epi32(low, _mm512_permutexvar_epi8(first, entry), ones);
            high = _mm512_dpbusd_epi32(high, _mm512_permutexvar_epi8(second, entry), ones);
        }
        let packed = _mm512_permutex2var_epi16(low, low_halves, high);
        #[expect(unsafe_code, reason = "vector store")]
        // SAFETY: the array holds 32 16-bit numbers, 64 bytes, which is what the store writes.
        unsafe {
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), packed);
        }
        *mask = _mm512_cmpgt_epu16_mask(packed, threshold);
    }
}

/// See [`super::scan::scan`].
#[target_feature(enable = "avx512f,avx512bw,avx2")]
pub(super) fn avx512(scan: Scan<'_>, sums: &mut [[u16; BLOCK]], masks: &mut [u32]) {
    let Scan { codes, table, next, threshold } = scan;
    let nibble = _mm512_set1_epi8(15);
    let threshold = _mm512_set1_epi16(threshold as i16);
    let mut at = 0;
    for ((lines, sums), mask) in codes.chunks_exact(table.len()).zip(sums).zip(masks) {
        let zero = _mm512_setzero_si512();
        let mut low = Half { both: zero, odd: zero };
        let mut high = low;
        for (line, entries) in lines.iter().zip(table) {
            prefetch(next, at);
            at += 1;
            let (code, entry) = (load(line), load(entries));
            let first = _mm512_shuffle_epi8(entry, _mm512_and_si512(code, nibble));
            let code = _mm512_and_si512(_mm512_srli_epi16::<4>(code), nibble);
            let second = _mm512_shuffle_epi8(entry, code);
            low.both = _mm512_add_epi16(low.both, first);
            low.odd = _mm512_add_epi16(low.odd, _mm512_srli_epi16::<8>(first));
            high.both = _mm512_add_epi16(high.both, second);
            high.odd = _mm512_add_epi16(high.odd, _mm512_srli_epi16::<8>(second));
        }
        let [first, second] = unpack(fold(low), fold(high));
        let unpacked = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(first), second);
        #[expect(unsafe_code, reason = "vector store")]
        // SAFETY: the array holds 32 16-bit numbers, 64 bytes, which is what the store writes.
        unsafe {
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), unpacked);
        }
        *mask = _mm512_cmpgt_epu16_mask(unpacked, threshold);
    }
}
