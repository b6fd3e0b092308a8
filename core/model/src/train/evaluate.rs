//! Scoring a whole split.

use std::sync::Arc;

use rectool_base::PluginFault;
use rectool_comm::{Comm, CommError, Reduce, Values, agree};
use rectool_data::{OrderOptions, Shuffle, Split};

use super::read::{Reading, open_loader};
use crate::loss::Weighting;
use crate::network::Pass;
use crate::{Evaluation, Evaluator, ModelError, Ranker};

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
        if self.items.is_none() {
            self.take_items(split)?;
        }
        let times = self.spec.features.negatives.as_ref().map_or(1, |spec| 1 + spec.per_row);
        let batch_size = (batch_size / times).clamp(1, split.rows().max(1) as usize);
        let order = OrderOptions { seed: 0, shuffle: Shuffle::None };
        let reading =
            Reading { order, batch_size, threads: loader_threads, epochs: 1, start: None };
        let mut loader = open_loader(self, split, &reading)?;
        let comm = Arc::clone(&self.comm);
        let mut evaluator = Evaluator::of(self.prediction());
        let mut own = OwnLoss::default();
        let intake = self.intake();
        loop {
            let next = intake.take(loader.next()).and_then(|taken| {
                let Some((batch, prepared)) = taken else { return Ok(None) };
                self.admit(&batch, prepared)?;
                Ok(Some(batch))
            });
            let Some(batch) = agree(&*comm, next)? else { break };
            self.look_up_prepared()?;
            let logits = self.network.forward(&self.parameters, Pass::Evaluate)?;
            evaluator.add(logits, self.input.label_values(&batch));
            if self.objective.is_plugin && own.fault.is_none() {
                let objective = &mut self.objective;
                match objective.evaluate(&self.input, &batch, logits, Weighting::Even) {
                    Ok(()) => own.add(&objective.losses),
                    Err(fault) => own.fault = Some(fault),
                }
            }
            loader.recycle(batch);
        }
        let mut evaluation = evaluator.finish(&*comm)?;
        if self.objective.is_plugin {
            agree(&*comm, own.fault.take().map_or(Ok(()), |fault| Err(ModelError::from(fault))))?;
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
    fault: Option<PluginFault>,
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
