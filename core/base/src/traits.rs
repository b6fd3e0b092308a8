//! What the training step asks of feature transforms and losses, whether native or plugins.

use crate::{Column, ColumnSchema, Hint};

/// Why a transform could not be built or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The transform does not take columns of this type.
    #[error("`{transform}` does not take column `{column}` of type {found}; expected {expected}")]
    Type {
        /// The transform.
        transform: String,
        /// The input column.
        column: String,
        /// Its type.
        found: String,
        /// What would be taken.
        expected: &'static str,
    },
    /// A parameter out of range.
    #[error("`{transform}`: `{parameter}` is {found}, expected {expected}")]
    Parameter {
        /// The transform.
        transform: String,
        /// The parameter.
        parameter: &'static str,
        /// Its value.
        found: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// A value that the transform refuses.
    #[error("`{transform}`: column `{column}`, row {row} of the batch: {found}")]
    Value {
        /// The transform.
        transform: String,
        /// The column or member.
        column: String,
        /// Row within the global batch.
        row: usize,
        /// What was found, such as `NaN`.
        found: String,
        /// What to do about it.
        hint: &'static str,
    },
}

impl Hint for TransformError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Value { hint, .. } => Some((*hint).to_owned()),
            _ => None,
        }
    }
}

/// Replaces a column of a batch by a computed one.
///
/// Called once per batch and column, from the loader's threads.
pub trait Transform: Send + Sync {
    /// The name a recipe calls it by.
    fn name(&self) -> &str;

    /// The schema of the column that comes out for an input column.
    ///
    /// # Errors
    /// If the input's type is not taken.
    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError>;

    /// Computes the column. `row_first` is the position of the first row in the global batch, for
    /// messages.
    ///
    /// # Errors
    /// If a value is refused.
    ///
    /// # Determinism
    /// A pure function of its arguments.
    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        row_first: usize,
    ) -> Result<Column, TransformError>;
}

/// A pointwise objective: value and gradient per row.
pub trait Loss: Send + Sync {
    /// The name a recipe calls it by.
    fn name(&self) -> &str;

    /// For each row writes the loss and its derivative with respect to the logit.
    ///
    /// Shapes: all four \[B\].
    ///
    /// # Panics
    /// If the lengths differ.
    fn evaluate(&self, logits: &[f32], labels: &[f32], losses: &mut [f32], gradients: &mut [f32]);
}
