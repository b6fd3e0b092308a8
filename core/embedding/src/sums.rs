//! The backward pass: sums the gradients of each key, for the optimizer's step or for their owner.
//!
//! Gradients are read in about the order in which they lie, a few rows at a time, and added to the sums of their keys.
//! The sums are far fewer than the gradients, and those of the frequent keys stay in the nearest
//! cache; to collect the gradients of one key after another would read a line here and a line there.

use std::ops::Range;

use crate::bags::{Bags, FeatureBags, IDS_AHEAD, batch_rows_ahead, list, rows_together};
use crate::parallel::for_each;
use crate::simd::prefetch;
use crate::width::{RowKernel, Width, run_rows, update_with};

/// The gradients of one feature's rows.
pub(crate) struct FeatureGradients<'a> {
    pub(crate) bags: FeatureBags<'a>,
    /// Those of row r begin at `r * stride`.
    pub(crate) values: &'a [f32],
    pub(crate) stride: usize,
    pub(crate) rows: usize,
}

/// The gradients of one table, and where their sums go.
pub(crate) struct TableGradients<'a> {
    pub(crate) dim: usize,
    /// In the order in which the gradients of a key are summed.
    pub(crate) features: Vec<FeatureGradients<'a>>,
    /// [U, D].
    pub(crate) sums: &'a mut [f32],
}

/// A task sums at least as many floats as this, if there are as many.
const TASK_FLOATS_MIN: usize = if cfg!(miri) { 8 } else { 1 << 16 };

/// Fills the sums of all `tables`.
///
/// # Determinism
/// Each sum belongs to one task, which adds the key's gradients in the order of its occurrences.
pub(crate) fn sum_gradients(tables: &mut [TableGradients<'_>]) {
    let floats: usize = tables.iter().map(TableGradients::floats).sum();
    let shares = (floats / TASK_FLOATS_MIN).clamp(1, rayon::current_num_threads());
    let share = floats.div_ceil(shares).max(1);
    let mut groups: Vec<(usize, Group<'_>)> = Vec::new();
    let mut before = 0;
    for table in tables {
        let (dim, own) = (table.dim, table.floats());
        let at = (before + own / 2) / share;
        before += own;
        let pieces = table.cut(own.div_ceil(share));
        match groups.last_mut() {
            Some((last, group)) if *last == at && group.dim == dim && pieces.len() == 1 => {
                group.pieces.extend(pieces);
            }
            _ => groups
                .extend(pieces.into_iter().map(|piece| (at, Group { dim, pieces: vec![piece] }))),
        }
    }
    for_each(groups, |(_, group)| run_rows(group.dim, group));
}

impl TableGradients<'_> {
    fn floats(&self) -> usize {
        let ids: usize = self.features.iter().map(|feature| feature.bags.slots.len()).sum();
        ids * self.dim
    }

    /// Cuts it into at most `pieces` ranges of keys, with about as many occurrences in each.
    fn cut(&mut self, pieces: usize) -> Vec<Piece<'_>> {
        let Self { dim, features, sums } = self;
        let mut rest = &mut **sums;
        let mut first = 0;
        let mut cut = Vec::with_capacity(pieces.max(1));
        for end in bounds(features, pieces) {
            let (own, after) = rest.split_at_mut((end - first) as usize * *dim);
            rest = after;
            cut.push(Piece { features, first, sums: own });
            first = end;
        }
        cut.push(Piece { features, first, sums: rest });
        cut
    }
}

/// Occurrences that are looked at to find where to cut, for each piece.
const SAMPLES: usize = 64;

/// The slots at which all pieces but the first begin.
fn bounds(features: &[FeatureGradients<'_>], pieces: usize) -> Vec<u32> {
    if pieces < 2 {
        return Vec::new();
    }
    let count: usize = features.iter().map(|feature| feature.bags.slots.len()).sum();
    let slots = features.iter().flat_map(|feature| feature.bags.slots);
    let mut sample: Vec<u32> = slots.step_by(count.div_ceil(SAMPLES * pieces)).copied().collect();
    sample.sort_unstable();
    let mut bounds: Vec<u32> =
        (1..pieces).map(|piece| sample[piece * sample.len() / pieces]).collect();
    bounds.dedup();
    bounds
}

/// The keys of a table from `first` on.
struct Piece<'a> {
    features: &'a [FeatureGradients<'a>],
    first: u32,
    /// [keys, D].
    sums: &'a mut [f32],
}

/// What one task sums, of one width.
struct Group<'a> {
    dim: usize,
    pieces: Vec<Piece<'a>>,
}

impl RowKernel for Group<'_> {
    #[inline(always)]
    fn run<W: Width>(mut self, width: W) {
        for piece in &mut self.pieces {
            // The only number to which any x can be added and give x, whatever its sign.
            piece.sums.fill(-0.0);
        }
        let (together, ahead) = (rows_together(width.get()), batch_rows_ahead(width.get()));
        let passes = self.pieces.iter().map(|piece| piece.features.len()).max().unwrap_or(0);
        for pass in 0..passes {
            let pieces = self.pieces.iter_mut().filter(|piece| piece.features.len() > pass);
            let mut pieces: Vec<&mut Piece<'_>> = pieces.collect();
            let rows = pieces.iter().map(|piece| piece.features[pass].rows).max().unwrap_or(0);
            for first in (0..rows).step_by(together) {
                for piece in &mut pieces {
                    let feature = &piece.features[pass];
                    let rows = first..feature.rows.min(first + together);
                    let mut sums = Sums { first: piece.first, values: piece.sums, width, ahead };
                    sums.add_rows(feature, rows);
                }
            }
        }
    }
}

/// Sums of rows of one width.
struct Sums<'a, W> {
    first: u32,
    values: &'a mut [f32],
    width: W,
    /// Rows ahead of the one in hand for which memory is asked.
    ahead: usize,
}

impl<W: Width> Sums<'_, W> {
    /// Adds the gradients of `rows`.
    #[inline(always)]
    fn add_rows(&mut self, feature: &FeatureGradients<'_>, rows: Range<usize>) {
        let FeatureBags { bags, slots } = feature.bags;
        let (values, stride, width) = (feature.values, feature.stride, self.width.get());
        let ahead = self.ahead;
        let begins = rows.map(|row| {
            prefetch(values.as_ptr().wrapping_add((row + ahead) * stride), width);
            (row, row * stride)
        });
        match bags {
            Bags::Single => {
                for (row, begin) in begins {
                    self.ask(slots.get(row + ahead));
                    self.add(slots[row], values, begin);
                }
            }
            Bags::Pooled { starts, pooling } => {
                for (row, begin) in begins {
                    let list = list(starts, row);
                    let scale = 1.0 / pooling.divisor(list.len());
                    for at in list {
                        self.ask(slots.get(at + IDS_AHEAD));
                        self.add_scaled(slots[at], values, begin, scale);
                    }
                }
            }
            Bags::Weighted { starts, scales } => {
                for (row, begin) in begins {
                    for at in list(starts, row) {
                        self.ask(slots.get(at + IDS_AHEAD));
                        self.add_scaled(slots[at], values, begin, scales[at]);
                    }
                }
            }
            Bags::Sequence { starts, scales, .. } => {
                for (row, begin) in begins {
                    let list = starts.map_or(row..row + 1, |starts| list(starts, row));
                    for (nth, at) in list.enumerate() {
                        let begin = begin + nth * width;
                        self.ask(slots.get(at + IDS_AHEAD));
                        match scales.get(at) {
                            None => self.add(slots[at], values, begin),
                            Some(scale) => self.add_scaled(slots[at], values, begin, *scale),
                        }
                    }
                }
            }
        }
    }

    /// The sum of a key, if it is one of this piece's.
    #[inline(always)]
    fn sum(&mut self, slot: u32) -> Option<&mut [f32]> {
        let dim = self.width.get();
        let at = slot.wrapping_sub(self.first) as usize * dim;
        self.values.get_mut(at..at + dim)
    }

    #[inline(always)]
    fn add(&mut self, slot: u32, gradients: &[f32], begin: usize) {
        let gradient = &gradients[begin..begin + self.width.get()];
        if let Some(sum) = self.sum(slot) {
            update_with(sum, gradient, |sum, g| sum + g);
        }
    }

    #[inline(always)]
    fn add_scaled(&mut self, slot: u32, gradients: &[f32], begin: usize, scale: f32) {
        let gradient = &gradients[begin..begin + self.width.get()];
        if let Some(sum) = self.sum(slot) {
            update_with(sum, gradient, |sum, g| sum + g * scale);
        }
    }

    /// Prefetches the sum of a key that comes soon, if there is one.
    #[inline(always)]
    fn ask(&self, slot: Option<&u32>) {
        if let Some(slot) = slot {
            let at = slot.wrapping_sub(self.first) as usize * self.width.get();
            prefetch(self.values.as_ptr().wrapping_add(at), self.width.get());
        }
    }
}
