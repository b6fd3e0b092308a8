//! The arithmetic around the matrix products of a ranking model, over plain slices.
//!
//! Nothing here knows a tensor library. Every kernel runs on the current rayon pool and gives the
//! same bits for any number of threads.

mod bias;
mod dropout;
mod interaction;
#[cfg(target_arch = "x86_64")]
mod interaction_x86;
mod level;

pub use bias::{bias_add, bias_relu, column_sums, relu_backward_bias_grad};
pub use dropout::{DropoutKey, DropoutRate, dropout};
pub use interaction::{DotInteraction, FirstVector, Place, SelfDots};
pub(crate) use level::{Instructions, Level, vectorised};
