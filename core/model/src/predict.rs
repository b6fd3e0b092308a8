//! The scores of a split, row by row.

use std::sync::Arc;

use rectool_comm::{CommExt, agree};
use rectool_data::Split;

use crate::encode::View;
use crate::{ModelError, Ranker};

impl Ranker {
    /// Scores of all rows of `split`, in their order: logits, or whatever the model's loss takes them
    /// for; of each row those that [`Ranker::scored`] lists. Neither label nor weight is read, and no
    /// negatives are added.
    ///
    /// # Errors
    /// If the model does not score rows by themselves, or rows cannot be read.
    ///
    /// # Collective
    /// Every rank; all get all scores.
    pub fn predict(
        &mut self,
        split: &Split,
        loader_threads: usize,
    ) -> Result<Vec<f32>, ModelError> {
        let comm = Arc::clone(&self.comm);
        let view = agree(&*comm, View::of_scores(self, split))?;
        let mut loader = view.open(self, split, loader_threads)?;
        let mut scores = Vec::with_capacity(usize::try_from(split.rows()).unwrap_or(0));
        let mut of_batch = Vec::new();
        loop {
            let next = loader.next().transpose().map_err(ModelError::from);
            let Some(batch) = agree(&*comm, next)? else { break };
            let places: Vec<usize> = (0..batch.rows).collect();
            let whole = view.completed(self, &batch, &places);
            let outputs = self.score(&whole)?.to_vec();
            let own = self.learning.scores(&outputs, batch.rows);
            comm.all_gather(own, &mut of_batch)?;
            scores.extend_from_slice(&of_batch);
            loader.recycle(batch);
        }
        Ok(scores)
    }
}
