//! What a user says about a table's optimizer.

use serde::{Deserialize, Serialize};

/// How gradients change a row. `weight_decay` λ adds λ·w to the gradient of the rows that a batch
/// touches. η is `learning_rate` times the rate of the step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerOptions {
    /// w ← w − η·g.
    Sgd {
        /// η before the schedule.
        learning_rate: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
    /// One accumulator per value: a ← a + g², w ← w − η·g / (√a + ε).
    Adagrad {
        /// η before the schedule.
        learning_rate: f32,
        /// ε.
        epsilon: f32,
        /// a of an untouched row.
        #[serde(default)]
        initial_accumulator: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
    /// One accumulator per row: a ← a + mean of g² over D, w ← w − η·g / (√a + ε).
    RowWiseAdagrad {
        /// η before the schedule.
        learning_rate: f32,
        /// ε.
        epsilon: f32,
        /// a of an untouched row.
        #[serde(default)]
        initial_accumulator: f32,
        /// λ.
        #[serde(default)]
        weight_decay: f32,
    },
}

impl OptimizerOptions {
    /// State floats S that a row of width `dim` carries.
    pub fn state_width(&self, dim: usize) -> usize {
        match self {
            Self::Sgd { .. } => 0,
            Self::Adagrad { .. } => dim,
            Self::RowWiseAdagrad { .. } => 1,
        }
    }

    /// Writes the state of a row that was never updated.
    ///
    /// Shapes: `state` \[S\].
    pub(crate) fn initial_state(&self, _: &[f32], state: &mut [f32]) {
        state.fill(match self {
            Self::Sgd { .. } => 0.0,
            Self::Adagrad { initial_accumulator, .. }
            | Self::RowWiseAdagrad { initial_accumulator, .. } => *initial_accumulator,
        });
    }

    /// Option names, values and whether they must be above zero.
    pub(crate) fn numbers(&self) -> Vec<(&'static str, f32)> {
        match *self {
            Self::Sgd { learning_rate, weight_decay } => {
                vec![("learning_rate", learning_rate), ("weight_decay", weight_decay)]
            }
            Self::Adagrad { learning_rate, epsilon, initial_accumulator, weight_decay }
            | Self::RowWiseAdagrad { learning_rate, epsilon, initial_accumulator, weight_decay } => {
                vec![
                    ("learning_rate", learning_rate),
                    ("epsilon", epsilon),
                    ("initial_accumulator", initial_accumulator),
                    ("weight_decay", weight_decay),
                ]
            }
        }
    }
}
