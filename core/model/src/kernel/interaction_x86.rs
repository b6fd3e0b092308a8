//! The dot interaction in AVX2 and AVX-512.
//!
//! Both directions are small matrix products of a sample: the products are V Vᵀ, and the gradient is
//! G V, where G is the symmetric matrix of the products' gradients. One register tile serves both:
//! R rows by C vectors of sums stay in registers while it runs along the shared dimension, adding a
//! broadcast value of the left matrix times a vector of the right one. The left matrix is read
//! transposed, so that the values for a tile's rows lie side by side: G is its own transpose, and for
//! V Vᵀ both sides are one transposed copy in the first-level cache. Each sum is a chain of fused multiply-adds in the
//! order of the shared dimension, so AVX2 and AVX-512 give the same bits.

#![expect(unsafe_code, reason = "vector instructions take pointers and need detection first")]

use std::arch::x86_64::{
    __m256, __m512, _mm256_add_ps, _mm256_and_ps, _mm256_castsi256_ps, _mm256_loadu_ps,
    _mm256_loadu_si256, _mm256_permute2f128_ps, _mm256_setzero_ps, _mm256_shuffle_ps,
    _mm256_storeu_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::interaction::{DotInteraction, Scratch};
use super::vector_x86::Vector;
use super::{Instructions, Level};

/// Most rows of a tile: 8 × 2 sums hide the latency of the multiply-adds and, with two vectors of
/// the right matrix, leave registers over in AVX-512. AVX2 has 16 registers: 6 × 2 sums fill them.
const TILE_ROWS_AVX512: usize = 8;
const TILE_ROWS_AVX2: usize = 6;

/// Writes the products of one sample's `vectors` [F1, D] to `dots`.
pub(super) fn forward(
    shape: &DotInteraction,
    level: Level,
    vectors: &[f32],
    scratch: &mut Scratch,
    dots: &mut [f32],
) {
    assert!(vectors.len() == shape.features * shape.width && dots.len() == shape.dots());
    if level.instructions() == Instructions::Avx512 {
        // SAFETY: `level` proves AVX-512F, AVX2 and FMA; the lengths were just checked, and
        // `Scratch::new` sized the buffers for `shape`.
        unsafe { forward_avx512(shape, vectors, scratch) }
    } else {
        // SAFETY: every other level that gets here proves AVX2 and FMA; lengths as above.
        unsafe { forward_avx2(shape, vectors, scratch) }
    }
    dots.copy_from_slice(&scratch.packed.values()[..dots.len()]);
}

/// Overwrites `d_vectors` [F1, D] with the gradient from `d_dots`, for one sample.
pub(super) fn backward(
    shape: &DotInteraction,
    level: Level,
    (vectors, d_dots): (&[f32], &[f32]),
    scratch: &mut Scratch,
    d_vectors: &mut [f32],
) {
    let sample = shape.features * shape.width;
    assert!(vectors.len() == sample && d_vectors.len() == sample && d_dots.len() == shape.dots());
    scratch.packed.values_mut()[..d_dots.len()].copy_from_slice(d_dots);
    // SAFETY: `level` proves AVX2 and FMA, and `Scratch::new` sized the buffers for `shape`.
    unsafe { unpack_symmetric(shape, scratch) };
    let Scratch { features_padded, width_padded, square, padded, .. } = scratch;
    let (padded, width_padded) = (padded.values_mut(), *width_padded);
    let square = Matrix { at: square.values().as_ptr(), stride: *features_padded };
    if width_padded == shape.width {
        let right = Matrix { at: vectors.as_ptr(), stride: width_padded };
        // SAFETY: the right matrix and the result are [F1, D], the left one at least [F1, F1].
        unsafe { gradient(shape, level, [square, right], d_vectors.as_mut_ptr()) };
        return;
    }
    let (copy, result) = padded.split_at_mut(shape.features * width_padded);
    for (copy, vector) in copy.chunks_exact_mut(width_padded).zip(vectors.chunks(shape.width)) {
        copy[..shape.width].copy_from_slice(vector);
    }
    let right = Matrix { at: copy.as_ptr(), stride: width_padded };
    // SAFETY: as above, with rows of `width_padded` values in the right matrix and the result.
    unsafe { gradient(shape, level, [square, right], result.as_mut_ptr()) };
    let rows = result.chunks_exact(width_padded);
    for (vector, row) in d_vectors.chunks_exact_mut(shape.width).zip(rows) {
        vector.copy_from_slice(&row[..shape.width]);
    }
}

/// A row-major matrix somewhere in memory; it is read only.
#[derive(Clone, Copy)]
struct Matrix {
    at: *const f32,
    stride: usize,
}

impl Matrix {
    /// The matrix that starts `rows` and `columns` further on.
    ///
    /// # Safety
    /// That element is inside the allocation.
    unsafe fn from(self, rows: usize, columns: usize) -> Self {
        // SAFETY: the caller's promise.
        Self { at: unsafe { self.at.add(rows * self.stride + columns) }, ..self }
    }
}

/// R rows by C vectors of `left`ᵀ · `right`, over `depth` terms.
///
/// # Safety
/// The instructions of V; `left` is at least [depth, R] and `right` at least [depth, C lanes].
#[inline(always)]
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
unsafe fn tile<V: Vector, const R: usize, const C: usize>(
    left: Matrix,
    right: Matrix,
    depth: usize,
) -> [[V; C]; R] {
    // SAFETY: every access is within the shapes that the caller promises.
    unsafe {
        let mut sums = [[V::zero(); C]; R];
        for term in 0..depth {
            let mut columns = [V::zero(); C];
            for (c, column) in columns.iter_mut().enumerate() {
                *column = V::load(right.at.add(term * right.stride + c * V::LANES));
            }
            for (r, sums) in sums.iter_mut().enumerate() {
                let scale = V::splat(left.at.add(term * left.stride + r));
                for (sum, column) in sums.iter_mut().zip(columns) {
                    *sum = sum.fused(scale, column);
                }
            }
        }
        sums
    }
}

/// Computes the first `vectors` vectors of columns of R rows and stores row r at `row_at(r)`.
///
/// The columns go from the last to the first and the rows downwards: where rows lie packed and a
/// row's last vector reaches into the next rows, those are written later.
///
/// # Safety
/// As [`tile`], for `vectors` instead of C; `row_at(r)` has room for `vectors` vectors.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
unsafe fn rows<V: Vector, const R: usize>(
    [left, right]: [Matrix; 2],
    depth: usize,
    vectors: usize,
    row_at: impl Fn(usize) -> *mut f32,
) {
    let mut end = vectors;
    // SAFETY: every access is within the shapes and places that the caller promises.
    unsafe {
        if end % 2 == 1 {
            end -= 1;
            let sums = tile::<V, R, 1>(left, right.from(0, end * V::LANES), depth);
            for (r, [sum]) in sums.into_iter().enumerate() {
                sum.store(row_at(r).add(end * V::LANES));
            }
        }
        while end > 0 {
            end -= 2;
            let sums = tile::<V, R, 2>(left, right.from(0, end * V::LANES), depth);
            for (r, [near, far]) in sums.into_iter().enumerate() {
                near.store(row_at(r).add(end * V::LANES));
                far.store(row_at(r).add((end + 1) * V::LANES));
            }
        }
    }
}

/// [`rows`] for a number of rows known at run time, 1 to 8.
///
/// # Safety
/// As [`rows`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
unsafe fn rows_of<V: Vector>(
    count: usize,
    matrices: [Matrix; 2],
    depth: usize,
    vectors: usize,
    row_at: impl Fn(usize) -> *mut f32,
) {
    // SAFETY: the caller's promise, passed on.
    unsafe {
        match count {
            1 => rows::<V, 1>(matrices, depth, vectors, row_at),
            2 => rows::<V, 2>(matrices, depth, vectors, row_at),
            3 => rows::<V, 3>(matrices, depth, vectors, row_at),
            4 => rows::<V, 4>(matrices, depth, vectors, row_at),
            5 => rows::<V, 5>(matrices, depth, vectors, row_at),
            6 => rows::<V, 6>(matrices, depth, vectors, row_at),
            7 => rows::<V, 7>(matrices, depth, vectors, row_at),
            8 => rows::<V, 8>(matrices, depth, vectors, row_at),
            _ => unreachable!("tiles have 1 to 8 rows"),
        }
    }
}

/// Cuts `first..last` into as few tiles of at most `rows_max` rows as possible, of nearly equal
/// height: a short last tile would leave the multiply-adds waiting for each other.
fn tiles(first: usize, last: usize, rows_max: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = last - first;
    let count = rows.div_ceil(rows_max);
    (0..count).map(move |at| {
        let start = first + rows * at / count;
        (start, first + rows * (at + 1) / count - start)
    })
}

/// # Safety
/// AVX-512F, AVX2 and FMA; `vectors` and `scratch` fit `shape`.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn forward_avx512(shape: &DotInteraction, vectors: &[f32], scratch: &mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe { forward_in::<__m512>(shape, TILE_ROWS_AVX512, vectors, scratch) }
}

/// # Safety
/// AVX2 and FMA; `vectors` and `scratch` fit `shape`.
#[target_feature(enable = "avx2,fma")]
unsafe fn forward_avx2(shape: &DotInteraction, vectors: &[f32], scratch: &mut Scratch) {
    // SAFETY: the caller's promise.
    unsafe { forward_in::<__m256>(shape, TILE_ROWS_AVX2, vectors, scratch) }
}

/// Leaves the products in `scratch.packed`.
///
/// # Safety
/// The instructions of V and AVX2; `vectors` and `scratch` fit `shape`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
unsafe fn forward_in<V: Vector>(
    shape: &DotInteraction,
    rows_max: usize,
    vectors: &[f32],
    scratch: &mut Scratch,
) {
    let (features, width) = (shape.features, shape.width);
    let from = Matrix { at: vectors.as_ptr(), stride: width };
    let columns = scratch.columns.values_mut().as_mut_ptr();
    let right = Matrix { at: columns, stride: scratch.features_padded };
    let packed = scratch.packed.values_mut().as_mut_ptr();
    // Vector 0 has no products of its own unless with itself.
    let first = usize::from(shape.row_len(0) == 0);
    // SAFETY: `columns` is [D, features_padded] and a row of products spans at most
    // features_padded of its columns; a row's vectors reach at most 32 values past its end, which
    // `packed` has.
    unsafe {
        transpose(from, [features, width], columns, scratch.features_padded);
        for (start, count) in tiles(first, features, rows_max) {
            let vectors = shape.row_len(start + count - 1).div_ceil(V::LANES);
            let row_at = |row| packed.add(shape.row_start(start + row));
            rows_of::<V>(count, [right.from(0, start), right], width, vectors, row_at);
        }
    }
}

/// Writes `left`ᵀ · `right` to `result`; the right matrix and the result have rows of
/// `right.stride` values, a multiple of 8.
///
/// # Safety
/// The instructions of `level`; `left` is at least [F1, F1], `right` and `result` are
/// [F1, `right.stride`].
unsafe fn gradient(shape: &DotInteraction, level: Level, matrices: [Matrix; 2], result: *mut f32) {
    let whole = matrices[1].stride.is_multiple_of(16);
    // SAFETY: the caller's promise; AVX-512 is used where rows are whole vectors of it.
    unsafe {
        if level.instructions() == Instructions::Avx512 && whole {
            gradient_avx512(shape.features, matrices, result);
        } else {
            gradient_avx2(shape.features, matrices, result);
        }
    }
}

/// # Safety
/// AVX-512F, AVX2 and FMA; shapes as [`gradient`].
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn gradient_avx512(features: usize, matrices: [Matrix; 2], result: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { gradient_in::<__m512>(features, TILE_ROWS_AVX512, matrices, result) }
}

/// # Safety
/// AVX2 and FMA; shapes as [`gradient`].
#[target_feature(enable = "avx2,fma")]
unsafe fn gradient_avx2(features: usize, matrices: [Matrix; 2], result: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { gradient_in::<__m256>(features, TILE_ROWS_AVX2, matrices, result) }
}

/// # Safety
/// The instructions of V; shapes as [`gradient`], rows being whole vectors of V.
#[inline(always)]
#[expect(clippy::inline_always, reason = "must take its caller's instructions")]
unsafe fn gradient_in<V: Vector>(
    features: usize,
    rows_max: usize,
    [left, right]: [Matrix; 2],
    result: *mut f32,
) {
    let width = right.stride;
    // SAFETY: tiles stay within [F1, width], the caller's promise.
    unsafe {
        for (start, count) in tiles(0, features, rows_max) {
            let row_at = |row| result.add((start + row) * width);
            rows_of::<V>(count, [left.from(0, start), right], features, width / V::LANES, row_at);
        }
    }
}

/// Writes the transpose of `from` [rows, columns] to `into`, rows beyond `rows` as zeros up to the
/// next multiple of 8.
///
/// # Safety
/// AVX2; `into` is at least [columns, rows rounded up to 8] with rows of `stride`.
#[target_feature(enable = "avx2")]
unsafe fn transpose(from: Matrix, [rows, columns]: [usize; 2], into: *mut f32, stride: usize) {
    let whole = columns / 8 * 8;
    // SAFETY: reads are of rows and columns that exist, writes of places that the caller promises.
    unsafe {
        for row in (0..rows).step_by(8) {
            for column in (0..whole).step_by(8) {
                let mut block = [_mm256_setzero_ps(); 8];
                for (at, line) in block.iter_mut().enumerate().take(rows - row) {
                    *line = _mm256_loadu_ps(from.from(row + at, column).at);
                }
                for (at, line) in transpose_8(block).into_iter().enumerate() {
                    _mm256_storeu_ps(into.add((column + at) * stride + row), line);
                }
            }
            for column in whole..columns {
                for row in row..rows.min(row + 8) {
                    *into.add(column * stride + row) = *from.from(row, column).at;
                }
            }
        }
    }
}

/// Unpacks the triangle in `scratch.packed` into both halves of `scratch.square`. The diagonal is
/// zero, or twice the gradient of a vector's product with itself, which is its derivative.
///
/// # Safety
/// AVX2; `scratch` fits `shape`.
#[target_feature(enable = "avx2")]
unsafe fn unpack_symmetric(shape: &DotInteraction, scratch: &mut Scratch) {
    /// Eight lanes from position 8 - n on keep the first n.
    static KEEP: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    let stride = scratch.features_padded;
    let packed = scratch.packed.values().as_ptr();
    let square = scratch.square.values_mut().as_mut_ptr();
    let own = shape.row_len(0);
    // SAFETY: a row's loads end at most 8 past its start rounded down to a block, so within the 32
    // spare values of `packed`; blocks lie within [features_padded, features_padded].
    unsafe {
        for row in (0..shape.features).step_by(8) {
            let rows = (shape.features - row).min(8);
            for column in (0..=row).step_by(8) {
                let mut lower = [_mm256_setzero_ps(); 8];
                for (at, line) in lower.iter_mut().enumerate().take(rows) {
                    *line = _mm256_loadu_ps(packed.add(shape.row_start(row + at) + column));
                    if column == row {
                        let keep = _mm256_loadu_si256(KEEP.as_ptr().add(8 - at - own).cast());
                        *line = _mm256_and_ps(*line, _mm256_castsi256_ps(keep));
                    }
                }
                let upper = transpose_8(lower);
                for at in 0..8 {
                    let into = square.add((row + at) * stride + column);
                    if column == row {
                        _mm256_storeu_ps(into, _mm256_add_ps(lower[at], upper[at]));
                    } else {
                        _mm256_storeu_ps(into, lower[at]);
                        _mm256_storeu_ps(square.add((column + at) * stride + row), upper[at]);
                    }
                }
            }
        }
    }
}

/// The transpose of 8 × 8 values.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose_8(rows: [__m256; 8]) -> [__m256; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    // Pairs of rows interleaved, then pairs of pairs, then the 128-bit halves.
    let quads = |[a, b, c, d]: [__m256; 4]| {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let (low_next, high_next) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0x44>(low, low_next),
            _mm256_shuffle_ps::<0xee>(low, low_next),
            _mm256_shuffle_ps::<0x44>(high, high_next),
            _mm256_shuffle_ps::<0xee>(high, high_next),
        ]
    };
    let (near, far) = (quads([a, b, c, d]), quads([e, f, g, h]));
    let mut out = [_mm256_setzero_ps(); 8];
    for at in 0..4 {
        out[at] = _mm256_permute2f128_ps::<0x20>(near[at], far[at]);
        out[at + 4] = _mm256_permute2f128_ps::<0x31>(near[at], far[at]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::tiles;

    #[test]
    fn tiles_cover_the_rows_evenly() {
        for last in 1..60 {
            let cut: Vec<_> = tiles(1, last, 8).collect();
            assert_eq!(cut.iter().map(|(_, rows)| rows).sum::<usize>(), last - 1);
            assert!(cut.windows(2).all(|pair| pair[0].0 + pair[0].1 == pair[1].0));
            assert!(cut.iter().all(|(_, rows)| (1..=8).contains(rows)));
        }
    }
}
