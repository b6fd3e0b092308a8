//! Metrics of training batches as they pass.

use rectool_comm::{Comm, CommError, Reduce, Values};

use crate::loss::sigmoid;

/// Sums over training rows since the last report.
///
/// ```
/// use rectool_model::Running;
/// let mut running = Running::default();
/// running.add(&[0.25, 0.75], &[0.0, 0.0], &[1.0, 0.0]);
/// assert_eq!(running.mean_loss(), Some(0.5));
/// assert_eq!(running.calibration(), Some(1.0));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Running {
    /// Sum of losses.
    pub loss_sum: f64,
    /// Number of rows.
    pub rows: u64,
    /// Sum of labels.
    pub label_sum: f64,
    /// Sum of predicted probabilities.
    pub prediction_sum: f64,
}

impl Running {
    /// Takes in a batch.
    ///
    /// Shapes: all three \[B\].
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add(&mut self, losses: &[f32], logits: &[f32], labels: &[f32]) {
        let rows = losses.len();
        assert!(logits.len() == rows && labels.len() == rows, "one logit and label for each loss");
        self.rows += rows as u64;
        for ((loss, logit), label) in losses.iter().zip(logits).zip(labels) {
            self.loss_sum += f64::from(*loss);
            self.label_sum += f64::from(*label);
            self.prediction_sum += f64::from(sigmoid(*logit));
        }
    }

    /// Takes in the losses \[B\] of a batch whose logits are not log-odds: it counts in the mean loss
    /// and has no calibration.
    pub fn add_losses(&mut self, losses: &[f32]) {
        self.rows += losses.len() as u64;
        self.loss_sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
    }

    /// The sums over all ranks.
    ///
    /// # Errors
    /// If ranks cannot reach each other.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn over_ranks(&self, comm: &dyn Comm) -> Result<Self, CommError> {
        // Row counts are exact in an f64 up to 2^53.
        let mut sums = [self.loss_sum, self.rows as f64, self.label_sum, self.prediction_sum];
        comm.all_reduce(Values::F64(&mut sums), Reduce::Sum)?;
        let [loss_sum, rows, label_sum, prediction_sum] = sums;
        Ok(Self { loss_sum, rows: rows as u64, label_sum, prediction_sum })
    }

    /// Mean loss per row, `None` without rows.
    pub fn mean_loss(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.loss_sum / self.rows as f64)
    }

    /// Predicted over observed clicks, `None` without clicks.
    pub fn calibration(&self) -> Option<f64> {
        (self.label_sum > 0.0).then(|| self.prediction_sum / self.label_sum)
    }
}

#[cfg(test)]
mod tests {
    use rectool_comm::on_ranks;

    use super::*;

    #[test]
    fn sums_join_over_ranks() {
        let joined = on_ranks(3, |comm| {
            let mut running = Running::default();
            running.add(&[comm.rank() as f32, 1.0], &[0.0, 0.0], &[0.0, 1.0]);
            running.over_ranks(&*comm).unwrap()
        });
        let expected = Running { loss_sum: 6.0, rows: 6, label_sum: 3.0, prediction_sum: 3.0 };
        assert_eq!(joined, [expected; 3]);
        assert_eq!((expected.mean_loss(), expected.calibration()), (Some(1.0), Some(1.0)));
    }

    #[test]
    fn nothing_has_no_mean() {
        assert_eq!(Running::default().mean_loss(), None);
        assert_eq!(Running::default().calibration(), None);
    }
}
