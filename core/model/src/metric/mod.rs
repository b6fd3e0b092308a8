//! How good predictions are.

mod error;
mod evaluation;
mod evaluator;
mod names;
mod residual;
mod running;

pub use error::MetricError;
pub use evaluation::{CalibrationBin, Evaluation, HeadEvaluation};
pub use evaluator::Evaluator;
pub use names::metric_names;
pub use running::Running;
