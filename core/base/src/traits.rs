//! What training asks of feature transforms, losses and samplers, whether native or plugins.

use crate::{BatchPlace, Column, ColumnSchema, Hint, PluginFault};

/// Why a transform could not be built or applied.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransformError {
    /// The transform takes another number of columns.
    #[error("`{transform}` takes {expected}, found {found}")]
    Inputs {
        /// The transform.
        transform: String,
        /// Columns given.
        found: usize,
        /// What would be taken.
        expected: &'static str,
    },
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
    /// A plugin failed. Not transparent: whoever walks the sources is to find the fault.
    #[error("{0}")]
    Plugin(#[from] PluginFault),
}

impl Hint for TransformError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Value { hint, .. } => Some((*hint).to_owned()),
            Self::Plugin(fault) => fault.hint(),
            _ => None,
        }
    }
}

/// Computes columns of a batch from columns of it.
///
/// Called once per batch, from the loader's threads.
pub trait Transform: Send + Sync {
    /// The name a recipe calls it by.
    fn name(&self) -> &str;

    /// The schemas of the columns that come out for these input columns. A column that is named like
    /// an input takes its place; another name adds one.
    ///
    /// # Errors
    /// If an input's type is not taken.
    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError>;

    /// Computes the columns that [`Transform::outputs`] announced for `schemas`, the inputs.
    ///
    /// # Errors
    /// If a value is refused, or a plugin fails.
    ///
    /// # Determinism
    /// A pure function of the columns, row by row.
    fn apply(
        &self,
        schemas: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError>;
}

/// What a logit stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The log-odds of label 1.
    Logit,
    /// The predicted label itself.
    Value,
    /// The logarithm of the predicted rate.
    LogRate,
    /// A score that only ranks.
    Score,
    /// The logarithm, up to what is the same for all, of the chance of each of so many classes: a row
    /// has a logit for each.
    Classes(usize),
}

impl Prediction {
    /// Logits of a row.
    pub fn logits(self) -> usize {
        match self {
            Self::Classes(classes) => classes,
            Self::Logit | Self::Value | Self::LogRate | Self::Score => 1,
        }
    }
}

/// The labels that a loss takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// 0 or 1.
    Binary,
    /// 0 or more.
    NonNegative,
    /// Any finite number.
    Any,
    /// A whole number from 0 and below this one.
    Class(usize),
}

/// What a loss asks of training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LossDemands {
    /// What a logit stands for.
    pub prediction: Prediction,
    /// The labels it takes.
    pub labels: Labels,
    /// Names of the columns it wants beside the labels.
    pub columns: Vec<String>,
}

/// The rows of one rank's part of a batch, as a loss sees them.
#[derive(Clone, Copy, Debug)]
pub struct LossInput<'a> {
    /// Where the batch stands.
    pub place: BatchPlace,
    /// \[B\], or [B, C] where they are of C classes.
    pub logits: &'a [f32],
    /// \[B\].
    pub labels: &'a [f32],
    /// \[B\], or empty where every row weighs 1.
    pub weights: &'a [f32],
    /// The columns of [`LossDemands::columns`], in that order.
    pub columns: &'a [&'a Column],
}

/// An objective: value and gradient per row.
pub trait Loss: Send + Sync {
    /// The name a recipe calls it by.
    fn name(&self) -> &str;

    /// What it asks of training.
    fn demands(&self) -> &LossDemands;

    /// For each row writes the loss, and the derivative of the sum of all losses by the row's logits.
    /// Both are multiplied by the row's weight.
    ///
    /// Shapes: \[B\], and that of the logits.
    ///
    /// # Errors
    /// If a plugin fails.
    ///
    /// # Panics
    /// If the lengths differ.
    fn evaluate(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault>;
}

/// What a sampler knows of the items, one entry per item.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemStatistics {
    /// Ascending.
    pub ids: Vec<i64>,
    /// How often each occurs in the training data.
    pub counts: Vec<u64>,
    /// Position, from 0, of the row in which each occurs last.
    pub last_rows: Vec<u64>,
    /// The value of the score column in that row; empty where there is no such column.
    pub scores: Vec<f32>,
}

/// Drawn items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// \[B, K\].
    pub ids: Vec<i64>,
    /// Natural logarithm of the probability with which each was drawn: \[B, K\].
    pub log_probabilities: Vec<f32>,
}

/// Draws items that a row did not choose: negatives. Built from [`ItemStatistics`].
pub trait Sampler: Send + Sync {
    /// The name a recipe calls it by.
    fn name(&self) -> &str;

    /// `count` items for each row, given the item that the row chose: \[B\].
    ///
    /// # Errors
    /// If a plugin fails.
    ///
    /// # Determinism
    /// A pure function of its arguments.
    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        place: BatchPlace,
    ) -> Result<Samples, PluginFault>;
}
