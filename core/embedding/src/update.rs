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
    /// A bag is `vector << row_bits | row`.
    pub(crate) row_bits: u32,
    /// Of row 0 in `values`, for each vector of a row: those of the table's features in turn, L for
    /// a sequence, otherwise 1.
    pub(crate) offsets: Vec<usize>,
}

impl Gradients<'_> {
    /// Those of the columns from `column` on.
    pub(crate) fn right_of(&self, column: usize) -> Self {
        Self { offsets: self.offsets.iter().map(|offset| offset + column).collect(), ..*self }
    }

    /// Where the gradient of a bag begins.
    #[inline(always)]
    fn place(&self, bag: u32) -> usize {
        let vector = (u64::from(bag) >> self.row_bits) as usize;
        let row = (u64::from(bag) & ((1 << self.row_bits) - 1)) as usize;
        row * self.row_stride + self.offsets[vector]
    }

    #[inline(always)]
    fn prefetch(&self, bag: u32, count: usize) {
        prefetch(self.values.as_ptr().wrapping_add(self.place(bag)), count);
    }

    /// Adds the gradient of a bag to `sum`, or sets it.
    #[inline(always)]
    fn add<const FIRST: bool>(&self, bag: u32, scale: Option<&f32>, sum: &mut [f32]) {
        let at = self.place(bag);
        let values = &self.values[at..at + sum.len()];
        match scale {
            None if FIRST => sum.copy_from_slice(values),
            None => {
                for (sum, g) in sum.iter_mut().zip(values) {
                    *sum += *g;
                }
            }
            Some(scale) => {
                for (sum, g) in sum.iter_mut().zip(values) {
                    *sum = if FIRST { *g * scale } else { *sum + *g * scale };
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
        let Distinct { occurrences: bags, scales, .. } = self.distinct;
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
                    self.gradients.add::<true>(bags[at], scales.get(at), sum);
                } else {
                    self.gradients.add::<false>(bags[at], scales.get(at), sum);
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
