//! Ranking models on libtorch: DLRM, metrics, trainer, checkpoints.

mod kernel;
mod loss;
mod metric;
mod optim;
mod schedule;

pub use kernel::{
    DotInteraction, DropoutKey, DropoutRate, FirstVector, Place, SelfDots, bias_add, bias_relu,
    column_sums, dropout, relu_backward_bias_grad,
};
pub use loss::{Bce, sigmoid};
pub use metric::{CalibrationBin, Evaluation, Evaluator, MetricError, Running};
pub use optim::{
    DenseOptimizer, DenseOptimizerOptions, ParameterError, StateError, clip_by_global_norm,
    norm_squared,
};
pub use schedule::{DecayShape, Schedule};
