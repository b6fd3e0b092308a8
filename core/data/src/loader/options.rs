//! What a loader is told, checked once into a plan.

use std::sync::Arc;

use rectool_base::Schema;
use rectool_base::limits::BATCH_ROWS_MAX;
use serde::{Deserialize, Serialize};

use super::{Negatives, ReaderState};
use crate::{DataError, FeatureChain, OrderOptions, Split};

/// What becomes of the last batch of an epoch where the rows do not come out even.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LastBatch {
    /// It is short; some ranks may get no rows of it, but every rank gets the batch.
    #[default]
    Keep,
    /// Its rows are left out of this epoch.
    Drop,
}

/// Everything that a [`super::Loader`] needs to know.
#[derive(Clone, Debug)]
pub struct LoaderOptions {
    /// Rows of the global batch that are read, over all ranks.
    pub batch_size: usize,
    /// This rank.
    pub rank: usize,
    /// Number of ranks.
    pub ranks: usize,
    /// Threads that make batches; 0 makes each batch when it is asked for.
    pub threads: usize,
    /// Batches that may be made or in the making ahead of the consumer.
    pub queue_batches: usize,
    /// Order of the rows.
    pub order: OrderOptions,
    /// The uneven end of an epoch.
    pub last: LastBatch,
    /// Positions of the columns to read, in the order wanted; empty for all.
    pub columns: Vec<usize>,
    /// Rows for items that were not chosen, added before the chain.
    pub negatives: Option<Negatives>,
    /// What is done to the columns. Its input schema is [`LoaderOptions::schema`].
    pub chain: Option<Arc<FeatureChain>>,
    /// The first batch; `None` for the first of all.
    pub start: Option<ReaderState>,
    /// Epochs in all, counted from epoch 0 and not from `start`; `None` goes on for ever.
    pub epochs: Option<u64>,
}

impl LoaderOptions {
    /// One epoch of batches of `batch_size` rows in random order for a single rank, made by two
    /// threads.
    pub fn new(batch_size: usize) -> Self {
        Self {
            batch_size,
            rank: 0,
            ranks: 1,
            threads: 2,
            queue_batches: 4,
            order: OrderOptions::default(),
            last: LastBatch::default(),
            columns: Vec::new(),
            negatives: None,
            chain: None,
            start: None,
            epochs: Some(1),
        }
    }

    /// Steps of an epoch over `rows` rows: the same on every rank.
    ///
    /// # Panics
    /// If the batch size is 0.
    pub fn steps_per_epoch(&self, rows: u64) -> u64 {
        match self.last {
            LastBatch::Keep => rows.div_ceil(self.batch_size as u64),
            LastBatch::Drop => rows / self.batch_size as u64,
        }
    }

    /// What is read of `split`, with the columns that come with negatives: the chain's input.
    ///
    /// # Errors
    /// As [`Split::project`] and [`Negatives::schema`].
    pub fn schema(&self, split: &Split) -> Result<Schema, DataError> {
        let schema = split.project(&self.read(split))?;
        match &self.negatives {
            Some(negatives) => negatives.schema(&schema),
            None => Ok(schema),
        }
    }

    /// Positions of the columns to read.
    pub(super) fn read(&self, split: &Split) -> Vec<usize> {
        if self.columns.is_empty() {
            return (0..split.schema().columns().len()).collect();
        }
        self.columns.clone()
    }

    pub(super) fn check(&self, split: &Split) -> Result<(), DataError> {
        in_range("batch_size", self.batch_size, 1, BATCH_ROWS_MAX)?;
        let (expected, found) = (split.rows(), self.batch_size as u64);
        if found > expected {
            let split = split.name().to_owned();
            return Err(DataError::BatchTooLarge { split, expected, found });
        }
        if let Some(negatives) = &self.negatives {
            let max = BATCH_ROWS_MAX / self.batch_size - 1;
            in_range("per_row", negatives.per_row, 1, max)?;
        }
        in_range("ranks", self.ranks, 1, 1 << 24)?;
        in_range("rank", self.rank, 0, self.ranks - 1)?;
        in_range("threads", self.threads, 0, 1_024)?;
        in_range("queue_batches", self.queue_batches, 1, 1 << 16)
    }
}

fn in_range(option: &'static str, found: usize, min: usize, max: usize) -> Result<(), DataError> {
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(DataError::Option { option, expected: format!("{min} to {max}"), found: found.to_string() })
}
