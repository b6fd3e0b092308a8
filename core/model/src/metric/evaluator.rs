//! Collects predictions and joins them over ranks.

use rayon::prelude::*;
use rectool_comm::{Comm, CommExt, agree};

use super::{Evaluation, MetricError};
use rectool_base::Prediction;

/// Most rows of an evaluation over all ranks: every rank sorts all of them, 8 bytes each, and this
/// keeps it within 2 GiB. A day of Criteo's terabyte has 195 million.
const ROWS_MAX: u64 = 1 << 28;

/// Takes in this rank's predictions batch by batch, and evaluates those of all ranks. Every row
/// counts once, whatever its weight in training.
///
/// ```
/// use rectool_comm::Solo;
/// use rectool_model::Evaluator;
/// let mut evaluator = Evaluator::new();
/// evaluator.add(&[-2.0, 0.5, 1.0, 3.0], &[0.0, 1.0, 0.0, 1.0]);
/// let evaluation = evaluator.finish(&Solo).unwrap();
/// assert_eq!((evaluation.auc, evaluation.accuracy), (Some(0.75), Some(0.75)));
/// ```
#[derive(Debug)]
pub struct Evaluator {
    prediction: Prediction,
    scored: Vec<Scored>,
    refused: Option<MetricError>,
}

/// A logit and its label in one number: 32 bits that order as the logit does, then 32 that order as
/// the label.
pub(super) type Scored = u64;

/// Bits that order as the numbers do; -0 and 0 are one number.
fn ordered(number: f32) -> u32 {
    let bits = (number + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

fn number(ordered: u32) -> f32 {
    f32::from_bits(if ordered >> 31 == 1 { ordered & !(1 << 31) } else { !ordered })
}

/// Joins a finite logit and a finite label.
pub(super) fn score(logit: f32, label: f32) -> Scored {
    u64::from(ordered(logit)) << 32 | u64::from(ordered(label))
}

/// The logit and label of a [`score`].
pub(super) fn parts(scored: Scored) -> (f32, f32) {
    (number((scored >> 32) as u32), number(scored as u32))
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::new()
    }
}

impl Evaluator {
    /// No rows yet, of logits that are log-odds of label 1.
    pub fn new() -> Self {
        Self::of(Prediction::Logit)
    }

    /// No rows yet, of logits that stand for `prediction`.
    pub fn of(prediction: Prediction) -> Self {
        Self { prediction, scored: Vec::new(), refused: None }
    }

    /// Takes in rows. A value that cannot be evaluated is reported by [`Evaluator::finish`], so
    /// that every rank gets there.
    ///
    /// Shapes: both \[B\].
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn add(&mut self, logits: &[f32], labels: &[f32]) {
        assert_eq!(logits.len(), labels.len(), "one label for each logit");
        if self.refused.is_some() {
            return;
        }
        for (logit, label) in logits.iter().zip(labels) {
            let row = self.scored.len();
            if !logit.is_finite() {
                self.refused = Some(MetricError::Prediction { row, found: *logit });
                return;
            }
            let (fits, expected) = match self.prediction {
                Prediction::Logit => (*label == 0.0 || *label == 1.0, "0 or 1"),
                _ => (label.is_finite(), "a finite number"),
            };
            if !fits {
                self.refused = Some(MetricError::Label { row, found: *label, expected });
                return;
            }
            self.scored.push(score(*logit, *label));
        }
    }

    /// The metrics over the rows of all ranks.
    ///
    /// # Errors
    /// If a logit is not finite, a label not one of the prediction's, or there are no rows or too many; on
    /// every rank if on one.
    ///
    /// # Collective
    /// Every rank must call it.
    ///
    /// # Determinism
    /// The same bits on every rank, for any number of ranks and threads and any order of the rows:
    /// all sums are taken in the order of the sorted predictions.
    pub fn finish(mut self, comm: &dyn Comm) -> Result<Evaluation, MetricError> {
        agree(comm, self.refused.take().map_or(Ok(()), Err))?;
        let found = comm.sum_u64(self.scored.len() as u64)?;
        match found {
            0 => return Err(MetricError::Empty),
            1..=ROWS_MAX => (),
            _ => return Err(MetricError::Rows { found, max: ROWS_MAX }),
        }
        self.scored.par_sort_unstable();
        if comm.size() > 1 {
            let mut all = Vec::new();
            comm.all_gather(&self.scored, &mut all)?;
            // The parts are sorted, which this sort finds and merges.
            all.par_sort();
            self.scored = all;
        }
        Ok(Evaluation::of_sorted(self.prediction, &self.scored))
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::{Batch, Hint, Stream};
    use rectool_comm::{CommError, Solo, on_ranks};

    use super::*;

    #[test]
    fn scores_order_as_logits_do() {
        let logits = [f32::MIN, -3.5, -1e-30, 0.0, 1e-30, 0.25, f32::MAX];
        for pair in logits.windows(2) {
            assert!(score(pair[0], 1.0) < score(pair[1], 0.0), "{pair:?}");
            assert!(score(0.5, pair[0]) < score(0.5, pair[1]), "{pair:?}");
        }
        for logit in logits {
            assert_eq!(parts(score(logit, 1.0)), (logit, 1.0));
            assert_eq!(parts(score(1.0, logit)), (1.0, logit));
        }
        assert_eq!(score(-0.0, -0.0), score(0.0, 0.0));
    }

    #[test]
    fn ranks_do_not_change_a_bit() {
        let mut stream = Stream::new(5, &[]);
        let rows = 1003;
        let logits: Vec<f32> = (0..rows).map(|_| (stream.next_normal() * 20.0).round()).collect();
        let labels: Vec<f32> = (0..rows).map(|_| stream.below(2) as f32).collect();
        let run = |ranks, prediction| {
            on_ranks(ranks, |comm| {
                let own = Batch::slice_of(rows, comm.rank(), ranks);
                let mut evaluator = Evaluator::of(prediction);
                evaluator.add(&logits[own.clone()], &labels[own]);
                evaluator.finish(&*comm).unwrap()
            })
        };
        for prediction in [Prediction::Logit, Prediction::Value, Prediction::Score] {
            let alone = run(1, prediction);
            for ranks in [2, 3, 4] {
                let found = run(ranks, prediction);
                assert!(found.iter().all(|found| *found == alone[0]), "{ranks} ranks");
            }
        }
    }

    #[test]
    fn one_bad_row_ends_every_rank() {
        let errors = on_ranks(3, |comm| {
            let mut evaluator = Evaluator::new();
            evaluator.add(&[0.0, if comm.rank() == 1 { f32::NAN } else { 1.0 }], &[0.0, 1.0]);
            evaluator.finish(&*comm).unwrap_err()
        });
        assert_eq!(errors[1].to_string(), "prediction of row 1 is NaN, expected a finite logit");
        let peer =
            |error: &MetricError| matches!(error, MetricError::Comm(CommError::PeerFailed { .. }));
        assert!(peer(&errors[0]) && peer(&errors[2]));
    }

    #[test]
    fn what_cannot_be_evaluated_is_told() {
        let error = Evaluator::new().finish(&Solo).unwrap_err();
        assert_eq!(error.to_string(), "no rows to evaluate");
        let mut evaluator = Evaluator::new();
        evaluator.add(&[0.0], &[0.5]);
        let error = evaluator.finish(&Solo).unwrap_err();
        assert_eq!(error.to_string(), "label of row 0 is 0.5, expected 0 or 1");
        assert!(error.hint().is_some());
    }
}
