//! What a report shows.

use rectool_embedding::{PageFaults, TableTotals};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::examples::{Example, MapPoint};
use crate::params::Parameter;
use crate::retrieval::RetrievalOutcome;

/// How a run ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// To its end.
    #[default]
    Ok,
    /// With an error.
    Failed,
    /// By the user, with a checkpoint.
    Interrupted,
}

impl RunStatus {
    /// As in `result.json`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Everything on the page. Empty lists leave their section out.
///
/// ```
/// let data = rectool_recipe::ReportData { recipe: "dlrm".into(), ..Default::default() };
/// assert!(rectool_recipe::render_report(&data).starts_with("<!DOCTYPE html>"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ReportData {
    /// Name of the recipe.
    pub recipe: String,
    /// How the run ended.
    pub status: RunStatus,
    /// The error, if it failed.
    pub error: Option<String>,
    /// When it started, UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// Training speed over all ranks.
    pub samples_per_s: f64,
    /// Number of ranks.
    pub ranks: usize,
    /// `cpu` or the name of the GPU.
    pub device: String,
    /// Metrics as in `result.json`, in order.
    pub metrics: Vec<(String, Value)>,
    /// Parameters with their values.
    pub parameters: Vec<Parameter>,
    /// Training loss over steps.
    pub losses: Vec<LossPoint>,
    /// Evaluations during training.
    pub evaluations: Vec<EvaluationPoint>,
    /// Calibration on the last split evaluated, by rising prediction.
    pub calibration: Vec<CalibrationBin>,
    /// What `evaluate_retrieval` found, in order.
    pub retrieved: Vec<RetrievalOutcome>,
    /// Recommendations to some users, of the last of these.
    pub examples: Vec<Example>,
    /// Its items on a plane.
    pub map: Vec<MapPoint>,
    /// Where the training time went, in the order of a step.
    pub phases: Vec<PhaseTime>,
    /// How near the training came to what the machine can do; `None` on other devices than the CPU.
    pub limit: Option<SpeedLimit>,
    /// Embedding tables.
    pub tables: Vec<TableTotals>,
    /// Of all ranks in this process's trainings, if the systems tell.
    pub page_faults: Option<PageFaults>,
    /// Where the tables lived, and how long that was expected to take and took.
    pub placement: Option<PlacementReport>,
    /// Names and versions of what took part.
    pub versions: Vec<(String, String)>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

/// Mean training loss since the point before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossPoint {
    /// Steps done.
    pub step: u64,
    /// Mean loss per sample.
    pub loss: f64,
}

/// One evaluation during training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluationPoint {
    /// Steps done.
    pub step: u64,
    /// Area under the ROC curve.
    pub auc: Option<f64>,
    /// Log loss.
    pub logloss: Option<f64>,
    /// Root of the mean squared error.
    pub rmse: Option<f64>,
    /// Mean of the model's own loss.
    pub loss: Option<f64>,
    /// Share of the items to be found that towers recommend.
    pub recall: Option<f64>,
    /// The main metric of each head: its name and value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<(String, Option<f64>)>,
    /// Whether it was the best so far.
    pub best: bool,
}

/// Samples of similar prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CalibrationBin {
    /// Mean prediction.
    pub predicted: f64,
    /// Share of positives.
    pub observed: f64,
    /// Samples.
    pub count: u64,
}

/// Time spent in one phase of the steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase.
    pub name: String,
    /// Milliseconds over all steps, on rank 0.
    pub ms: f64,
}

/// The training's speed beside the machine's limits, measured on rank 0 after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SpeedLimit {
    /// Billions of additions and multiplications per second of matrix products.
    pub gflops: f64,
    /// Billions of bytes per second read from memory.
    pub memory_gb_per_s: f64,
    /// Millions of additions and multiplications that a sample takes.
    pub sample_mflop: f64,
    /// Thousands of bytes that a sample moves at least.
    pub sample_kb: f64,
    /// Shortest time of a sample over its time in the training.
    pub share: f64,
}

/// Where the tables of the last training lived, and its steps as predicted and as measured.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacementReport {
    /// Steps measured.
    pub steps: u64,
    /// The phases that the plan is about.
    pub phases: Vec<PredictedPhase>,
    /// The tables.
    pub tables: Vec<PlacedTableRow>,
    /// Bytes of tables on the fullest rank, as planned.
    pub rank_bytes_max: u64,
    /// Bytes that a rank may use.
    pub memory_bytes_max: Option<u64>,
    /// What the user should know about the prediction.
    pub notes: Vec<String>,
}

/// One phase of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictedPhase {
    /// The phase.
    pub name: String,
    /// Milliseconds of a step, as planned.
    pub predicted_ms: f64,
    /// Median milliseconds of the steps, on rank 0.
    pub measured_ms: Option<f64>,
}

/// One table and its place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PlacedTableRow {
    /// Table name.
    pub name: String,
    /// Kind of place, and ranks.
    pub place: String,
    /// Rows planned for.
    pub rows: u64,
    /// Bytes on the rank that holds most of it.
    pub rank_bytes_max: u64,
    /// Milliseconds of a step on the rank with most work for it.
    pub predicted_ms: f64,
}
