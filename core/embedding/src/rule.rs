//! The optimizer steps of one row.

/// How a row takes one step. `gradient` may be overwritten. η is already in the rule; `missed` steps
/// left the row out since its last one. `step` must be `#[inline(always)]`.
///
/// Shapes: `values` and `gradient` \[D\], `state` at least \[S\].
pub(crate) trait Rule: Copy + Send + Sync {
    /// Whether the step is worth compiling for each common width: it takes long.
    const UNROLLED: bool = false;

    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], missed: u32);
}

#[derive(Clone, Copy)]
pub(crate) struct Sgd {
    pub(crate) rate: f32,
    pub(crate) weight_decay: f32,
}

impl Rule for Sgd {
    const UNROLLED: bool = true;

    #[inline(always)]
    fn step(self, values: &mut [f32], _: &mut [f32], gradient: &mut [f32], _: u32) {
        decay(self.weight_decay, values, gradient);
        for (w, g) in values.iter_mut().zip(gradient) {
            *w -= self.rate * *g;
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Adagrad {
    pub(crate) rate: f32,
    pub(crate) epsilon: f32,
    pub(crate) weight_decay: f32,
}

impl Rule for Adagrad {
    const UNROLLED: bool = true;

    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], _: u32) {
        decay(self.weight_decay, values, gradient);
        for ((w, a), g) in values.iter_mut().zip(state).zip(gradient) {
            *a += *g * *g;
            *w -= self.rate * *g / (a.sqrt() + self.epsilon);
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct RowWiseAdagrad {
    pub(crate) rate: f32,
    pub(crate) epsilon: f32,
    pub(crate) weight_decay: f32,
}

impl Rule for RowWiseAdagrad {
    const UNROLLED: bool = true;

    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], _: u32) {
        decay(self.weight_decay, values, gradient);
        state[0] += sum_of_squares(gradient) / gradient.len() as f32;
        let rate = self.rate / (state[0].sqrt() + self.epsilon);
        for (w, g) in values.iter_mut().zip(gradient) {
            *w -= rate * *g;
        }
    }
}

#[inline(always)]
fn decay(weight_decay: f32, values: &[f32], gradient: &mut [f32]) {
    if weight_decay != 0.0 {
        for (g, w) in gradient.iter_mut().zip(values) {
            *g += weight_decay * *w;
        }
    }
}

/// Eight partial sums, joined in a fixed order: the same bytes with or without wide registers.
#[inline(always)]
fn sum_of_squares(values: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (blocks, rest) = values.as_chunks::<8>();
    for block in blocks {
        for (sum, x) in sums.iter_mut().zip(block) {
            *sum += x * x;
        }
    }
    for (sum, x) in sums.iter_mut().zip(rest) {
        *sum += x * x;
    }
    let [a, b, c, d, e, f, g, h] = sums;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

#[cfg(test)]
mod tests {
    use rectool_base::Stream;

    use super::*;
    use crate::simd::{Kernel, dispatch};

    struct Step<'a, R>(R, &'a mut [f32], &'a mut [f32], &'a mut [f32]);

    impl<R: Rule> Kernel for Step<'_, R> {
        #[inline(always)]
        fn run(self) {
            self.0.step(self.1, self.2, self.3, 0);
        }
    }

    fn same_bytes(rule: impl Rule, dim: usize, state: usize) {
        let mut stream = Stream::new(dim as u64, &[]);
        let mut draw = |count| -> Vec<f32> { (0..count).map(|_| stream.next_f32()).collect() };
        let (values, state, gradient) = (draw(dim), draw(state), draw(dim));
        let (mut plain, mut wide) = ((values.clone(), state.clone()), (values, state));
        let mut plain_gradient = gradient.clone();
        let mut wide_gradient = gradient;
        Step(rule, &mut plain.0, &mut plain.1, &mut plain_gradient).run();
        dispatch(Step(rule, &mut wide.0, &mut wide.1, &mut wide_gradient));
        let bits = |row: &(Vec<f32>, Vec<f32>)| -> Vec<u32> {
            row.0.iter().chain(&row.1).map(|x| x.to_bits()).collect()
        };
        assert_eq!(bits(&plain), bits(&wide), "width {dim}");
    }

    #[test]
    fn wide_registers_give_the_same_bytes() {
        let (rate, epsilon, weight_decay) = (0.3, 1e-8, 0.01);
        for dim in [1, 7, 8, 16, 37, 128] {
            same_bytes(Sgd { rate, weight_decay }, dim, 0);
            same_bytes(Adagrad { rate, epsilon, weight_decay }, dim, dim);
            same_bytes(RowWiseAdagrad { rate, epsilon, weight_decay }, dim, 1);
        }
    }
}
