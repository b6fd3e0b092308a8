//! Candidates compared with their vectors: all by the high bytes, the best by all bytes.

use super::pool::{Pool, row_of};
use super::query::{Query, ordered};
use super::selection::Selection;
use crate::kernel::integer_dots;
use crate::part::StoredRows;

/// Buffers of a comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct RerankScratch {
    pub(crate) rows: Vec<u32>,
    high: Vec<i32>,
    low: Vec<i32>,
    best: Pool,
}

/// Rows that are compared with all bytes of their vectors, for `k` results.
pub(crate) fn finalists(k: usize) -> usize {
    k + 8 + k / 4
}

/// Compares the candidates, `scratch.rows`, which differ, with the query and leaves at least the `k`
/// best rows in `out`, by their ranks.
pub(crate) fn rerank(
    stored: StoredRows<'_>,
    selection: &Selection<'_>,
    (query, k): (&Query, usize),
    scratch: &mut RerankScratch,
    out: &mut Vec<(f32, u32)>,
) {
    let RerankScratch { rows, high, low, best } = scratch;
    out.clear();
    selection.rank_changes(query, rows, out);
    integer_dots(stored.high, &query.integer.values, rows, high);
    best.reset(finalists(k));
    let unit = query.integer.scale;
    for (row, dot) in rows.iter().zip(&*high) {
        if let Some(fact) = stored.facts.get(*row as usize) {
            let rank = 256.0 * *dot as f32 * unit * fact.scale + fact.bias;
            best.push(ordered(rank), *row);
        }
    }
    rows.clear();
    rows.extend(best.best().iter().map(|key| row_of(*key)));
    // While the high bytes are compared once more.
    for row in &*rows {
        stored.low.prefetch(*row as usize);
    }
    integer_dots(stored.high, &query.integer.values, rows, high);
    integer_dots(stored.low, &query.integer.values, rows, low);
    for ((row, high), low) in rows.iter().zip(&*high).zip(&*low) {
        if let Some(fact) = stored.facts.get(*row as usize) {
            let dot = 256.0 * f64::from(*high) + f64::from(*low);
            let rank = dot * f64::from(unit) * f64::from(fact.scale) + f64::from(fact.bias);
            out.push((rank as f32, *row));
        }
    }
    out.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
}
