//! How good predictions are.

mod error;
mod evaluation;
mod evaluator;
mod running;

pub use error::MetricError;
pub use evaluation::{CalibrationBin, Evaluation};
pub use evaluator::Evaluator;
pub use running::Running;
