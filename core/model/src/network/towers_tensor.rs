//! Networks of branches in libtorch's operations, for any device. Unlike a DLRM's, their gradients are
//! libtorch's own: it notes what it computes going forward.

use rectool_embedding::Layout;
use tch::{Device, Kind, Tensor};

use super::branch_fused::LENGTH_SQUARED_MIN;
use super::heads::HeadsShape;
use super::history_tensor::pool;
use super::mlp::{Activation, DropoutStep, MlpShape};
use super::mlp_tensor::torch;
use super::towers::{BranchShape, TermsShape, TowersShape};
use super::{Network, Pass};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::kernel;
use crate::parameters::Parameters;

#[derive(Debug)]
pub(super) struct TensorTowers {
    shape: TowersShape,
    dense: HostTensor,
    vectors: HostTensor,
    vector_gradients: HostTensor,
    outputs: HostTensor,
    output_gradients: HostTensor,
    /// Values and gradients of every parameter, on the device.
    views: Vec<(Tensor, Tensor)>,
    /// From forward to backward: the parameters, the vectors, and what came of them.
    noted: Option<(Vec<Tensor>, Tensor, Tensor)>,
    device: Device,
    capacity: usize,
    rows: usize,
}

/// The weights, and what a forward pass needs besides.
pub(super) struct Weights {
    /// By entry.
    pub(super) entries: Vec<Tensor>,
    dropout: Option<DropoutStep>,
    device: Device,
}

impl TensorTowers {
    pub(super) fn new(
        shape: TowersShape,
        parameters: &Parameters,
        device: Device,
    ) -> Result<Self, ModelError> {
        let empty = || torch(HostTensor::zeros(&[0, 1], Device::Cpu));
        let views = (0..parameters.entries().len()).map(|entry| parameters.views(entry)).collect();
        Ok(Self {
            shape,
            dense: empty()?,
            vectors: empty()?,
            vector_gradients: empty()?,
            outputs: empty()?,
            output_gradients: empty()?,
            views,
            noted: None,
            device,
            capacity: 0,
            rows: 0,
        })
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor, ModelError> {
        let rows = host.tensor().narrow(0, 0, self.rows as i64);
        // A copy, also where the device is the host: what is noted must not change with the buffer.
        torch(rows.f_to_device_(self.device, Kind::Float, true, true))
    }

    fn download(&self, host: &HostTensor, from: &Tensor) {
        host.tensor().narrow(0, 0, self.rows as i64).copy_(&from.detach());
    }

    fn compute(
        &self,
        weights: &Weights,
        dense: &Tensor,
        vectors: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let mut columns = Vec::new();
        let mut sum: Option<Tensor> = None;
        for branch in &self.shape.branches {
            let result = weights.branch(branch, dense, vectors)?;
            match (branch.output, sum.take()) {
                (0, Some(before)) => sum = Some(torch(before.f_add(&result))?),
                (0, None) => sum = Some(result),
                (_, before) => {
                    sum = before;
                    columns.push(result);
                }
            }
        }
        let mut first = sum.expect("some branch makes the first output");
        if let Some(terms) = &self.shape.terms {
            first = torch(first.f_add(&weights.terms(terms, dense, vectors)?))?;
        }
        columns.insert(0, first);
        if let Some(heads) = &self.shape.heads {
            columns.extend(weights.heads(heads, &columns)?);
        }
        torch(Tensor::f_cat(&columns, 1))
    }
}

impl Weights {
    /// All layers of an MLP over `input` [B, inputs].
    pub(super) fn mlp(&self, shape: &MlpShape, input: &Tensor) -> Result<Tensor, ModelError> {
        let mut values = input.shallow_clone();
        for (at, layer) in shape.layers.iter().enumerate() {
            values = torch(values.f_matmul(&self.entries[layer.weight].tr()))?;
            if let Some(bias) = layer.bias {
                values = torch(values.f_add(&self.entries[bias]))?;
            }
            if layer.activation == Activation::Relu {
                values = torch(values.f_relu())?;
            }
            if let Some(key) = shape.dropout_key(at, self.dropout) {
                let rows = values.size()[0] as usize;
                let mut mask = torch(HostTensor::zeros(&[rows, layer.outputs], self.device))?;
                mask.slice_mut().fill(1.0);
                kernel::dropout(mask.slice_mut(), layer.outputs, shape.dropout, key);
                values = torch(values.f_mul(&torch(mask.tensor().f_to_device(self.device))?))?;
            }
        }
        Ok(values)
    }

    fn branch(
        &self,
        shape: &BranchShape,
        dense: &Tensor,
        vectors: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let mut parts = Vec::new();
        for (segments, from) in [(&shape.dense, dense), (&shape.vectors, vectors)] {
            let part =
                |at: &super::towers::Segment| from.narrow(1, at.from as i64, at.width as i64);
            parts.extend(segments.iter().map(part));
        }
        for history in &shape.histories {
            parts.push(pool(self, history, vectors)?);
        }
        let first = torch(Tensor::f_cat(&parts, 1))?;
        let mut values = first.shallow_clone();
        for layer in &shape.cross {
            let product = torch(first.f_mul(&self.mlp(layer, &values)?))?;
            values = torch(product.f_add(&values))?;
        }
        if let Some(mlp) = &shape.mlp {
            values = self.mlp(mlp, &values)?;
        }
        if shape.normalize {
            let squares = torch(values.f_mul(&values))?;
            let squared = torch(squares.f_sum_dim_intlist([1i64].as_slice(), true, Kind::Float))?;
            let scale =
                torch(torch(squared.f_add_scalar(f64::from(LENGTH_SQUARED_MIN)))?.f_rsqrt())?;
            values = torch(values.f_mul(&scale))?;
        }
        Ok(values)
    }

    /// What each head makes of the vectors of two towers.
    fn heads(&self, shape: &HeadsShape, vectors: &[Tensor]) -> Result<Vec<Tensor>, ModelError> {
        let [query, candidate] = vectors else { panic!("{} vectors of two towers", vectors.len()) };
        let product = torch(query.f_mul(candidate))?;
        let input = torch(Tensor::f_cat(&[query, candidate, &product], 1))?;
        shape.mlps.iter().map(|mlp| self.mlp(mlp, &input)).collect()
    }

    /// [B, 1].
    fn terms(
        &self,
        shape: &TermsShape,
        dense: &Tensor,
        vectors: &Tensor,
    ) -> Result<Tensor, ModelError> {
        let dim = shape.dim as i64;
        let mut numbers: Vec<Tensor> =
            shape.weights.iter().map(|from| vectors.narrow(1, *from as i64, 1)).collect();
        let mut fields: Vec<Tensor> =
            shape.vectors.iter().map(|from| vectors.narrow(1, *from as i64, dim)).collect();
        if let Some(mlp) = &shape.dense {
            let field = self.mlp(mlp, dense)?;
            numbers.push(field.narrow(1, dim, 1));
            if dim > 0 {
                fields.push(field.narrow(1, 0, dim));
            }
        }
        let sum_of = |values: &Tensor, over: i64, keep| {
            torch(values.f_sum_dim_intlist([over].as_slice(), keep, Kind::Float))
        };
        let mut sum = sum_of(&torch(Tensor::f_cat(&numbers, 1))?, 1, true)?;
        if !fields.is_empty() {
            let fields = torch(Tensor::f_stack(&fields, 1))?;
            let total = sum_of(&fields, 1, false)?;
            let squares = sum_of(&torch(fields.f_mul(&fields))?, 1, false)?;
            let pairs = torch(torch(total.f_mul(&total))?.f_sub(&squares))?;
            let pairs = torch(sum_of(&pairs, 1, true)?.f_mul_scalar(0.5))?;
            sum = torch(sum.f_add(&pairs))?;
        }
        Ok(sum)
    }
}

impl Network for TensorTowers {
    fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            let zeros = |width: usize| torch(HostTensor::zeros(&[rows, width], self.device));
            self.dense = zeros(self.shape.dense)?;
            self.vectors = zeros(self.shape.layout.row_stride)?;
            self.vector_gradients = zeros(self.shape.layout.row_stride)?;
            self.outputs = zeros(self.shape.outputs)?;
            self.output_gradients = zeros(self.shape.outputs)?;
            self.capacity = rows;
        }
        Ok(())
    }

    fn dense_mut(&mut self) -> &mut [f32] {
        let len = self.rows * self.shape.dense;
        &mut self.dense.slice_mut()[..len]
    }

    fn embeddings_mut(&mut self) -> (&mut [f32], &Layout) {
        let len = self.rows * self.shape.layout.row_stride;
        (&mut self.vectors.slice_mut()[..len], &self.shape.layout)
    }

    fn width(&self) -> usize {
        self.shape.outputs
    }

    fn forward(&mut self, _parameters: &Parameters, pass: Pass) -> Result<&[f32], ModelError> {
        let dropout = match pass {
            Pass::Train { step, row_first } => {
                Some(DropoutStep { seed: self.shape.seed, step, row_first })
            }
            Pass::Evaluate => None,
        };
        let noting = dropout.is_some();
        let leaf = |value: &Tensor| value.detach().set_requires_grad(noting);
        let entries = self.views.iter().map(|(value, _)| leaf(value)).collect();
        let weights = Weights { entries, dropout, device: self.device };
        let vectors = leaf(&self.upload(&self.vectors)?);
        let dense = self.upload(&self.dense)?;
        let outputs = self.compute(&weights, &dense, &vectors)?;
        self.download(&self.outputs, &outputs);
        self.noted = noting.then_some((weights.entries, vectors, outputs));
        Ok(&self.outputs.slice()[..self.rows * self.shape.outputs])
    }

    fn backward(
        &mut self,
        parameters: &mut Parameters,
        output_gradient: &[f32],
    ) -> Result<(), ModelError> {
        let (entries, vectors, outputs) = self.noted.take().expect("a training pass comes first");
        let len = self.rows * self.shape.outputs;
        self.output_gradients.slice_mut()[..len].copy_from_slice(output_gradient);
        let gradient = self.upload(&self.output_gradients)?;
        let value = torch(torch(outputs.f_mul(&gradient))?.f_sum(Kind::Float))?;
        torch(value.f_backward())?;
        for (entry, (_, into)) in entries.iter().zip(&mut self.views) {
            let gradient = entry.grad();
            if gradient.defined() {
                into.copy_(&gradient);
            } else {
                drop(torch(into.f_zero_())?);
            }
        }
        let gradient = vectors.grad();
        let gradient = if gradient.defined() { gradient } else { torch(vectors.f_zeros_like())? };
        self.download(&self.vector_gradients, &gradient);
        parameters.collect();
        Ok(())
    }

    fn embedding_gradient(&self) -> (&[f32], &Layout) {
        let len = self.rows * self.shape.layout.row_stride;
        (&self.vector_gradients.slice()[..len], &self.shape.layout)
    }
}
