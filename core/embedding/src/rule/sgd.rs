//! Gradient descent, plain and with momentum.

use super::{Rule, decay};

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

/// v ← μ·v + g, w ← w − η·v.
#[derive(Clone, Copy)]
pub(crate) struct MomentumSgd {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
    pub(crate) weight_decay: f32,
}

impl Rule for MomentumSgd {
    #[inline(always)]
    fn step(self, values: &mut [f32], state: &mut [f32], gradient: &mut [f32], _: u32) {
        decay(self.weight_decay, values, gradient);
        for ((w, v), g) in values.iter_mut().zip(state).zip(gradient) {
            *v = self.momentum * *v + *g;
            *w -= self.rate * *v;
        }
    }
}
