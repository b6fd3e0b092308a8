//! How a sequence of vectors becomes one: shapes and parameters.

use super::mlp::{Bias, MlpShape};
use crate::HistorySpec;
use crate::parameters::{Declaration, Parameters};

/// A sequence among the vectors of a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    /// Its first value.
    pub(crate) from: usize,
    /// Where the pooled vector stands in the branch's input.
    pub(crate) into: usize,
    /// Positions L.
    pub(crate) length: usize,
    /// Width D.
    pub(crate) dim: usize,
}

impl Sequence {
    /// The vector at `position` of a row.
    pub(super) fn vector<'a>(&self, row: &'a [f32], position: usize) -> &'a [f32] {
        &row[self.from + position * self.dim..][..self.dim]
    }

    /// As [`Sequence::vector`], of a row of gradients.
    pub(super) fn vector_mut<'a>(&self, row: &'a mut [f32], position: usize) -> &'a mut [f32] {
        &mut row[self.from + position * self.dim..][..self.dim]
    }

    /// Whether there is a vector at `position` of a row: one that is all zeros is none.
    pub(super) fn has(&self, row: &[f32], position: usize) -> bool {
        self.vector(row, position).iter().any(|value| *value != 0.0)
    }

    /// One more than the last position of a row that has a vector.
    pub(super) fn end(&self, row: &[f32]) -> usize {
        (0..self.length).rev().find(|at| self.has(row, *at)).map_or(0, |last| last + 1)
    }

    /// The greatest end of some rows of `stride` values.
    pub(super) fn end_max(&self, rows: &[f32], stride: usize) -> usize {
        rows.chunks_exact(stride).map(|row| self.end(row)).max().unwrap_or(0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct HistoryShape {
    pub(crate) sequence: Sequence,
    pub(crate) kind: HistoryKind,
}

#[derive(Clone, Debug)]
pub(crate) enum HistoryKind {
    /// Entries of the vector [D] that scores positions, and of the number of each distance from the
    /// last one \[L\].
    Attention { query: usize, distances: usize },
    /// What the gate and the candidate state are of a vector, [D] to [D] both.
    Gru { gate: MlpShape, candidate: MlpShape },
    /// What weighs a vector by that of the target, which begins at `target`: [4 D] to 1.
    Target { weigher: MlpShape, target: usize },
}

impl HistoryKind {
    pub(super) fn declare(
        spec: HistorySpec,
        declaration: &mut Declaration,
        name: &str,
        Sequence { length, dim, .. }: &Sequence,
    ) -> Self {
        match spec {
            HistorySpec::Attention => Self::Attention {
                query: declaration.add(format!("{name}.query"), &[*dim]),
                distances: declaration.add(format!("{name}.distances"), &[*length]),
            },
            HistorySpec::Gru => {
                let mut linear = |part: &str| {
                    let name = format!("{name}.{part}");
                    MlpShape::declare_linear(declaration, &name, *dim, &[*dim], Bias::Last)
                };
                Self::Gru { gate: linear("gate"), candidate: linear("candidate") }
            }
        }
    }
}

impl HistoryShape {
    /// Sets the initial weights: those of the distances stay 0.
    pub(super) fn init(&self, parameters: &mut Parameters, seed: u64) {
        match &self.kind {
            HistoryKind::Attention { query, .. } => {
                let std = (1.0 / self.sequence.dim as f32).sqrt();
                parameters.init_normal(*query, std, seed);
            }
            HistoryKind::Gru { gate, candidate } => {
                gate.init_weights(parameters, seed);
                candidate.init_weights(parameters, seed);
            }
            HistoryKind::Target { weigher, .. } => weigher.init_weights(parameters, seed),
        }
    }

    /// Multiplications of a row of full length, going forward.
    pub(super) fn multiplications(&self) -> usize {
        let Sequence { length, dim, .. } = self.sequence;
        let position = match &self.kind {
            HistoryKind::Attention { .. } => 2 * dim,
            HistoryKind::Gru { gate, candidate } => {
                gate.multiplications() + candidate.multiplications() + dim
            }
            HistoryKind::Target { weigher, .. } => weigher.multiplications() + 2 * dim,
        };
        length * position
    }

    /// Values of a row of full length that outlive the forward pass.
    pub(super) fn kept(&self) -> usize {
        let Sequence { length, dim, .. } = self.sequence;
        length
            * match &self.kind {
                HistoryKind::Attention { .. } => 1,
                HistoryKind::Gru { .. } => 3 * dim,
                HistoryKind::Target { weigher, .. } => weigher.kept(),
            }
    }
}
