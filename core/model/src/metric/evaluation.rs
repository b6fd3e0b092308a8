//! The metrics themselves, over sorted predictions.

use rayon::prelude::*;
use rectool_base::Prediction;
use serde::{Deserialize, Serialize};

use super::evaluator::{Scored, parts};
use super::residual;
use crate::Gauc;

/// Most bins of a calibration curve.
const BINS: usize = 20;

/// Rows whose sums are taken by one task: fixed, so that sums do not depend on threads.
const TASK_ROWS: usize = 1 << 14;

/// How good predictions are. Which metrics there are depends on what a logit stands for; those of
/// another kind of prediction are `None`. Every row counts once, whatever its weight in training.
///
/// ```
/// use rectool_model::Evaluation;
/// let text = r#"{"rows": 2, "positives": 0, "auc": null, "logloss": 0.7, "ne": null,
///     "calibration": null, "accuracy": 0.5, "curve": []}"#;
/// let evaluation: Evaluation = serde_json::from_str(text).unwrap();
/// assert_eq!(evaluation.auc, None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows evaluated, over all ranks.
    pub rows: u64,
    /// Mean loss, where the loss is a plugin's or that of towers among the candidates of a batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Of two towers: mean share of the items to be found that are among those recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Of two towers: mean normalised discounted cumulative gain of what is recommended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ndcg: Option<f64>,
    /// Of two towers: share of queries with at least one of the items to be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<f64>,
    /// Root of the mean squared difference between prediction and label, where a logit stands for
    /// the label or its logarithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rmse: Option<f64>,
    /// Mean of the absolute difference between prediction and label, as `rmse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mae: Option<f64>,
    /// Rows with label 1, where labels are clicks.
    pub positives: Option<u64>,
    /// Area under the ROC curve: the chance that a positive row scores above a negative one, ties
    /// counted half. `None` if all labels are alike, or not all 0 or 1.
    pub auc: Option<f64>,
    /// AUC within the groups of rows that an evaluation was asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gauc: Option<Gauc>,
    /// Mean cross-entropy, in nats.
    pub logloss: Option<f64>,
    /// Normalised entropy: `logloss` over that of predicting the click rate everywhere. Below 1 the
    /// model knows more than the rate. `None` if all labels are alike.
    pub ne: Option<f64>,
    /// Mean prediction over click rate; 1 is calibrated. `None` without positives.
    pub calibration: Option<f64>,
    /// Share of rows that a threshold of one half gets right, or whose class has the greatest logit.
    pub accuracy: Option<f64>,
    /// Click rate by prediction: up to 20 bins of nearly equal counts, from low to high. Rows of
    /// one prediction are never split, so there may be fewer.
    pub curve: Vec<CalibrationBin>,
    /// Of each head, on the rows that have its label, in a model with heads: those of a ranker are all the
    /// metrics there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadEvaluation>,
}

/// How good one head is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HeadEvaluation {
    /// Its label.
    pub label: String,
    /// Its metrics.
    pub evaluation: Evaluation,
}

/// A bin of a calibration curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Rows in it.
    pub rows: u64,
    /// Mean predicted probability.
    pub prediction: f64,
    /// Share of positives.
    pub click_rate: f64,
}

#[derive(Clone, Copy, Default)]
struct Sums {
    loss: f64,
    prediction: f64,
    positives: u64,
    right: u64,
}

impl Sums {
    /// Over sorted rows, in their order.
    fn of(rows: &[Scored]) -> Self {
        let partial: Vec<Self> = rows.par_chunks(TASK_ROWS).map(Self::of_task).collect();
        partial.iter().fold(Self::default(), |sums, part| Self {
            loss: sums.loss + part.loss,
            prediction: sums.prediction + part.prediction,
            positives: sums.positives + part.positives,
            right: sums.right + part.right,
        })
    }

    fn of_task(rows: &[Scored]) -> Self {
        let mut sums = Self::default();
        for row in rows {
            let (logit, label) = parts(*row);
            let (logit, positive) = (f64::from(logit), label == 1.0);
            let small = (-logit.abs()).exp();
            let towards = if positive { -logit } else { logit };
            sums.loss += towards.max(0.0) + small.ln_1p();
            sums.prediction += if logit < 0.0 { small } else { 1.0 } / (1.0 + small);
            sums.positives += u64::from(positive);
            sums.right += u64::from((logit > 0.0) == positive);
        }
        sums
    }
}

impl Evaluation {
    /// The metrics of at least one row, sorted.
    pub(super) fn of_sorted(prediction: Prediction, rows: &[Scored]) -> Self {
        let count = rows.len() as u64;
        let residuals = |predicted: fn(f64) -> f64| {
            let (rmse, mae) = residual::rmse_and_mae(rows, predicted);
            Self { rows: count, rmse, mae, ..Self::default() }
        };
        match prediction {
            Prediction::Logit => Self::of_clicks(rows),
            Prediction::Value => residuals(|logit| logit),
            Prediction::LogRate => residuals(f64::exp),
            Prediction::Classes(_) => Self::of_classes(rows),
            Prediction::Score => {
                let clicks = |row: &Scored| [0.0, 1.0].contains(&parts(*row).1);
                let positives = rows.iter().all(clicks);
                let positives = positives.then(|| Sums::of(rows).positives);
                let mixed = positives.filter(|positives| (1..count).contains(positives));
                Self { rows: count, positives, auc: mixed.map(|_| auc(rows)), ..Self::default() }
            }
        }
    }

    /// Of rows whose logit stands for their loss, and whose label says whether the class was found.
    fn of_classes(rows: &[Scored]) -> Self {
        let of_task = |rows: &[Scored]| {
            rows.iter().fold((0.0, 0), |(loss, right), row| {
                let (own, found) = parts(*row);
                (loss + f64::from(own), right + u64::from(found == 1.0))
            })
        };
        let partial: Vec<(f64, u64)> = rows.par_chunks(TASK_ROWS).map(of_task).collect();
        let sums = partial.iter().fold((0.0, 0), |sums, part| (sums.0 + part.0, sums.1 + part.1));
        let count = rows.len() as f64;
        Self {
            rows: rows.len() as u64,
            logloss: Some(sums.0 / count),
            accuracy: Some(sums.1 as f64 / count),
            ..Self::default()
        }
    }

    fn of_clicks(rows: &[Scored]) -> Self {
        let sums = Sums::of(rows);
        let (count, positives) = (rows.len() as f64, sums.positives as f64);
        let logloss = sums.loss / count;
        let click_rate = positives / count;
        let mixed = sums.positives > 0 && sums.positives < rows.len() as u64;
        let entropy = -click_rate * click_rate.ln() - (1.0 - click_rate) * (1.0 - click_rate).ln();
        Self {
            rows: rows.len() as u64,
            positives: Some(sums.positives),
            auc: mixed.then(|| auc(rows)),
            logloss: Some(logloss),
            ne: mixed.then(|| logloss / entropy),
            calibration: (sums.positives > 0).then(|| sums.prediction / positives),
            accuracy: Some(sums.right as f64 / count),
            curve: curve(rows),
            ..Self::default()
        }
    }
}

/// Rows of one prediction.
fn ties(rows: &[Scored]) -> impl Iterator<Item = &[Scored]> {
    rows.chunk_by(|a, b| a >> 32 == b >> 32)
}

/// Exact: pairs are counted in integers and divided once. There are rows of both labels.
fn auc(rows: &[Scored]) -> f64 {
    let (mut negatives_below, mut positives_below) = (0u128, 0u128);
    let mut pairs_twice = 0u128;
    for tie in ties(rows) {
        // Sorted, so the positives of a tie come last.
        let negatives = tie.partition_point(|row| parts(*row).1 == 0.0) as u128;
        let positives = tie.len() as u128 - negatives;
        pairs_twice += positives * (2 * negatives_below + negatives);
        negatives_below += negatives;
        positives_below += positives;
    }
    pairs_twice as f64 / (2 * negatives_below * positives_below) as f64
}

fn curve(rows: &[Scored]) -> Vec<CalibrationBin> {
    let mut bins = Vec::new();
    let (mut start, mut end) = (0, 0);
    for tie in ties(rows) {
        end += tie.len();
        // A bin ends with the tie that reaches the next twentieth of the rows.
        let twentieths = start * BINS / rows.len() + 1;
        if end * BINS >= rows.len() * twentieths {
            let sums = Sums::of(&rows[start..end]);
            let count = (end - start) as f64;
            bins.push(CalibrationBin {
                rows: (end - start) as u64,
                prediction: sums.prediction / count,
                click_rate: sums.positives as f64 / count,
            });
            start = end;
        }
    }
    bins
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::evaluator::score;

    fn evaluate(rows: &[(f32, bool)]) -> Evaluation {
        let mut scored: Vec<Scored> =
            rows.iter().map(|(logit, positive)| score(*logit, f32::from(*positive))).collect();
        scored.sort_unstable();
        Evaluation::of_sorted(Prediction::Logit, &scored)
    }

    #[test]
    fn labels_all_alike_have_no_auc() {
        let found = evaluate(&[(0.0, false), (1.0, false)]);
        assert_eq!((found.auc, found.ne, found.calibration), (None, None, None));
        let found = evaluate(&[(0.0, true)]);
        assert_eq!((found.auc, found.ne, found.calibration), (None, None, Some(0.5)));
        let text = serde_json::to_string(&found).unwrap();
        assert!(text.contains(r#""auc":null"#), "{text}");
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), found);
    }

    #[test]
    fn predicting_the_rate_everywhere_has_normalised_entropy_1() {
        let logit = (0.25f32 / 0.75).ln();
        let found = evaluate(&[(logit, true), (logit, false), (logit, false), (logit, false)]);
        assert!((found.ne.unwrap() - 1.0).abs() < 1e-7);
        assert!((found.calibration.unwrap() - 1.0).abs() < 1e-7);
        assert_eq!(found.auc, Some(0.5));
        // One prediction is one bin, whatever the labels.
        assert_eq!(found.curve.len(), 1);
        assert_eq!(found.curve[0].click_rate, 0.25);
    }

    #[test]
    fn extreme_logits_have_finite_losses() {
        let found = evaluate(&[(f32::MAX, true), (f32::MIN, false), (-1000.0, true)]);
        assert_eq!(found.logloss, Some(1000.0 / 3.0));
        assert_eq!(found.accuracy, Some(2.0 / 3.0));
    }

    #[test]
    fn bins_hold_nearly_equal_counts() {
        let rows: Vec<(f32, bool)> = (0..1000).map(|at| (at as f32 / 100.0, at % 3 == 0)).collect();
        let curve = evaluate(&rows).curve;
        assert_eq!(curve.len(), 20);
        assert!(curve.iter().all(|bin| bin.rows == 50));
        assert!(curve.is_sorted_by(|a, b| a.prediction <= b.prediction));
    }

    proptest! {
        #[test]
        fn every_metric_is_its_definition(
            rows in prop::collection::vec((-8i8..8, any::<bool>()), 1..120)
        ) {
            let rows: Vec<(f32, bool)> =
                rows.into_iter().map(|(logit, label)| (f32::from(logit) / 2.0, label)).collect();
            let found = evaluate(&rows);
            let split = |label| rows.iter().filter(move |row| row.1 == label).map(|row| row.0);
            let (positives, negatives) = (split(true).count(), split(false).count());
            let mut won = 0.0;
            for positive in split(true) {
                for negative in split(false) {
                    won += if positive > negative { 1.0 } else { 0.0 };
                    won += if positive == negative { 0.5 } else { 0.0 };
                }
            }
            let pairs = (positives * negatives) as f64;
            prop_assert_eq!(found.auc, (pairs > 0.0).then(|| won / pairs));

            let probability = |logit: f32| 1.0 / (1.0 + (-f64::from(logit)).exp());
            let loss = |(logit, label): &(f32, bool)| {
                let p = probability(*logit);
                if *label { -p.ln() } else { -(1.0 - p).ln() }
            };
            let count = rows.len() as f64;
            let logloss = rows.iter().map(loss).sum::<f64>() / count;
            prop_assert!((found.logloss.unwrap() - logloss).abs() < 1e-12);
            let right = rows.iter().filter(|row| (row.0 > 0.0) == row.1).count();
            prop_assert_eq!(found.accuracy, Some(right as f64 / count));
            let predicted: f64 = rows.iter().map(|row| probability(row.0)).sum();
            if let Some(calibration) = found.calibration {
                prop_assert!((calibration - predicted / positives as f64).abs() < 1e-9);
            }
            if let Some(ne) = found.ne {
                let rate = positives as f64 / count;
                let entropy = -rate * rate.ln() - (1.0 - rate) * (1.0 - rate).ln();
                prop_assert!((ne - logloss / entropy).abs() < 1e-9);
            }
            let total: u64 = found.curve.iter().map(|bin| bin.rows).sum();
            prop_assert_eq!(total, rows.len() as u64);
            prop_assert!(found.curve.len() <= 20);
            let clicks: f64 = found.curve.iter().map(|bin| bin.click_rate * bin.rows as f64).sum();
            prop_assert!((clicks - positives as f64).abs() < 1e-9);
        }
    }
}
