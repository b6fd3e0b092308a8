//! Scoring a whole split.

use std::sync::Arc;

use rectool_base::Batch;
use rectool_comm::agree;
use rectool_data::{DataError, OrderOptions, Shuffle, Split};

use super::read::{Reading, open_loader};
use crate::{Evaluation, Evaluator, ModelError, Ranker};

impl Ranker {
    /// Metrics of the model on all rows of `split`.
    ///
    /// `batch_size` is global and only a matter of speed and memory; `loader_threads` as in
    /// [`crate::TrainSpec`].
    ///
    /// # Errors
    /// If the split cannot be read, lacks a column, or holds values that cannot be scored.
    ///
    /// # Collective
    /// Every rank; the result is the same on all.
    pub fn evaluate(
        &mut self,
        split: &Split,
        batch_size: usize,
        loader_threads: usize,
    ) -> Result<Evaluation, ModelError> {
        let batch_size = batch_size.min(split.rows().max(1) as usize);
        let order = OrderOptions { seed: 0, shuffle: Shuffle::None };
        let reading =
            Reading { order, batch_size, threads: loader_threads, epochs: 1, start: None };
        let mut loader = open_loader(self, split, &reading)?;
        let comm = Arc::clone(&self.comm);
        let mut evaluator = Evaluator::new();
        loop {
            let next = self.take(loader.next());
            let Some(batch) = agree(&*comm, next)? else { break };
            let labels = self.labels(&batch)?;
            evaluator.add(self.score_prepared()?, labels);
            loader.recycle(batch);
        }
        Ok(evaluator.finish(&*comm)?)
    }

    /// Everything about the next batch that can fail on this rank alone.
    pub(crate) fn take(
        &mut self,
        next: Option<Result<Batch, DataError>>,
    ) -> Result<Option<Batch>, ModelError> {
        let Some(batch) = next.transpose()? else { return Ok(None) };
        self.labels(&batch)?;
        self.prepare(&batch)?;
        Ok(Some(batch))
    }
}
