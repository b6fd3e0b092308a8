//! Adam and its kin.

use super::{Rule, decay, sum_of_squares};
use crate::Decay;

/// What the members of the family share.
#[derive(Clone, Copy)]
pub(crate) struct Moments {
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) epsilon: f32,
    pub(crate) decay: Decay,
}

/// Adam at one step. State: m \[D\], then v \[D\].
#[derive(Clone, Copy)]
pub(crate) struct Adam {
    moments: Moments,
    /// 1 − β.
    rest1: f32,
    rest2: f32,
    /// η·√(1 − β2^t) / (1 − β1^t).
    step_size: f32,
    /// What is added to √v.
    epsilon: f32,
    /// Added to the gradient as a share of the values.
    l2: f32,
    /// Share of the values that a step takes away.
    shrink: f32,
}

impl Adam {
    /// Of step `step`, counted from 1.
    pub(crate) fn new(moments: Moments, rate: f32, step: u64) -> Self {
        let Moments { beta1, beta2, .. } = moments;
        let (beta1, beta2) = (f64::from(beta1), f64::from(beta2));
        let correction = (1.0 - power(beta2, step)).sqrt();
        let step_size = f64::from(rate) * correction / (1.0 - power(beta1, step));
        // η·m̂ / (√v̂ + ε), written with one division; SparseAdam adds ε before the correction.
        let epsilon = match moments.decay {
            Decay::Lazy => moments.epsilon,
            Decay::Exact => (f64::from(moments.epsilon) * correction) as f32,
        };
        let (rest1, rest2) = ((1.0 - beta1) as f32, (1.0 - beta2) as f32);
        let step_size = step_size as f32;
        Self { moments, rest1, rest2, step_size, epsilon, l2: 0.0, shrink: 0.0 }
    }

    /// With λ·w added to the gradient.
    pub(crate) fn with_l2(self, weight_decay: f32) -> Self {
        Self { l2: weight_decay, ..self }
    }

    /// With the share `shrink` of every value taken away before the step.
    pub(crate) fn with_shrink(self, shrink: f32) -> Self {
        Self { shrink, ..self }
    }

    #[inline(always)]
    fn shrink(self, values: &mut [f32], missed: Missed) {
        if self.shrink != 0.0 {
            let keep = (1.0 - self.shrink) * missed.values;
            for w in values {
                *w *= keep;
            }
        }
    }

    #[inline(always)]
    fn missed(self, steps: u32) -> Missed {
        match self.moments.decay {
            Decay::Exact if steps > 0 => Missed {
                first: power(f64::from(self.moments.beta1), u64::from(steps)) as f32,
                second: power(f64::from(self.moments.beta2), u64::from(steps)) as f32,
                values: power(1.0 - f64::from(self.shrink), u64::from(steps)) as f32,
            },
            _ => Missed { first: 1.0, second: 1.0, values: 1.0 },
        }
    }
}

/// What the steps that left a row out make of it: factors.
#[derive(Clone, Copy)]
struct Missed {
    first: f32,
    second: f32,
    values: f32,
}

impl Rule for Adam {
    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], missed: u32) {
        let missed = self.missed(missed);
        self.shrink(values, missed);
        decay(self.l2, values, gradient);
        let (first, second) = state.split_at_mut(values.len());
        let keep2 = self.moments.beta2 * missed.second;
        for (((w, m), v), g) in values.iter_mut().zip(first).zip(second).zip(gradient) {
            let old = *m * missed.first;
            *m = old + self.rest1 * (*g - old);
            *v = keep2 * *v + self.rest2 * (*g * *g);
            *w -= self.step_size * *m / (v.sqrt() + self.epsilon);
        }
    }
}

/// Adam with one v per row, of the mean of g² over D. State: m \[D\], then v.
#[derive(Clone, Copy)]
pub(crate) struct RowWiseAdam(pub(crate) Adam);

impl Rule for RowWiseAdam {
    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], missed: u32) {
        let Self(adam) = self;
        let missed = adam.missed(missed);
        adam.shrink(values, missed);
        decay(adam.l2, values, gradient);
        let (first, second) = state.split_at_mut(values.len());
        let mean = sum_of_squares(gradient) / gradient.len() as f32;
        second[0] = adam.moments.beta2 * missed.second * second[0] + adam.rest2 * mean;
        let rate = adam.step_size / (second[0].sqrt() + adam.epsilon);
        for ((w, m), g) in values.iter_mut().zip(first).zip(gradient) {
            let old = *m * missed.first;
            *m = old + adam.rest1 * (*g - old);
            *w -= rate * *m;
        }
    }
}

/// `base` to the power `exponent`, by squaring: the same bytes everywhere.
#[inline(always)]
fn power(base: f64, exponent: u64) -> f64 {
    let (mut result, mut square, mut rest) = (1.0, base, exponent);
    while rest > 0 {
        if rest & 1 == 1 {
            result *= square;
        }
        square *= square;
        rest >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_right() {
        assert_eq!(power(0.5, 0), 1.0);
        assert_eq!(power(-2.0, 5), -32.0);
        assert!((power(0.999, 10_000) - 0.999f64.powi(10_000)).abs() < 1e-15);
        assert_eq!(power(0.9, u64::MAX), 0.0);
    }
}
