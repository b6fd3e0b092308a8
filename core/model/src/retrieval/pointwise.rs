//! AUC per user, for predictions with labels.

use rectool_comm::{Comm, CommExt};
use serde::{Deserialize, Serialize};

use super::RetrievalError;

/// AUC averaged over users.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gauc {
    /// Mean of the users' AUC, weighted by their rows (Zhu et al. 2017, Optimized Cost per Click,
    /// section 4.2); `None` if every user's labels are all alike.
    pub value: Option<f64>,
    /// Users that count.
    pub users: usize,
    /// Users whose labels are all positive or all negative: they have no AUC and are left out.
    pub users_left_out: usize,
}

#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
struct Row {
    user: i64,
    score: f32,
    label: u32,
}

/// AUC per user of all ranks' rows; a user's rows may lie on several ranks. A label is positive if
/// it is above 0.5.
///
/// Shapes: all three \[B\].
///
/// # Errors
/// If there are no rows, a score is NaN, or ranks cannot reach each other.
///
/// # Panics
/// If the lengths differ.
///
/// # Collective
/// Every rank must call it.
pub fn gauc(
    comm: &dyn Comm,
    users: &[i64],
    scores: &[f32],
    labels: &[f32],
) -> Result<Gauc, RetrievalError> {
    assert!(users.len() == scores.len() && users.len() == labels.len(), "one score per row");
    let own: Vec<Row> = (users.iter().zip(scores).zip(labels))
        .map(|((user, score), label)| Row {
            user: *user,
            score: *score,
            label: u32::from(*label > 0.5),
        })
        .collect();
    let mut rows = Vec::new();
    comm.all_gather(&own, &mut rows)?;
    if let Some(row) = rows.iter().find(|row| !row.score.is_finite()) {
        return Err(RetrievalError::Score { user: row.user });
    }
    if rows.is_empty() {
        return Err(RetrievalError::Empty { users: 0 });
    }
    rows.sort_by(|a, b| a.user.cmp(&b.user).then(a.score.total_cmp(&b.score)));
    let (mut sum, mut weight, mut counted, mut left_out) = (0.0, 0, 0, 0);
    for rows in rows.chunk_by(|a, b| a.user == b.user) {
        if let Some(auc) = auc(rows) {
            sum += auc * rows.len() as f64;
            weight += rows.len();
            counted += 1;
        } else {
            left_out += 1;
        }
    }
    let value = (counted > 0).then(|| sum / weight as f64);
    Ok(Gauc { value, users: counted, users_left_out: left_out })
}

/// Of rows in rising order of scores; equal scores count half.
fn auc(rows: &[Row]) -> Option<f64> {
    let positives: usize = rows.iter().map(|row| row.label as usize).sum();
    let negatives = rows.len() - positives;
    let (mut below, mut wins) = (0, 0.0);
    for equal in rows.chunk_by(|a, b| a.score == b.score) {
        let hits: usize = equal.iter().map(|row| row.label as usize).sum();
        let misses = equal.len() - hits;
        wins += hits as f64 * (below as f64 + 0.5 * misses as f64);
        below += misses;
    }
    (positives > 0 && negatives > 0).then(|| wins / (positives * negatives) as f64)
}
