//! The optimizer's step on the rows of a batch, fused with the sum of their gradients.

use std::marker::PhantomData;
use std::ops::Range;

use crate::distinct::Distinct;
use crate::index::ABSENT;
use crate::parallel::for_each;
use crate::prepare::Lookups;
use crate::row::{RowLayout, RowMut};
use crate::rule::{
    Adagrad, Adam, Ftrl, Moments, MomentumSgd, RowWiseAdagrad, RowWiseAdam, Rule, Sgd, clip,
};
use crate::slab::SharedRows;
use crate::storage::{Bf16, Element, F16, Rounding};
use crate::table::Table;
use crate::update::{Gradients, Sink, Sum};
use crate::width::{run_rows, run_rows_any};
use crate::{OptimizerOptions, Storage};

/// When an update happens.
#[derive(Clone, Copy)]
pub(crate) struct Tick {
    /// Counts from 1.
    pub(crate) step: u64,
    /// Multiplies every learning rate.
    pub(crate) rate: f32,
}

/// Takes the optimizer's step on each key's row.
pub(crate) struct Update<'a> {
    layout: RowLayout,
    optimizer: &'a OptimizerOptions,
    clip_norm: Option<f32>,
    tick: Tick,
    rounding: Rounding,
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
        tick: Tick,
    ) -> Self {
        Self {
            layout: table.layout,
            optimizer: &table.options.optimizer,
            clip_norm: table.options.clip_norm,
            tick,
            rounding: table.rounding(),
            distinct: &lookups.distinct,
            rows: &lookups.rows,
            slab: table.slab.shared(),
            gradients,
        }
    }

    fn run(&self, keys: Range<usize>) {
        use OptimizerOptions as O;
        let eta = |learning_rate: f32| learning_rate * self.tick.rate;
        match *self.optimizer {
            O::Sgd { learning_rate, momentum, weight_decay } => {
                let rate = eta(learning_rate);
                if momentum > 0.0 {
                    self.run_rule(keys, MomentumSgd { rate, momentum, weight_decay });
                } else {
                    self.run_rule(keys, Sgd { rate, weight_decay });
                }
            }
            O::Adagrad { learning_rate, epsilon, weight_decay, .. } => {
                self.run_rule(keys, Adagrad { rate: eta(learning_rate), epsilon, weight_decay });
            }
            O::RowWiseAdagrad { learning_rate, epsilon, weight_decay, .. } => {
                let rate = eta(learning_rate);
                self.run_rule(keys, RowWiseAdagrad { rate, epsilon, weight_decay });
            }
            O::Adam { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule(keys, adam.with_l2(weight_decay));
            }
            O::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule(keys, adam.with_shrink(eta(learning_rate) * weight_decay));
            }
            O::RowWiseAdam { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule(keys, RowWiseAdam(adam.with_l2(weight_decay)));
            }
            O::Ftrl { learning_rate, beta, l1, l2 } => {
                self.run_rule(keys, Ftrl { rate: learning_rate, beta, l1, l2 });
            }
        }
    }

    fn run_rule<R: Rule>(&self, keys: Range<usize>, rule: R) {
        match self.layout.storage {
            Storage::F32 => self.run_stored::<R, f32>(keys, rule),
            Storage::Bf16 => self.run_stored::<R, Bf16>(keys, rule),
            Storage::F16 => self.run_stored::<R, F16>(keys, rule),
        }
    }

    fn run_stored<R: Rule, E: Element>(&self, keys: Range<usize>, rule: R) {
        let now = u32::try_from(self.tick.step).unwrap_or(u32::MAX);
        let sink = Step::<R, E> { update: self, now, rule, element: PhantomData };
        let Self { distinct, gradients, .. } = self;
        let sum = Sum { distinct, gradients, keys, sink };
        if R::UNROLLED && size_of::<E>() == size_of::<f32>() {
            run_rows(self.layout.dim, sum);
        } else {
            run_rows_any(self.layout.dim, sum);
        }
    }
}

struct Step<'a, R, E> {
    update: &'a Update<'a>,
    /// The step, as headers hold it.
    now: u32,
    rule: R,
    element: PhantomData<E>,
}

impl<R: Rule, E: Element> Sink for Step<'_, R, E> {
    #[inline(always)]
    fn ask(&self, u: usize) {
        let row = self.update.rows[u];
        if row != ABSENT {
            self.update.slab.prefetch(row);
        }
    }

    #[inline(always)]
    fn take(&mut self, u: usize, sum: &mut [f32], spare: &mut [f32]) {
        let Update { slab, rows, distinct, rounding, tick, clip_norm, .. } = self.update;
        if rows[u] == ABSENT {
            // The key was not admitted.
            return;
        }
        #[expect(unsafe_code, reason = "threads write to different rows of one slab")]
        // SAFETY: the keys of a batch are distinct and so are their rows; each key belongs to one
        // task, and this reference ends before the task's next key.
        let words = unsafe { slab.row_mut(rows[u]) };
        let RowMut { header, values, state } = RowMut::<E>::new(words, sum.len());
        let missed = header.missed(self.now);
        header.stamp(self.now);
        if let Some(norm_max) = clip_norm {
            clip(*norm_max, sum);
        }
        self.rule.step(E::floats(values, spare), state, sum, missed);
        if size_of::<E>() < size_of::<f32>() {
            E::settle(values, spare, rounding.row(distinct.keys[u], tick.step));
        }
    }
}
