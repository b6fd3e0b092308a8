//! How a part is built.

use serde::{Deserialize, Serialize};

use super::tune::TuneOptions;
use crate::code::Encoder;
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::limits::{DEGREE_MAX, DEGREE_MIN, LEAVES_MAX};
use crate::metric::Metric;

/// Up to so many vectors a scan of all is as fast as a tree, and exact.
const FLAT_ROWS_MAX: usize = 10_000;
/// Vectors per leaf, where the number of leaves is chosen for the user: what published settings for
/// ten million vectors come to. Other sizes have not been measured.
const LEAF_ROWS: usize = 250;

/// Whether vectors lie in one leaf each or some in more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spill {
    /// One leaf: a smaller file, and far more leaves to scan for the same recall.
    Off,
    /// Up to six leaves, the farther a vector lies from its centroid: 1.87 on average.
    #[default]
    On,
}

/// Whether a build measures which effort reaches which recall.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tuning {
    /// No: searches must say their effort.
    Off,
    /// Yes, against exact results of sampled queries.
    #[default]
    On,
}

/// How a part is built. The default suits most.
///
/// ```
/// use rectool_ann::{BuildOptions, Metric};
/// let options = BuildOptions { metric: Metric::Cosine, ..BuildOptions::default() };
/// assert_eq!(options.leaves, None);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BuildOptions {
    /// What near means.
    pub metric: Metric,
    /// Flat up to 10,000 vectors, else a tree, if not given.
    pub kind: Option<IndexKind>,
    /// Leaves L of a tree, or those among which a search of a graph starts; one per 250 vectors if not
    /// given.
    pub leaves: Option<usize>,
    /// Links of each vector of a graph.
    pub degree: usize,
    /// Whether vectors lie in further leaves of a tree.
    pub spill: Spill,
    /// λ of SOAR's loss for further leaves.
    pub spill_weight: f32,
    /// Share of the largest inner product from which on errors of codes matter (T of anisotropic
    /// quantisation). Not used for L2.
    pub threshold: f32,
    /// Share of the differences between inner products that codes may lose: less of it makes codes
    /// longer, up to half a byte for two columns.
    pub code_error: f32,
    /// Vectors per leaf that centroids are trained on.
    pub train_rows: usize,
    /// Whether efforts are measured.
    pub tuning: Tuning,
    /// Recall@10 of searches that ask for no other ([`crate::Index::search_options`]).
    pub recall_target: f64,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for BuildOptions {
    fn default() -> Self {
        Self {
            metric: Metric::default(),
            kind: None,
            leaves: None,
            degree: 32,
            spill: Spill::default(),
            spill_weight: 1.5,
            threshold: 0.2,
            code_error: 0.06,
            train_rows: 64,
            tuning: Tuning::default(),
            recall_target: 0.95,
            seed: 1,
        }
    }
}

impl BuildOptions {
    pub(crate) fn check(&self) -> Result<(), AnnError> {
        if self.leaves.is_some_and(|leaves| !(1..=LEAVES_MAX).contains(&leaves)) {
            let found = self.leaves.unwrap_or_default();
            return Err(AnnError::option("leaves", found, "1 to 1048576"));
        }
        if !(DEGREE_MIN..=DEGREE_MAX).contains(&self.degree) {
            return Err(AnnError::option("degree", self.degree, "4 to 256"));
        }
        if !(self.spill_weight.is_finite() && self.spill_weight >= 0.0) {
            return Err(AnnError::option("spill_weight", self.spill_weight, "0 or above"));
        }
        if !(0.0..0.95).contains(&self.threshold) {
            return Err(AnnError::option("threshold", self.threshold, "0 to below 0.95"));
        }
        if !(0.0..=1.0).contains(&self.code_error) {
            return Err(AnnError::option("code_error", self.code_error, "0 to 1"));
        }
        if !(1..=100_000).contains(&self.train_rows) {
            return Err(AnnError::option("train_rows", self.train_rows, "1 to 100000"));
        }
        if !(0.1..=1.0).contains(&self.recall_target) {
            return Err(AnnError::option("recall_target", self.recall_target, "0.1 to 1"));
        }
        Ok(())
    }

    pub(crate) fn kind_for(&self, rows: usize) -> IndexKind {
        let small = rows <= FLAT_ROWS_MAX;
        // A tree needs a vector to make a centroid of.
        match self.kind {
            _ if rows == 0 => IndexKind::Flat,
            Some(kind) => kind,
            None if small => IndexKind::Flat,
            None => IndexKind::Ivf,
        }
    }

    pub(crate) fn leaves_for(&self, rows: usize) -> usize {
        let chosen = self.leaves.unwrap_or(rows / LEAF_ROWS);
        chosen.clamp(1, rows.clamp(1, LEAVES_MAX))
    }

    pub(super) fn weight(&self, dim: usize) -> f32 {
        if self.metric == Metric::L2 { 0.0 } else { Encoder::weight(dim, self.threshold) }
    }

    /// How a build measures efforts: for the usual recalls and the target.
    pub fn tune_options(&self) -> TuneOptions {
        let mut options = TuneOptions { seed: self.seed, ..TuneOptions::default() };
        if !options.targets.contains(&self.recall_target) {
            options.targets.push(self.recall_target);
            options.targets.sort_by(f64::total_cmp);
        }
        options
    }
}
