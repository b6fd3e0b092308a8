//! The MLP in host memory: libtorch's GEMM with our kernels around it.

use rayon::prelude::*;
use rectool_base::Batch;
use tch::{Device, Tensor};

use super::mlp::{Activation, DropoutStep, LayerShape, MlpShape};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::kernel;
use crate::parameters::Parameters;

/// Fewer rows of a product than this are not worth a thread of their own.
const ROWS_PER_THREAD_MIN: usize = 64;

/// One layer's buffers.
#[derive(Debug)]
struct Layer {
    shape: LayerShape,
    weight: Tensor,
    weight_gradient: Tensor,
    /// Output after activation and dropout, [capacity, outputs].
    output: HostTensor,
    /// Gradient of the output, and in place of the layer's sum, [capacity, outputs].
    gradient: HostTensor,
}

/// A stack of linear layers whose buffers are kept from step to step.
#[derive(Debug)]
pub(crate) struct FusedMlp {
    shape: MlpShape,
    layers: Vec<Layer>,
    capacity: usize,
    rows: usize,
    dropout: Option<DropoutStep>,
}

impl FusedMlp {
    pub(crate) fn new(shape: MlpShape, parameters: &Parameters) -> Result<Self, ModelError> {
        let layer = |shape: &LayerShape| {
            let (weight, weight_gradient) = parameters.views(shape.weight);
            let output = zeros(0, shape.outputs)?;
            let gradient = zeros(0, shape.outputs)?;
            Ok(Layer { shape: shape.clone(), weight, weight_gradient, output, gradient })
        };
        let layers = shape.layers.iter().map(layer).collect::<Result<_, ModelError>>()?;
        Ok(Self { shape, layers, capacity: 0, rows: 0, dropout: None })
    }

    /// Makes room for `rows` rows.
    pub(crate) fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            for layer in &mut self.layers {
                layer.output = zeros(rows, layer.shape.outputs)?;
                layer.gradient = zeros(rows, layer.shape.outputs)?;
            }
            self.capacity = rows;
        }
        Ok(())
    }

    /// Runs all layers over `input`, [B, inputs].
    pub(crate) fn forward(
        &mut self,
        parameters: &Parameters,
        input: &Tensor,
        dropout: Option<DropoutStep>,
    ) -> Result<(), ModelError> {
        self.dropout = dropout;
        let rows = self.rows;
        for at in 0..self.layers.len() {
            let (before, from) = self.layers.split_at_mut(at);
            let layer = &mut from[0];
            let previous = before.last().map(|previous| narrow(&previous.output, rows));
            let input = previous.as_ref().unwrap_or(input);
            multiply(&narrow(&layer.output, rows), input, &layer.weight.tr())?;
            let bias = parameters.value(layer.shape.bias);
            let output = &mut layer.output.slice_mut()[..rows * layer.shape.outputs];
            match layer.shape.activation {
                Activation::Relu => kernel::bias_relu(output, bias),
                Activation::None => kernel::bias_add(output, bias),
            }
            if let Some(key) = self.shape.dropout_key(at, dropout) {
                kernel::dropout(output, layer.shape.outputs, self.shape.dropout, key);
            }
        }
        Ok(())
    }

    /// The last layer's output, [B, outputs].
    pub(crate) fn output(&self) -> &[f32] {
        let layer = self.layers.last().expect("an MLP has at least one layer");
        &layer.output.slice()[..self.rows * layer.shape.outputs]
    }

    /// Where the gradient of [`FusedMlp::output`] goes before [`FusedMlp::backward`].
    pub(crate) fn output_gradient_mut(&mut self) -> &mut [f32] {
        let layer = self.layers.last_mut().expect("an MLP has at least one layer");
        &mut layer.gradient.slice_mut()[..self.rows * layer.shape.outputs]
    }

    /// Writes the parameters' gradients and, if wanted, the input's into `input_gradient`.
    pub(crate) fn backward(
        &mut self,
        parameters: &mut Parameters,
        input: &Tensor,
        input_gradient: Option<&Tensor>,
    ) -> Result<(), ModelError> {
        let rows = self.rows;
        for at in (0..self.layers.len()).rev() {
            let (before, from) = self.layers.split_at_mut(at);
            let layer = &mut from[0];
            let len = rows * layer.shape.outputs;
            let gradient = &mut layer.gradient.slice_mut()[..len];
            if let Some(key) = self.shape.dropout_key(at, self.dropout) {
                kernel::dropout(gradient, layer.shape.outputs, self.shape.dropout, key);
            }
            let bias_gradient = parameters.gradient_mut(layer.shape.bias);
            match layer.shape.activation {
                Activation::Relu => {
                    let output = &layer.output.slice()[..len];
                    kernel::relu_backward_bias_grad(gradient, output, bias_gradient);
                }
                Activation::None => kernel::column_sums(gradient, bias_gradient),
            }
            let gradient = narrow(&layer.gradient, rows);
            let previous = before
                .last_mut()
                .map(|previous| (narrow(&previous.output, rows), narrow(&previous.gradient, rows)));
            let layer_input = previous.as_ref().map_or(input, |(output, _)| output);
            multiply(&layer.weight_gradient, &gradient.tr(), layer_input)?;
            let target = previous.as_ref().map(|(_, gradient)| gradient).or(input_gradient);
            if let Some(target) = target {
                multiply(target, &gradient, &layer.weight)?;
            }
        }
        Ok(())
    }
}

/// The first `rows` rows.
pub(super) fn narrow(host: &HostTensor, rows: usize) -> Tensor {
    host.tensor().narrow(0, 0, rows as i64)
}

pub(super) fn zeros(rows: usize, columns: usize) -> Result<HostTensor, ModelError> {
    HostTensor::zeros(&[rows, columns], Device::Cpu)
        .map_err(ModelError::torch("allocating activations"))
}

/// `out = left @ right`, each thread of our pool computing some rows of `out` with libtorch's GEMM.
///
/// libtorch's own threads are OpenMP's, which spin for a while after each operation: beside our pool
/// they cost 10 % of a step on a quiet machine, and several times the step on a busy one.
fn multiply(out: &Tensor, left: &Tensor, right: &Tensor) -> Result<(), ModelError> {
    let rows = out.size()[0] as usize;
    let threads = rayon::current_num_threads().min(rows / ROWS_PER_THREAD_MIN).max(1);
    let parts: Vec<(Tensor, Tensor, Tensor)> = (0..threads)
        .map(|thread| {
            let part = Batch::slice_of(rows, thread, threads);
            let (start, len) = (part.start as i64, part.len() as i64);
            (out.narrow(0, start, len), left.narrow(0, start, len), right.shallow_clone())
        })
        .collect();
    parts.into_par_iter().try_for_each(|(out, left, right)| {
        let product = left.f_mm_out(&out, &right);
        product.map(drop).map_err(ModelError::torch("multiplying matrices"))
    })
}
