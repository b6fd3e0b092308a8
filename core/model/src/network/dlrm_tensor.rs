//! DLRM in libtorch's operations, for any device. Embeddings and their gradients are staged in host
//! memory, page-locked where the device is a GPU.

use rectool_embedding::Layout;
use tch::{Device, Kind, Tensor};

use super::dlrm::DlrmShape;
use super::mlp::DropoutStep;
use super::mlp_tensor::{TensorMlp, torch};
use super::{Network, Pass};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::parameters::Parameters;

#[derive(Debug)]
pub(crate) struct TensorDlrm {
    shape: DlrmShape,
    bottom: Option<TensorMlp>,
    top: TensorMlp,
    /// Flat indices of the strictly lower triangle of [F1, F1].
    pairs: Tensor,
    dense: HostTensor,
    vectors: HostTensor,
    vector_gradients: HostTensor,
    logits: HostTensor,
    logit_gradients: HostTensor,
    /// The vectors on the device, [B, F1, D], from forward to backward.
    on_device: Tensor,
    device: Device,
    capacity: usize,
    rows: usize,
}

impl TensorDlrm {
    pub(crate) fn new(
        shape: DlrmShape,
        parameters: &Parameters,
        device: Device,
    ) -> Result<Self, ModelError> {
        let bottom = shape.bottom.clone().map(|mlp| TensorMlp::new(mlp, parameters, device));
        let top = TensorMlp::new(shape.top.clone(), parameters, device);
        let width = shape.vectors as i64;
        let pairs: Vec<i64> = (1..width).flat_map(|i| (0..i).map(move |j| i * width + j)).collect();
        let empty = || torch(HostTensor::zeros(&[0, 1], Device::Cpu));
        Ok(Self {
            shape,
            bottom,
            top,
            pairs: torch(Tensor::from_slice(&pairs).f_to_device(device))?,
            dense: empty()?,
            vectors: empty()?,
            vector_gradients: empty()?,
            logits: empty()?,
            logit_gradients: empty()?,
            on_device: Tensor::new(),
            device,
            capacity: 0,
            rows: 0,
        })
    }

    fn upload(&self, host: &HostTensor) -> Result<Tensor, ModelError> {
        let rows = host.tensor().narrow(0, 0, self.rows as i64);
        torch(rows.f_to_device_(self.device, Kind::Float, true, false))
    }

    fn download(&self, host: &HostTensor, from: &Tensor) {
        host.tensor().narrow(0, 0, self.rows as i64).copy_(from);
    }

    /// The top MLP's input: copied vectors, then the products of all pairs.
    fn interact(&self, vectors: &Tensor) -> Result<Tensor, ModelError> {
        let (rows, copied) = (self.rows as i64, self.shape.copied() as i64);
        let flat = torch(vectors.f_reshape([rows, self.shape.layout.row_stride as i64]))?;
        let copies = flat.narrow(1, 0, copied);
        if !self.shape.has_products() {
            return Ok(copies);
        }
        let products = torch(vectors.f_bmm(&vectors.transpose(1, 2)))?;
        let products = products.reshape([rows, (self.shape.vectors * self.shape.vectors) as i64]);
        let products = torch(products.f_index_select(1, &self.pairs))?;
        torch(Tensor::f_cat(&[copies, products], 1))
    }

    /// Gradient of the vectors [B, F1, D], given that of the top MLP's input.
    fn interact_backward(&self, gradient: &Tensor) -> Result<Tensor, ModelError> {
        let (rows, copied) = (self.rows as i64, self.shape.copied() as i64);
        let (width, dim) = (self.shape.vectors as i64, self.shape.dim as i64);
        let options = (Kind::Float, self.device);
        let mut vectors = torch(Tensor::f_zeros([rows, width * dim], options))?;
        vectors.narrow(1, 0, copied).copy_(&gradient.narrow(1, 0, copied));
        vectors = vectors.view([rows, width, dim]);
        if self.shape.has_products() {
            let products = gradient.narrow(1, copied, width * (width - 1) / 2);
            let matrix = torch(Tensor::f_zeros([rows, width * width], options))?;
            let matrix = torch(matrix.f_index_copy(1, &self.pairs, &products))?;
            let matrix = matrix.view([rows, width, width]);
            let symmetric = torch(matrix.f_add(&matrix.transpose(1, 2)))?;
            vectors = torch(vectors.f_add(&torch(symmetric.f_bmm(&self.on_device))?))?;
        }
        Ok(vectors)
    }
}

impl Network for TensorDlrm {
    fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            let zeros = |shape: &[usize]| torch(HostTensor::zeros(shape, self.device));
            let (vectors, dim) = (self.shape.vectors, self.shape.dim);
            self.dense = zeros(&[rows, self.shape.dense])?;
            self.vectors = zeros(&[rows, vectors, dim])?;
            self.vector_gradients = zeros(&[rows, vectors, dim])?;
            self.logits = zeros(&[rows, self.shape.outputs])?;
            self.logit_gradients = zeros(&[rows, self.shape.outputs])?;
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
        let vectors = self.upload(&self.vectors)?;
        let dense = self.upload(&self.dense)?;
        if let Some(bottom) = &mut self.bottom {
            let bottom = bottom.forward(dense, None)?;
            vectors.select(1, 0).copy_(&bottom);
        }
        let input = self.interact(&vectors)?;
        self.on_device = vectors;
        let dropout = match pass {
            Pass::Train { step, row_first } => {
                Some(DropoutStep { seed: self.shape.seed, step, row_first })
            }
            Pass::Evaluate => None,
        };
        let logits = self.top.forward(input, dropout)?;
        self.download(&self.logits, &logits);
        Ok(&self.logits.slice()[..self.rows * self.shape.outputs])
    }

    fn backward(
        &mut self,
        parameters: &mut Parameters,
        logit_gradient: &[f32],
    ) -> Result<(), ModelError> {
        let len = self.rows * self.shape.outputs;
        self.logit_gradients.slice_mut()[..len].copy_from_slice(logit_gradient);
        let logit_gradient = self.upload(&self.logit_gradients)?;
        let top = self.top.backward(logit_gradient)?;
        let vectors = self.interact_backward(&top)?;
        if let Some(bottom) = &mut self.bottom {
            drop(bottom.backward(vectors.select(1, 0).contiguous())?);
        }
        self.download(&self.vector_gradients, &vectors);
        parameters.collect();
        Ok(())
    }

    fn embedding_gradient(&self) -> (&[f32], &Layout) {
        let len = self.rows * self.shape.layout.row_stride;
        (&self.vector_gradients.slice()[..len], &self.shape.layout)
    }
}
