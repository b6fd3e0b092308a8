//! What a model learns from a batch, or is judged by: losses, and the gradient of its outputs.

mod towers;

use std::sync::Arc;

use rectool_base::{Batch, Column, ColumnKind, Loss, LossInput, Prediction};
use rectool_comm::{Comm, agree};
use rectool_data::{Cells, FeatureChain};
use towers::Towers;

use crate::contrast::Contrast;
use crate::heads::{Learned, outputs_of};
use crate::input::InputPlan;
use crate::joint::Joint;
use crate::loss::{Objective, Weighting};
use crate::{ModelError, ModelSpec, Outputs, Running};

/// The objective of a model's training.
pub(crate) struct Learning {
    /// The loss of what is no head's; that of towers which learn from candidates is not used.
    own: Option<Objective>,
    joint: Option<Joint>,
    learned: Vec<Learned>,
    towers: Option<Towers>,
}

/// Losses since the last report, on this rank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Of all rows, by what is no head's loss; if there is none, only their number.
    pub(crate) all: Running,
    /// Of each head, if the model has heads.
    pub(crate) heads: Vec<Running>,
}

/// A batch that went through the model.
#[derive(Clone, Copy)]
pub(crate) struct Outcome<'a> {
    pub(crate) input: &'a InputPlan,
    pub(crate) batch: &'a Batch,
    /// [B, O].
    pub(crate) outputs: &'a [f32],
}

impl Learning {
    /// Of `spec` on rows that leave `chain`.
    pub(crate) fn new(
        spec: &ModelSpec,
        losses: Vec<Arc<dyn Loss>>,
        chain: &FeatureChain,
    ) -> Result<Self, ModelError> {
        let learned = spec.learned(&losses);
        let towers = spec.retrieval.as_ref();
        let towers = towers.map(|retrieval| Towers::new(spec, retrieval, chain)).transpose()?;
        let mut losses = losses.into_iter();
        let own = spec.has_own_loss().then(|| {
            let own = losses.next().expect("what is no head's comes first");
            Objective::new(own, spec.loss.plugin().is_some())
        });
        let first = usize::from(own.is_some());
        let joint = (!spec.heads.is_empty()).then(|| {
            let outputs = outputs_of(&learned[first..]);
            Joint::new(&spec.heads, losses.collect(), outputs, first)
        });
        Ok(Self { own, joint, learned, towers })
    }

    /// The labels, and what the losses take.
    pub(crate) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    /// What the scores of each thing that is learned stand for.
    pub(crate) fn predictions(&self) -> Vec<Prediction> {
        self.learned.iter().map(|learned| learned.demands.prediction).collect()
    }

    /// Which of the scores of a row stand for what.
    pub(crate) fn outputs(&self) -> Vec<Outputs> {
        outputs_of(&self.learned[self.first_scored()..])
    }

    /// The first thing learned that rows have scores for by themselves.
    pub(crate) fn first_scored(&self) -> usize {
        usize::from(self.contrast().is_some())
    }

    /// The heads, if the model has any.
    pub(crate) fn joint(&self) -> Option<&Joint> {
        self.joint.as_ref()
    }

    /// The part that learns from the candidates of a batch, if that is how the model learns.
    pub(crate) fn contrast(&self) -> Option<&Contrast> {
        let towers = self.towers.as_ref().filter(|towers| towers.is_contrastive());
        towers.map(|towers| &towers.contrast)
    }

    pub(crate) fn contrast_mut(&mut self) -> Option<&mut Contrast> {
        let towers = self.towers.as_mut().filter(|towers| towers.is_contrastive());
        towers.map(|towers| &mut towers.contrast)
    }

    /// Whether a row's loss is a plugin's, or one of them is.
    pub(crate) fn is_plugin(&self) -> bool {
        self.own.as_ref().is_some_and(|own| own.is_plugin)
            || self.joint.as_ref().is_some_and(Joint::is_plugin)
    }

    /// What is made small: the sum of the mean losses, each times its weight; one without rows counts
    /// nothing, and without any there is none.
    pub(crate) fn total(&self, tally: &Tally) -> Option<f64> {
        let own = tally.all.mean_loss().filter(|_| self.own.is_some());
        let weight = self.towers.as_ref().map_or(1.0, Towers::weight);
        let own = own.map(|mean| f64::from(weight) * mean);
        let heads = self.joint.as_ref().and_then(|joint| joint.total(&tally.heads));
        match (own, heads) {
            (Some(own), Some(heads)) => Some(own + heads),
            (own, heads) => own.or(heads),
        }
    }

    /// Computes losses and gradients of a batch, and takes the losses into `tally`.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn learn(
        &mut self,
        comm: &dyn Comm,
        outcome: Outcome<'_>,
        tally: &mut Tally,
    ) -> Result<(), ModelError> {
        if let Some(towers) = &mut self.towers {
            towers.take(outcome.outputs, outcome.batch.rows);
        }
        match &mut self.towers {
            Some(towers) if towers.is_contrastive() => {
                towers.contrast(comm, outcome, true)?;
                tally.all.add_losses(&towers.contrast.losses);
            }
            _ => self.learn_rows(comm, outcome, tally)?,
        }
        let Some(joint) = &mut self.joint else { return Ok(()) };
        let Some(towers) = &mut self.towers else { return joint.learn(comm, outcome, tally) };
        let outputs = towers.of_heads.as_slice();
        joint.learn(comm, Outcome { outputs, ..outcome }, tally)?;
        towers.join(&joint.gradients);
        Ok(())
    }

    /// What is no head's, row by row.
    ///
    /// # Collective
    /// Every rank.
    fn learn_rows(
        &mut self,
        comm: &dyn Comm,
        Outcome { input, batch, outputs }: Outcome<'_>,
        tally: &mut Tally,
    ) -> Result<(), ModelError> {
        let Some(objective) = &mut self.own else {
            tally.all.rows += batch.rows as u64;
            return Ok(());
        };
        let logits = match &mut self.towers {
            Some(towers) => towers.score(outputs, batch.rows),
            None => outputs,
        };
        let done = objective.of_batch(input, batch, logits, Weighting::Column);
        // A plugin may fail on this rank alone, and the others must not wait in the all-reduce.
        if objective.is_plugin { agree(comm, done) } else { done }?;
        match objective.demands().prediction {
            Prediction::Logit => {
                tally.all.add(&objective.losses, logits, input.label_values(batch));
            }
            _ => tally.all.add_losses(&objective.losses),
        }
        let scale = 1.0 / batch.rows_global as f32;
        objective.gradients.iter_mut().for_each(|gradient| *gradient *= scale);
        if let Some(towers) = &mut self.towers {
            towers.spread(&objective.gradients, outputs);
        }
        Ok(())
    }

    /// The derivative of what is made small, over the rows or queries of all ranks, by the outputs of the
    /// last batch that was learned from: [B, O].
    pub(crate) fn gradients(&self) -> &[f32] {
        match (&self.towers, &self.joint, &self.own) {
            (Some(towers), ..) => towers.gradients(),
            (None, Some(joint), _) => &joint.gradients,
            (None, None, own) => own.as_ref().map_or(&[], |own| &own.gradients),
        }
    }

    /// The scores of rows whose outputs [B, O] are given: of towers their products and what heads say, else
    /// these outputs. Nothing of towers that only learn from the candidates of a batch.
    pub(crate) fn scores<'a>(&'a mut self, outputs: &'a [f32], rows: usize) -> &'a [f32] {
        match &mut self.towers {
            None => outputs,
            Some(towers) => {
                towers.take(outputs, rows);
                towers.score_all(outputs, rows)
            }
        }
    }

    /// Losses of the queries of a batch that nothing is learned from, as [`Learning::scores`] scored it, among
    /// its candidates, all weighing the same; `None` if the model does not learn from candidates.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn contrasted(
        &mut self,
        comm: &dyn Comm,
        outcome: Outcome<'_>,
    ) -> Result<Option<&[f32]>, ModelError> {
        let Some(towers) = self.towers.as_mut().filter(|towers| towers.is_contrastive()) else {
            return Ok(None);
        };
        towers.contrast(comm, outcome, false)?;
        Ok(Some(&towers.contrast.losses))
    }

    /// Losses by plugins of a batch that nothing is learned from, as [`Learning::scores`] scored it: for each
    /// row, all weighing the same, each with the number of what is learned by it.
    pub(crate) fn of_plugins(
        &mut self,
        outcome: Outcome<'_>,
    ) -> Result<Vec<(usize, &[f32])>, ModelError> {
        let Outcome { input, batch, outputs } = outcome;
        let mut losses: Vec<(usize, &[f32])> = Vec::new();
        if let Some(own) = self.own.as_mut().filter(|own| own.is_plugin) {
            let logits = self.towers.as_ref().map_or(outputs, |towers| &towers.scores);
            own.of_batch(input, batch, logits, Weighting::Even)?;
            losses.push((0, &own.losses));
        }
        if let Some(joint) = &mut self.joint {
            let outputs = self.towers.as_ref().map_or(outputs, |towers| &towers.of_heads);
            losses.extend(joint.losses(Outcome { outputs, ..outcome })?);
        }
        Ok(losses)
    }
}

impl Objective {
    /// Evaluates all rows of a batch.
    fn of_batch(
        &mut self,
        input: &InputPlan,
        batch: &Batch,
        logits: &[f32],
        weighting: Weighting,
    ) -> Result<(), ModelError> {
        let columns = input.loss_columns(batch, 0);
        let weights = match weighting {
            Weighting::Column => input.weight_values(batch),
            Weighting::Even => &[],
        };
        let (place, labels) = (batch.place(), input.label_values(batch));
        Ok(self.evaluate(LossInput { place, logits, labels, weights, columns: &columns })?)
    }
}

/// Where the ids called `name` stand behind `chain`, which must leave them as they are: what is
/// recommended goes by the ids of the dataset.
pub(crate) fn ids_behind(
    chain: &FeatureChain,
    name: &str,
    option: &'static str,
) -> Result<Cells, ModelError> {
    let schema = chain.schema();
    let cells = Cells::find_one(schema, name, ColumnKind::I64 { width: 1 }, option)?;
    let column = &schema.columns()[cells.column].name;
    if chain.makers(&[column]).is_empty() {
        return Ok(cells);
    }
    let expected = "a column that the chain leaves as it is; embed a copy of it";
    Err(ModelError::option(option, format!("`{name}`, which the chain changes"), expected))
}

/// The ids that `cells` mean: \[B\].
pub(crate) fn ids_of(cells: &Cells, batch: &Batch) -> Vec<i64> {
    let Column::I64 { values, .. } = &batch.columns[cells.column] else {
        unreachable!("the column was checked against the schema of this batch")
    };
    (0..batch.rows).map(|row| values[cells.at(row)]).collect()
}
