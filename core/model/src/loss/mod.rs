//! Losses: the native ones, and how a model's own is chosen and called.

mod bce;
mod mse;
mod objective;
mod spec;

pub use bce::{Bce, sigmoid};
pub use mse::Mse;
pub(crate) use objective::{Objective, Weighting};
pub use spec::LossSpec;
