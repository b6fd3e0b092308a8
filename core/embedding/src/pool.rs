//! From the values of distinct keys to one embedding per feature and row.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::bags::{Bags, FeatureBags, IDS_AHEAD, batch_rows_ahead, list, rows_together};
use crate::parallel::for_each;
use crate::simd::prefetch;
use crate::stream::Stores;
use crate::width::{RowKernel, Width, run_rows};
use crate::{Layout, Pooling};

/// One feature of a batch.
pub(crate) struct FeatureValues<'a> {
    pub(crate) dim: usize,
    pub(crate) bags: FeatureBags<'a>,
    /// [U, D] of the feature's table.
    pub(crate) values: &'a [f32],
}

/// Rows of a task.
const TASK_ROWS: usize = if cfg!(miri) { 2 } else { 128 };

/// Writes the embeddings of `rows` rows.
pub(crate) fn pool(
    features: &[FeatureValues<'_>],
    rows: usize,
    (out, stores): (&mut [f32], Stores),
    layout: &Layout,
) {
    if rows == 0 || layout.row_stride == 0 {
        return;
    }
    let mut groups: BTreeMap<usize, Vec<(&FeatureValues<'_>, usize)>> = BTreeMap::new();
    for (feature, offset) in features.iter().zip(&layout.offsets) {
        groups.entry(feature.dim).or_default().push((feature, *offset));
    }
    let tasks =
        out.chunks_mut(TASK_ROWS * layout.row_stride).zip((0..rows).step_by(TASK_ROWS)).collect();
    for_each(tasks, |(out, first): (&mut [f32], usize)| {
        for (dim, features) in &groups {
            let rows = first..rows.min(first + TASK_ROWS);
            run_rows(*dim, Block { features, rows, out, stride: layout.row_stride, stores });
        }
    });
}

/// Some rows of the features of one width. A few rows of each feature are written in turn: so the output is
/// written about in the order in which it lies, and the loop over a feature's rows is a tight one.
struct Block<'a> {
    /// With their offsets in a row of the output.
    features: &'a [(&'a FeatureValues<'a>, usize)],
    rows: Range<usize>,
    /// Begins with the first of `rows`.
    out: &'a mut [f32],
    stride: usize,
    stores: Stores,
}

impl RowKernel for Block<'_> {
    #[inline(always)]
    fn run<W: Width>(self, width: W) {
        let Self { features, rows, out, stride, stores } = self;
        let ahead = batch_rows_ahead(width.get());
        // A streamed line must be whole soon, and the next feature may write the rest of it.
        let together = if stores == Stores::Streamed { 1 } else { rows_together(width.get()) };
        for first in rows.clone().step_by(together) {
            let out = &mut out[(first - rows.start) * stride..];
            for (feature, offset) in features {
                let rows = first..rows.end.min(first + together);
                let mut to = Rows { out, stride, offset: *offset, ahead, stores };
                feature.write(width, rows, &mut to);
            }
        }
        stores.settle();
    }
}

/// Where the vectors of a feature go in some rows of the output.
struct Rows<'a> {
    out: &'a mut [f32],
    stride: usize,
    offset: usize,
    /// Rows ahead of the one in hand for which memory is asked.
    ahead: usize,
    stores: Stores,
}

impl Rows<'_> {
    /// The first `len` floats of the feature in the row `nth`. Ordinary stores fetch what they change: that of a
    /// later row is asked for.
    #[inline(always)]
    fn row(&mut self, nth: usize, len: usize) -> &mut [f32] {
        let begin = nth * self.stride + self.offset;
        if self.stores == Stores::Cached {
            prefetch(self.out.as_ptr().wrapping_add(begin + self.ahead * self.stride), len);
        }
        &mut self.out[begin..begin + len]
    }
}

impl FeatureValues<'_> {
    /// Writes the feature's vectors of `rows`.
    #[inline(always)]
    fn write<W: Width>(&self, width: W, rows: Range<usize>, out: &mut Rows<'_>) {
        let (ahead, stores) = (out.ahead, out.stores);
        match self.bags.bags {
            Bags::Single => {
                for (nth, row) in rows.enumerate() {
                    let out = out.row(nth, width.get());
                    copy(self, width, row, (ahead, stores), out);
                }
            }
            Bags::Pooled { starts, pooling } => {
                for (nth, row) in rows.enumerate() {
                    let out = out.row(nth, width.get());
                    let list = list(starts, row);
                    sum(self, width, list.clone(), &[], out);
                    if pooling != Pooling::Sum && list.len() > 1 {
                        let divisor = pooling.divisor(list.len());
                        for sum in out {
                            *sum /= divisor;
                        }
                    }
                }
            }
            Bags::Weighted { starts, scales } => {
                for (nth, row) in rows.enumerate() {
                    let out = out.row(nth, width.get());
                    sum(self, width, list(starts, row), scales, out);
                }
            }
            Bags::Sequence { starts, scales, length } => {
                for (nth, row) in rows.enumerate() {
                    let out = out.row(nth, length * width.get());
                    let list = starts.map_or(row..row + 1, |starts| list(starts, row));
                    sequence(self, width, list, (scales, stores), out);
                }
            }
        }
    }
}

#[inline(always)]
fn copy<W: Width>(
    feature: &FeatureValues<'_>,
    width: W,
    row: usize,
    (ahead, stores): (usize, Stores),
    out: &mut [f32],
) {
    let FeatureValues { bags: FeatureBags { slots, .. }, values, .. } = *feature;
    ask(slots, row + ahead, values, width);
    let from = slots[row] as usize * width.get();
    stores.copy(out, &values[from..from + width.get()]);
}

#[inline(always)]
fn sum<W: Width>(
    feature: &FeatureValues<'_>,
    width: W,
    list: Range<usize>,
    scales: &[f32],
    out: &mut [f32],
) {
    let FeatureValues { bags: FeatureBags { slots, .. }, values, .. } = *feature;
    if list.is_empty() {
        out.fill(0.0);
    }
    for at in list.clone() {
        ask(slots, at + IDS_AHEAD, values, width);
        let from = slots[at] as usize * width.get();
        let value = &values[from..from + width.get()];
        match scales.get(at) {
            None if at == list.start => out.copy_from_slice(value),
            None => {
                for (sum, x) in out.iter_mut().zip(value) {
                    *sum += *x;
                }
            }
            Some(scale) => {
                for (sum, x) in out.iter_mut().zip(value) {
                    let x = *x * scale;
                    *sum = if at == list.start { x } else { *sum + x };
                }
            }
        }
    }
}

#[inline(always)]
fn sequence<W: Width>(
    feature: &FeatureValues<'_>,
    width: W,
    list: Range<usize>,
    (scales, stores): (&[f32], Stores),
    out: &mut [f32],
) {
    let FeatureValues { bags: FeatureBags { slots, .. }, values, .. } = *feature;
    let (filled, rest) = out.split_at_mut(list.len() * width.get());
    rest.fill(0.0);
    for (at, out) in list.zip(filled.chunks_exact_mut(width.get())) {
        ask(slots, at + IDS_AHEAD, values, width);
        let from = slots[at] as usize * width.get();
        let value = &values[from..from + width.get()];
        match scales.get(at) {
            None => stores.copy(out, value),
            Some(scale) => {
                for (out, x) in out.iter_mut().zip(value) {
                    *out = *x * scale;
                }
            }
        }
    }
}

/// Prefetches the values of occurrence `at`, if there is one.
#[inline(always)]
fn ask<W: Width>(slots: &[u32], at: usize, values: &[f32], width: W) {
    if let Some(slot) = slots.get(at) {
        let start = values.as_ptr().wrapping_add(*slot as usize * width.get());
        prefetch(start, width.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_past_the_caches_write_the_same() {
        // More rows than a task has, one width that leaves the next feature unaligned, and a list that ends short.
        let (rows, values): (usize, Vec<f32>) = (300, (0..16 * 7).map(|at| at as f32).collect());
        let slots: Vec<u32> = (0..rows as u32).map(|row| row * row % 7).collect();
        let starts: Vec<u32> = (0..=rows as u32).collect();
        let sequence = Bags::Sequence { starts: Some(&starts), scales: &[], length: 2 };
        let feature = |dim: usize, bags| FeatureValues {
            dim,
            bags: FeatureBags { bags, slots: &slots },
            values: &values[..7 * dim],
        };
        let features = [
            feature(16, Bags::Single),
            feature(3, Bags::Single),
            feature(8, sequence),
            feature(16, sequence),
        ];
        let layout = Layout::packed([16, 3, 16, 32]);
        let [cached, streamed] = [Stores::Cached, Stores::Streamed].map(|stores| {
            let mut out = vec![f32::NAN; rows * layout.row_stride];
            pool(&features, rows, (&mut out, stores), &layout);
            out
        });
        assert!(cached == streamed && cached.iter().all(|value| value.is_finite()));
        assert_eq!(streamed[67 * 2..67 * 2 + 16], values[4 * 16..5 * 16]);
    }
}
