//! What training tells whoever watches it.

use std::path::Path;

use rectool_embedding::TableTotals;
use serde::{Deserialize, Serialize};

use crate::Evaluation;

/// Milliseconds that steps spent in each phase, on this rank, summed over a report's steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseTimes {
    /// Waiting for the loader.
    pub data_ms: f64,
    /// Finding the unique keys of the batch.
    pub prepare_ms: f64,
    /// Embedding lookup and pooling.
    pub lookup_ms: f64,
    /// Keys, values and gradients of embeddings on their way between ranks, and waiting for them, as
    /// far as the step itself does it.
    #[serde(default)]
    pub exchange_ms: f64,
    /// MLPs and interaction, forward.
    pub forward_ms: f64,
    /// Loss.
    pub loss_ms: f64,
    /// MLPs and interaction, backward.
    pub backward_ms: f64,
    /// All-reduce of the dense gradient, and the vote that starts a step.
    pub all_reduce_ms: f64,
    /// Dense optimizer.
    pub dense_update_ms: f64,
    /// Embedding gradient and the fused update.
    pub embedding_update_ms: f64,
    /// Not part of the step: for the next batch, on another thread, finding its unique keys.
    #[serde(default)]
    pub ahead_prepare_ms: f64,
    /// As above: talking with other ranks, and waiting for them.
    #[serde(default)]
    pub ahead_exchange_ms: f64,
}

impl PhaseTimes {
    /// The phases of a step with their names, in order.
    pub fn named(&self) -> [(&'static str, f64); 10] {
        [
            ("data", self.data_ms),
            ("prepare", self.prepare_ms),
            ("lookup", self.lookup_ms),
            ("exchange", self.exchange_ms),
            ("forward", self.forward_ms),
            ("loss", self.loss_ms),
            ("backward", self.backward_ms),
            ("all-reduce", self.all_reduce_ms),
            ("dense update", self.dense_update_ms),
            ("embedding update", self.embedding_update_ms),
        ]
    }

    /// Adds another report's times.
    pub fn add(&mut self, other: &Self) {
        self.data_ms += other.data_ms;
        self.prepare_ms += other.prepare_ms;
        self.lookup_ms += other.lookup_ms;
        self.exchange_ms += other.exchange_ms;
        self.forward_ms += other.forward_ms;
        self.loss_ms += other.loss_ms;
        self.backward_ms += other.backward_ms;
        self.all_reduce_ms += other.all_reduce_ms;
        self.dense_update_ms += other.dense_update_ms;
        self.embedding_update_ms += other.embedding_update_ms;
        self.ahead_prepare_ms += other.ahead_prepare_ms;
        self.ahead_exchange_ms += other.ahead_exchange_ms;
    }
}

/// The loss of one head since the last report, over all ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HeadLoss {
    /// Its label.
    pub label: String,
    /// Mean over the rows with this label, before the head's weight; `None` without such rows.
    pub loss: Option<f64>,
}

/// The training steps since the last report, over all ranks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepReport {
    /// Steps done since training began, also before a resume.
    pub step: u64,
    /// Steps of the whole training if it is not stopped early.
    pub steps_total: u64,
    /// Epoch of the last step, from 0.
    pub epoch: u64,
    /// Samples trained on since training began.
    pub samples: u64,
    /// Mean loss per sample, weights counted; with heads the sum of all losses, times their weights.
    pub loss: f64,
    /// Of two towers with heads: the mean loss of their objective, before its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<f64>,
    /// The losses of the heads, if the model has any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadLoss>,
    /// Mean prediction over click rate, `None` without clicks, or where logits are not log-odds.
    pub calibration: Option<f64>,
    /// Learning-rate multiplier of the last step.
    pub rate: f32,
    /// Samples per second over all ranks.
    pub samples_per_s: f64,
    /// Where this rank's time went.
    pub phases: PhaseTimes,
}

/// One evaluation during training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EvaluationReport {
    /// Steps done.
    pub step: u64,
    /// Epoch of the last step, from 0.
    pub epoch: u64,
    /// Split evaluated.
    pub split: String,
    /// The metrics.
    pub evaluation: Evaluation,
    /// Whether early stopping counts it as the best so far.
    pub best: bool,
    /// Time it took.
    pub seconds: f64,
}

/// The tables when an evaluation is due, whether or not there is a split for it, and at the end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TablesReport {
    /// Steps done.
    pub step: u64,
    /// \[T\]: each table over all ranks.
    pub tables: Vec<TableTotals>,
}

/// Watches a training. Called on every rank, between steps.
pub trait Observer {
    /// Some steps were done.
    fn on_step(&mut self, report: &StepReport);

    /// The validation split was evaluated.
    fn on_evaluation(&mut self, report: &EvaluationReport);

    /// An evaluation is due: what the tables hold.
    fn on_tables(&mut self, _report: &TablesReport) {}

    /// Something that the user should know.
    fn on_warning(&mut self, text: &str) {
        tracing::warn!("{text}");
    }

    /// A checkpoint is complete on disk.
    fn on_checkpoint(&mut self, path: &Path, step: u64);

    /// Whether the user asked this rank to stop. One rank is enough: all finish the step, write a
    /// checkpoint and return.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Watches nothing.
///
/// ```
/// use rectool_model::{Observer, Quiet};
/// assert!(!Quiet.interrupted());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {
    fn on_step(&mut self, _report: &StepReport) {}
    fn on_evaluation(&mut self, _report: &EvaluationReport) {}
    fn on_checkpoint(&mut self, _path: &Path, _step: u64) {}
}
