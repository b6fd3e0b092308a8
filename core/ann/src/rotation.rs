//! Axes in which the first columns hold most of what inner products differ in.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::kernel::{LANES, Panels};

/// Widths up to which vectors are turned: beyond, D² products per query cost more than they save.
pub(crate) const TURNED_DIM_MAX: usize = 1024;
/// Residuals that axes are fitted to, at least, and per column.
const SAMPLE_MIN: usize = 8192;
const SAMPLE_PER_COLUMN: usize = 8;

/// An orthogonal matrix [D, D], whose rows are the new axes: inner products stay as they are.
#[derive(Clone, Debug)]
pub(crate) struct Rotation {
    dim: usize,
    axes: Panels,
    columns: Panels,
}

impl Rotation {
    /// From axes [D, D], one per row.
    pub(crate) fn new(dim: usize, axes: &[f32]) -> Self {
        let transposed: Vec<f32> =
            (0..dim * dim).map(|at| axes[at % dim * dim + at / dim]).collect();
        let panels = |matrix: &[f32]| Panels::new(dim, matrix.chunks_exact(dim));
        Self { dim, axes: panels(axes), columns: panels(&transposed) }
    }

    /// Vectors [N, D] along the axes.
    pub(crate) fn turn(&self, vectors: &[f32], out: &mut Vec<f32>) {
        products(&self.axes, self.dim, vectors, out);
    }

    /// Vectors [N, D] as they were before [`Self::turn`], but for rounding.
    pub(crate) fn turn_back(&self, vectors: &[f32], out: &mut Vec<f32>) {
        products(&self.columns, self.dim, vectors, out);
    }
}

fn products(panels: &Panels, dim: usize, vectors: &[f32], out: &mut Vec<f32>) {
    let (rows, width) = (vectors.len() / dim, dim.next_multiple_of(LANES));
    out.resize(rows * width, 0.0);
    panels.view().products(vectors, out);
    if width > dim {
        for row in 1..rows {
            out.copy_within(row * width..row * width + dim, row * dim);
        }
        out.truncate(rows * dim);
    }
}

/// How many residuals [`principal_axes`] wants.
pub(crate) fn sample_rows(dim: usize) -> usize {
    SAMPLE_MIN.max(SAMPLE_PER_COLUMN * dim)
}

/// The principal axes [D, D] of residuals [N, D], and the mean square along each, the largest first.
pub(crate) fn principal_axes(dim: usize, residuals: &[f32]) -> (Vec<f32>, Vec<f64>) {
    let rows = residuals.len() / dim;
    let values = residuals.iter().map(|value| f64::from(*value));
    let matrix = DMatrix::from_iterator(dim, rows, values);
    let moments = &matrix * matrix.transpose() / rows.max(1) as f64;
    let eigen = SymmetricEigen::new(moments);
    let mut order: Vec<usize> = (0..dim).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]).then(a.cmp(b)));
    let axis = |at: &usize| eigen.eigenvectors.column(*at).iter().map(|v| *v as f32).collect();
    let axes: Vec<Vec<f32>> = order.iter().map(axis).collect();
    let squares = order.iter().map(|at| eigen.eigenvalues[*at].max(0.0));
    (axes.concat(), squares.collect())
}

#[cfg(test)]
mod tests {
    use rectool_base::Stream;

    use super::*;
    use crate::kernel::dot;

    #[test]
    fn turning_keeps_products_and_turns_back() {
        for dim in [1, 3, 16, 33] {
            let mut stream = Stream::new(5, &[dim as u64]);
            // Columns of very different sizes, mixed.
            let mut row = || -> Vec<f32> {
                let base: Vec<f32> =
                    (0..dim).map(|c| stream.next_normal() / (1 + c) as f32).collect();
                (0..dim).map(|c| base[c] + 0.5 * base[(c + 1) % dim]).collect()
            };
            let rows: Vec<f32> = (0..500).flat_map(|_| row()).collect();
            let (axes, squares) = principal_axes(dim, &rows);
            let rotation = Rotation::new(dim, &axes);
            let (mut turned, mut back) = (Vec::new(), Vec::new());
            rotation.turn(&rows, &mut turned);
            rotation.turn_back(&turned, &mut back);
            assert_eq!((turned.len(), back.len()), (rows.len(), rows.len()));
            for (a, b) in rows.iter().zip(&back) {
                assert!((a - b).abs() < 1e-5, "{dim}: {a} {b}");
            }
            let pair = |rows: &[f32]| dot(&rows[..dim], &rows[7 * dim..8 * dim]);
            assert!((pair(&rows) - pair(&turned)).abs() < 1e-4, "{dim}");
            for (column, square) in squares.iter().enumerate() {
                let found: f32 = turned.iter().skip(column).step_by(dim).map(|v| v * v).sum();
                assert!(
                    (f64::from(found) / 500.0 - square).abs() < 1e-3 * squares[0],
                    "{dim} {column}"
                );
                assert!(column == 0 || squares[column - 1] >= *square);
            }
        }
    }
}
