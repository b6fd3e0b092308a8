//! Where a reader stands, in a few integers.

use rectool_base::Batch;
use serde::{Deserialize, Serialize};

use crate::DataError;

/// The next batch to read. With the dataset and the loader's options it determines every batch that
/// follows, on any number of ranks; a checkpoint stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReaderState {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0; the number of steps of an epoch stands for the next epoch's
    /// first step.
    pub step: u64,
    /// Seed of the order.
    pub seed: u64,
    /// Rows of the global batch.
    pub batch_size: u64,
}

impl ReaderState {
    /// The state before the first batch of all.
    pub fn new(seed: u64, batch_size: u64) -> Self {
        Self { epoch: 0, step: 0, seed, batch_size }
    }

    /// The state after `batch`.
    pub fn after(self, batch: &Batch) -> Self {
        Self { epoch: batch.epoch, step: batch.step + 1, ..self }
    }

    /// Checks that the state belongs to a run with these options and `steps` per epoch.
    pub(super) fn check(&self, seed: u64, batch_size: u64, steps: u64) -> Result<(), DataError> {
        let state = |field, expected, found| Err(DataError::State { field, expected, found });
        if self.seed != seed {
            return state("seed", seed, self.seed);
        }
        if self.batch_size != batch_size {
            return state("batch_size", batch_size, self.batch_size);
        }
        if self.step > steps {
            return state("step", steps, self.step);
        }
        Ok(())
    }
}
