//! Where a training stands: everything besides weights that continuing exactly needs.

use rectool_data::ReaderState;
use serde::{Deserialize, Serialize};

use crate::Evaluation;

/// The state of a training between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// The next batch.
    pub reader: ReaderState,
    /// Steps done.
    pub steps: u64,
    /// Samples trained on.
    pub samples: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub evaluations_since_best: u32,
}

/// The evaluation that early stopping goes back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done when it was made.
    pub step: u64,
    /// Its metrics.
    pub evaluation: Evaluation,
}
