//! Floats as two bytes each, with a scale per vector.

use crate::file::Fact;
use crate::kernel::{Arithmetic, Kernel, dispatch, dot};
use crate::metric::Metric;

/// The largest 16-bit number whose high byte, rounded, is still a byte.
const RANGE: f32 = 127.0 * 256.0 + 127.0;

/// Cuts a vector into high and low bytes.
pub(crate) fn quantize(vector: &[f32], metric: Metric, high: &mut [i8], low: &mut [i8]) -> Fact {
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
