//! The arithmetic around the matrix products of a ranking model, over plain slices.
//!
//! Nothing here knows a tensor library. Kernels work on one block of rows on the calling thread and
//! give the same bits whatever the threads; a network spreads the blocks.

mod aligned;
mod dropout;
mod elementwise;
mod gemm;
#[cfg(target_arch = "x86_64")]
mod gemm_x86;
mod interaction;
#[cfg(target_arch = "x86_64")]
mod interaction_x86;
mod level;
mod limits;
mod panels;
#[cfg(target_arch = "x86_64")]
mod vector_x86;

pub(crate) use dropout::dropout_panels;
pub use dropout::{DropoutKey, DropoutRate, dropout};
pub(crate) use elementwise::{add, add_scaled, cross, cross_back, dot, gate, gate_back};
pub(crate) use gemm::{
    Around, Finish, Start, Write, add_column_sums, mask, multiply, multiply_transposed,
};
pub use interaction::{DotInteraction, FirstVector, Place, SelfDots};
pub(crate) use level::{Instructions, Level, vectorised};
pub use limits::{MachineLimits, RowWork};
pub(crate) use panels::{PANEL, Panels, ROW_TILE, transpose_panel};
