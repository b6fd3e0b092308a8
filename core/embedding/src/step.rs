//! The optimizer's step on the rows of a batch.

use std::marker::PhantomData;

use crate::index::ABSENT;
use crate::lookup::{KEYS_PER_TASK, rows_ahead};
use crate::parallel::for_each;
use crate::prepare::Lookups;
use crate::row::{RowLayout, RowMut};
use crate::rule::{
    Adagrad, Adam, Ftrl, Moments, MomentumSgd, RowWiseAdagrad, RowWiseAdam, Rule, Sgd, clip,
};
use crate::slab::SharedRows;
use crate::storage::{Bf16, Element, F16, Rounding};
use crate::table::Table;
use crate::width::{RowKernel, Width, run_rows, run_rows_any};
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
    steps: Steps<'a>,
    /// \[U\]: all different.
    keys: &'a [u64],
    /// \[U\]: all different, as the keys are.
    rows: &'a [u32],
    /// Of the gradients of each key, [U, D].
    sums: &'a [f32],
}

/// The optimizer's step on the rows of a table.
struct Steps<'a> {
    layout: RowLayout,
    optimizer: &'a OptimizerOptions,
    clip_norm: Option<f32>,
    tick: Tick,
    rounding: Rounding,
    slab: SharedRows<'a>,
}

/// Some of an update's keys.
#[derive(Clone, Copy)]
struct Keys<'a> {
    keys: &'a [u64],
    rows: &'a [u32],
}

/// Does all of `updates`.
///
/// # Determinism
/// Each row takes its step alone.
pub(crate) fn update(updates: &[Update<'_>]) {
    let mut tasks = Vec::new();
    for Update { steps, keys, rows, sums } in updates {
        let parts = keys.chunks(KEYS_PER_TASK).zip(rows.chunks(KEYS_PER_TASK));
        let sums = sums.chunks(KEYS_PER_TASK * steps.layout.dim);
        tasks
            .extend(parts.zip(sums).map(|((keys, rows), sums)| (steps, Keys { keys, rows }, sums)));
    }
    for_each(tasks, |(steps, keys, sums)| steps.run(keys, sums));
}

impl<'a> Update<'a> {
    /// The step on the rows of `lookups`, which must be found already.
    pub(crate) fn new(
        table: &'a mut Table,
        lookups: &'a Lookups,
        sums: &'a [f32],
        tick: Tick,
    ) -> Self {
        let steps = Steps {
            layout: table.layout,
            optimizer: &table.options.optimizer,
            clip_norm: table.options.clip_norm,
            tick,
            rounding: table.rounding(),
            slab: table.slab.shared(),
        };
        Self { steps, keys: &lookups.distinct.keys, rows: &lookups.rows, sums }
    }
}

impl Steps<'_> {
    fn run(&self, keys: Keys<'_>, sums: &[f32]) {
        use OptimizerOptions as O;
        let eta = |learning_rate: f32| learning_rate * self.tick.rate;
        match *self.optimizer {
            O::Sgd { learning_rate, momentum, weight_decay } => {
                let rate = eta(learning_rate);
                if momentum > 0.0 {
                    self.run_rule((keys, sums), MomentumSgd { rate, momentum, weight_decay });
                } else {
                    self.run_rule((keys, sums), Sgd { rate, weight_decay });
                }
            }
            O::Adagrad { learning_rate, epsilon, weight_decay, .. } => {
                self.run_rule(
                    (keys, sums),
                    Adagrad { rate: eta(learning_rate), epsilon, weight_decay },
                );
            }
            O::RowWiseAdagrad { learning_rate, epsilon, weight_decay, .. } => {
                let rate = eta(learning_rate);
                self.run_rule((keys, sums), RowWiseAdagrad { rate, epsilon, weight_decay });
            }
            O::Adam { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule((keys, sums), adam.with_l2(weight_decay));
            }
            O::AdamW { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule((keys, sums), adam.with_shrink(eta(learning_rate) * weight_decay));
            }
            O::RowWiseAdam { learning_rate, beta1, beta2, epsilon, weight_decay, decay } => {
                let moments = Moments { beta1, beta2, epsilon, decay };
                let adam = Adam::new(moments, eta(learning_rate), self.tick.step);
                self.run_rule((keys, sums), RowWiseAdam(adam.with_l2(weight_decay)));
            }
            O::Ftrl { learning_rate, beta, l1, l2 } => {
                self.run_rule((keys, sums), Ftrl { rate: learning_rate, beta, l1, l2 });
            }
        }
    }

    fn run_rule<R: Rule>(&self, part: (Keys<'_>, &[f32]), rule: R) {
        match self.layout.storage {
            Storage::F32 => self.run_stored::<R, f32>(part, rule),
            Storage::Bf16 => self.run_stored::<R, Bf16>(part, rule),
            Storage::F16 => self.run_stored::<R, F16>(part, rule),
        }
    }

    fn run_stored<R: Rule, E: Element>(&self, part: (Keys<'_>, &[f32]), rule: R) {
        let now = u32::try_from(self.tick.step).unwrap_or(u32::MAX);
        let (keys, sums) = part;
        let part = Part::<R, E> { steps: self, now, rule, keys, sums, element: PhantomData };
        if R::UNROLLED && size_of::<E>() == size_of::<f32>() {
            run_rows(self.layout.dim, part);
        } else {
            run_rows_any(self.layout.dim, part);
        }
    }
}

/// The steps of some keys.
struct Part<'a, R, E> {
    steps: &'a Steps<'a>,
    /// The step, as headers hold it.
    now: u32,
    rule: R,
    keys: Keys<'a>,
    sums: &'a [f32],
    element: PhantomData<E>,
}

impl<R: Rule, E: Element> RowKernel for Part<'_, R, E> {
    #[inline(always)]
    fn run<W: Width>(self, width: W) {
        let Self { steps, now, rule, keys: Keys { keys, rows }, sums, .. } = self;
        let (mut own, mut spare) = (width.row(), width.row());
        let own = &mut own.as_mut()[..width.get()];
        let spare = &mut spare.as_mut()[..width.get()];
        let ahead = rows_ahead(steps.layout.stride());
        for (u, sum) in sums.chunks_exact(width.get()).enumerate() {
            if let Some(row) = rows.get(u + ahead).filter(|row| **row != ABSENT) {
                steps.slab.prefetch(*row);
            }
            if rows[u] != ABSENT {
                // A copy, which the compiler knows not to overlap with the row.
                own.copy_from_slice(sum);
                steps.take::<R, E>((keys[u], rows[u]), (now, rule), own, spare);
            }
        }
    }
}

impl Steps<'_> {
    /// One key's step. Shapes: `sum` and `spare` \[D\]; both may be overwritten.
    #[inline(always)]
    fn take<R: Rule, E: Element>(
        &self,
        (key, row): (u64, u32),
        (now, rule): (u32, R),
        sum: &mut [f32],
        spare: &mut [f32],
    ) {
        let Self { slab, rounding, tick, clip_norm, .. } = self;
        #[expect(unsafe_code, reason = "threads write to different rows of one slab")]
        // SAFETY: the keys of a batch are distinct and so are their rows; each key belongs to one
        // task, and this reference ends before the task's next key.
        let words = unsafe { slab.row_mut(row) };
        let RowMut { header, values, state } = RowMut::<E>::new(words, sum.len());
        let missed = header.missed(now);
        header.stamp(now);
        if let Some(norm_max) = clip_norm {
            clip(*norm_max, sum);
        }
        rule.step(E::floats(values, spare), state, sum, missed);
        if size_of::<E>() < size_of::<f32>() {
            E::settle(values, spare, rounding.row(key, tick.step));
        }
    }
}
