//! Ranking models and towers on libtorch: networks, metrics, trainer, checkpoints.
//!
//! The only crate that knows libtorch. A [`Ranker`] joins a feature chain, embedding tables and a
//! dense network; [`fit`] trains it; [`Checkpoint`] brings it back.

mod architecture;
mod blob;
mod bound;
mod checkpoint;
mod contrast;
mod device;
mod encode;
mod error;
mod heads;
mod input;
mod joint;
mod judge;
mod kernel;
mod learning;
mod loss;
mod metric;
mod negatives;
mod network;
mod npy;
mod observer;
mod optim;
mod output;
mod parameters;
mod predict;
mod ranker;
mod rerank;
mod retrieval;
mod sample;
mod schedule;
mod spec;
#[cfg(test)]
mod tests;
mod train;

pub use architecture::{
    Architecture, CrossSpec, CrossStructure, DcnV2Spec, DinSpec, HistorySpec, TowerSpec,
    TwoTowerSpec,
};
pub use bound::BoundSpec;
pub use checkpoint::{
    Chain, Checkpoint, CheckpointDiff, CheckpointManifest, DeltaEntry, ExportColumns, ExportFormat,
    FileEntry, Link, ManifestDiff, PluginEntry, RecipeEntry, TableDiff, TableEntry, TensorDiff,
    clean_checkpoints, latest,
};
pub use contrast::{RetrievalObjective, RetrievalSpec};
pub use device::{Compute, DeviceChoice, libtorch_folder, libtorch_version, set_threads};
pub use encode::{Side, Vectors};
pub use error::ModelError;
pub use heads::{HeadSpec, Outputs};
pub use judge::{Retrieval, RetrievalJob};
pub use kernel::{
    DotInteraction, DropoutKey, DropoutRate, FirstVector, MachineLimits, Place, RowWork, SelfDots,
    dropout,
};
pub use loss::{Bce, LossSpec, Mse, Softmax, sigmoid, softmax};
pub use metric::{
    CalibrationBin, Evaluation, Evaluator, HeadEvaluation, MetricError, Running, metric_names,
};
pub use negatives::NegativeSpec;
pub use network::{DenseOutline, dense_outline, dlrm_widths};
pub use npy::{check_vectors_output, ids_beside, write_vectors};
pub use observer::{
    EvaluationReport, HeadLoss, Observer, PhaseTimes, Quiet, StepReport, TablesReport,
};
pub use optim::{
    DenseOptimizer, DenseOptimizerOptions, ParameterError, StateError, clip_by_global_norm,
    norm_squared,
};
pub use output::{OutputColumn, check_output, write_columns};
pub use ranker::{Environment, Ranker};
pub use rerank::{RerankJob, Reranked};
pub use retrieval::{
    Als, AlsOptions, Candidates, Figure, Gauc, Ids, Interactions, ItemKnn, ItemKnnOptions,
    ItemKnnScorer, LeakReport, MostPopular, Popularity, Recommended, RetrievalError,
    RetrievalEvaluation, RetrievalOptions, RetrievalTask, SampledCase, SampledEvaluation, Scorer,
    SegmentFigures, TensorCandidates, TimeLeaks, Timeline, VectorScorer, draw_cases,
    evaluate_retrieval, evaluate_sampled, figures, gauc, principal_plane, read_cases,
};
pub use sample::{SAMPLE_ROWS, TableSample, sample_tables};
pub use schedule::{DecayShape, Schedule};
pub use spec::{
    EarlyStop, FeatureSpec, IdFeatureSpec, Interaction, ModelSpec, Overlap, RowSpec, StopMetric,
    TableSpec, TrainSpec,
};
pub use train::{Best, FitSummary, Stop, TrainJob, TrainingState, fit};
