//! Which leaves a search looks into, or starts in.

use std::ops::Range;

use super::pool::{key_of, row_of};
use super::query::ordered;
use super::selection::Selection;
use crate::filter::Bits;
use crate::kernel::{ByteQuery, Directory, floor_of, reaching};
use crate::part::{ROWS_AHEAD, StoredRows};

/// The most promising leaves of a query, with the buffers of their choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeafChoice {
    bytes: ByteQuery,
    /// The product with every centroid, and the largest of groups of them.
    near: Vec<f32>,
    most: Vec<f32>,
    /// Keys of the leaves chosen, the best first.
    pub(crate) keys: Vec<u64>,
}

impl LeafChoice {
    /// Leaves the `count` most promising of the leaves whose centroids are in `directory` in `self.keys`.
    pub(crate) fn choose(&mut self, query: &[f32], directory: Directory<'_>, count: usize) {
        let Self { bytes, near, most, keys } = self;
        let Directory { panels, facts, count: leaves } = directory;
        bytes.set(query);
        bytes.products(panels, facts, near, most);
        keys.clear();
        let count = count.clamp(1, leaves);
        let floor = floor_of(most, count);
        reaching(&near[..leaves], floor, |leaf, near| keys.push(key_of(ordered(near), leaf)));
        if keys.len() > count {
            keys.select_nth_unstable_by(count - 1, |a, b| b.cmp(a));
            keys.truncate(count);
        }
        keys.sort_unstable_by(|a, b| b.cmp(a));
    }

    /// Leaves those of the `allowed` rows of the chosen leaves that are still there in `out`, rising;
    /// the leaves themselves are in rising order afterwards.
    pub(crate) fn rows(
        &mut self,
        (rows_of, stored): (impl Fn(usize) -> Range<u32>, StoredRows<'_>),
        (allowed, selection): (&Bits, &Selection<'_>),
        out: &mut Vec<u32>,
    ) {
        out.clear();
        self.keys.sort_unstable_by_key(|key| row_of(*key));
        for key in &self.keys {
            let rows = rows_of(row_of(*key) as usize);
            for row in allowed.rows_in(rows).filter(|row| selection.has(*row)) {
                if out.len() < ROWS_AHEAD {
                    stored.ask_for(row);
                }
                out.push(row);
            }
        }
        // What a damaged file says of leaves may overlap.
        if !out.is_sorted_by(|a, b| a < b) {
            out.sort_unstable();
            out.dedup();
        }
    }
}
