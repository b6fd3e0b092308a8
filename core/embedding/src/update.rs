//! The backward pass: sums the gradients of each key, and either takes the optimizer's step or
//! collects the sums for their owner.

use std::ops::Range;

use crate::OptimizerOptions;
use crate::distinct::Distinct;
use crate::lookup::ROWS_AHEAD;
use crate::parallel::for_each;
use crate::prepare::Lookups;
use crate::rule::{Adagrad, RowWiseAdagrad, Rule, Sgd};
use crate::simd::prefetch;
use crate::slab::SharedRows;
use crate::table::Table;
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
trait Sink {
    /// Key `u` comes soon.
    fn ask(&self, u: usize);

    fn take(&mut self, u: usize, sum: &mut [f32]);
}

/// Sums runs, one after another.
struct Sum<'a, S> {
    distinct: &'a Distinct,
    gradients: &'a Gradients<'a>,
    keys: Range<usize>,
    sink: S,
}

/// Keys ahead of the one in hand for which memory is asked.
const KEYS_AHEAD: usize = 8;

impl<S: Sink> RowKernel for Sum<'_, S> {
    #[inline(always)]
    fn run<W: Width>(mut self, width: W) {
        let mut row = width.row();
        let sum = &mut row.as_mut()[..width.get()];
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
            self.sink.take(u, sum);
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
    fn take(&mut self, u: usize, sum: &mut [f32]) {
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

/// Takes the optimizer's step on each key's row.
pub(crate) struct Update<'a> {
    dim: usize,
    optimizer: &'a OptimizerOptions,
    /// Multiplies the learning rate.
    rate: f32,
    distinct: &'a Distinct,
    /// \[U\]: all different, as the keys are.
    rows: &'a [u32],
    slab: SharedRows<'a>,
    gradients: Gradients<'a>,
}

/// Occurrences of a task, counting a row's step as `STEP_WORK` of them.
const TASK_WORK: usize = 8192;
const STEP_WORK: usize = 4;

/// Does all of `updates`.
///
/// # Determinism
/// Each key belongs to one task, which sums its gradients in the order of its occurrences.
pub(crate) fn update(updates: &[Update<'_>]) {
    let mut tasks = Vec::new();
    for update in updates {
        let end = update.distinct.len();
        let work = |u: usize| update.distinct.run(u).start + STEP_WORK * u;
        let mut first = 0;
        while first < end {
            let until = work(first) + TASK_WORK;
            let next = partition_point(first + 1..end, |u| work(u) < until);
            tasks.push((update, first..next));
            first = next;
        }
    }
    for_each(tasks, |(update, keys)| update.run(keys));
}

/// The first of `range` for which `before` does not hold.
fn partition_point(range: Range<usize>, before: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (range.start, range.end);
    while low < high {
        let middle = low.midpoint(high);
        if before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

impl<'a> Update<'a> {
    /// The step on the rows of `lookups`, which must be found already.
    pub(crate) fn new(
        table: &'a mut Table,
        lookups: &'a Lookups,
        gradients: Gradients<'a>,
        rate: f32,
    ) -> Self {
        Self {
            dim: table.layout.dim,
            optimizer: &table.options.optimizer,
            rate,
            distinct: &lookups.distinct,
            rows: &lookups.rows,
            slab: table.slab.shared(),
            gradients,
        }
    }

    fn run(&self, keys: Range<usize>) {
        match *self.optimizer {
            OptimizerOptions::Sgd { learning_rate, weight_decay } => {
                self.run_rule(keys, Sgd { rate: learning_rate * self.rate, weight_decay });
            }
            OptimizerOptions::Adagrad { learning_rate, epsilon, weight_decay, .. } => {
                let rate = learning_rate * self.rate;
                self.run_rule(keys, Adagrad { rate, epsilon, weight_decay });
            }
            OptimizerOptions::RowWiseAdagrad { learning_rate, epsilon, weight_decay, .. } => {
                let rate = learning_rate * self.rate;
                self.run_rule(keys, RowWiseAdagrad { rate, epsilon, weight_decay });
            }
        }
    }

    fn run_rule<R: Rule>(&self, keys: Range<usize>, rule: R) {
        let sink = Step { rows: self.rows, slab: &self.slab, rule };
        let Self { distinct, gradients, .. } = self;
        run_rows(self.dim, Sum { distinct, gradients, keys, sink });
    }
}

struct Step<'a, R> {
    rows: &'a [u32],
    slab: &'a SharedRows<'a>,
    rule: R,
}

impl<R: Rule> Sink for Step<'_, R> {
    #[inline(always)]
    fn ask(&self, u: usize) {
        self.slab.prefetch(self.rows[u]);
    }

    #[inline(always)]
    fn take(&mut self, u: usize, sum: &mut [f32]) {
        #[expect(unsafe_code, reason = "threads write to different rows of one slab")]
        // SAFETY: the keys of a batch are distinct and so are their rows; each key belongs to one
        // task, and this reference ends before the task's next key.
        let row = unsafe { self.slab.row_mut(self.rows[u]) };
        let (values, state) = row.split_at_mut(sum.len());
        self.rule.step(values, state, sum);
    }
}
