//! Where a training stands: everything besides weights that continuing exactly needs.

use rectool_data::{ReaderState, Split};
use serde::{Deserialize, Serialize};

use crate::Evaluation;

/// The state of a training between two steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// The next batch.
    pub reader: ReaderState,
    /// Fingerprint of the split it is of, 16 hex digits; `None` in checkpoints of old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Whether a row had a label, as those of a training should. Old checkpoints do not say so.
    #[serde(default = "yes")]
    pub labelled: bool,
    /// Steps done.
    pub steps: u64,
    /// Samples trained on.
    pub samples: u64,
    /// The best evaluation so far.
    pub best: Option<Best>,
    /// Evaluations since the best one.
    pub evaluations_since_best: u32,
}

impl TrainingState {
    /// Whether it is known to be that of a training on another split than `train`.
    pub fn is_of_other_data(&self, train: &Split) -> bool {
        self.data.as_ref().is_some_and(|data| *data != fingerprint(train))
    }
}

fn yes() -> bool {
    true
}

/// As [`TrainingState::data`].
pub(super) fn fingerprint(split: &Split) -> String {
    format!("{:016x}", split.fingerprint())
}

/// The evaluation that early stopping goes back to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done when it was made.
    pub step: u64,
    /// Its metrics.
    pub evaluation: Evaluation,
}
