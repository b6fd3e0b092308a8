//! Products of many rows with many vectors: the work of assignment and of exact search in batches.

use super::level::{Arithmetic, Kernel, dispatch};

/// Vectors side by side in one panel: one AVX-512 register, or two AVX2 registers, of floats.
pub(crate) const LANES: usize = 16;

/// Rows that go through a panel together: as many accumulators as hide the latency of a multiply-add.
const ROWS: usize = 6;

/// Vectors [V, D] stored as panels [V / 16, D, 16]: sixteen vectors advance together through a row's
/// values. The last panel is filled up with zeros.
#[derive(Clone, Debug, Default)]
pub(crate) struct Panels {
    dim: usize,
    values: Vec<[f32; LANES]>,
}

impl Panels {
    /// Panels of `vectors`, each of `dim` values.
    pub(crate) fn new<'a>(dim: usize, vectors: impl ExactSizeIterator<Item = &'a [f32]>) -> Self {
        let count = vectors.len();
        let mut values = vec![[0.0; LANES]; count.div_ceil(LANES) * dim];
        for (at, vector) in vectors.enumerate() {
            let panel = &mut values[at / LANES * dim..][..dim];
            for (lanes, value) in panel.iter_mut().zip(vector) {
                lanes[at % LANES] = *value;
            }
        }
        Self { dim, values }
    }

    /// Width D of a vector.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The same panels, borrowed.
    pub(crate) fn view(&self) -> PanelsView<'_> {
        PanelsView { dim: self.dim, values: &self.values }
    }
}

/// Panels that lie somewhere else, such as in a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PanelsView<'a> {
    dim: usize,
    values: &'a [[f32; LANES]],
}

impl PanelsView<'_> {
    /// Number of panels.
    pub(crate) fn panels(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Inner products of every row [N, D] with every vector: `out` [N, panels × 16].
    ///
    /// # Panics
    /// If a shape does not fit.
    pub(crate) fn products(&self, rows: &[f32], out: &mut [f32]) {
        let (count, width) = (rows.len() / self.dim, self.panels() * LANES);
        assert_eq!((rows.len(), out.len()), (count * self.dim, count * width), "shapes");
        if width > 0 {
            dispatch(Products { panels: *self, rows, out });
        }
    }
}

struct Products<'a> {
    panels: PanelsView<'a>,
    rows: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let dim = self.panels.dim;
        let width = self.panels.panels() * LANES;
        let mut tiles = self.rows.chunks_exact(ROWS * dim);
        let mut outs = self.out.chunks_exact_mut(ROWS * width);
        for (rows, out) in tiles.by_ref().zip(outs.by_ref()) {
            let rows: [&[f32]; ROWS] = std::array::from_fn(|at| &rows[at * dim..][..dim]);
            tile::<A, ROWS>(rows, self.panels.values, out);
        }
        let rest = tiles.remainder().chunks_exact(dim);
        for (row, out) in rest.zip(outs.into_remainder().chunks_exact_mut(width)) {
            tile::<A, 1>([row], self.panels.values, out);
        }
    }
}

/// Products of N rows with every panel.
#[inline(always)]
fn tile<A: Arithmetic, const N: usize>(
    rows: [&[f32]; N],
    values: &[[f32; LANES]],
    out: &mut [f32],
) {
    let dim = rows[0].len();
    let width = out.len() / N;
    for (at, panel) in values.chunks_exact(dim).enumerate() {
        let mut sums = [[0.0f32; LANES]; N];
        for (column, lanes) in panel.iter().enumerate() {
            for (row, sums) in rows.iter().zip(&mut sums) {
                let value = row[column];
                for (sum, lane) in sums.iter_mut().zip(lanes) {
                    *sum = A::multiply_add(value, *lane, *sum);
                }
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            out[row * width + at * LANES..][..LANES].copy_from_slice(sums);
        }
    }
}

/// The inner product of two vectors, in 16 interleaved sums.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    dispatch(Dot { a, b })
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f32 {
        dot_with::<A>(self.a, self.b)
    }
}

/// The squared distance of two vectors.
pub(crate) fn square(a: &[f32], b: &[f32]) -> f32 {
    dispatch(Square { a, b })
}

struct Square<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Square<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<A: Arithmetic>(self) -> f32 {
        square_with::<A>(self.a, self.b)
    }
}

/// As [`dot`], for use inside kernels.
#[inline(always)]
pub(crate) fn dot_with<A: Arithmetic>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    let (mut left, mut right) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (a, b) in left.by_ref().zip(right.by_ref()) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = A::multiply_add(*a, *b, *sum);
        }
    }
    for ((sum, a), b) in sums.iter_mut().zip(left.remainder()).zip(right.remainder()) {
        *sum = A::multiply_add(*a, *b, *sum);
    }
    total(sums)
}

/// The squared distance of two vectors, summed as in [`dot`].
#[inline(always)]
pub(crate) fn square_with<A: Arithmetic>(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; LANES];
    for (a, b) in a.chunks(LANES).zip(b.chunks(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum = A::multiply_add(a - b, a - b, *sum);
        }
    }
    total(sums)
}

/// The sum of all lanes, halves onto halves.
#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for at in 0..half {
            sums[at] += sums[at + half];
        }
        half /= 2;
    }
    sums[0]
}
