//! Adagrad, with an accumulator per value or per row.

use super::{Rule, decay, sum_of_squares};

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
