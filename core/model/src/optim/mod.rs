//! Optimizers of the dense parameters, over flat slices.

mod clip;
mod dense;
mod options;
mod rules;

pub use clip::{clip_by_global_norm, norm_squared};
pub use dense::{DenseOptimizer, StateError};
pub use options::{DenseOptimizerOptions, ParameterError};
