//! The dense part of a model: from dense features and pooled embeddings to outputs and back.

mod attention_fused;
mod branch_fused;
mod dlrm;
mod dlrm_fused;
mod dlrm_tensor;
mod fused;
mod gru_fused;
mod heads;
mod heads_fused;
mod history;
mod history_fused;
mod history_tensor;
mod mlp;
mod mlp_fused;
mod mlp_tensor;
#[cfg(test)]
mod reference;
mod shape;
mod target_fused;
mod terms_fused;
#[cfg(test)]
mod tests;
mod towers;
mod towers_fused;
mod towers_tensor;
#[cfg(test)]
mod towers_tests;

use rectool_embedding::Layout;

use crate::ModelError;
use crate::parameters::Parameters;

pub use dlrm::dlrm_widths;
pub(crate) use dlrm::{Dlrm, DlrmShape};
pub(crate) use shape::Shape;
pub use shape::{DenseOutline, dense_outline};

/// Whether a forward pass is part of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Keeps what the backward pass needs; dropout is on.
    Train {
        /// Steps done since training began.
        step: u64,
        /// Position of the first row within the global batch.
        row_first: usize,
    },
    /// No dropout.
    Evaluate,
}

/// The dense part of a model.
///
/// One step calls, in this order: [`Network::begin`], fills [`Network::dense_mut`] and
/// [`Network::embeddings_mut`], [`Network::forward`], [`Network::backward`], and reads
/// [`Network::embedding_gradient`] and the gradients in the parameters.
pub(crate) trait Network: Send {
    /// Makes room for a batch of `rows` rows.
    fn begin(&mut self, rows: usize) -> Result<(), ModelError>;

    /// The dense input, [B, N] row-major.
    fn dense_mut(&mut self) -> &mut [f32];

    /// Where pooled embeddings go.
    fn embeddings_mut(&mut self) -> (&mut [f32], &Layout);

    /// Outputs O of a row: a ranker's logits, or the query's vector, then the candidate's, then what the
    /// heads make of them.
    fn width(&self) -> usize;

    /// The outputs, [B, O] row-major.
    fn forward(&mut self, parameters: &Parameters, pass: Pass) -> Result<&[f32], ModelError>;

    /// Writes the gradients of all parameters and of the embeddings, given that of the outputs [B, O].
    fn backward(
        &mut self,
        parameters: &mut Parameters,
        output_gradient: &[f32],
    ) -> Result<(), ModelError>;

    /// The gradient with respect to the pooled embeddings.
    fn embedding_gradient(&self) -> (&[f32], &Layout);
}
