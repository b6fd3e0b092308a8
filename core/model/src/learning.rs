//! What a model learns from a batch, or is judged by: losses, and the gradient of its outputs.

use rectool_base::{Batch, Column, ColumnKind, LossDemands, Prediction};
use rectool_comm::{Comm, agree};
use rectool_data::{Cells, FeatureChain};

use crate::contrast::{Contrast, Pairs};
use crate::input::InputPlan;
use crate::loss::{Objective, Weighting};
use crate::{ModelError, ModelSpec, RetrievalSpec, Running};

/// The objective of a model's training.
pub(crate) struct Learning {
    objective: Objective,
    towers: Option<Towers>,
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
        objective: Objective,
        chain: &FeatureChain,
    ) -> Result<Self, ModelError> {
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
        Ok(Self { objective, towers: towers.transpose()? })
    }

    /// What the loss takes.
    pub(crate) fn demands(&self) -> &LossDemands {
        self.objective.demands()
    }

    /// What a score stands for.
    pub(crate) fn prediction(&self) -> Prediction {
        match &self.towers {
            Some(towers) if towers.spec.objective.is_contrastive() => Prediction::Score,
            _ => self.demands().prediction,
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

    /// Whether a row's loss is a plugin's.
    pub(crate) fn is_plugin(&self) -> bool {
        self.objective.is_plugin
    }

    /// Computes losses and gradients of a batch, and takes the losses into `running`.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn learn(
        &mut self,
        comm: &dyn Comm,
        outcome: Outcome<'_>,
        running: &mut Running,
    ) -> Result<(), ModelError> {
        let Outcome { input, batch, outputs } = outcome;
        if let Some(towers) = &mut self.towers {
            if towers.spec.objective.is_contrastive() {
                towers.contrast(comm, outcome, true)?;
                running.add_losses(&towers.contrast.losses);
                return Ok(());
            }
            towers.score(outputs, batch.rows);
        }
        let logits = self.towers.as_ref().map_or(outputs, |towers| &towers.scores);
        let done = self.objective.evaluate(input, batch, logits, Weighting::Column);
        let done = done.map_err(ModelError::from);
        // A plugin may fail on this rank alone, and the others must not wait in the all-reduce.
        if self.objective.is_plugin { agree(comm, done) } else { done }?;
        match self.objective.demands().prediction {
            Prediction::Logit => {
                running.add(&self.objective.losses, logits, input.label_values(batch));
            }
            _ => running.add_losses(&self.objective.losses),
        }
        let scale = 1.0 / batch.rows_global as f32;
        self.objective.gradients.iter_mut().for_each(|gradient| *gradient *= scale);
        if let Some(towers) = &mut self.towers {
            towers.spread(&self.objective.gradients, outputs);
        }
        Ok(())
    }

    /// The derivative of the mean loss over the rows, or queries, of all ranks by the outputs of the last
    /// batch that was learned from: [B, O].
    pub(crate) fn gradients(&self) -> &[f32] {
        match &self.towers {
            Some(towers) if towers.spec.objective.is_contrastive() => &towers.contrast.gradients,
            Some(towers) => &towers.gradients,
            None => &self.objective.gradients,
        }
    }

    /// The scores \[B\] of rows whose outputs [B, O] are given; `None` if the model does not score rows
    /// by themselves.
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
    /// for each row, or those of queries among the candidates of the batch, all weighing the same.
    ///
    /// # Collective
    /// Every rank, where the model learns from candidates.
    pub(crate) fn losses(
        &mut self,
        comm: &dyn Comm,
        outcome: Outcome<'_>,
    ) -> Result<&[f32], ModelError> {
        let Outcome { input, batch, outputs } = outcome;
        let contrastive = self.contrast().is_some();
        let logits = match &mut self.towers {
            Some(towers) if contrastive => {
                towers.contrast(comm, outcome, false)?;
                &[]
            }
            Some(towers) => towers.scores.as_slice(),
            None => outputs,
        };
        if !contrastive {
            self.objective.evaluate(input, batch, logits, Weighting::Even)?;
        }
        Ok(self.contrast().map_or(&self.objective.losses, |contrast| &contrast.losses))
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
