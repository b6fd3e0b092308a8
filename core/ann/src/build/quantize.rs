//! Floats as two bytes each, with a scale per vector.

use crate::file::Fact;
use crate::kernel::{Arithmetic, Kernel, dispatch, dot};
use crate::metric::Metric;
use crate::part::StoredRows;

/// The largest 16-bit number whose high byte, rounded, is still a byte.
const RANGE: f32 = 127.0 * 256.0 + 127.0;

/// Vectors as bytes, one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Planes {
    pub(crate) high: Vec<i8>,
    pub(crate) low: Vec<i8>,
    pub(crate) facts: Vec<Fact>,
}

impl Planes {
    pub(crate) fn with_capacity(rows: usize, dim: usize) -> Self {
        let plane = || Vec::with_capacity(rows * dim);
        Self { high: plane(), low: plane(), facts: Vec::with_capacity(rows) }
    }

    /// Adds a stored vector as it is; nothing if there is no such row.
    pub(crate) fn copy(&mut self, rows: &StoredRows<'_>, row: usize) {
        let parts = (rows.high.row(row), rows.low.row(row), rows.facts.get(row));
        if let (Some(high), Some(low), Some(fact)) = parts {
            self.high.extend_from_slice(high);
            self.low.extend_from_slice(low);
            self.facts.push(*fact);
        }
    }

    /// Adds a vector.
    pub(crate) fn push(&mut self, vector: &[f32], metric: Metric) {
        let from = self.high.len();
        self.high.resize(from + vector.len(), 0);
        self.low.resize(from + vector.len(), 0);
        let fact = quantize(vector, metric, &mut self.high[from..], &mut self.low[from..]);
        self.facts.push(fact);
    }
}

/// Cuts a vector into high and low bytes.
fn quantize(vector: &[f32], metric: Metric, high: &mut [i8], low: &mut [i8]) -> Fact {
    let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / RANGE;
    let inverse = if largest > 0.0 { RANGE / largest } else { 0.0 };
    let inverse = if inverse.is_finite() { inverse } else { 0.0 };
    dispatch(Cut { vector, inverse, high, low });
    Fact { scale, bias: metric.bias(dot(vector, vector)) }
}

struct Cut<'a> {
    vector: &'a [f32],
    inverse: f32,
    high: &'a mut [i8],
    low: &'a mut [i8],
}

impl Kernel for Cut<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let bytes = self.high.iter_mut().zip(self.low);
        for (value, (high, low)) in self.vector.iter().zip(bytes) {
            let whole = (value * self.inverse).round_ties_even() as i32;
            let upper = (whole + 128) >> 8;
            (*high, *low) = (upper as i8, (whole - (upper << 8)) as i8);
        }
    }
}
