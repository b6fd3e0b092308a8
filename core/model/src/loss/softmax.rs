//! Cross-entropy over classes.

use rayon::prelude::*;
use rectool_base::{Labels, Loss, LossDemands, LossInput, PluginFault, Prediction};

/// Logits of a parallel task: about 0.1 ms of exponentials.
const TASK_LOGITS: usize = 1 << 14;

/// Cross-entropy of C logits z and a class y from 0 to C - 1: ln Σ exp(z) - z\[y\], with gradient
/// softmax(z) less 1 at y. The greatest logit is taken off first, so that no finite logits overflow.
///
/// ```
/// use rectool_base::{BatchPlace, Loss, LossInput};
/// let (logits, labels, place) = (&[0.0, 0.0, 200.0, 0.0], &[1.0, 0.0], BatchPlace::default());
/// let input = LossInput { place, logits, labels, weights: &[], columns: &[] };
/// let (mut losses, mut gradients) = ([0.0; 2], [0.0; 4]);
/// rectool_model::Softmax::new(2).evaluate(input, &mut losses, &mut gradients).unwrap();
/// assert_eq!(losses, [std::f32::consts::LN_2, 0.0]);
/// assert_eq!(gradients, [0.5, -0.5, 0.0, 0.0]);
/// ```
#[derive(Clone, Debug)]
pub struct Softmax {
    classes: usize,
    demands: LossDemands,
}

impl Softmax {
    /// Of `classes` classes.
    ///
    /// # Panics
    /// If there are none.
    pub fn new(classes: usize) -> Self {
        assert!(classes > 0, "no classes");
        let (prediction, labels) = (Prediction::Classes(classes), Labels::Class(classes));
        Self { classes, demands: LossDemands { prediction, labels, columns: Vec::new() } }
    }
}

/// Turns the logits \[C\] of a row into the probabilities of its classes; gives ln Σ exp(z), less the
/// greatest logit, and that.
fn normalize(logits: &mut [f32]) -> (f32, f32) {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let mut sum = 0.0;
    for logit in &mut *logits {
        *logit = (*logit - greatest).exp();
        sum += *logit;
    }
    for value in logits {
        *value /= sum;
    }
    (sum.ln(), greatest)
}

/// The probabilities [N, C] that logits [N, C] stand for.
///
/// ```
/// assert_eq!(rectool_model::softmax(&[0.0, 0.0, 3.0, -200.0], 2), [0.5, 0.5, 1.0, 0.0]);
/// ```
pub fn softmax(logits: &[f32], classes: usize) -> Vec<f32> {
    let mut probabilities = logits.to_vec();
    for row in probabilities.chunks_exact_mut(classes.max(1)) {
        normalize(row);
    }
    probabilities
}

impl Loss for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn demands(&self) -> &LossDemands {
        &self.demands
    }

    fn evaluate(
        &self,
        LossInput { logits, labels, weights, .. }: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        let (rows, classes) = (labels.len(), self.classes);
        let lengths = [logits.len(), gradients.len(), losses.len() * classes];
        assert!(
            lengths.iter().all(|len| *len == rows * classes) && [0, rows].contains(&weights.len()),
            "{rows} labels of {classes} classes, {lengths:?} logits, gradients and losses of \
             classes, {} weights",
            weights.len()
        );
        let inputs = logits.par_chunks_exact(classes).zip(labels);
        let inputs = inputs.with_min_len((TASK_LOGITS / classes).max(1));
        let outputs = losses.par_iter_mut().zip(gradients.par_chunks_exact_mut(classes));
        inputs.zip(outputs).enumerate().for_each(|(row, ((logits, label), (loss, gradient)))| {
            let weight = weights.get(row).copied().unwrap_or(1.0);
            gradient.copy_from_slice(logits);
            let (sum, greatest) = normalize(gradient);
            let class = *label as usize;
            *loss = weight * (sum + (greatest - logits[class]));
            gradient[class] -= 1.0;
            for value in gradient {
                *value *= weight;
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::{BatchPlace, Stream};
    use tch::{Kind, Tensor};

    use super::*;

    fn evaluate(classes: usize, logits: &[f32], labels: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (mut losses, mut gradients) = (vec![0.0; labels.len()], vec![0.0; logits.len()]);
        let place = BatchPlace::default();
        let input = LossInput { place, logits, labels, weights: &[], columns: &[] };
        Softmax::new(classes).evaluate(input, &mut losses, &mut gradients).unwrap();
        (losses, gradients)
    }

    fn case(classes: usize) -> (Vec<f32>, Vec<f32>) {
        let mut stream = Stream::new(7, &[classes as u64]);
        let rows = 50;
        let logits = (0..rows * classes).map(|_| stream.next_normal() * 5.0).collect();
        (logits, (0..rows).map(|_| stream.below(classes as u64) as f32).collect())
    }

    #[test]
    fn agrees_with_torch() {
        for classes in [2, 5, 40] {
            let (logits, labels) = case(classes);
            let (losses, gradients) = evaluate(classes, &logits, &labels);
            let torch = Tensor::from_slice(&logits).view([-1, classes as i64]);
            let torch = torch.set_requires_grad(true);
            let target = Tensor::from_slice(&labels).to_kind(Kind::Int64);
            let none: Option<Tensor> = None;
            let each = torch.cross_entropy_loss(&target, none, tch::Reduction::None, -100, 0.0);
            each.sum(Kind::Float).backward();
            let near = |found: &[f32], expected: &Tensor| {
                let expected = Vec::<f32>::try_from(expected.flatten(0, -1)).unwrap();
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let error = (found - expected).abs();
                    assert!(error < 1e-5 * (1.0 + expected.abs()), "{found}, not {expected}");
                }
            };
            near(&losses, &each.detach());
            near(&gradients, &torch.grad());
        }
    }

    #[test]
    fn gradient_is_the_slope_of_the_loss() {
        let (logits, labels) = case(2);
        let (_, gradients) = evaluate(2, &logits, &labels);
        let step = 1e-2;
        for (at, gradient) in gradients.iter().enumerate() {
            let at_step = |step: f32| {
                let mut nudged = logits.clone();
                nudged[at] += step;
                evaluate(2, &nudged, &labels).0[at / 2]
            };
            let slope = (at_step(step) - at_step(-step)) / (2.0 * step);
            assert!((slope - gradient).abs() < 2e-3, "{at}: {slope}, {gradient}");
        }
    }

    #[test]
    fn two_classes_are_log_odds() {
        let (logits, labels) = case(2);
        let (losses, _) = evaluate(2, &logits, &labels);
        let odds: Vec<f32> = logits.chunks_exact(2).map(|row| row[1] - row[0]).collect();
        let (mut expected, mut gradients) = (vec![0.0; labels.len()], vec![0.0; labels.len()]);
        let place = BatchPlace::default();
        let input = LossInput { place, logits: &odds, labels: &labels, weights: &[], columns: &[] };
        crate::Bce.evaluate(input, &mut expected, &mut gradients).unwrap();
        for (found, expected) in losses.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-5 * (1.0 + expected), "{found}, {expected}");
        }
    }

    #[test]
    fn wild_logits_are_finite_and_broken_ones_are_not_hidden() {
        let (losses, gradients) = evaluate(3, &[1e30, -1e30, 0.0], &[1.0]);
        assert!(losses[0] > 1e30 && gradients == [1.0, -1.0, 0.0], "{losses:?} {gradients:?}");
        let (losses, _) = evaluate(3, &[f32::NAN, 0.0, 0.0], &[1.0]);
        assert!(losses[0].is_nan());
    }
}
