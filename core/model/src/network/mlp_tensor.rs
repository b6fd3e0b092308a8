//! The MLP in libtorch's operations, for any device.

use tch::{Device, Kind, Tensor};

use super::mlp::{Activation, DropoutStep, LayerShape, MlpShape};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::kernel;
use crate::parameters::Parameters;

/// A stack of linear layers; activations are tensors of the device.
#[derive(Debug)]
pub(crate) struct TensorMlp {
    shape: MlpShape,
    weights: Vec<(Tensor, Tensor)>,
    biases: Vec<Option<(Tensor, Tensor)>>,
    /// Input of each layer, then the output.
    activations: Vec<Tensor>,
    /// Dropout factors of each layer's output.
    masks: Vec<Option<Tensor>>,
    device: Device,
}

impl TensorMlp {
    pub(crate) fn new(shape: MlpShape, parameters: &Parameters, device: Device) -> Self {
        let weights = shape.layers.iter().map(|layer| parameters.views(layer.weight)).collect();
        let bias = |layer: &LayerShape| layer.bias.map(|bias| parameters.views(bias));
        let biases = shape.layers.iter().map(bias).collect();
        Self { shape, weights, biases, activations: Vec::new(), masks: Vec::new(), device }
    }

    /// Runs all layers over `input`, [B, inputs]; gives [B, outputs].
    pub(crate) fn forward(
        &mut self,
        input: Tensor,
        dropout: Option<DropoutStep>,
    ) -> Result<Tensor, ModelError> {
        self.masks.clear();
        self.activations = vec![input];
        for (at, layer) in self.shape.layers.iter().enumerate() {
            let input = &self.activations[at];
            let rows = input.size()[0] as usize;
            let weight = self.weights[at].0.tr();
            let mut output = torch(match &self.biases[at] {
                Some((bias, _)) => bias.f_addmm(input, &weight),
                None => input.f_mm(&weight),
            })?;
            if layer.activation == Activation::Relu {
                output = torch(output.f_relu())?;
            }
            let mask = match self.shape.dropout_key(at, dropout) {
                Some(key) => {
                    let mut mask = torch(HostTensor::zeros(&[rows, layer.outputs], self.device))?;
                    mask.slice_mut().fill(1.0);
                    kernel::dropout(mask.slice_mut(), layer.outputs, self.shape.dropout, key);
                    Some(torch(mask.tensor().f_to_device(self.device))?)
                }
                None => None,
            };
            if let Some(mask) = &mask {
                output = torch(output.f_mul(mask))?;
            }
            self.masks.push(mask);
            self.activations.push(output);
        }
        Ok(self.activations.last().expect("the input is always there").shallow_clone())
    }

    /// Writes the parameters' gradients, given that of the output; gives that of the input.
    pub(crate) fn backward(&mut self, output_gradient: Tensor) -> Result<Tensor, ModelError> {
        let mut gradient = output_gradient;
        for (at, layer) in self.shape.layers.iter().enumerate().rev() {
            if let Some(mask) = &self.masks[at] {
                gradient = torch(gradient.f_mul(mask))?;
            }
            if layer.activation == Activation::Relu {
                let output = &self.activations[at + 1];
                gradient = torch(output.f_threshold_backward(&gradient, 0.0))?;
            }
            drop(torch(gradient.tr().f_mm_out(&self.weights[at].1, &self.activations[at]))?);
            if let Some((_, sums)) = &mut self.biases[at] {
                let dims = [0i64].as_slice();
                sums.copy_(&torch(gradient.f_sum_dim_intlist(dims, false, Kind::Float))?);
            }
            gradient = torch(gradient.f_mm(&self.weights[at].0))?;
        }
        self.activations.clear();
        Ok(gradient)
    }
}

/// Names what failed.
pub(super) fn torch<T>(result: Result<T, tch::TchError>) -> Result<T, ModelError> {
    result.map_err(ModelError::torch("computing the dense part"))
}
