//! What a user says about tables.

use rectool_base::limits::EMBEDDING_DIM_MAX;
use serde::{Deserialize, Serialize};

use crate::EmbeddingError;

/// One embedding table.
///
/// ```
/// use rectool_embedding::{Init, OptimizerOptions, TableOptions};
/// let sgd = OptimizerOptions::Sgd { learning_rate: 0.1, weight_decay: 0.0 };
/// let table = TableOptions {
///     init: Init::Uniform { bound: 0.01 },
///     ..TableOptions::new("city", 16, sgd)
/// };
/// assert_eq!(table.optimizer.state_width(table.dim), 0);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableOptions {
    /// Unique among the tables; part of the address of initial values.
    pub name: String,
    /// Width D of a row.
    pub dim: usize,
    /// How keys find their rows.
    pub index: IndexKind,
    /// Values of a row before its first update.
    pub init: Init,
    /// How gradients change a row.
    pub optimizer: OptimizerOptions,
}

/// How keys find their rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum IndexKind {
    /// The ids are 0..`rows`: no hashing, no stored keys; other ids are errors.
    Dense {
        /// Rows V.
        rows: u64,
    },
    /// Any 64-bit id; a row is made when an id is first trained on. Never a collision.
    Hash,
    /// Any 64-bit id; ids that are equal modulo `rows` share a row. For comparison: a collision costs
    /// quality. What is said of a key (initial values, exported rows) is said of the remainder.
    Modulo {
        /// Rows V.
        rows: u64,
    },
}

impl IndexKind {
    /// The bound of all keys, if there is one.
    pub(crate) fn keys_below(&self) -> Option<u64> {
        match *self {
            Self::Dense { rows } | Self::Modulo { rows } => Some(rows),
            Self::Hash => None,
        }
    }
}

/// Values of a row before its first update.
///
/// # Determinism
/// A pure function of seed, table name, key and column: the same for any number of ranks, order of
/// keys and kind of index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Init {
    /// Zeros.
    Zero,
    /// Uniform in [-`bound`, `bound`).
    Uniform {
        /// Largest magnitude.
        bound: f32,
    },
    /// Normal around zero.
    Normal {
        /// Standard deviation.
        std: f32,
    },
}

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

    /// State of a row that was never updated.
    pub(crate) fn initial_state(&self) -> f32 {
        match self {
            Self::Sgd { .. } => 0.0,
            Self::Adagrad { initial_accumulator, .. }
            | Self::RowWiseAdagrad { initial_accumulator, .. } => *initial_accumulator,
        }
    }

    /// Option names, values and whether they must be above zero.
    fn numbers(&self) -> Vec<(&'static str, f32)> {
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

impl TableOptions {
    /// A table with a hash index whose rows begin as zeros. Other fields are set by struct update.
    pub fn new(name: impl Into<String>, dim: usize, optimizer: OptimizerOptions) -> Self {
        Self { name: name.into(), dim, index: IndexKind::Hash, init: Init::Zero, optimizer }
    }

    /// Refuses numbers that no table can work with.
    pub(crate) fn check(&self) -> Result<(), EmbeddingError> {
        if !(1..=EMBEDDING_DIM_MAX).contains(&self.dim) {
            return Err(EmbeddingError::Dim { table: self.name.clone(), found: self.dim });
        }
        if self.index.keys_below() == Some(0) {
            return Err(self.refuse("rows", &0, "at least 1"));
        }
        let init = match self.init {
            Init::Zero => None,
            Init::Uniform { bound } => Some(("bound", bound)),
            Init::Normal { std } => Some(("std", std)),
        };
        for (option, value) in init.into_iter().chain(self.optimizer.numbers()) {
            if !(value.is_finite() && value >= 0.0) {
                return Err(self.refuse(option, &value, "a finite number, 0 or above"));
            }
        }
        match self.optimizer {
            OptimizerOptions::Adagrad { epsilon, initial_accumulator, .. }
            | OptimizerOptions::RowWiseAdagrad { epsilon, initial_accumulator, .. }
                if epsilon == 0.0 && initial_accumulator == 0.0 =>
            {
                // A gradient of zero would give 0 / 0.
                Err(self.refuse("epsilon", &epsilon, "above 0 when `initial_accumulator` is 0"))
            }
            _ => Ok(()),
        }
    }

    fn refuse(
        &self,
        option: &'static str,
        found: &dyn ToString,
        expected: &'static str,
    ) -> EmbeddingError {
        EmbeddingError::Option {
            table: self.name.clone(),
            option,
            found: found.to_string(),
            expected,
        }
    }
}
