//! Several heads at work: each has its outputs, its label and its loss, and all are learned at once.

use std::sync::Arc;

use rectool_base::{Batch, Column, Loss, LossInput};
use rectool_comm::{Comm, Reduce, Values, agree};

use crate::input::InputPlan;
use crate::learning::{Outcome, Tally};
use crate::loss::{Objective, Weighting};
use crate::{HeadSpec, ModelError, Outputs, Running};

/// The heads of a model, and the gradient of its outputs.
pub(crate) struct Joint {
    heads: Vec<Head>,
    /// Outputs O of a row.
    width: usize,
    /// [B, O].
    pub(crate) gradients: Vec<f32>,
}

struct Head {
    /// Its number among all that the model learns.
    place: usize,
    outputs: Outputs,
    objective: Objective,
    weight: f32,
    /// What the head's loss is given.
    rows: HeadRows,
}

/// The outputs and labels of one head, where its rows have a label.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct HeadRows {
    /// Which rows of the batch they are: [P].
    pub(crate) places: Vec<usize>,
    /// [P, C].
    pub(crate) logits: Vec<f32>,
    /// \[P\].
    pub(crate) labels: Vec<f32>,
    /// \[P\], or empty where every row weighs 1.
    weights: Vec<f32>,
}

impl HeadRows {
    /// Takes the rows with a label out of a batch's `outputs`, rows of `width`.
    pub(crate) fn take(
        &mut self,
        of: &Outputs,
        (outputs, width): (&[f32], usize),
        (labels, weights): (&[f32], &[f32]),
    ) {
        let Self { places, logits, labels: kept, weights: kept_weights } = self;
        places.clear();
        places.extend((0..labels.len()).filter(|row| !labels[*row].is_nan()));
        logits.clear();
        for row in &*places {
            logits.extend_from_slice(&outputs[row * width..][of.columns.clone()]);
        }
        kept.clear();
        kept.extend(places.iter().map(|row| labels[*row]));
        kept_weights.clear();
        if !weights.is_empty() {
            kept_weights.extend(places.iter().map(|row| weights[*row]));
        }
    }
}

impl Joint {
    /// Of heads with their losses and places among the outputs; the first one is number `first` of what the
    /// model learns.
    pub(crate) fn new(
        specs: &[HeadSpec],
        losses: Vec<Arc<dyn Loss>>,
        outputs: Vec<Outputs>,
        first: usize,
    ) -> Self {
        let width = outputs.last().map_or(0, |last| last.columns.end);
        let head = |(place, ((spec, loss), outputs)): (usize, ((&HeadSpec, _), _))| {
            let objective = Objective::new(loss, spec.loss.plugin().is_some());
            let rows = HeadRows::default();
            Head { place, outputs, objective, weight: spec.weight, rows }
        };
        let heads = specs.iter().zip(losses).zip(outputs);
        let heads = (first..).zip(heads).map(head).collect();
        Self { heads, width, gradients: Vec::new() }
    }

    /// Losses of all heads and the gradient of what is made small: the sum over the heads of weight
    /// times mean over the rows of all ranks that have the head's label.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn learn(
        &mut self,
        comm: &dyn Comm,
        Outcome { input, batch, outputs }: Outcome<'_>,
        tally: &mut Tally,
    ) -> Result<(), ModelError> {
        tally.heads.resize(self.heads.len(), Running::default());
        let (outputs, weighting) = ((outputs, self.width), Weighting::Column);
        let mut heads = self.heads.iter_mut().enumerate();
        let done: Result<(), ModelError> = heads.try_for_each(|(at, head)| {
            head.evaluate(input, batch, outputs, weighting)?;
            tally.heads[at].add_losses(&head.objective.losses);
            Ok(())
        });
        // A plugin may fail on this rank alone, and the others must not wait in the all-reduce.
        if self.is_plugin() { agree(comm, done) } else { done }?;
        let own = self.heads.iter().map(|head| head.rows.places.len() as u64);
        let mut labelled: Vec<u64> = own.collect();
        if comm.size() > 1 {
            comm.all_reduce(Values::U64(&mut labelled), Reduce::Sum)?;
        }
        self.gradients.clear();
        self.gradients.resize(batch.rows * self.width, 0.0);
        for (head, labelled) in self.heads.iter().zip(labelled) {
            let scale = if labelled > 0 { head.weight / labelled as f32 } else { 0.0 };
            head.spread(scale, &mut self.gradients, self.width);
        }
        Ok(())
    }

    /// Whether the loss of a head is a plugin's.
    pub(crate) fn is_plugin(&self) -> bool {
        self.heads.iter().any(|head| head.objective.is_plugin)
    }

    /// The losses of plugins, all rows weighing the same, each with the number of what is learned by it.
    pub(crate) fn losses(
        &mut self,
        Outcome { input, batch, outputs }: Outcome<'_>,
    ) -> Result<Vec<(usize, &[f32])>, ModelError> {
        let of_plugins = self.heads.iter_mut().filter(|head| head.objective.is_plugin);
        let losses = of_plugins.map(|head| {
            head.evaluate(input, batch, (outputs, self.width), Weighting::Even)?;
            Ok((head.place, head.objective.losses.as_slice()))
        });
        losses.collect()
    }

    /// What is made small, from the mean loss of each head; a head without rows counts nothing.
    pub(crate) fn total(&self, heads: &[Running]) -> Option<f64> {
        let means = self.heads.iter().zip(heads);
        let means = means.filter_map(|(head, running)| Some((head.weight, running.mean_loss()?)));
        let terms: Vec<f64> = means.map(|(weight, mean)| f64::from(weight) * mean).collect();
        (!terms.is_empty()).then(|| terms.iter().sum())
    }

    /// The labels of the heads.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &str> {
        self.heads.iter().map(|head| head.outputs.head.as_deref().unwrap_or_default())
    }
}

impl Head {
    /// Losses and gradients of the rows with a label.
    fn evaluate(
        &mut self,
        input: &InputPlan,
        batch: &Batch,
        outputs: (&[f32], usize),
        weighting: Weighting,
    ) -> Result<(), ModelError> {
        let weights = match weighting {
            Weighting::Column => input.weight_values(batch),
            Weighting::Even => &[],
        };
        self.rows.take(&self.outputs, outputs, (input.labels_of(batch, self.place), weights));
        let HeadRows { places, logits, labels, weights } = &self.rows;
        let whole = input.loss_columns(batch, self.place);
        let picked: Vec<Column>;
        let columns = if places.len() == batch.rows {
            whole
        } else {
            picked = whole.into_iter().map(|column| column.picked(places)).collect();
            picked.iter().collect()
        };
        let place = batch.place();
        let input = LossInput { place, logits, labels, weights, columns: &columns };
        Ok(self.objective.evaluate(input)?)
    }

    /// Writes the gradient, times `scale`, to the head's outputs in rows of `width`.
    fn spread(&self, scale: f32, into: &mut [f32], width: usize) {
        let columns = &self.outputs.columns;
        let gradients = self.objective.gradients.chunks_exact(columns.len());
        for (row, gradient) in self.rows.places.iter().zip(gradients) {
            let into = &mut into[row * width..][columns.clone()];
            into.iter_mut().zip(gradient).for_each(|(into, value)| *into = value * scale);
        }
    }
}
