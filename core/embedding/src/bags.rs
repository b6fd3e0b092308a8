//! Which occurrences make up the rows of a feature.

use std::ops::Range;

use crate::Pooling;
use crate::prepare::PreparedFeature;

/// Rows of a feature that are handled together before those of the next feature. The more, the tighter the loop
/// over them; but of wide rows, those of all features together soon leave the nearest cache.
#[inline(always)]
pub(crate) fn rows_together(dim: usize) -> usize {
    if dim <= 16 { 16 } else { 4 }
}

/// Rows ahead of the one in hand for which memory is asked, those of single ids included.
#[inline(always)]
pub(crate) fn batch_rows_ahead(dim: usize) -> usize {
    (256 / dim.max(1)).clamp(4, 16)
}

/// Listed ids ahead of the one in hand for which memory is asked.
pub(crate) const IDS_AHEAD: usize = 16;

/// The occurrences of one feature.
#[derive(Clone, Copy)]
pub(crate) struct FeatureBags<'a> {
    pub(crate) bags: Bags<'a>,
    /// The position of each occurrence's key among those of the table.
    pub(crate) slots: &'a [u32],
}

/// How they make up the feature's rows. `starts` are [B + 1] positions in `slots`; `scales` say what
/// each occurrence counts, or are empty where all count 1.
#[derive(Clone, Copy)]
pub(crate) enum Bags<'a> {
    /// One each.
    Single,
    /// Lists, whose sums are divided.
    Pooled { starts: &'a [u32], pooling: Pooling },
    /// Lists, whose scales are divided already.
    Weighted { starts: &'a [u32], scales: &'a [f32] },
    /// Lists, or single ids where there are no `starts`, one after another in room for `length`.
    Sequence { starts: Option<&'a [u32]>, scales: &'a [f32], length: usize },
}

/// Positions in `slots` of a row's list, of which `starts` tell the begins.
#[inline(always)]
pub(crate) fn list(starts: &[u32], row: usize) -> Range<usize> {
    starts[row] as usize..starts[row + 1] as usize
}

impl<'a> FeatureBags<'a> {
    /// Those of `rows` rows. `slots` are those of the feature's table.
    pub(crate) fn new(
        pooling: Pooling,
        (feature, rows): (&'a PreparedFeature, usize),
        slots: &'a [u32],
    ) -> Self {
        let PreparedFeature { first, starts, scales } = feature;
        let count = starts.last().map_or(rows, |count| *count as usize);
        let lists = (!starts.is_empty()).then_some(starts.as_slice());
        let bags = match (pooling, lists) {
            (Pooling::Sequence { length: 1, .. }, None) => Bags::Single,
            (Pooling::Sequence { length, .. }, starts) => Bags::Sequence { starts, scales, length },
            (_, None) => Bags::Single,
            (_, Some(starts)) if scales.is_empty() => Bags::Pooled { starts, pooling },
            (_, Some(starts)) => Bags::Weighted { starts, scales },
        };
        Self { bags, slots: &slots[*first..first + count] }
    }
}
