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

/// What the metrics of classes are made of: the row's loss, and whether its class has the greatest of
/// its finite logits, of equal ones the first.
fn class_score(logits: &[f32], class: usize) -> Scored {
    let greatest = logits.iter().copied().fold(f32::MIN, f32::max);
    let below = |logit: f32| f64::from(greatest) - f64::from(logit);
    let sum: f64 = logits.iter().map(|logit| (-below(*logit)).exp()).sum();
    let loss = (sum.ln() + below(logits[class])) as f32;
    let found = logits.iter().position(|logit| *logit == greatest) == Some(class);
    score(loss.min(f32::MAX), f32::from(found))
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
    /// Shapes: \[B\], or [B, C] of C classes, and \[B\].
    ///
    /// # Panics
    /// If the lengths do not go together.
    pub fn add(&mut self, logits: &[f32], labels: &[f32]) {
        let width = self.prediction.logits();
        assert_eq!(logits.len(), labels.len() * width, "a label for each row of logits");
        for (logits, label) in logits.chunks_exact(width.max(1)).zip(labels) {
            if self.refused.is_some() {
                return;
            }
            match self.scored_row(logits, *label) {
                Ok(scored) => self.scored.push(scored),
                Err(error) => self.refused = Some(error),
            }
        }
    }

    /// The row, if it can be evaluated.
    fn scored_row(&self, logits: &[f32], label: f32) -> Result<Scored, MetricError> {
        let row = self.scored.len();
        if let Some(found) = logits.iter().find(|logit| !logit.is_finite()) {
            return Err(MetricError::Prediction { row, found: *found });
        }
        let (fits, expected) = match self.prediction {
            Prediction::Logit => (label == 0.0 || label == 1.0, "0 or 1"),
            Prediction::Classes(classes) => {
                let is_class = label.fract() == 0.0 && (0.0..classes as f32).contains(&label);
                (is_class, "the number of a class")
            }
            _ => (label.is_finite(), "a finite number"),
        };
        if !fits {
            return Err(MetricError::Label { row, found: label, expected });
        }
        Ok(match self.prediction {
            Prediction::Classes(_) => class_score(logits, label as usize),
            _ => score(logits[0], label),
        })
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
        let logits = (0..2 * rows).map(|_| (stream.next_normal() * 20.0).round());
        let logits: Vec<f32> = logits.collect();
        let labels: Vec<f32> = (0..rows).map(|_| stream.below(2) as f32).collect();
        let run = |ranks, prediction| {
            on_ranks(ranks, |comm| {
                let own = Batch::slice_of(rows, comm.rank(), ranks);
                let mut evaluator = Evaluator::of(prediction);
                let width = prediction.logits();
                evaluator.add(&logits[own.start * width..own.end * width], &labels[own]);
                evaluator.finish(&*comm).unwrap()
            })
        };
        for prediction in
            [Prediction::Logit, Prediction::Value, Prediction::Score, Prediction::Classes(2)]
        {
            let alone = run(1, prediction);
            for ranks in [2, 3, 4] {
                let found = run(ranks, prediction);
                assert!(found.iter().all(|found| *found == alone[0]), "{ranks} ranks");
            }
        }
    }

    #[test]
    fn classes_have_a_loss_and_are_found_or_not() {
        let mut evaluator = Evaluator::of(Prediction::Classes(3));
        let ln = |odds: [f32; 3]| odds.map(f32::ln);
        let logits = [ln([1.0, 2.0, 1.0]), ln([1.0, 1.0, 2.0]), ln([4.0, 4.0, 8.0])].concat();
        evaluator.add(&logits, &[1.0, 0.0, 2.0]);
        // Of equal logits the first is the guess.
        evaluator.add(&[5.0, 5.0, -90.0], &[1.0]);
        let found = evaluator.finish(&Solo).unwrap();
        let expected = (2.0f64.ln() + 4.0f64.ln() + 2.0f64.ln() + 2.0f64.ln()) / 4.0;
        assert!((found.logloss.unwrap() - expected).abs() < 1e-6, "{found:?}");
        assert_eq!((found.accuracy, found.rows, found.positives), (Some(0.5), 4, None));
        for label in [3.0, 0.5, -1.0, f32::NAN] {
            let mut evaluator = Evaluator::of(Prediction::Classes(3));
            evaluator.add(&[0.0, 1.0, 2.0], &[label]);
            let error = evaluator.finish(&Solo).unwrap_err();
            assert!(error.to_string().contains("expected the number of a class"), "{error}");
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
