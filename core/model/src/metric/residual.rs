//! How far predictions are from labels that are numbers and not clicks.

use rayon::prelude::*;

use super::evaluator::{Scored, parts};

/// Rows whose sums are taken by one task: fixed, so that sums do not depend on threads.
const TASK_ROWS: usize = 1 << 14;

/// Root of the mean squared error, and mean absolute error, of at least one sorted row, where
/// `predicted` makes the label of a logit. `None` for a sum beyond the numbers.
pub(super) fn rmse_and_mae(
    rows: &[Scored],
    predicted: fn(f64) -> f64,
) -> (Option<f64>, Option<f64>) {
    let of_task = |rows: &[Scored]| {
        rows.iter().fold((0.0, 0.0), |(squares, sizes), row| {
            let (logit, label) = parts(*row);
            let error = predicted(f64::from(logit)) - f64::from(label);
            (squares + error * error, sizes + error.abs())
        })
    };
    let partial: Vec<(f64, f64)> = rows.par_chunks(TASK_ROWS).map(of_task).collect();
    let (squares, sizes) = partial
        .iter()
        .fold((0.0, 0.0), |sums: (f64, f64), part| (sums.0 + part.0, sums.1 + part.1));
    let count = rows.len() as f64;
    let finite = |number: f64| number.is_finite().then_some(number);
    (finite((squares / count).sqrt()), finite(sizes / count))
}

#[cfg(test)]
mod tests {
    use rectool_base::Prediction;

    use super::super::Evaluation;
    use super::super::evaluator::score;
    use super::*;

    fn sorted(rows: &[(f32, f32)]) -> Vec<Scored> {
        let mut rows: Vec<Scored> = rows.iter().map(|(z, y)| score(*z, *y)).collect();
        rows.sort_unstable();
        rows
    }

    #[test]
    fn values_have_errors_and_no_clicks() {
        let rows = sorted(&[(1.0, 4.0), (2.5, 2.5), (-1.0, -5.0)]);
        let found = Evaluation::of_sorted(Prediction::Value, &rows);
        assert_eq!(found.rmse, Some((25.0f64 / 3.0).sqrt()));
        assert_eq!(found.mae, Some(7.0 / 3.0));
        assert_eq!((found.auc, found.logloss, found.calibration), (None, None, None));
        assert_eq!((found.positives, found.accuracy, found.curve.len()), (None, None, 0));
        let text = serde_json::to_string(&found).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), found);
    }

    #[test]
    fn rates_are_exponentials_of_logits() {
        let rows = sorted(&[(0.0, 3.0), (2.0f32.ln(), 2.0)]);
        let found = Evaluation::of_sorted(Prediction::LogRate, &rows);
        assert!((found.rmse.unwrap() - 2.0f64.sqrt()).abs() < 1e-7, "{found:?}");
        assert!((found.mae.unwrap() - 1.0).abs() < 1e-7, "{found:?}");
        // The exponential of a wild logit is no number, and none is shown.
        let found = Evaluation::of_sorted(Prediction::LogRate, &sorted(&[(2000.0, 1.0)]));
        assert_eq!((found.rmse, found.mae), (None, None));
    }

    #[test]
    fn scores_only_rank() {
        let found = Evaluation::of_sorted(Prediction::Score, &sorted(&[(7.0, 1.0), (-900.0, 0.0)]));
        assert_eq!((found.auc, found.positives, found.logloss), (Some(1.0), Some(1), None));
        let graded = sorted(&[(7.0, 1.0), (3.0, 0.5)]);
        assert_eq!(Evaluation::of_sorted(Prediction::Score, &graded).auc, None);
    }
}
