//! The optimizer steps of one row.

mod adagrad;
mod adam;
mod ftrl;
mod sgd;

pub(crate) use adagrad::{Adagrad, RowWiseAdagrad};
pub(crate) use adam::{Adam, Moments, RowWiseAdam};
pub(crate) use ftrl::Ftrl;
pub(crate) use sgd::{MomentumSgd, Sgd};

/// How a row takes one step. `gradient` may be overwritten. η is already in the rule; `missed` steps
/// left the row out since its last one. `step` must be `#[inline(always)]`.
///
/// Shapes: `values` and `gradient` \[D\], `state` at least \[S\].
pub(crate) trait Rule: Copy + Send + Sync {
    /// Whether the step is worth compiling for each common width: it takes long.
    const UNROLLED: bool = false;

    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], missed: u32);
}

#[inline(always)]
fn decay(weight_decay: f32, values: &[f32], gradient: &mut [f32]) {
    if weight_decay != 0.0 {
        for (g, w) in gradient.iter_mut().zip(values) {
            *g += weight_decay * *w;
        }
    }
}

/// Shortens a gradient to `norm_max`, if it is longer.
#[inline(always)]
pub(crate) fn clip(norm_max: f32, gradient: &mut [f32]) {
    let squares = sum_of_squares(gradient);
    if squares > norm_max * norm_max {
        let share = if squares < f32::INFINITY {
            norm_max / squares.sqrt()
        } else {
            share(norm_max, gradient)
        };
        for g in gradient {
            *g *= share;
        }
    }
}

/// What a gradient is multiplied with whose squares are too large for their format.
#[cold]
fn share(norm_max: f32, gradient: &[f32]) -> f32 {
    let squares: f64 = gradient.iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
    (f64::from(norm_max) / squares.sqrt()) as f32
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
    use crate::Decay;
    use crate::simd::{Kernel, dispatch};

    struct Step<'a, R>(R, &'a mut [f32], &'a mut [f32], &'a mut [f32]);

    impl<R: Rule> Kernel for Step<'_, R> {
        #[inline(always)]
        fn run(self) {
            clip(0.5, self.3);
            self.0.step(self.1, self.2, self.3, 3);
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
            same_bytes(MomentumSgd { rate, momentum: 0.9, weight_decay }, dim, dim);
            same_bytes(Adagrad { rate, epsilon, weight_decay }, dim, dim);
            same_bytes(RowWiseAdagrad { rate, epsilon, weight_decay }, dim, 1);
            for decay in [Decay::Lazy, Decay::Exact] {
                let moments = Moments { beta1: 0.9, beta2: 0.99, epsilon, decay };
                let adam = Adam::new(moments, rate, 7).with_l2(weight_decay);
                same_bytes(adam, dim, 2 * dim);
                same_bytes(Adam::new(moments, rate, 7).with_shrink(weight_decay), dim, 2 * dim);
                same_bytes(RowWiseAdam(adam), dim, dim + 1);
            }
            same_bytes(Ftrl { rate, beta: 1.0, l1: 0.1, l2: 0.1 }, dim, 2 * dim);
        }
    }

    #[test]
    fn a_gradient_is_clipped_to_its_norm() {
        let mut gradient = [3.0, 0.0, -4.0];
        clip(5.0, &mut gradient);
        assert_eq!(gradient, [3.0, 0.0, -4.0]);
        clip(1.0, &mut gradient);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[2] + 0.8).abs() < 1e-6);
        let mut gradient = [0.0; 3];
        clip(1.0, &mut gradient);
        assert_eq!(gradient, [0.0; 3]);
        let mut gradient = [3e25, 0.0, -4e25];
        clip(1.0, &mut gradient);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[2] + 0.8).abs() < 1e-6);
    }
}
