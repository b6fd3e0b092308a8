//! Histories in host memory, one block of rows at a time. Only positions up to the longest history of
//! a block are computed.

use super::attention_fused::FusedAttention;
use super::gru_fused::FusedGru;
use super::history::{HistoryKind, HistoryShape};
use super::mlp_fused::{BLOCK_ROWS, BlockPlace, LayerGradient};
use super::target_fused::FusedTarget;
use crate::kernel::{Panels, Place};
use crate::parameters::Parameters;

/// What a block keeps of a history; which of it depends on the kind.
#[derive(Debug, Default)]
pub(super) struct HistoryBlock {
    /// [rows, L].
    pub(super) weights: Vec<f32>,
    /// By position.
    pub(super) positions: Vec<Vec<Panels>>,
}

/// Gradients of a history's parameters; which of it there is depends on the kind.
#[derive(Debug, Default)]
pub(super) struct HistorySums {
    pub(super) values: Vec<f32>,
    pub(super) layers: Vec<Vec<LayerGradient>>,
}

impl HistorySums {
    /// Begins sums anew.
    pub(super) fn clear(&mut self) {
        self.values.fill(0.0);
        self.layers.iter_mut().flatten().for_each(LayerGradient::clear);
    }
}

/// Buffers of one thread, for branches and their histories.
pub(super) struct HistoryScratch {
    /// Gradients of one layer's output and of the one before it.
    pub(super) gradients: [Panels; 2],
    pub(super) spare: [Panels; 3],
    /// Values row by row.
    pub(super) rows: Vec<f32>,
}

impl HistoryScratch {
    /// For panels up to `panel_width` wide and rows up to `row_width`.
    pub(super) fn new(panel_width: usize, row_width: usize) -> Self {
        let panels = || Panels::zeros(BLOCK_ROWS, panel_width);
        Self {
            gradients: [panels(), panels()],
            spare: [panels(), panels(), panels()],
            rows: vec![0.0; BLOCK_ROWS * row_width],
        }
    }
}

/// Rows of a block's vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct VectorRows<'a> {
    pub(super) place: BlockPlace,
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
}

/// One history of a branch.
pub(super) trait FusedHistory: std::fmt::Debug + Send + Sync {
    fn prepare_forward(&mut self, parameters: &Parameters);

    fn prepare_backward(&mut self, parameters: &Parameters);

    fn sums(&self) -> HistorySums;

    /// Widths of panels and rows that scratch must have.
    fn widths(&self) -> (usize, usize);

    /// Writes the pooled vectors to `out`, at `place` and where the sequence says.
    fn forward(
        &self,
        vectors: VectorRows<'_>,
        block: &mut HistoryBlock,
        out: (&mut [f32], Place),
        scratch: &mut HistoryScratch,
    );

    /// Adds to `sums` and to the gradients of the vectors, given those of the pooled vectors.
    fn backward(
        &self,
        block: (VectorRows<'_>, &HistoryBlock),
        gradient: (&[f32], Place),
        wanted: (&mut HistorySums, &mut [f32]),
        scratch: &mut HistoryScratch,
    );

    /// Writes the parameters' gradients: the groups' sums.
    fn collect(&self, groups: &[&HistorySums], parameters: &mut Parameters);
}

/// The history of a shape.
pub(super) fn fused_history(shape: &HistoryShape) -> Box<dyn FusedHistory> {
    let sequence = shape.sequence;
    match &shape.kind {
        HistoryKind::Attention { query, distances } => {
            Box::new(FusedAttention::new(sequence, *query, *distances))
        }
        HistoryKind::Gru { gate, candidate } => {
            Box::new(FusedGru::new(sequence, gate.clone(), candidate.clone()))
        }
        HistoryKind::Target { weigher, target } => {
            Box::new(FusedTarget::new(sequence, weigher.clone(), *target))
        }
    }
}

/// The values of a row at `place`, `width` of them from the sequence's place on.
pub(super) fn placed(row: usize, place: Place, width: usize) -> std::ops::Range<usize> {
    let first = row * place.stride + place.offset;
    first..first + width
}
