//! DLRM in host memory: the embedding engine writes straight into the interaction's input, and the
//! interaction straight into the top MLP's.

use rayon::prelude::*;
use rectool_embedding::Layout;
use tch::Tensor;

use super::dlrm::DlrmShape;
use super::mlp::DropoutStep;
use super::mlp_fused::{FusedMlp, narrow, zeros};
use super::{Network, Pass};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::parameters::Parameters;

/// Rows that one task copies.
const ROWS_PER_TASK: usize = 256;

#[derive(Debug)]
pub(crate) struct FusedDlrm {
    shape: DlrmShape,
    bottom: Option<FusedMlp>,
    top: FusedMlp,
    /// [capacity, N].
    dense: HostTensor,
    /// [capacity, F1, D] and its gradient.
    vectors: HostTensor,
    vector_gradients: HostTensor,
    /// [capacity, top_stride] and its gradient; the padding stays zero.
    top_input: HostTensor,
    top_input_gradient: HostTensor,
    capacity: usize,
    rows: usize,
}

impl FusedDlrm {
    pub(crate) fn new(shape: DlrmShape, parameters: &Parameters) -> Result<Self, ModelError> {
        let bottom = shape.bottom.clone().map(|mlp| FusedMlp::new(mlp, parameters)).transpose()?;
        let top = FusedMlp::new(shape.top.clone(), parameters)?;
        let empty = || zeros(0, 1);
        Ok(Self {
            shape,
            bottom,
            top,
            dense: empty()?,
            vectors: empty()?,
            vector_gradients: empty()?,
            top_input: empty()?,
            top_input_gradient: empty()?,
            capacity: 0,
            rows: 0,
        })
    }

    /// The part of the top input's rows that the top MLP reads, [B, top_inputs].
    fn top_view(&self, host: &HostTensor) -> Tensor {
        narrow(host, self.rows).narrow(1, 0, self.shape.top_inputs as i64)
    }

    /// Copies the bottom MLP's output to slot 0 of the vectors.
    fn place_bottom(&mut self) {
        let Some(bottom) = &self.bottom else { return };
        let (width, dim) = (self.shape.layout.row_stride, self.shape.dim);
        let vectors = &mut self.vectors.slice_mut()[..self.rows * width];
        let rows = vectors.chunks_exact_mut(width).zip(bottom.output().chunks_exact(dim));
        for (vectors, bottom) in rows {
            vectors[..dim].copy_from_slice(bottom);
        }
    }

    /// Hands the gradient of slot 0 to the bottom MLP.
    fn take_bottom_gradient(&mut self) {
        let Some(bottom) = &mut self.bottom else { return };
        let (width, dim) = (self.shape.layout.row_stride, self.shape.dim);
        let vectors = &self.vector_gradients.slice()[..self.rows * width];
        let gradient = bottom.output_gradient_mut();
        for (row, vectors) in gradient.chunks_exact_mut(dim).zip(vectors.chunks_exact(width)) {
            row.copy_from_slice(&vectors[..dim]);
        }
    }

    /// Copies all vectors to the top MLP's input, where the interaction concatenates them.
    fn concatenate(&mut self) {
        let (width, stride) = (self.shape.concatenated(), self.shape.top_stride);
        if width == 0 {
            return;
        }
        let vectors = &self.vectors.slice()[..self.rows * width];
        let top = &mut self.top_input.slice_mut()[..self.rows * stride];
        top.par_chunks_mut(stride * ROWS_PER_TASK)
            .zip(vectors.par_chunks(width * ROWS_PER_TASK))
            .for_each(|(top, vectors)| {
                for (top, row) in top.chunks_exact_mut(stride).zip(vectors.chunks_exact(width)) {
                    top[..width].copy_from_slice(row);
                }
            });
    }

    /// Adds the gradient of the concatenated vectors.
    fn concatenate_backward(&mut self) {
        let (width, stride) = (self.shape.concatenated(), self.shape.top_stride);
        if width == 0 {
            return;
        }
        let top = &self.top_input_gradient.slice()[..self.rows * stride];
        let vectors = &mut self.vector_gradients.slice_mut()[..self.rows * width];
        vectors
            .par_chunks_mut(width * ROWS_PER_TASK)
            .zip(top.par_chunks(stride * ROWS_PER_TASK))
            .for_each(|(vectors, top)| {
                for (row, top) in vectors.chunks_exact_mut(width).zip(top.chunks_exact(stride)) {
                    for (value, copy) in row.iter_mut().zip(&top[..width]) {
                        *value += copy;
                    }
                }
            });
    }
}

impl Network for FusedDlrm {
    fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            let width = self.shape.layout.row_stride;
            self.dense = zeros(rows, self.shape.dense)?;
            self.vectors = zeros(rows, width)?;
            self.vector_gradients = zeros(rows, width)?;
            self.top_input = zeros(rows, self.shape.top_stride)?;
            self.top_input_gradient = zeros(rows, self.shape.top_stride)?;
            self.capacity = rows;
        }
        if let Some(bottom) = &mut self.bottom {
            bottom.begin(rows)?;
        }
        self.top.begin(rows)
    }

    fn dense_mut(&mut self) -> &mut [f32] {
        let len = self.rows * self.shape.dense;
        &mut self.dense.slice_mut()[..len]
    }

    fn embeddings_mut(&mut self) -> (&mut [f32], &Layout) {
        let len = self.rows * self.shape.layout.row_stride;
        (&mut self.vectors.slice_mut()[..len], &self.shape.layout)
    }

    fn forward(&mut self, parameters: &Parameters, pass: Pass) -> Result<&[f32], ModelError> {
        if let Some(bottom) = &mut self.bottom {
            bottom.forward(parameters, &narrow(&self.dense, self.rows), None)?;
        }
        self.place_bottom();
        self.concatenate();
        if self.shape.has_products() {
            let vectors = &self.vectors.slice()[..self.rows * self.shape.layout.row_stride];
            let top = &mut self.top_input.slice_mut()[..self.rows * self.shape.top_stride];
            self.shape.products().forward(vectors, top, self.shape.products_place());
        }
        let input = self.top_view(&self.top_input);
        let dropout = match pass {
            Pass::Train { step, row_first } => {
                Some(DropoutStep { seed: self.shape.seed, step, row_first })
            }
            Pass::Evaluate => None,
        };
        self.top.forward(parameters, &input, dropout)?;
        Ok(self.top.output())
    }

    fn backward(
        &mut self,
        parameters: &mut Parameters,
        logit_gradient: &[f32],
    ) -> Result<(), ModelError> {
        self.top.output_gradient_mut().copy_from_slice(logit_gradient);
        let input = self.top_view(&self.top_input);
        let input_gradient = self.top_view(&self.top_input_gradient);
        self.top.backward(parameters, &input, Some(&input_gradient))?;
        let len = self.rows * self.shape.layout.row_stride;
        if self.shape.has_products() {
            let top = &self.top_input_gradient.slice()[..self.rows * self.shape.top_stride];
            let gradients = &mut self.vector_gradients.slice_mut()[..len];
            let (vectors, place) = (&self.vectors.slice()[..len], self.shape.products_place());
            self.shape.products().backward(vectors, top, place, gradients);
        } else {
            self.vector_gradients.slice_mut()[..len].fill(0.0);
        }
        self.concatenate_backward();
        self.take_bottom_gradient();
        if let Some(bottom) = &mut self.bottom {
            bottom.backward(parameters, &narrow(&self.dense, self.rows), None)?;
        }
        Ok(())
    }

    fn embedding_gradient(&self) -> (&[f32], &Layout) {
        let len = self.rows * self.shape.layout.row_stride;
        (&self.vector_gradients.slice()[..len], &self.shape.layout)
    }
}
