//! Losses: the native one, and how a model's own is chosen and called.

mod bce;
mod objective;
mod spec;

pub use bce::{Bce, sigmoid};
pub(crate) use objective::{Objective, Weighting};
pub use spec::LossSpec;
