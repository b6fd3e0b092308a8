//! Inner products with rows of whole numbers: the re-ranking of candidates.
//!
//! A row of floats becomes 16-bit numbers with one scale per row, cut into a high and a low byte:
//! value ≈ scale·(256·high + low). The two bytes lie in two planes, so that most candidates cost the
//! cache lines of the high plane only. All sums are exact whole numbers.

use super::level::{Arithmetic, Kernel, Level, dispatch, dispatch_at, prefetch};

/// Rows [N, D] of bytes with sign, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plane<'a> {
    dim: usize,
    values: &'a [i8],
}

impl<'a> Plane<'a> {
    /// Rows of `dim` bytes each.
    pub(crate) fn new(dim: usize, values: &'a [i8]) -> Self {
        Self { dim, values }
    }

    /// The bytes of one row, if there is such a row.
    #[inline(always)]
    pub(crate) fn row(&self, at: usize) -> Option<&'a [i8]> {
        self.values.get(at.checked_mul(self.dim)?..)?.get(..self.dim)
    }

    /// Asks for the first cache lines of a row.
    #[inline(always)]
    pub(crate) fn prefetch(&self, at: usize) {
        let start = at.saturating_mul(self.dim);
        for line in 0..self.dim.div_ceil(64).min(4) {
            prefetch(self.values, start + 64 * line);
        }
    }
}

/// A query of whole numbers: value ≈ scale·number.
#[derive(Clone, Debug, Default)]
pub(crate) struct IntegerQuery {
    pub(crate) values: Vec<i16>,
    pub(crate) scale: f32,
}

impl IntegerQuery {
    /// The nearest whole numbers, as large as sums over D products with bytes allow.
    pub(crate) fn set(&mut self, query: &[f32]) {
        let largest = query.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let room = i32::MAX as f32 * 0.99 / (128.0 * query.len().max(1) as f32);
        let range = room.min(f32::from(i16::MAX)).floor();
        self.scale = if largest > 0.0 { largest / range } else { 1.0 };
        let inverse = 1.0 / self.scale;
        // A tiny query overflows the inverse: then its products are zeros.
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        dispatch(Round { query, inverse, out: &mut self.values });
    }
}

struct Round<'a> {
    query: &'a [f32],
    inverse: f32,
    out: &'a mut Vec<i16>,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { query, inverse, out } = self;
        out.resize(query.len(), 0);
        for (value, out) in query.iter().zip(out) {
            *out = (value * inverse).round() as i16;
        }
    }
}

/// How many rows ahead the scan of candidates asks for cache lines.
const AHEAD: usize = 12;

/// The inner product of `query` with each of `rows` of the plane; 0 for a row that is not there.
///
/// # Determinism
/// Whole numbers: every level gives the same.
pub(crate) fn integer_dots(plane: Plane<'_>, query: &[i16], rows: &[u32], out: &mut Vec<i32>) {
    integer_dots_at(Level::best(), plane, query, rows, out);
}

/// As [`integer_dots`], with the instructions of `level`.
pub(super) fn integer_dots_at(
    level: Level,
    plane: Plane<'_>,
    query: &[i16],
    rows: &[u32],
    out: &mut Vec<i32>,
) {
    out.clear();
    dispatch_at(level, IntegerDots { plane, query, rows, out });
}

struct IntegerDots<'a> {
    plane: Plane<'a>,
    query: &'a [i16],
    rows: &'a [u32],
    out: &'a mut Vec<i32>,
}

impl Kernel for IntegerDots<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { plane, query, rows, out } = self;
        for (at, row) in rows.iter().enumerate() {
            if let Some(next) = rows.get(at + AHEAD) {
                plane.prefetch(*next as usize);
            }
            // No closure: one that is not inlined is compiled for no level at all.
            let dot = if let Some(row) = plane.row(*row as usize) {
                A::integer_dot(row, query)
            } else {
                0
            };
            out.push(dot);
        }
    }
}
