//! Binary cross-entropy on logits.

use rayon::prelude::*;
use rectool_base::{Labels, Loss, LossDemands, LossInput, PluginFault, Prediction};

/// Rows of a parallel task: about 0.1 ms of exponentials and logarithms.
const TASK_ROWS: usize = 4096;

/// The probability that a logit stands for: 1 / (1 + exp(-logit)), without overflow.
///
/// ```
/// assert_eq!(rectool_model::sigmoid(0.0), 0.5);
/// assert_eq!(rectool_model::sigmoid(-200.0), 0.0);
/// ```
pub fn sigmoid(logit: f32) -> f32 {
    let small = (-logit.abs()).exp();
    if logit < 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) }
}

/// Binary cross-entropy of logit z and label y in [0, 1]: max(z, 0) - z y + ln(1 + exp(-|z|)), with
/// gradient sigmoid(z) - y.
///
/// Neither the sigmoid nor its logarithm is formed for the value, so that no finite logit, however
/// large, gives an infinite loss or a gradient of the wrong size.
///
/// ```
/// use rectool_base::{BatchPlace, Loss, LossInput};
/// let (logits, labels, place) = (&[0.0, 100.0], &[1.0, 0.0], BatchPlace::default());
/// let input = LossInput { place, logits, labels, weights: &[], columns: &[] };
/// let (mut losses, mut gradients) = ([0.0; 2], [0.0; 2]);
/// rectool_model::Bce.evaluate(input, &mut losses, &mut gradients).unwrap();
/// assert_eq!(losses, [std::f32::consts::LN_2, 100.0]);
/// assert_eq!(gradients, [-0.5, 1.0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Bce;

impl Loss for Bce {
    fn name(&self) -> &'static str {
        "bce"
    }

    fn demands(&self) -> &LossDemands {
        static DEMANDS: LossDemands = LossDemands {
            prediction: Prediction::Logit,
            labels: Labels::Binary,
            columns: Vec::new(),
        };
        &DEMANDS
    }

    fn evaluate(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        let LossInput { logits, labels, weights, .. } = input;
        let rows = logits.len();
        assert!(
            labels.len() == rows && losses.len() == rows && gradients.len() == rows,
            "{rows} logits, {} labels, {} losses, {} gradients",
            labels.len(),
            losses.len(),
            gradients.len()
        );
        let inputs = logits.par_iter().zip(labels).with_min_len(TASK_ROWS);
        let outputs = losses.par_iter_mut().zip(&mut *gradients);
        inputs.zip(outputs).for_each(|((z, y), (loss, gradient))| {
            // Written as a comparison, so that a NaN logit is a NaN loss.
            let positive = if *z < 0.0 { 0.0 } else { *z };
            *loss = positive - z * y + (-z.abs()).exp().ln_1p();
            *gradient = sigmoid(*z) - y;
        });
        if !weights.is_empty() {
            assert!(weights.len() == rows, "{rows} logits, {} weights", weights.len());
            let outputs = losses.iter_mut().zip(gradients).zip(weights);
            outputs.for_each(|((loss, gradient), weight)| {
                *loss *= weight;
                *gradient *= weight;
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Golden {
        logits: Vec<f32>,
        labels: Vec<f32>,
        losses: Vec<f64>,
        gradients: Vec<f64>,
    }

    fn evaluate(logits: &[f32], labels: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut losses, mut gradients) = (vec![0.0; logits.len()], vec![0.0; logits.len()]);
        let place = rectool_base::BatchPlace::default();
        let input = LossInput { place, logits, labels, weights: &[], columns: &[] };
        Bce.evaluate(input, &mut losses, &mut gradients).unwrap();
        (losses, gradients)
    }

    #[test]
    fn agrees_with_torch() {
        let text = include_str!("../../../../tests/golden/bce.json");
        let golden: Golden = serde_json::from_str(text).unwrap();
        let (losses, gradients) = evaluate(&golden.logits, &golden.labels);
        for (at, logit) in golden.logits.iter().enumerate() {
            let (loss, gradient) = (golden.losses[at], golden.gradients[at]);
            let error = (f64::from(losses[at]) - loss).abs();
            assert!(error <= 1e-6 * loss.max(1e-3), "loss of {logit}: {}, not {loss}", losses[at]);
            let error = (f64::from(gradients[at]) - gradient).abs();
            assert!(error <= 1e-7, "gradient of {logit}: {}, not {gradient}", gradients[at]);
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        for z in [-3.0f32, -0.4, 0.0, 0.7, 5.0] {
            let step = 1e-2;
            let (losses, gradients) = evaluate(&[z - step, z, z + step], &[0.3; 3]);
            let slope = (losses[2] - losses[0]) / (2.0 * step);
            assert!((slope - gradients[1]).abs() < 1e-4, "at {z}: {slope}, {}", gradients[1]);
        }
    }

    #[test]
    fn a_broken_logit_is_not_hidden() {
        let (losses, gradients) = evaluate(&[f32::NAN], &[1.0]);
        assert!(losses[0].is_nan() && gradients[0].is_nan());
    }
}
