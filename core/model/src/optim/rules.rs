//! One fused pass per optimizer: each reads and writes every value once.

use crate::kernel::vectorised;

/// Numbers of one step of SGD.
#[derive(Clone, Copy)]
pub(super) struct SgdStep {
    pub(super) learning_rate: f32,
    pub(super) momentum: f32,
    pub(super) weight_decay: f32,
}

/// Numbers of one step of Adagrad.
#[derive(Clone, Copy)]
pub(super) struct AdagradStep {
    pub(super) learning_rate: f32,
    pub(super) epsilon: f32,
    pub(super) weight_decay: f32,
}

/// Numbers of one step of Adam or AdamW, the corrections for the zero start worked in.
#[derive(Clone, Copy)]
pub(super) struct AdamStep {
    /// Learning rate over 1 - beta1^t.
    pub(super) step_size: f32,
    /// Root of 1 - beta2^t.
    pub(super) correction: f32,
    pub(super) beta1: f32,
    pub(super) beta2: f32,
    pub(super) epsilon: f32,
    /// L2 penalty, 0 for AdamW.
    pub(super) weight_decay: f32,
    /// What a parameter is scaled by first, 1 for Adam.
    pub(super) shrink: f32,
}

vectorised! {
    pub(super) fn sgd(params: &mut [f32], gradients: &[f32], step: SgdStep) {
        for (param, gradient) in params.iter_mut().zip(gradients) {
            *param -= step.learning_rate * (gradient + step.weight_decay * *param);
        }
    }
}

vectorised! {
    pub(super) fn sgd_momentum(
        params: &mut [f32],
        gradients: &[f32],
        momentum: &mut [f32],
        step: SgdStep,
    ) {
        for ((param, gradient), momentum) in params.iter_mut().zip(gradients).zip(momentum) {
            let direction = gradient + step.weight_decay * *param;
            *momentum = step.momentum * *momentum + direction;
            *param -= step.learning_rate * *momentum;
        }
    }
}

vectorised! {
    pub(super) fn adagrad(
        params: &mut [f32],
        gradients: &[f32],
        accumulator: &mut [f32],
        step: AdagradStep,
    ) {
        for ((param, gradient), sum) in params.iter_mut().zip(gradients).zip(accumulator) {
            let gradient = gradient + step.weight_decay * *param;
            *sum += gradient * gradient;
            *param -= step.learning_rate * (gradient / (sum.sqrt() + step.epsilon));
        }
    }
}

vectorised! {
    pub(super) fn adam(
        params: &mut [f32],
        gradients: &[f32],
        moments: [&mut [f32]; 2],
        step: AdamStep,
    ) {
        let [first, second] = moments;
        let moments = first.iter_mut().zip(second);
        for ((param, gradient), (first, second)) in params.iter_mut().zip(gradients).zip(moments) {
            let start = *param * step.shrink;
            let gradient = gradient + step.weight_decay * *param;
            *first += (1.0 - step.beta1) * (gradient - *first);
            *second = step.beta2 * *second + (1.0 - step.beta2) * (gradient * gradient);
            let root = second.sqrt() / step.correction + step.epsilon;
            *param = start - step.step_size * (*first / root);
        }
    }
}
