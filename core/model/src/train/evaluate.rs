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
        let mut own = OwnLoss::of(self.spec.losses().len());
        let contrastive = self.spec.is_contrastive();
        let of_plugins = self.learning.is_plugin();
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
            judged.add(self.learning.scores(outputs, batch.rows), &self.input, &batch);
            let outcome = Outcome { input: &self.input, batch: &batch, outputs };
            if let Some(losses) = self.learning.contrasted(&*comm, outcome)? {
                own.add(0, losses);
            }
            if of_plugins && own.fault.is_none() {
                match self.learning.of_plugins(outcome) {
                    Ok(losses) => losses.into_iter().for_each(|(of, losses)| own.add(of, losses)),
                    Err(error) => own.fault = Some(error),
                }
            }
            loader.recycle(batch);
        }
        let mut evaluation = judged.finish(&*comm)?;
        if contrastive {
            // Queries, and not the candidates beside them.
            evaluation.rows = comm.sum_u64(own.rows())?;
        }
        if contrastive || of_plugins {
            agree(&*comm, own.fault.take().map_or(Ok(()), Err))?;
            let mut means = own.means(&*comm)?.into_iter();
            if self.spec.has_own_loss() {
                evaluation.loss = means.next().flatten();
            }
            for (head, mean) in evaluation.heads.iter_mut().zip(means) {
                head.evaluation.loss = mean;
            }
        }
        Ok(evaluation)
    }
}

/// What the model's own losses say of a split, on this rank.
struct OwnLoss {
    /// Of all that is learned: the sum, then the rows.
    sums: Vec<f64>,
    /// Kept until every rank has read to the end, for nobody must wait for a rank that stopped.
    fault: Option<ModelError>,
}

impl OwnLoss {
    fn of(losses: usize) -> Self {
        Self { sums: vec![0.0; 2 * losses], fault: None }
    }

    fn add(&mut self, at: usize, losses: &[f32]) {
        self.sums[2 * at] += losses.iter().map(|loss| f64::from(*loss)).sum::<f64>();
        self.sums[2 * at + 1] += losses.len() as f64;
    }

    /// Rows that were judged by what is no head's loss.
    fn rows(&self) -> u64 {
        self.sums[1] as u64
    }

    /// The means over all ranks; `None` for one that is no number.
    ///
    /// # Collective
    /// Every rank.
    fn means(&mut self, comm: &dyn Comm) -> Result<Vec<Option<f64>>, CommError> {
        comm.all_reduce(Values::F64(&mut self.sums), Reduce::Sum)?;
        let means = self.sums.chunks_exact(2).map(|sums| sums[0] / sums[1]);
        Ok(means.map(|mean| mean.is_finite().then_some(mean)).collect())
    }
}
