//! What a search is asked for, and what it gives.

use crate::file::OperatingPoint;
use crate::filter::Filter;
use crate::limits::PART_ROWS_MAX;

/// One result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The vector's id.
    pub id: u64,
    /// The metric's score: larger is nearer.
    pub score: f32,
}

/// What a search is asked for.
///
/// ```
/// use rectool_ann::{Effort, SearchOptions};
/// let options = SearchOptions { effort: Effort::Recall(0.99), ..SearchOptions::new(10) };
/// assert_eq!(options.k, 10);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    /// Results.
    pub k: usize,
    /// How hard the search tries.
    pub effort: Effort,
    /// What results must be like.
    pub filter: Option<Filter>,
    /// How many results may be alike.
    pub crowding: Option<Crowding>,
}

impl SearchOptions {
    /// The `k` nearest, at the default effort.
    pub fn new(k: usize) -> Self {
        Self { k, effort: Effort::default(), filter: None, crowding: None }
    }
}

/// A limit on results that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowding {
    /// The namespace whose first token, by their order as text, is compared; vectors without one are not limited.
    pub namespace: String,
    /// Results per token.
    pub results_max: usize,
}

/// How hard a search tries. A flat part is always exact.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effort {
    /// Every vector is compared.
    Exact,
    /// As much as reached this recall@10 on the sample of the build.
    Recall(f64),
    /// Leaves to scan, and candidates to compare with their vectors; of a graph, leaves to start in, and
    /// the width of the beam.
    Fixed {
        /// Leaves scanned or started in.
        leaves: usize,
        /// Candidates compared with their vectors, or kept in the beam; at least k are.
        candidates: usize,
    },
}

impl Default for Effort {
    fn default() -> Self {
        Self::Recall(0.95)
    }
}

/// An effort in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) leaves: usize,
    pub(crate) candidates: usize,
}

impl Effort {
    /// The numbers for a part of so many leaves whose curve was measured.
    ///
    /// Candidates grow with k beyond the ten that the curve was measured with, leaves with its root:
    /// farther results lie in more leaves.
    pub(crate) fn reach(self, curve: &[OperatingPoint], leaves: usize, k: usize) -> Reach {
        let (base_leaves, base_candidates) = match self {
            Self::Exact => return Reach { leaves, candidates: PART_ROWS_MAX },
            Self::Fixed { leaves, candidates } => {
                return Reach { leaves, candidates: candidates.max(k) };
            }
            Self::Recall(target) => {
                let enough = curve.iter().find(|point| point.recall >= target);
                match enough {
                    Some(point) => (point.leaves, point.candidates),
                    None => (leaves, curve.last().map_or(1000, |point| point.candidates * 2)),
                }
            }
        };
        let factor = (k as f64 / 10.0).max(1.0);
        Reach {
            leaves: ((base_leaves as f64 * factor.powf(0.25)).ceil() as usize).min(leaves),
            candidates: (base_candidates as f64 * factor.powf(0.75)).ceil() as usize + k,
        }
    }
}

impl Reach {
    /// The reach for a filter that lets a `share` of the vectors through: the results lie as far away
    /// as those of a search for more results without it.
    pub(crate) fn filtered(self, share: f64, leaves: usize) -> Self {
        let factor = share.clamp(1e-6, 1.0).powf(-0.25);
        Self { leaves: ((self.leaves as f64 * factor).ceil() as usize).min(leaves), ..self }
    }

    /// Four times the effort.
    pub(crate) fn grown(self) -> Self {
        Self {
            leaves: self.leaves.saturating_mul(4),
            candidates: self.candidates.saturating_mul(4),
        }
    }
}
