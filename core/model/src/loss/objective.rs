//! A loss at work, with the buffers it writes to.

use std::sync::Arc;

use rectool_base::{Loss, LossDemands, LossInput, PluginFault};

/// A loss and what it said of the last batch.
pub(crate) struct Objective {
    loss: Arc<dyn Loss>,
    /// Whether it may fail, on one rank alone.
    pub(crate) is_plugin: bool,
    /// Loss of each row: \[B\].
    pub(crate) losses: Vec<f32>,
    /// Derivative of the sum of the losses by each row's logits: as many as they are.
    pub(crate) gradients: Vec<f32>,
}

/// How rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weighting {
    /// By the weight column, if there is one.
    Column,
    /// All alike, as metrics do.
    Even,
}

impl Objective {
    pub(crate) fn new(loss: Arc<dyn Loss>, is_plugin: bool) -> Self {
        Self { loss, is_plugin, losses: Vec::new(), gradients: Vec::new() }
    }

    pub(crate) fn demands(&self) -> &LossDemands {
        self.loss.demands()
    }

    /// Losses and gradients of a batch whose labels and weights were checked.
    pub(crate) fn evaluate(&mut self, input: LossInput<'_>) -> Result<(), PluginFault> {
        self.losses.resize(input.labels.len(), 0.0);
        self.gradients.resize(input.logits.len(), 0.0);
        self.loss.evaluate(input, &mut self.losses, &mut self.gradients)
    }
}
