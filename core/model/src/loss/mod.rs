//! Native losses.

mod bce;

pub use bce::{Bce, sigmoid};
