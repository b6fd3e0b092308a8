//! Scoring a whole split.

use std::sync::Arc;

use rectool_comm::{Comm, CommError, CommExt, Reduce, Values, agree};
use rectool_data::{OrderOptions, Shuffle, Split};

use super::judged::{Groups, Judged};
use super::read::{Reading, open_loader};
use crate::learning::Outcome;
use crate::network::Pass;
use crate::{Evaluation, ModelError, Ranker};

impl Ranker {
    /// Metrics of the model on all rows of `split`.
    ///
    /// `batch_size` is global, counts negatives too, and is only a matter of speed and memory;
    /// `loader_threads` as in [`crate::TrainSpec`].
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
        self.evaluate_by(None, split, batch_size, loader_threads)
    }

    /// [`Ranker::evaluate`], with the AUC within the rows that have the same id in the column, or
    /// member, `group` of the split, such as those of a user. The model need not read that column.
    ///
    /// # Errors
    /// As there, and if there is no such column, or nothing has an AUC.
    ///
    /// # Collective
    /// As there.
    pub fn evaluate_by(
        &mut self,
        group: Option<&str>,
        split: &Split,
        batch_size: usize,
        loader_threads: usize,
    ) -> Result<Evaluation, ModelError> {
        if self.items.is_none() {
            self.take_items(split)?;
        }
        let comm = Arc::clone(&self.comm);
        let times = self.spec.features.negatives.as_ref().map_or(1, |spec| 1 + spec.per_row);
        let groups = group.map(|name| Groups::open(self, split, name, times)).transpose();
        let groups = agree(&*comm, groups)?;
        let batch_size = (batch_size / times).clamp(1, split.rows().max(1) as usize);
        let order = OrderOptions { seed: 0, shuffle: Shuffle::None };
        let reading =
            Reading { order, batch_size, threads: loader_threads, epochs: 1, start: None };
        let mut loader = open_loader(self, split, &reading)?;
        let mut judged = Judged::of(self, groups);
        let mut own = OwnLoss::default();
        let contrastive = self.spec.is_contrastive();
        let judged_by_loss = self.learning.is_plugin() || contrastive;
        let intake = self.intake();
        loop {
            let next = intake.take(loader.next()).and_then(|taken| {
                let Some((batch, prepared)) = taken else { return Ok(None) };
                judged.read_groups(&batch)?;
                self.admit(&batch, prepared)?;
                Ok(Some(batch))
            });
            let Some(batch) = agree(&*comm, next)? else { break };
            self.look_up_prepared()?;
            let outputs = self.network.forward(&self.parameters, Pass::Evaluate)?;
            if let Some(scores) = self.learning.scores(outputs, batch.rows) {
                judged.add(scores, &self.input, &batch);
            }
            if judged_by_loss && own.fault.is_none() {
                let outcome = Outcome { input: &self.input, batch: &batch, outputs };
                match self.learning.losses(&*comm, outcome) {
                    Ok(losses) => own.add(losses),
                    // Where ranks must talk for their losses, all of them failed.
                    Err(error) if contrastive => return Err(error),
                    Err(error) => own.fault = Some(error),
                }
            }
            loader.recycle(batch);
        }
        let mut evaluation = if contrastive {
            Evaluation { rows: comm.sum_u64(own.rows)?, ..Evaluation::default() }
        } else {
            judged.finish(&*comm)?
        };
        if judged_by_loss {
            agree(&*comm, own.fault.take().map_or(Ok(()), Err))?;
            evaluation.loss = own.mean(&*comm)?;
        }
        Ok(evaluation)
    }
}

/// What the model's own loss says of a split, on this rank.
#[derive(Default)]
struct OwnLoss {
    sum: f64,
    rows: u64,
    /// Kept until every rank has read to the end, for nobody must wait for a rank that stopped.
    fault: Option<ModelError>,
}

impl OwnLoss {
    fn add(&mut self, losses: &[f32]) {
        self.sum += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        self.rows += losses.len() as u64;
    }

    /// The mean over all ranks; `None` if it is no number.
    ///
    /// # Collective
    /// Every rank.
    fn mean(&self, comm: &dyn Comm) -> Result<Option<f64>, CommError> {
        let mut sums = [self.sum, self.rows as f64];
        comm.all_reduce(Values::F64(&mut sums), Reduce::Sum)?;
        let mean = sums[0] / sums[1];
        Ok(mean.is_finite().then_some(mean))
    }
}
