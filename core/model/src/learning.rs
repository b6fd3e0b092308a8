//! What a model learns from a batch, or is judged by: losses, and the gradient of its outputs.

use std::sync::Arc;

use rectool_base::{Batch, Column, ColumnKind, Labels, Loss, LossInput, Prediction};
use rectool_comm::{Comm, agree};
use rectool_data::{Cells, FeatureChain};

use crate::contrast::{Contrast, Pairs};
use crate::heads::{Learned, outputs_of};
use crate::input::InputPlan;
use crate::joint::Joint;
use crate::loss::{Objective, Weighting};
use crate::{ModelError, ModelSpec, Outputs, RetrievalSpec, Running};

/// The objective of a model's training.
pub(crate) struct Learning {
    aim: Aim,
    learned: Vec<Learned>,
    towers: Option<Towers>,
}

/// What outputs are judged by.
enum Aim {
    /// One label; of towers it may be unused.
    One(Objective),
    Heads(Joint),
}

/// Losses since the last report, on this rank.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Of all rows; with heads only their number.
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

/// What two towers need besides.
struct Towers {
    spec: RetrievalSpec,
    item: Cells,
    /// One of so many rows was read, the others were drawn for it.
    group: usize,
    contrast: Contrast,
    /// Scores of rows \[B\], and the gradient of their vectors [B, 2 E], where each row is for itself.
    scores: Vec<f32>,
    gradients: Vec<f32>,
}

impl Learning {
    /// Of `spec` on rows that leave `chain`.
    pub(crate) fn new(
        spec: &ModelSpec,
        losses: Vec<Arc<dyn Loss>>,
        chain: &FeatureChain,
    ) -> Result<Self, ModelError> {
        let mut learned = spec.learned(&losses);
        if spec.is_contrastive() {
            // A label only says which rows are queries.
            for learned in &mut learned {
                learned.demands.labels = Labels::Any;
            }
        }
        let towers = spec.retrieval.as_ref().map(|retrieval| {
            let group = spec.features.negatives.as_ref().map_or(1, |spec| 1 + spec.per_row);
            let item = ids_behind(chain, &retrieval.item, "candidate.id")?;
            ids_behind(chain, &retrieval.query, "query.id")?;
            Ok::<_, ModelError>(Towers {
                spec: retrieval.clone(),
                item,
                group,
                contrast: Contrast::new(retrieval.clone()),
                scores: Vec::new(),
                gradients: Vec::new(),
            })
        });
        let aim = if spec.heads.is_empty() {
            let only = losses.into_iter().next().expect("a model without heads has one loss");
            Aim::One(Objective::new(only, spec.loss.plugin().is_some()))
        } else {
            Aim::Heads(Joint::new(&spec.heads, losses, outputs_of(&learned)))
        };
        Ok(Self { aim, learned, towers: towers.transpose()? })
    }

    /// The labels, and what the losses take.
    pub(crate) fn learned(&self) -> &[Learned] {
        &self.learned
    }

    /// What the scores of each head stand for, or the only one.
    pub(crate) fn predictions(&self) -> Vec<Prediction> {
        match &self.towers {
            Some(towers) if towers.spec.objective.is_contrastive() => vec![Prediction::Score],
            _ => self.learned.iter().map(|learned| learned.demands.prediction).collect(),
        }
    }

    /// Which of the scores of a row stand for what.
    pub(crate) fn outputs(&self) -> Vec<Outputs> {
        outputs_of(&self.learned)
    }

    /// The heads, if the model has any.
    pub(crate) fn joint(&self) -> Option<&Joint> {
        match &self.aim {
            Aim::One(_) => None,
            Aim::Heads(joint) => Some(joint),
        }
    }

    /// The part that learns from the candidates of a batch, if that is how the model learns.
    pub(crate) fn contrast(&self) -> Option<&Contrast> {
        let towers = self.towers.as_ref()?;
        towers.spec.objective.is_contrastive().then_some(&towers.contrast)
    }

    pub(crate) fn contrast_mut(&mut self) -> Option<&mut Contrast> {
        let towers = self.towers.as_mut()?;
        towers.spec.objective.is_contrastive().then_some(&mut towers.contrast)
    }

    /// Whether a row's loss is a plugin's, or one of them is.
    pub(crate) fn is_plugin(&self) -> bool {
        match &self.aim {
            Aim::One(objective) => objective.is_plugin,
            Aim::Heads(joint) => joint.is_plugin(),
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
        let Outcome { input, batch, outputs } = outcome;
        if let Some(towers) = &mut self.towers {
            if towers.spec.objective.is_contrastive() {
                towers.contrast(comm, outcome, true)?;
                tally.all.add_losses(&towers.contrast.losses);
                return Ok(());
            }
            towers.score(outputs, batch.rows);
        }
        let objective = match &mut self.aim {
            Aim::One(objective) => objective,
            Aim::Heads(joint) => return joint.learn(comm, outcome, tally),
        };
        let logits = self.towers.as_ref().map_or(outputs, |towers| &towers.scores);
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

    /// The derivative of the mean loss over the rows, or queries, of all ranks by the outputs of the last
    /// batch that was learned from: [B, O].
    pub(crate) fn gradients(&self) -> &[f32] {
        match &self.towers {
            Some(towers) if towers.spec.objective.is_contrastive() => &towers.contrast.gradients,
            Some(towers) => &towers.gradients,
            None => match &self.aim {
                Aim::One(objective) => &objective.gradients,
                Aim::Heads(joint) => &joint.gradients,
            },
        }
    }

    /// The scores of rows whose outputs [B, O] are given: of towers \[B\], else these outputs; `None` if
    /// the model does not score rows by themselves.
    pub(crate) fn scores<'a>(&'a mut self, outputs: &'a [f32], rows: usize) -> Option<&'a [f32]> {
        match &mut self.towers {
            None => Some(outputs),
            Some(towers) if towers.spec.objective.is_contrastive() => None,
            Some(towers) => {
                towers.score(outputs, rows);
                Some(&towers.scores)
            }
        }
    }

    /// Losses of a batch that nothing is learned from, as [`Learning::scores`] scored it: a plugin's
    /// for each row, or those of queries among the candidates of the batch, all weighing the same. Each with
    /// the number of its head; of a model without heads it is 0.
    ///
    /// # Collective
    /// Every rank, where the model learns from candidates.
    pub(crate) fn losses(
        &mut self,
        comm: &dyn Comm,
        outcome: Outcome<'_>,
    ) -> Result<Vec<(usize, &[f32])>, ModelError> {
        let Outcome { input, batch, outputs } = outcome;
        if self.contrast().is_some() {
            let towers = self.towers.as_mut().expect("what learns from candidates has towers");
            towers.contrast(comm, outcome, false)?;
            return Ok(vec![(0, &towers.contrast.losses)]);
        }
        match &mut self.aim {
            Aim::One(objective) => {
                let logits = self.towers.as_ref().map_or(outputs, |towers| &towers.scores);
                objective.of_batch(input, batch, logits, Weighting::Even)?;
                Ok(vec![(0, &objective.losses)])
            }
            Aim::Heads(joint) => joint.losses(outcome),
        }
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

impl Towers {
    /// In training queries count by their weights, else all the same.
    fn contrast(
        &mut self,
        comm: &dyn Comm,
        Outcome { input, batch, outputs: vectors }: Outcome<'_>,
        training: bool,
    ) -> Result<(), ModelError> {
        let pairs = Pairs {
            vectors,
            ids: &ids_of(&self.item, batch),
            labels: input.label_values(batch),
            group: self.group,
            weights: if training { input.weight_values(batch) } else { &[] },
            log_q: input.log_q_values(batch),
        };
        Ok(self.contrast.evaluate(comm, &pairs, training)?)
    }

    /// Dot products over the temperature.
    fn score(&mut self, outputs: &[f32], rows: usize) {
        let (width, inverse) = (outputs.len().checked_div(rows).unwrap_or(0), self.inverse());
        let dot = |row: &[f32]| {
            let (query, item) = row.split_at(width / 2);
            query.iter().zip(item).map(|(a, b)| a * b).sum::<f32>() * inverse
        };
        self.scores.clear();
        self.scores.extend(outputs.chunks_exact(width.max(1)).map(dot));
    }

    /// From the gradient of scores to that of vectors.
    fn spread(&mut self, gradients: &[f32], outputs: &[f32]) {
        let (width, inverse) =
            (outputs.len().checked_div(gradients.len()).unwrap_or(0), self.inverse());
        self.gradients.resize(outputs.len(), 0.0);
        let rows = outputs.chunks_exact(width.max(1)).zip(gradients);
        for (into, (row, gradient)) in self.gradients.chunks_exact_mut(width.max(1)).zip(rows) {
            let (query, item) = row.split_at(width / 2);
            let gradient = gradient * inverse;
            let crosswise = item.iter().chain(query);
            into.iter_mut().zip(crosswise).for_each(|(into, other)| *into = gradient * other);
        }
    }

    fn inverse(&self) -> f32 {
        1.0 / self.spec.temperature
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
