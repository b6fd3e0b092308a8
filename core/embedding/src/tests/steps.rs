//! The optimizers as formulas, one value after another, in double precision.

use super::oracle::Row;
use crate::{Decay, OptimizerOptions};

/// `rate` is the schedule's; `time` the step, from 1, and how many before it left the row out.
pub(super) fn take_step(
    optimizer: &OptimizerOptions,
    rate: f64,
    time: (i32, i32),
    row: &mut Row,
    gradient: &[f64],
) {
    use OptimizerOptions as O;
    let (O::Sgd { learning_rate, weight_decay, .. }
    | O::Adagrad { learning_rate, weight_decay, .. }
    | O::RowWiseAdagrad { learning_rate, weight_decay, .. }
    | O::Adam { learning_rate, weight_decay, .. }
    | O::AdamW { learning_rate, weight_decay, .. }
    | O::RowWiseAdam { learning_rate, weight_decay, .. }) = *optimizer
    else {
        return ftrl(optimizer, row, gradient);
    };
    let rate = f64::from(learning_rate) * rate;
    let decoupled = matches!(optimizer, O::AdamW { .. });
    let l2 = if decoupled { 0.0 } else { f64::from(weight_decay) };
    let decayed: Vec<f64> = gradient.iter().zip(&row.values).map(|(g, w)| g + l2 * w).collect();
    let mean = decayed.iter().map(|g| g * g).sum::<f64>() / decayed.len() as f64;
    let Row { values, state, .. } = row;
    let dim = values.len();
    for (j, g) in decayed.iter().enumerate() {
        values[j] -= match *optimizer {
            O::Sgd { momentum, .. } if momentum > 0.0 => {
                state[j] = f64::from(momentum) * state[j] + g;
                rate * state[j]
            }
            O::Sgd { .. } => rate * g,
            O::Adagrad { epsilon, .. } => {
                state[j] += g * g;
                rate * g / (state[j].sqrt() + f64::from(epsilon))
            }
            O::RowWiseAdagrad { epsilon, .. } => {
                state[0] += if j == 0 { mean } else { 0.0 };
                rate * g / (state[0].sqrt() + f64::from(epsilon))
            }
            _ => 0.0,
        };
    }
    let (O::Adam { beta1, beta2, epsilon, decay, .. }
    | O::AdamW { beta1, beta2, epsilon, decay, .. }
    | O::RowWiseAdam { beta1, beta2, epsilon, decay, .. }) = *optimizer
    else {
        return;
    };
    let (step, missed) = (time.0, if decay == Decay::Exact { time.1 } else { 0 });
    let [beta1, beta2, epsilon] = [beta1, beta2, epsilon].map(f64::from);
    if decoupled {
        let keep = (1.0 - rate * f64::from(weight_decay)).powi(missed + 1);
        for w in values.iter_mut() {
            *w *= keep;
        }
    }
    let correction = 1.0 - beta2.powi(step);
    let row_wise = matches!(optimizer, O::RowWiseAdam { .. });
    for (j, g) in decayed.iter().enumerate() {
        state[j] = beta1.powi(missed + 1) * state[j] + (1.0 - beta1) * g;
        let second = if row_wise { dim } else { dim + j };
        if !row_wise || j == 0 {
            let square = if row_wise { mean } else { g * g };
            state[second] = beta2.powi(missed + 1) * state[second] + (1.0 - beta2) * square;
        }
        let first = state[j] / (1.0 - beta1.powi(step));
        values[j] -= match decay {
            Decay::Exact => rate * first / ((state[second] / correction).sqrt() + epsilon),
            Decay::Lazy => rate * first * correction.sqrt() / (state[second].sqrt() + epsilon),
        };
    }
}

fn ftrl(optimizer: &OptimizerOptions, row: &mut Row, gradient: &[f64]) {
    let OptimizerOptions::Ftrl { learning_rate, beta, l1, l2 } = *optimizer else {
        panic!("{optimizer:?} has a step of its own");
    };
    let [rate, beta, l1, l2] = [learning_rate, beta, l1, l2].map(f64::from);
    let (linear, squares) = row.state.split_at_mut(row.values.len());
    for (((w, z), n), g) in row.values.iter_mut().zip(linear).zip(squares).zip(gradient) {
        let sigma = ((*n + g * g).sqrt() - n.sqrt()) / rate;
        *z += g - sigma * *w;
        *n += g * g;
        *w = if z.abs() <= l1 {
            0.0
        } else {
            -(*z - l1 * z.signum()) / ((beta + n.sqrt()) / rate + l2)
        };
    }
}
