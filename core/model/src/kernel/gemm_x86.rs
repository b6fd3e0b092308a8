//! The products of linear layers in AVX2 and AVX-512.
//!
//! One register tile serves all of them: R rows by C vectors of sums stay in registers while it runs
//! along the shared dimension, adding a broadcast value of the left matrix times a vector of the
//! right one. In AVX-512 it is 8 × 3 or 4 × 4 vectors, which reach 94 % of the multiply-adds that an AMD
//! Zen 4 can do; 12 × 2 and 6 × 4 were as fast. AVX2 has half the registers: 4 × 2 vectors.

#![expect(unsafe_code, reason = "vector instructions take pointers and need detection first")]
#![expect(clippy::inline_always, reason = "must take its caller's instructions")]

use std::arch::x86_64::{__m256, __m512};

use super::gemm::{Around, Finish, Start, Write};
use super::panels::{PANEL, Panels};
use super::vector_x86::Vector;
use super::{Instructions, Level};

/// Terms that one pass over a tile's columns adds: 128 × 3 panels of the right matrix are 24 KB,
/// which stay in the first-level cache while all rows of the block pass by.
const DEPTH_MAX: usize = 128;

/// Panels that a tile spans in AVX2.
const PANELS_AVX2: usize = 1;

/// Most panels that a tile spans in AVX-512. Four, by half as many rows, where they come out even: the
/// left matrix is read once where two spans of two would read it twice.
fn most_avx512(panels: usize) -> usize {
    if panels.is_multiple_of(4) { 4 } else { 3 }
}

/// See [`super::gemm::multiply`], which checks the shapes.
pub(super) fn multiply(
    level: Level,
    rows: usize,
    [left, right]: [&Panels; 2],
    out: &mut Panels,
    around: Around<'_>,
) {
    let panels = out.count();
    let task = Product {
        left: left.values().as_ptr(),
        right: right.values().as_ptr(),
        out: out.values_mut().as_mut_ptr(),
        rows,
        stride: left.rows() * PANEL,
        depth: right.rows(),
        panels,
        around,
    };
    if level.instructions() == Instructions::Avx512 {
        // SAFETY: `level` proves the instructions; the caller checked the shapes.
        unsafe { multiply_avx512(&task) }
    } else {
        // SAFETY: every other level that gets here proves AVX2 and FMA; shapes as above.
        unsafe { multiply_avx2(&task) }
    }
}

/// See [`super::gemm::multiply_transposed`], which checks the shapes.
pub(super) fn multiply_transposed(
    level: Level,
    rows: usize,
    [left, right]: [&Panels; 2],
    out: &mut Panels,
    write: Write,
) {
    let (out_rows, panels) = (out.rows(), out.count());
    let task = Transposed {
        left: left.values().as_ptr(),
        right: right.values().as_ptr(),
        out: out.values_mut().as_mut_ptr(),
        rows,
        stride: left.rows() * PANEL,
        out_rows,
        panels,
        write,
    };
    if level.instructions() == Instructions::Avx512 {
        // SAFETY: `level` proves the instructions; the caller checked the shapes.
        unsafe { transposed_avx512(&task) }
    } else {
        // SAFETY: every other level that gets here proves AVX2 and FMA; shapes as above.
        unsafe { transposed_avx2(&task) }
    }
}

/// A product of panels: `left` [R, ≥ depth], `right` [depth, 16 panels], `out` [R, 16 panels].
struct Product<'a> {
    left: *const f32,
    right: *const f32,
    out: *mut f32,
    rows: usize,
    /// Values of a panel of `left` and `out`.
    stride: usize,
    depth: usize,
    panels: usize,
    around: Around<'a>,
}

/// A product over rows: `left` [R, ≥ `out_rows`], `right` [R, 16 panels], `out` [`out_rows`, 16 panels].
struct Transposed {
    left: *const f32,
    right: *const f32,
    out: *mut f32,
    rows: usize,
    /// Values of a panel of `left` and `right`.
    stride: usize,
    out_rows: usize,
    panels: usize,
    write: Write,
}

/// # Safety
/// AVX-512F, AVX2 and FMA; the shapes of `task` are as [`Product`] says.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn multiply_avx512(task: &Product<'_>) {
    for (first, panels) in spans(task.panels, most_avx512(task.panels)) {
        // SAFETY: the caller's promise; the span lies within the task's panels.
        unsafe {
            match panels {
                1 => task.span::<__m512, 8, 1>(first),
                2 => task.span::<__m512, 8, 2>(first),
                4 => task.span::<__m512, 4, 4>(first),
                _ => task.span::<__m512, 8, 3>(first),
            }
        }
    }
}

/// # Safety
/// AVX2 and FMA; the shapes of `task` are as [`Product`] says.
#[target_feature(enable = "avx2,fma")]
unsafe fn multiply_avx2(task: &Product<'_>) {
    for (first, _) in spans(task.panels, PANELS_AVX2) {
        // SAFETY: the caller's promise; the span lies within the task's panels.
        unsafe { task.span::<__m256, 4, 2>(first) }
    }
}

/// # Safety
/// AVX-512F, AVX2 and FMA; the shapes of `task` are as [`Transposed`] says.
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn transposed_avx512(task: &Transposed) {
    for (first, panels) in spans(task.panels, most_avx512(task.panels)) {
        // SAFETY: the caller's promise; the span lies within the task's panels.
        unsafe {
            match panels {
                1 => task.span::<__m512, 8, 1>(first),
                2 => task.span::<__m512, 8, 2>(first),
                4 => task.span::<__m512, 4, 4>(first),
                _ => task.span::<__m512, 8, 3>(first),
            }
        }
    }
}

/// # Safety
/// AVX2 and FMA; the shapes of `task` are as [`Transposed`] says.
#[target_feature(enable = "avx2,fma")]
unsafe fn transposed_avx2(task: &Transposed) {
    for (first, _) in spans(task.panels, PANELS_AVX2) {
        // SAFETY: the caller's promise; the span lies within the task's panels.
        unsafe { task.span::<__m256, 4, 2>(first) }
    }
}

/// Cuts `panels` into as few spans of at most `most` as possible, of nearly equal width.
fn spans(panels: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = panels.div_ceil(most);
    (0..count).map(move |at| {
        let first = panels * at / count;
        (first, panels * (at + 1) / count - first)
    })
}

impl Product<'_> {
    /// Computes C vectors' worth of columns from panel `first` on.
    ///
    /// # Safety
    /// The instructions of V; the shapes are as [`Product`] says, R divides 8, and the C vectors
    /// from panel `first` on lie within the task's panels.
    #[inline(always)]
    unsafe fn span<V: Vector, const R: usize, const C: usize>(&self, first: usize) {
        let mut from = 0;
        // At least once, since a product without terms still starts and finishes.
        loop {
            let depth = (self.depth - from).min(DEPTH_MAX);
            let (is_first, is_last) = (from == 0, from + depth == self.depth);
            for row in (0..self.rows).step_by(R) {
                // SAFETY: rows and panels are within the shapes that the caller promises; `from` is
                // a multiple of 16, so that it is the start of a panel of `left`.
                unsafe {
                    let out = self.out.add(first * self.stride + row * PANEL);
                    let sums = if is_first && !matches!(self.around.start, Start::Result) {
                        self.begin::<V, R, C>(first)
                    } else {
                        load::<V, R, C>(out, self.stride)
                    };
                    let left = self.left.add(from / PANEL * self.stride + row * PANEL);
                    let right = self.right.add((first * self.depth + from) * PANEL);
                    let strides = [self.stride, self.depth * PANEL];
                    let mut sums = tile::<V, R, C, PANEL, 1>([left, right], strides, depth, sums);
                    if is_last {
                        self.end(first * self.stride + row * PANEL, &mut sums);
                    }
                    store(sums, out, self.stride);
                }
            }
            from += depth;
            if is_last {
                break;
            }
        }
    }

    /// The sums before the first term.
    ///
    /// # Safety
    /// As [`Product::span`].
    #[inline(always)]
    unsafe fn begin<V: Vector, const R: usize, const C: usize>(&self, first: usize) -> [[V; C]; R] {
        // SAFETY: the bias is as long as the panels are wide, which the caller checked.
        unsafe {
            let mut line = [V::zero(); C];
            if let Start::Bias(bias) = self.around.start {
                for (c, value) in line.iter_mut().enumerate() {
                    *value = V::load(bias.as_ptr().add(first * PANEL + c * V::LANES));
                }
            }
            [line; R]
        }
    }

    /// What happens after the last term to the tile that starts at `place` of the result.
    ///
    /// # Safety
    /// As [`Product::span`].
    #[inline(always)]
    unsafe fn end<V: Vector, const R: usize, const C: usize>(
        &self,
        place: usize,
        sums: &mut [[V; C]; R],
    ) {
        // SAFETY: `activated` is shaped as the result, which the caller checked.
        unsafe {
            match self.around.finish {
                Finish::Keep => (),
                Finish::Relu => {
                    for sum in sums.as_flattened_mut() {
                        *sum = sum.relu();
                    }
                }
                Finish::Mask { activated, scale } => {
                    let activated = activated.values().as_ptr().add(place);
                    let activated = load::<V, R, C>(activated, self.stride);
                    let pairs = sums.as_flattened_mut().iter_mut();
                    for (sum, activated) in pairs.zip(activated.as_flattened()) {
                        *sum = sum.masked(*activated, scale);
                    }
                }
            }
        }
    }
}

impl Transposed {
    /// Computes C vectors' worth of columns from panel `first` on.
    ///
    /// # Safety
    /// The instructions of V; the shapes are as [`Transposed`] says, R divides 8, and the C vectors
    /// from panel `first` on lie within the task's panels.
    #[inline(always)]
    unsafe fn span<V: Vector, const R: usize, const C: usize>(&self, first: usize) {
        let out_stride = self.out_rows * PANEL;
        for row in (0..self.out_rows).step_by(R) {
            // SAFETY: rows and panels are within the shapes that the caller promises; `out_rows` is
            // a multiple of 8, at most 7 more than `left` has columns, so its panels hold them.
            unsafe {
                let out = self.out.add(first * out_stride + row * PANEL);
                let sums = match self.write {
                    Write::Replace => [[V::zero(); C]; R],
                    Write::Add => load::<V, R, C>(out, out_stride),
                };
                let left = self.left.add(row / PANEL * self.stride + row % PANEL);
                let right = self.right.add(first * self.stride);
                let strides = [PANEL * PANEL, self.stride];
                let sums = tile::<V, R, C, 1, PANEL>([left, right], strides, self.rows, sums);
                store(sums, out, out_stride);
            }
        }
    }
}

/// Where vector `c` of a row lies from the row's first, `panel` values separating its panels.
#[inline(always)]
fn column<V: Vector>(c: usize, panel: usize) -> usize {
    let per_line = PANEL / V::LANES;
    c / per_line * panel + c % per_line * V::LANES
}

/// # Safety
/// The instructions of V; R rows of C vectors from `at` on are readable.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const C: usize>(
    at: *const f32,
    panel: usize,
) -> [[V; C]; R] {
    // SAFETY: the caller's promise.
    unsafe {
        let mut values = [[V::zero(); C]; R];
        for (r, line) in values.iter_mut().enumerate() {
            for (c, value) in line.iter_mut().enumerate() {
                *value = V::load(at.add(r * PANEL + column::<V>(c, panel)));
            }
        }
        values
    }
}

/// # Safety
/// The instructions of V; R rows of C vectors from `at` on are writable.
#[inline(always)]
unsafe fn store<V: Vector, const R: usize, const C: usize>(
    values: [[V; C]; R],
    at: *mut f32,
    panel: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        for (r, line) in values.into_iter().enumerate() {
            for (c, value) in line.into_iter().enumerate() {
                value.store(at.add(r * PANEL + column::<V>(c, panel)));
            }
        }
    }
}

/// Adds `depth` terms to R rows by C vectors of sums.
///
/// Row r of term t is at `t / 16 * strides[0] + t % 16 * DEPTH + r * ROW` of the left matrix; line t of
/// the right one is at `16 t`, and `strides[1]` further for each panel.
///
/// # Safety
/// The instructions of V; those places exist.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const C: usize, const ROW: usize, const DEPTH: usize>(
    [mut left, mut right]: [*const f32; 2],
    strides: [usize; 2],
    depth: usize,
    mut sums: [[V; C]; R],
) -> [[V; C]; R] {
    // SAFETY: the caller's promise; the pointers may go past the last term, where nothing is read.
    unsafe {
        for _ in 0..depth / PANEL {
            for term in 0..PANEL {
                let at = [left.add(term * DEPTH), right.add(term * PANEL)];
                add_term::<V, R, C, ROW>(at, strides[1], &mut sums);
            }
            left = left.wrapping_add(strides[0]);
            right = right.wrapping_add(PANEL * PANEL);
        }
        for term in 0..depth % PANEL {
            let at = [left.add(term * DEPTH), right.add(term * PANEL)];
            add_term::<V, R, C, ROW>(at, strides[1], &mut sums);
        }
        sums
    }
}

/// # Safety
/// As [`tile`], for one term.
#[inline(always)]
unsafe fn add_term<V: Vector, const R: usize, const C: usize, const ROW: usize>(
    [left, right]: [*const f32; 2],
    panel: usize,
    sums: &mut [[V; C]; R],
) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut columns = [V::zero(); C];
        for (c, value) in columns.iter_mut().enumerate() {
            *value = V::load(right.add(column::<V>(c, panel)));
        }
        for (r, sums) in sums.iter_mut().enumerate() {
            let scale = V::splat(left.add(r * ROW));
            for (sum, column) in sums.iter_mut().zip(columns) {
                *sum = sum.fused(scale, column);
            }
        }
    }
}
