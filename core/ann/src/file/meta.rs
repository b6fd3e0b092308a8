//! The small facts of a part, as JSON.

use serde::{Deserialize, Serialize};

use crate::metric::Metric;
use crate::partition::Spilling;

/// How a part finds what is near.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IndexKind {
    /// Compares with every vector, exactly.
    Flat,
    /// Compares with the codes of the most promising leaves, then with the vectors of the best.
    Ivf,
    /// Goes from vector to vector along links, from the most promising leaves on.
    Graph,
}

impl IndexKind {
    /// The name in options and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Ivf => "ivf",
            Self::Graph => "graph",
        }
    }
}

/// An effort and the recall it was measured to reach on sampled queries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatingPoint {
    /// Recall@10 on the sample, less one standard error.
    pub recall: f64,
    /// Leaves scanned, or those in which a search of a graph starts.
    pub leaves: usize,
    /// Candidates compared with their vectors, or the width of the beam of a graph.
    pub candidates: usize,
}

/// Everything small.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Meta {
    pub(crate) written_by: String,
    pub(crate) kind: IndexKind,
    pub(crate) metric: Metric,
    pub(crate) rows: usize,
    pub(crate) dim: usize,
    pub(crate) seed: u64,
    pub(crate) leaves: usize,
    /// Links of each vector of a graph.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) degree: usize,
    /// Further leaves of vectors; none if each lies in one leaf.
    pub(crate) spilling: Option<Spilling>,
    /// How much more an error counts along the vector.
    pub(crate) weight: f32,
    /// Columns of each position of codes.
    pub(crate) widths: Vec<u8>,
    /// Mean squared distance of a vector from its nearest centroid: drift is measured against it.
    pub(crate) distortion: f64,
    /// Efforts in rising order, with their recall.
    pub(crate) curve: Vec<OperatingPoint>,
    pub(crate) namespaces: Vec<NamespaceMeta>,
    pub(crate) numbers: Vec<String>,
}

impl Meta {
    /// What a part names as its writer.
    pub(crate) fn this_version() -> String {
        concat!("rectool ", env!("CARGO_PKG_VERSION")).to_owned()
    }
}

/// Names of a namespace and its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NamespaceMeta {
    pub(crate) name: String,
    /// In rising order.
    pub(crate) tokens: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}
