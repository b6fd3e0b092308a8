//! Heads of two towers: an MLP for each, over what the towers make of a row.

use super::mlp::MlpShape;

/// The MLPs of all heads. Each reads the query's vector, the candidate's and their products element by
/// element, as they are compared: so a head can be computed from vectors that were encoded before, and
/// one without hidden layers is a matrix factorisation with biases.
#[derive(Clone, Debug)]
pub(crate) struct HeadsShape {
    /// Width E of a vector.
    pub(crate) width: usize,
    /// By head, [3 E] to its outputs, which stand behind the vectors in the order of the heads.
    pub(crate) mlps: Vec<MlpShape>,
}

impl HeadsShape {
    /// Outputs of all heads.
    pub(crate) fn outputs(&self) -> usize {
        self.mlps.iter().map(MlpShape::outputs).sum()
    }

    pub(crate) fn multiplications(&self) -> usize {
        self.width + self.mlps.iter().map(MlpShape::multiplications).sum::<usize>()
    }

    /// Values of a row that outlive the forward pass.
    pub(crate) fn kept(&self) -> usize {
        self.mlps.iter().map(MlpShape::kept).sum()
    }
}
