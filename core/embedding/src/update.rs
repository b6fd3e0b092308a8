//! The backward pass: sums the gradients of each key, for the optimizer's step or for their owner.

use std::ops::Range;

use crate::distinct::Distinct;
use crate::lookup::ROWS_AHEAD;
use crate::parallel::for_each;
use crate::simd::prefetch;
use crate::width::{RowKernel, Width, run_rows};

/// The gradients of the bags of one table.
pub(crate) struct Gradients<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) row_stride: usize,
    /// A bag is `feature << row_bits | row`.
    pub(crate) row_bits: u32,
    /// In the order of the table's features.
    pub(crate) features: Vec<FeatureGradient<'a>>,
}

pub(crate) struct FeatureGradient<'a> {
    /// Of row 0 in `values`.
    pub(crate) offset: usize,
    /// [B + 1], if the rows are means over lists: each id gets its share.
    pub(crate) means: Option<&'a [u32]>,
}

impl Gradients<'_> {
    #[inline(always)]
    fn place(&self, bag: u32) -> (&FeatureGradient<'_>, usize) {
        let feature = (u64::from(bag) >> self.row_bits) as usize;
        let row = (u64::from(bag) & ((1 << self.row_bits) - 1)) as usize;
        (&self.features[feature], row)
    }

    #[inline(always)]
    fn prefetch(&self, bag: u32, count: usize) {
        let (feature, row) = self.place(bag);
        let at = row * self.row_stride + feature.offset;
        prefetch(self.values.as_ptr().wrapping_add(at), count);
    }

    /// Adds the gradient of a bag to `sum`, or sets it.
    #[inline(always)]
    fn add<const FIRST: bool>(&self, bag: u32, sum: &mut [f32]) {
        let (feature, row) = self.place(bag);
        let at = row * self.row_stride + feature.offset;
        let values = &self.values[at..at + sum.len()];
        match feature.means {
            None if FIRST => sum.copy_from_slice(values),
            None => {
                for (sum, g) in sum.iter_mut().zip(values) {
                    *sum += *g;
                }
            }
            Some(starts) => {
                let share = 1.0 / (starts[row + 1] - starts[row]) as f32;
                for (sum, g) in sum.iter_mut().zip(values) {
                    *sum = if FIRST { *g * share } else { *sum + *g * share };
                }
            }
        }
    }
}

/// What becomes of a key's summed gradient. `take` must be `#[inline(always)]`.
pub(crate) trait Sink {
    /// Key `u` comes soon.
    fn ask(&self, u: usize);

    /// Shapes: `sum` and `spare` \[D\]; both may be overwritten.
    fn take(&mut self, u: usize, sum: &mut [f32], spare: &mut [f32]);
}

/// Sums runs, one after another.
pub(crate) struct Sum<'a, S> {
    pub(crate) distinct: &'a Distinct,
    pub(crate) gradients: &'a Gradients<'a>,
    pub(crate) keys: Range<usize>,
    pub(crate) sink: S,
}

/// Keys ahead of the one in hand for which memory is asked.
const KEYS_AHEAD: usize = 8;

impl<S: Sink> RowKernel for Sum<'_, S> {
    #[inline(always)]
    fn run<W: Width>(mut self, width: W) {
        let (mut sum, mut spare) = (width.row(), width.row());
        let sum = &mut sum.as_mut()[..width.get()];
        let spare = &mut spare.as_mut()[..width.get()];
        let bags = &self.distinct.occurrences;
        for u in self.keys.clone() {
            if u + KEYS_AHEAD < self.keys.end {
                self.sink.ask(u + KEYS_AHEAD);
            }
            let run = self.distinct.run(u);
            let first = run.start;
            for at in run {
                if let Some(bag) = bags.get(at + ROWS_AHEAD) {
                    self.gradients.prefetch(*bag, width.get());
                }
                if at == first {
                    self.gradients.add::<true>(bags[at], sum);
                } else {
                    self.gradients.add::<false>(bags[at], sum);
                }
            }
            self.sink.take(u, sum, spare);
        }
    }
}

/// Writes the sums of a range of keys to a buffer, [keys, D].
pub(crate) struct Collect<'a> {
    pub(crate) dim: usize,
    pub(crate) distinct: &'a Distinct,
    pub(crate) gradients: &'a Gradients<'a>,
    pub(crate) first: usize,
    pub(crate) out: &'a mut [f32],
}

impl Sink for (usize, &mut [f32]) {
    #[inline(always)]
    fn ask(&self, _: usize) {}

    #[inline(always)]
    fn take(&mut self, u: usize, sum: &mut [f32], _: &mut [f32]) {
        let at = (u - self.0) * sum.len();
        self.1[at..at + sum.len()].copy_from_slice(sum);
    }
}

/// Fills all of `tasks`.
pub(crate) fn collect(tasks: Vec<Collect<'_>>) {
    for_each(tasks, |task| {
        let Collect { dim, distinct, gradients, first, out } = task;
        let keys = first..first + out.len() / dim;
        run_rows(dim, Sum { distinct, gradients, keys, sink: (first, out) });
    });
}
