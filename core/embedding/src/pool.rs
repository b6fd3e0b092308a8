//! From the values of distinct keys to one embedding per feature and row.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::bags::{Bags, FeatureBags, IDS_AHEAD, SINGLES_AHEAD};
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
const TASK_ROWS: usize = 128;

/// Writes the embeddings of `rows` rows.
pub(crate) fn pool(features: &[FeatureValues<'_>], rows: usize, out: &mut [f32], layout: &Layout) {
    if rows == 0 || layout.row_stride == 0 {
        return;
    }
    let mut groups: BTreeMap<usize, Vec<(&FeatureValues<'_>, usize)>> = BTreeMap::new();
    for (feature, offset) in features.iter().zip(&layout.offsets) {
        groups.entry(feature.dim).or_default().push((feature, *offset));
    }
    let stores = Stores::for_buffer(size_of_val(out));
    let tasks =
        out.chunks_mut(TASK_ROWS * layout.row_stride).zip((0..rows).step_by(TASK_ROWS)).collect();
    for_each(tasks, |(out, first): (&mut [f32], usize)| {
        for (dim, features) in &groups {
            let rows = first..rows.min(first + TASK_ROWS);
            run_rows(*dim, Block { features, rows, out, stride: layout.row_stride, stores });
        }
    });
}

/// Some rows of the features of one width. The output is written in the order in which it lies,
/// which lets the processor fetch ahead.
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
        for (row, out) in self.rows.zip(self.out.chunks_mut(self.stride)) {
            for (feature, offset) in self.features {
                feature.write(width, row, self.stores, &mut out[*offset..]);
            }
        }
        self.stores.settle();
    }
}

impl FeatureValues<'_> {
    /// Writes the feature's vectors of `row` to the start of `out`.
    #[inline(always)]
    fn write<W: Width>(&self, width: W, row: usize, stores: Stores, out: &mut [f32]) {
        let list = |starts: &[u32]| starts[row] as usize..starts[row + 1] as usize;
        match self.bags.bags {
            Bags::Single => copy(self, width, row, stores, &mut out[..width.get()]),
            Bags::Pooled { starts, pooling } => {
                let (list, out) = (list(starts), &mut out[..width.get()]);
                sum(self, width, list.clone(), &[], out);
                if pooling != Pooling::Sum && list.len() > 1 {
                    let divisor = pooling.divisor(list.len());
                    for sum in out {
                        *sum /= divisor;
                    }
                }
            }
            Bags::Weighted { starts, scales } => {
                sum(self, width, list(starts), scales, &mut out[..width.get()]);
            }
            Bags::Sequence { starts, scales, length } => {
                let list = starts.map_or(row..row + 1, list);
                sequence(self, width, list, (scales, stores), &mut out[..length * width.get()]);
            }
        }
    }
}

#[inline(always)]
fn copy<W: Width>(
    feature: &FeatureValues<'_>,
    width: W,
    row: usize,
    stores: Stores,
    out: &mut [f32],
) {
    let FeatureValues { bags: FeatureBags { slots, .. }, values, .. } = *feature;
    ask(slots, row + SINGLES_AHEAD, values, width);
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
