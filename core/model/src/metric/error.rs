//! Why predictions could not be evaluated.

use rectool_base::Hint;
use rectool_comm::CommError;

/// Predictions that have no metrics.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MetricError {
    /// There were no rows on any rank.
    #[error("no rows to evaluate")]
    Empty,
    /// More rows than every rank can hold.
    #[error("{found} rows to evaluate, expected at most {max}")]
    Rows {
        /// Rows over all ranks.
        found: u64,
        /// The limit.
        max: u64,
    },
    /// A logit that is NaN or infinite.
    #[error("prediction of row {row} is {found}, expected a finite logit")]
    Prediction {
        /// Row among those that this rank evaluated.
        row: usize,
        /// The logit.
        found: f32,
    },
    /// A label that has no metrics with predictions of this kind.
    #[error("label of row {row} is {found}, expected {expected}")]
    Label {
        /// Row among those that this rank evaluated.
        row: usize,
        /// The label.
        found: f32,
        /// What it may be.
        expected: &'static str,
    },
    /// Ranks could not exchange their rows.
    #[error(transparent)]
    Comm(#[from] CommError),
}

impl Hint for MetricError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Empty => "check that the split has rows",
            Self::Rows { .. } => "evaluate a part of the split",
            Self::Prediction { .. } => {
                "the model has diverged: lower the learning rate, or clip the gradient's norm"
            }
            Self::Label { expected: "0 or 1", .. } => {
                "turn labels into clicks (1) and non-clicks (0) at import"
            }
            Self::Label { .. } => "turn labels into such numbers at import",
            Self::Comm(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
