//! Along which axes a tree stores vectors, and which of them its codes stand for.

use super::input::BuildInput;
use super::options::BuildOptions;
use crate::code::{BIAS_POSITIONS, choose};
use crate::kernel::GROUP;
use crate::metric::Metric;
use crate::partition::Assigned;
use crate::rotation::{Rotation, TURNED_DIM_MAX, principal_axes, sample_rows};
use crate::source::{Source, spread};

/// Queries, or vectors in their place, whose mean square along each axis is taken.
const QUERIES: usize = 4096;

/// What codes stand for.
pub(super) struct Axes {
    /// The axes [D, D], one per row, those that matter most first; empty if vectors are not turned.
    pub(super) values: Vec<f32>,
    /// Columns of each position.
    pub(super) widths: Vec<u8>,
}

impl Axes {
    /// Principal axes of the vectors as their nearest leaves see them. An axis matters as much as the
    /// mean square of residuals along it times that of queries: what it adds to the differences
    /// between inner products.
    pub(super) fn fit(
        source: &Source<'_>,
        (centroids, assigned): (&[f32], &Assigned),
        input: &BuildInput<'_>,
        options: &BuildOptions,
    ) -> Self {
        let metric = options.metric;
        let dim = source.dim();
        let residuals = residuals(source, centroids, assigned);
        let (mut values, squares) = if dim <= TURNED_DIM_MAX {
            principal_axes(dim, &residuals)
        } else {
            (Vec::new(), mean_squares(dim, &residuals, None))
        };
        let rotation = (!values.is_empty()).then(|| Rotation::new(dim, &values));
        let asked = mean_squares(dim, &queries(source, input, metric), rotation.as_ref());
        let mut order: Vec<usize> = (0..dim).collect();
        // In f64, and in the end as shares of the largest: squares of squares overflow.
        let importance = |at: usize| squares[at] * asked[at];
        if rotation.is_some() {
            order.sort_by(|a, b| importance(*b).total_cmp(&importance(*a)).then(a.cmp(b)));
        }
        let fixed = if metric == Metric::L2 { BIAS_POSITIONS } else { 0 };
        let largest = order.iter().map(|at| importance(*at)).fold(f64::MIN_POSITIVE, f64::max);
        let sorted = order.iter().map(|at| (importance(*at) / largest) as f32);
        let sorted: Vec<f32> = sorted.collect();
        let widths = choose(&sorted, options.code_error, (GROUP, fixed), dim.div_ceil(2));
        if rotation.is_some() {
            values = order.iter().flat_map(|at| &values[at * dim..][..dim]).copied().collect();
        }
        Self { values, widths }
    }
}

/// What is left of some vectors, evenly spread, behind their nearest centroids.
fn residuals(source: &Source<'_>, centroids: &[f32], assigned: &Assigned) -> Vec<f32> {
    let dim = source.dim();
    let rows = spread(source.rows(), sample_rows(dim));
    let mut values = source.gather(rows.clone());
    for (values, row) in values.chunks_exact_mut(dim).zip(rows) {
        let centroid = &centroids[assigned.nearest[row] as usize * dim..][..dim];
        values.iter_mut().zip(centroid).for_each(|(value, c)| *value -= c);
    }
    values
}

/// Queries like those to come.
fn queries(source: &Source<'_>, input: &BuildInput<'_>, metric: Metric) -> Vec<f32> {
    let Some(queries) = input.queries.filter(|queries| queries.rows() > 0) else {
        return source.gather(spread(source.rows(), QUERIES));
    };
    let mut out = Vec::new();
    for row in spread(queries.rows(), QUERIES) {
        let start = out.len();
        out.extend_from_slice(queries.row(row));
        metric.normalize(&mut out[start..]);
    }
    out
}

/// The mean square of each column of rows [N, D], once turned.
fn mean_squares(dim: usize, rows: &[f32], rotation: Option<&Rotation>) -> Vec<f64> {
    let mut turned = Vec::new();
    let rows = match rotation {
        Some(rotation) => {
            rotation.turn(rows, &mut turned);
            &turned
        }
        None => rows,
    };
    let mut sums = vec![0.0f64; dim];
    for row in rows.chunks_exact(dim) {
        sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value).powi(2));
    }
    let count = (rows.len() / dim).max(1) as f64;
    sums.into_iter().map(|sum| sum / count).collect()
}
