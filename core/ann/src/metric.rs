//! What near means.

use serde::{Deserialize, Serialize};

/// How a query and a vector are compared. Scores are such that larger is nearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The inner product q·x, what two towers are trained for.
    #[default]
    InnerProduct,
    /// The inner product of both at unit length; a vector of zeros scores 0.
    Cosine,
    /// The squared Euclidean distance, with its sign turned.
    L2,
}

impl Metric {
    /// Every metric with its name in options and files.
    pub const NAMES: [(&'static str, Self); 3] =
        [("inner_product", Self::InnerProduct), ("cosine", Self::Cosine), ("l2", Self::L2)];

    /// The name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::InnerProduct => "inner_product",
            Self::Cosine => "cosine",
            Self::L2 => "l2",
        }
    }

    /// Makes of a vector what is stored or compared: of unit length for cosine.
    pub(crate) fn normalize(self, vector: &mut [f32]) {
        if self == Self::Cosine {
            // In f64: squares of large f32 overflow.
            let square: f64 = vector.iter().map(|value| f64::from(*value).powi(2)).sum();
            if square > 0.0 {
                let inverse = 1.0 / square.sqrt();
                for value in vector.iter_mut() {
                    *value = (f64::from(*value) * inverse) as f32;
                }
            }
        }
    }

    /// What is added to q·x for a vector of this squared length, so that the order is the metric's.
    pub(crate) fn bias(self, square: f32) -> f32 {
        if self == Self::L2 { -0.5 * square } else { 0.0 }
    }

    /// The score of q·x + bias, for a query of this squared length.
    pub(crate) fn score(self, rank: f32, query_square: f32) -> f32 {
        if self == Self::L2 { 2.0 * rank - query_square } else { rank }
    }
}
