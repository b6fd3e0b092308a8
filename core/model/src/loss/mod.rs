//! Losses: the native ones, and how a model's own is chosen and called.

mod bce;
mod mse;
mod objective;
mod softmax;
mod spec;

pub use bce::{Bce, sigmoid};
pub use mse::Mse;
pub(crate) use objective::{Objective, Weighting};
pub use softmax::{Softmax, softmax};
pub use spec::LossSpec;
