//! What a user says about features.

use std::ops::Range;

use rectool_base::limits::SEQUENCE_LENGTH_MAX;
use serde::{Deserialize, Serialize};

use crate::EmbeddingError;

/// One feature: a column of ids, looked up in a table. Features may share a table and pool it
/// differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureOptions {
    /// Unique among the features.
    pub name: String,
    /// The table's name.
    pub table: String,
    /// What a list becomes; a single id counts as a list of one. An empty list gives zeros.
    pub pooling: Pooling,
}

/// What the rows e₁ … eₙ of a list of ids become. With weights w, each eᵢ counts wᵢ times; without,
/// all w are 1.
///
/// Weights may be negative; if the divisor comes to exactly 0, the result and all gradients are
/// zeros. Weights themselves get no gradient.
///
/// ```
/// use rectool_embedding::{Keep, Pooling};
/// let pooling: Pooling = serde_json::from_str("\"sqrtn\"").unwrap();
/// assert_eq!(pooling, Pooling::SqrtN);
/// let pooling: Pooling = serde_json::from_str(r#"{"sequence": {"length": 50}}"#).unwrap();
/// assert_eq!(pooling, Pooling::Sequence { length: 50, keep: Keep::First });
/// assert_eq!(pooling.vectors(), 50);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Σ wᵢeᵢ.
    Sum,
    /// Σ wᵢeᵢ / Σ wᵢ.
    Mean,
    /// Σ wᵢeᵢ / √Σ wᵢ².
    #[serde(rename = "sqrtn")]
    SqrtN,
    /// No pooling: w₁e₁, w₂e₂, … one after another, in the order of the list and filled up with
    /// zeros, [L, D] for each row of the batch. Ids that do not fit are not looked up at all.
    Sequence {
        /// Ids L that a row has room for.
        length: usize,
        /// Which ids of a longer list stay.
        #[serde(default)]
        keep: Keep,
    },
}

/// The end of a list that stays when it is cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first ids.
    #[default]
    First,
    /// The last ones: the newest events of a history.
    Last,
}

impl FeatureOptions {
    /// A feature whose lists are looked up in `table`. Other fields are set by struct update.
    pub fn new(name: impl Into<String>, table: impl Into<String>, pooling: Pooling) -> Self {
        Self { name: name.into(), table: table.into(), pooling }
    }

    /// Refuses numbers that no feature can work with.
    pub(crate) fn check(&self) -> Result<(), EmbeddingError> {
        match self.pooling {
            Pooling::Sequence { length, .. } if !(1..=SEQUENCE_LENGTH_MAX).contains(&length) => {
                Err(EmbeddingError::Length { feature: self.name.clone(), found: length })
            }
            _ => Ok(()),
        }
    }
}

impl Pooling {
    /// Vectors of width D that a list becomes: L for a sequence, otherwise 1.
    pub fn vectors(self) -> usize {
        match self {
            Self::Sum | Self::Mean | Self::SqrtN => 1,
            Self::Sequence { length, .. } => length,
        }
    }

    /// Which of the ids at `list` are looked up.
    #[inline(always)]
    pub(crate) fn kept(self, list: Range<usize>) -> Range<usize> {
        match self {
            Self::Sum | Self::Mean | Self::SqrtN => list,
            Self::Sequence { length, keep: Keep::First } => {
                list.start..list.end.min(list.start.saturating_add(length))
            }
            Self::Sequence { length, keep: Keep::Last } => {
                list.start.max(list.end.saturating_sub(length))..list.end
            }
        }
    }

    /// What the sum over a list of `count` ids without weights is divided by.
    #[inline(always)]
    pub(crate) fn divisor(self, count: usize) -> f32 {
        match self {
            Self::Sum | Self::Sequence { .. } => 1.0,
            Self::Mean => count as f32,
            Self::SqrtN => (count as f32).sqrt(),
        }
    }

    /// What the sum over a list with `weights` is divided by.
    pub(crate) fn divisor_weighted(self, weights: &[f32]) -> f64 {
        let weights = weights.iter().map(|weight| f64::from(*weight));
        match self {
            Self::Sum | Self::Sequence { .. } => 1.0,
            Self::Mean => weights.sum(),
            Self::SqrtN => weights.map(|weight| weight * weight).sum::<f64>().sqrt(),
        }
    }
}
