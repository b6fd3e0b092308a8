//! The matrix products of linear layers, for one block of rows on the calling thread.
//!
//! Each sum is a chain of multiply-adds in the order of the shared dimension, whatever the tiles: the
//! same bits for any number of threads, and for AVX2 and AVX-512.

#[cfg(target_arch = "x86_64")]
use super::gemm_x86;
use super::panels::{PANEL, Panels, ROW_TILE};
use super::{Instructions, Level, vectorised};

/// What a product is added to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start<'a> {
    Zero,
    /// A value per column, with zeros up to a multiple of 16.
    Bias(&'a [f32]),
    /// What the result holds.
    Result,
}

/// What happens to a sum before it is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish<'a> {
    Keep,
    /// What is negative becomes 0; NaN stays NaN, so that a broken model is noticed.
    Relu,
    /// The gradient through a ReLU and a dropout: `scale` times the sum where `activated`, which is
    /// shaped as the result, is positive, else 0.
    Mask {
        activated: &'a Panels,
        scale: f32,
    },
}

/// What surrounds a product.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    pub(crate) start: Start<'a>,
    pub(crate) finish: Finish<'a>,
}

/// Whether a product replaces what was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Replace,
    Add,
}

/// `out = finish(start + left · right)`, for the first `rows` rows.
///
/// Shapes: `left` [R, ≥ K], `right` [K, N], `out` [R, N]; `rows` ≤ R is a multiple of 8.
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply(
    level: Level,
    rows: usize,
    [left, right]: [&Panels; 2],
    out: &mut Panels,
    around: Around<'_>,
) {
    let bias = if let Start::Bias(bias) = around.start { bias.len() } else { out.count() * PANEL };
    let masked = if let Finish::Mask { activated, .. } = around.finish { activated } else { &*out };
    assert!(
        rows.is_multiple_of(ROW_TILE)
            && rows <= left.rows()
            && left.rows() == out.rows()
            && left.columns() >= right.rows()
            && right.columns() == out.columns()
            && bias == out.count() * PANEL
            && masked.rows() == out.rows()
            && masked.count() == out.count(),
        "{rows} rows of [{}, {}] times [{}, {}] into [{}, {}]",
        left.rows(),
        left.columns(),
        right.rows(),
        right.columns(),
        out.rows(),
        out.columns(),
    );
    match level.instructions() {
        Instructions::Portable => multiply_portable(rows, [left, right], out, around),
        #[cfg(target_arch = "x86_64")]
        _ => gemm_x86::multiply(level, rows, [left, right], out, around),
    }
}

/// `out (+)= leftᵀ · right`, over the first `rows` rows of both.
///
/// Shapes: `left` [R, N], `right` [R, K], `out` [N rounded up to 8, K].
///
/// # Panics
/// If the shapes do not fit.
pub(crate) fn multiply_transposed(
    level: Level,
    rows: usize,
    [left, right]: [&Panels; 2],
    out: &mut Panels,
    write: Write,
) {
    assert!(
        rows <= left.rows()
            && left.rows() == right.rows()
            && out.rows() == left.columns().next_multiple_of(ROW_TILE)
            && out.columns() == right.columns(),
        "{rows} rows of [{}, {}], transposed, times [{}, {}] into [{}, {}]",
        left.rows(),
        left.columns(),
        right.rows(),
        right.columns(),
        out.rows(),
        out.columns(),
    );
    match level.instructions() {
        Instructions::Portable => transposed_portable(rows, [left, right], out, write),
        #[cfg(target_arch = "x86_64")]
        _ => gemm_x86::multiply_transposed(level, rows, [left, right], out, write),
    }
}

/// Adds the columns' sums over the first `rows` rows of `values` to `sums`, which is as long as the
/// panels are wide.
pub(crate) fn add_column_sums(level: Level, rows: usize, values: &Panels, sums: &mut [f32]) {
    let panels = values.values().chunks_exact(values.rows() * PANEL);
    for (panel, sums) in panels.zip(sums.chunks_exact_mut(PANEL)) {
        add_lines(level, &panel[..rows * PANEL], sums);
    }
}

vectorised! {
    fn add_lines(lines: &[f32], sums: &mut [f32]) {
        // Four chains of additions instead of one, which would wait for each other.
        let mut partial = [[0.0f32; PANEL]; 4];
        for lines in lines.chunks(4 * PANEL) {
            for (partial, line) in partial.iter_mut().zip(lines.chunks_exact(PANEL)) {
                for (sum, value) in partial.iter_mut().zip(line) {
                    *sum += value;
                }
            }
        }
        let [a, b, c, d] = partial;
        for (at, sum) in sums.iter_mut().enumerate() {
            *sum += (a[at] + b[at]) + (c[at] + d[at]);
        }
    }
}

/// Applies a ReLU's gradient to `gradient`: 0 where `activated` is not positive.
///
/// Shapes: `gradient` [R, N], `activated` [R, N].
pub(crate) fn mask(gradient: &mut Panels, activated: &Panels) {
    let shapes = [&*gradient, activated].map(|panels| (panels.rows(), panels.columns()));
    assert_eq!(shapes[0], shapes[1], "gradient shaped unlike its activation");
    for (gradient, activated) in gradient.values_mut().iter_mut().zip(activated.values()) {
        *gradient = if *activated > 0.0 { *gradient } else { 0.0 };
    }
}

fn multiply_portable(
    rows: usize,
    [left, right]: [&Panels; 2],
    out: &mut Panels,
    around: Around<'_>,
) {
    let (stride, depth) = (left.rows() * PANEL, right.rows());
    for at in 0..out.count() {
        let right = &right.values()[at * depth * PANEL..(at + 1) * depth * PANEL];
        let base = at * stride;
        for row in 0..rows {
            let mut sums = [0.0f32; PANEL];
            if let Start::Bias(bias) = around.start {
                sums.copy_from_slice(&bias[at * PANEL..(at + 1) * PANEL]);
            }
            let place = base + row * PANEL..base + (row + 1) * PANEL;
            if let Start::Result = around.start {
                sums.copy_from_slice(&out.values()[place.clone()]);
            }
            let left = left.values()[row * PANEL..].chunks(stride);
            for (left, right) in left.zip(right.chunks(PANEL * PANEL)) {
                for (scale, line) in left.iter().zip(right.chunks_exact(PANEL)) {
                    for (sum, value) in sums.iter_mut().zip(line) {
                        *sum += scale * value;
                    }
                }
            }
            match around.finish {
                Finish::Keep => (),
                Finish::Relu => sums.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.0 } else { *x }),
                Finish::Mask { activated, scale } => {
                    for (sum, activated) in sums.iter_mut().zip(&activated.values()[place.clone()])
                    {
                        *sum = if *activated > 0.0 { *sum * scale } else { 0.0 };
                    }
                }
            }
            out.values_mut()[place].copy_from_slice(&sums);
        }
    }
}

fn transposed_portable(rows: usize, [left, right]: [&Panels; 2], out: &mut Panels, write: Write) {
    let (stride, out_rows) = (left.rows() * PANEL, out.rows());
    for at in 0..out.count() {
        let right = &right.values()[at * stride..at * stride + rows * PANEL];
        for row in 0..out_rows {
            let left = &left.values()[row / PANEL * stride + row % PANEL..];
            let place = (at * out_rows + row) * PANEL;
            let out = &mut out.values_mut()[place..place + PANEL];
            if write == Write::Replace {
                out.fill(0.0);
            }
            for (scale, line) in left.iter().step_by(PANEL).zip(right.chunks_exact(PANEL)) {
                for (sum, value) in out.iter_mut().zip(line) {
                    *sum += scale * value;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
