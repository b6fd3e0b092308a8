//! DLRM in host memory: bottom MLP, interaction, top MLP, and the same backward, block by block.

use super::dlrm::DlrmShape;
use super::fused::{Backward, Blocks, Forward, Given, RowWidths};
use super::mlp_fused::{BLOCK_ROWS, BlockBackward, FusedMlp, InputGradient, LayerGradient};
use crate::kernel::Panels;
use crate::parameters::Parameters;

/// What all blocks go through.
#[derive(Debug)]
pub(super) struct DlrmStages {
    shape: DlrmShape,
    bottom: Option<FusedMlp>,
    top: FusedMlp,
}

/// Something of both MLPs: a block's activations, or gradients of the parameters.
#[derive(Debug)]
pub(super) struct OfMlps<T> {
    bottom: Vec<T>,
    top: Vec<T>,
}

/// Buffers of one thread.
pub(super) struct Scratch {
    /// The top MLP's input or its gradient, row by row, [`BLOCK_ROWS`, `top_stride`]; the padding stays
    /// zero.
    rows: Vec<f32>,
    /// Gradients of one layer's output and of the one before it.
    gradients: [Panels; 2],
}

impl DlrmStages {
    pub(super) fn new(shape: DlrmShape) -> Self {
        let bottom = shape.bottom.clone().map(FusedMlp::new);
        let top = FusedMlp::new(shape.top.clone());
        Self { shape, bottom, top }
    }
}

impl Blocks for DlrmStages {
    type Block = OfMlps<Panels>;
    type Sums = OfMlps<LayerGradient>;
    type Scratch = Scratch;

    fn widths(&self) -> RowWidths<'_> {
        RowWidths {
            dense: self.shape.dense,
            layout: &self.shape.layout,
            outputs: self.shape.outputs,
        }
    }

    fn seed(&self) -> u64 {
        self.shape.seed
    }

    fn block(&self) -> Self::Block {
        let bottom = self.bottom.as_ref().map_or_else(Vec::new, FusedMlp::activations);
        OfMlps { bottom, top: self.top.activations() }
    }

    fn sums(&self) -> Self::Sums {
        let bottom = self.bottom.as_ref().map_or_else(Vec::new, FusedMlp::gradients);
        OfMlps { bottom, top: self.top.gradients() }
    }

    fn scratch(&self) -> Scratch {
        let widest = self.bottom.as_ref().map_or(0, FusedMlp::width_max);
        let gradient = Panels::zeros(BLOCK_ROWS, widest.max(self.top.width_max()));
        Scratch {
            rows: vec![0.0; BLOCK_ROWS * self.shape.top_stride],
            gradients: [gradient.clone(), gradient],
        }
    }

    fn prepare_forward(&mut self, parameters: &Parameters) {
        self.bottom.iter_mut().for_each(|bottom| bottom.pack_forward(parameters));
        self.top.pack_forward(parameters);
    }

    fn prepare_backward(&mut self, parameters: &Parameters) {
        self.bottom.iter_mut().for_each(|bottom| bottom.pack_backward(parameters));
        self.top.pack_backward(parameters);
    }

    fn collect(&self, groups: &[Self::Sums], parameters: &mut Parameters) {
        if let Some(bottom) = &self.bottom {
            let sums: Vec<_> = groups.iter().map(|group| &*group.bottom).collect();
            bottom.collect(&sums, parameters);
        }
        let sums: Vec<_> = groups.iter().map(|group| &*group.top).collect();
        self.top.collect(&sums, parameters);
    }

    /// The bottom MLP's output goes before the embeddings, among the vectors.
    fn forward(
        &self,
        Forward { place, dropout }: Forward,
        block: &mut Self::Block,
        (dense, vectors, outputs): (&[f32], &mut [f32], &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let (width, stride) = (self.shape.layout.row_stride, self.shape.top_stride);
        if let Some(bottom) = &self.bottom {
            block.bottom[0].write_rows(dense, self.shape.dense);
            bottom.forward(place, &mut block.bottom, None);
            block.bottom[block.bottom.len() - 1].read_rows(vectors, width);
        }
        let rows = &mut scratch.rows[..place.rows * stride];
        let concatenated = self.shape.concatenated();
        for (row, vectors) in rows.chunks_exact_mut(stride).zip(vectors.chunks_exact(width)) {
            row[..concatenated].copy_from_slice(&vectors[..concatenated]);
        }
        if self.shape.has_products() {
            self.shape.products().forward(vectors, rows, self.shape.products_place());
        }
        block.top[0].write_rows(rows, stride);
        self.top.forward(place, &mut block.top, dropout);
        block.top[block.top.len() - 1].read_rows(outputs, self.shape.outputs);
    }

    fn backward(
        &self,
        (Backward { place, dropout, write }, block): (Backward, &Self::Block),
        Given { vectors, output_gradient, .. }: Given<'_>,
        (sums, vector_gradients): (&mut Self::Sums, &mut [f32]),
        Scratch { rows, gradients }: &mut Scratch,
    ) {
        let (width, stride) = (self.shape.layout.row_stride, self.shape.top_stride);
        gradients[0].reshape(self.shape.outputs);
        gradients[0].write_rows(output_gradient, self.shape.outputs);
        let input_gradient = InputGradient::Wanted;
        let how = BlockBackward { place, dropout, input_gradient, write };
        self.top.backward(how, &block.top, gradients, &mut sums.top);

        let rows = &mut rows[..place.rows * stride];
        gradients[0].read_rows(rows, stride);
        if self.shape.has_products() {
            let place = self.shape.products_place();
            self.shape.products().backward(vectors, rows, place, vector_gradients);
        } else {
            vector_gradients.fill(0.0);
        }
        let concatenated = self.shape.concatenated();
        let pairs = vector_gradients.chunks_exact_mut(width).zip(rows.chunks_exact(stride));
        for (vectors, row) in pairs {
            for (value, copy) in vectors.iter_mut().zip(&row[..concatenated]) {
                *value += copy;
            }
        }
        if let Some(bottom) = &self.bottom {
            gradients[0].reshape(self.shape.dim);
            gradients[0].write_rows(vector_gradients, width);
            let input_gradient = InputGradient::Unwanted;
            let how = BlockBackward { dropout: None, input_gradient, ..how };
            bottom.backward(how, &block.bottom, gradients, &mut sums.bottom);
        }
    }
}
