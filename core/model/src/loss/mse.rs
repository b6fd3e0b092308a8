//! Squared error.

use rayon::prelude::*;
use rectool_base::{Labels, Loss, LossDemands, LossInput, PluginFault, Prediction};

/// Rows of a parallel task.
const TASK_ROWS: usize = 1 << 16;

/// The squared error (z - y)² of output z and label y, any number, with gradient 2 (z - y).
///
/// ```
/// use rectool_base::{BatchPlace, Loss, LossInput};
/// let (logits, labels, place) = (&[1.0, 5.0], &[2.0, 2.0], BatchPlace::default());
/// let input = LossInput { place, logits, labels, weights: &[1.0, 0.5], columns: &[] };
/// let (mut losses, mut gradients) = ([0.0; 2], [0.0; 2]);
/// rectool_model::Mse.evaluate(input, &mut losses, &mut gradients).unwrap();
/// assert_eq!(losses, [1.0, 4.5]);
/// assert_eq!(gradients, [-2.0, 3.0]);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Mse;

impl Loss for Mse {
    fn name(&self) -> &'static str {
        "mse"
    }

    fn demands(&self) -> &LossDemands {
        static DEMANDS: LossDemands =
            LossDemands { prediction: Prediction::Value, labels: Labels::Any, columns: Vec::new() };
        &DEMANDS
    }

    fn evaluate(
        &self,
        LossInput { logits, labels, weights, .. }: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        let rows = logits.len();
        let lengths = [labels.len(), losses.len(), gradients.len()];
        assert!(
            lengths.iter().all(|len| *len == rows) && [0, rows].contains(&weights.len()),
            "{rows} outputs, {lengths:?} labels, losses and gradients, {} weights",
            weights.len()
        );
        let inputs = logits.par_iter().zip(labels).with_min_len(TASK_ROWS);
        let outputs = losses.par_iter_mut().zip(gradients);
        inputs.zip(outputs).enumerate().for_each(|(row, ((z, y), (loss, gradient)))| {
            let weight = weights.get(row).copied().unwrap_or(1.0);
            let error = z - y;
            *loss = weight * error * error;
            *gradient = 2.0 * weight * error;
        });
        Ok(())
    }
}
