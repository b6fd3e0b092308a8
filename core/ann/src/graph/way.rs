//! Which way a search of a graph goes, and how hard it tries.

use crate::file::OperatingPoint;
use crate::filter::Selected;
use crate::part::Part;
use crate::search::{Effort, Reach, SearchOptions, Way};

/// Cost of one step of the beam's width, in rows compared one after another: about half of a vector's
/// links lead to rows not seen before, and such a row costs three times as much as one that comes in order.
pub(crate) fn step_cost(degree: usize) -> usize {
    3 * degree / 2
}

/// Leaves whose rows are compared, for each step of the beam's width that finds as much without a filter.
const LEAVES_PER_STEP: usize = 2;

impl Effort {
    /// The leaves to start in and the beam's width for `k` results; `None` where only a comparison with
    /// every row will do.
    ///
    /// The beam grows with k beyond the ten that the curve was measured with as the candidates of a tree.
    pub(crate) fn beam(self, curve: &[OperatingPoint], leaves: usize, k: f64) -> Option<Reach> {
        let (starts, width) = match self {
            Self::Exact => return None,
            Self::Fixed { leaves, candidates } => (leaves, candidates),
            Self::Recall(target) => {
                let point = curve.iter().find(|point| point.recall >= target)?;
                let factor = (k / 10.0).max(1.0);
                let starts = (point.leaves as f64 * factor.powf(0.25)).ceil() as usize;
                (starts, (point.candidates as f64 * factor.powf(0.75)).ceil() as usize)
            }
        };
        let candidates = width.max(k.min(1e9) as usize).max(1);
        Some(Reach { leaves: starts.clamp(1, leaves), candidates })
    }
}

/// The way of a search for `k` results: the one that costs least.
pub(crate) fn choose(
    part: &Part,
    options: &SearchOptions,
    selected: Option<&Selected>,
    k: usize,
) -> Way {
    let (rows, leaves) = (part.rows(), part.leaves());
    let step = step_cost(part.meta.degree);
    let Some(plain) = options.effort.beam(part.curve(), leaves, k as f64) else { return Way::All };
    let Some(Selected { count, .. }) = selected else { return reach(plain, rows, step) };
    let share = (*count as f64 / rows.max(1) as f64).max(1e-9);
    // The results lie as far away as those of a search for more without the filter.
    let Some(beam) = options.effort.beam(part.curve(), leaves, k as f64 / share) else {
        return Way::All;
    };
    let wanted = plain.candidates.saturating_mul(LEAVES_PER_STEP) as f64 * share.powf(-0.25);
    let scanned = (wanted.ceil() as usize).min(leaves);
    let in_leaves = (count * scanned / leaves.max(1)).saturating_add(4 * scanned);
    let along_links = beam.candidates.saturating_mul(step);
    if *count <= in_leaves.min(along_links) || scanned == leaves {
        Way::All
    } else if in_leaves <= along_links {
        Way::Rows { leaves: scanned }
    } else {
        reach(beam, rows, step)
    }
}

/// A search so wide that comparing with every row costs less does that.
fn reach(reach: Reach, rows: usize, step: usize) -> Way {
    if reach.candidates.saturating_mul(step) >= rows { Way::All } else { Way::Reach(reach) }
}

/// The next way after one that found too few.
pub(crate) fn grown(way: Way, part: &Part) -> Way {
    match way {
        Way::All => Way::All,
        Way::Rows { leaves } if leaves.saturating_mul(4) >= part.leaves() => Way::All,
        Way::Rows { leaves } => Way::Rows { leaves: leaves * 4 },
        Way::Reach(wide) => reach(wide.grown(), part.rows(), step_cost(part.meta.degree)),
    }
}
