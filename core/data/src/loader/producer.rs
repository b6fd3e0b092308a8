//! Makes any one batch of a rank, on whichever thread asks.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

use rectool_base::{Batch, BatchPlace, Column};

use super::negatives::BoundNegatives;
use super::{LoaderOptions, ReaderState};
use crate::{DataError, FeatureChain, Order, OrderOptions, Split};

/// Orders kept: at the end of an epoch batches of two are in the making.
const ORDERS_KEPT: usize = 2;

/// A loader's plan: which batch comes when, and how it is made.
pub(super) struct Producer {
    split: Split,
    columns: Vec<usize>,
    negatives: Option<BoundNegatives>,
    chain: Option<Arc<FeatureChain>>,
    order: OrderOptions,
    batch_size: usize,
    rank: usize,
    ranks: usize,
    pub(super) steps: u64,
    /// Number of the first batch, counted over all epochs.
    first: u64,
    /// Batches from the first on, or `u64::MAX`.
    pub(super) batches: u64,
    orders: Mutex<VecDeque<(u64, Arc<Order>)>>,
    /// Allocations to use again.
    spare: Mutex<Vec<Vec<Column>>>,
    spare_max: usize,
}

impl Producer {
    pub(super) fn new(split: &Split, options: LoaderOptions) -> Result<Self, DataError> {
        options.check(split)?;
        let steps = options.steps_per_epoch(split.rows());
        let (seed, batch_size) = (options.order.seed, options.batch_size as u64);
        let start = options.start.unwrap_or_else(|| ReaderState::new(seed, batch_size));
        start.check(seed, batch_size, steps)?;
        let columns = options.read(split);
        let schema = options.schema(split)?;
        if let Some(chain) = options.chain.as_ref().filter(|chain| *chain.input() != schema) {
            return Err(DataError::Option {
                option: "chain",
                expected: format!("the input {}", names(&schema)),
                found: names(chain.input()),
            });
        }
        let negatives = options.negatives.map(|negatives| {
            let read = split.project(&columns)?;
            BoundNegatives::new(negatives, split, &columns, &read)
        });
        let first = start.epoch.saturating_mul(steps).saturating_add(start.step);
        let end = options.epochs.map_or(u64::MAX, |epochs| epochs.saturating_mul(steps));
        let producer = Self {
            split: split.clone(),
            columns,
            negatives: negatives.transpose()?,
            chain: options.chain,
            order: options.order,
            batch_size: options.batch_size,
            rank: options.rank,
            ranks: options.ranks,
            steps,
            first,
            batches: end.saturating_sub(first),
            orders: Mutex::default(),
            spare: Mutex::default(),
            spare_max: options.queue_batches + 1,
        };
        // Options of the order that cannot be are refused now and not by the first batch.
        producer.order_of(first / steps)?;
        Ok(producer)
    }

    /// Makes batch `number`, counted from the first. A panic on the way becomes an error.
    pub(super) fn batch(&self, number: u64) -> Result<Batch, DataError> {
        let at = self.first + number;
        let (epoch, step) = (at / self.steps, at % self.steps);
        let made = catch_unwind(AssertUnwindSafe(|| self.make(epoch, step)));
        made.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            let found = text.unwrap_or("no message").to_owned();
            Err(DataError::Panicked { epoch, step, found })
        })
    }

    fn make(&self, epoch: u64, step: u64) -> Result<Batch, DataError> {
        let order = self.order_of(epoch)?;
        let start = step * self.batch_size as u64;
        let rows_global = (self.split.rows() - start).min(self.batch_size as u64) as usize;
        let slice = Batch::slice_of(rows_global, self.rank, self.ranks);
        let rows_at = |positions: Range<usize>| {
            let mut rows = vec![0; positions.len()];
            order.fill(start + positions.start as u64, &mut rows);
            rows
        };
        let mut columns = lock(&self.spare).pop().unwrap_or_default();
        self.split.gather_into(&rows_at(slice.clone()), &self.columns, &mut columns)?;
        let mut place = BatchPlace { epoch, step, row_first: slice.start, rows: slice.len() };
        let mut times = 1;
        if let Some(negatives) = &self.negatives {
            negatives.add(&mut columns, place, rows_global, |positions, column| {
                let mut gathered = self.split.gather(&rows_at(positions), &[column])?;
                Ok(gathered.swap_remove(0))
            })?;
            times = negatives.times();
        }
        place.row_first *= times;
        place.rows *= times;
        if let Some(chain) = &self.chain {
            columns = chain.apply(columns, place).map_err(|error| error.at_step(epoch, step))?;
        }
        let BatchPlace { rows, row_first, .. } = place;
        Ok(Batch { rows, rows_global: rows_global * times, row_first, epoch, step, columns })
    }

    fn order_of(&self, epoch: u64) -> Result<Arc<Order>, DataError> {
        let mut orders = lock(&self.orders);
        if let Some((_, order)) = orders.iter().find(|(kept, _)| *kept == epoch) {
            return Ok(Arc::clone(order));
        }
        let order = Arc::new(Order::new(self.split.rows(), &self.order, epoch)?);
        if orders.len() == ORDERS_KEPT {
            orders.pop_front();
        }
        orders.push_back((epoch, Arc::clone(&order)));
        Ok(order)
    }

    /// Takes the allocations of a spent batch.
    pub(super) fn recycle(&self, columns: Vec<Column>) {
        let mut spare = lock(&self.spare);
        if spare.len() < self.spare_max {
            spare.push(columns);
        }
    }
}

fn names(schema: &rectool_base::Schema) -> String {
    let columns = schema.columns().iter();
    let names = columns.map(|c| format!("`{}` {}", c.name, c.kind));
    names.collect::<Vec<_>>().join(", ")
}

/// Nothing behind these locks is left half done by a panic.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
