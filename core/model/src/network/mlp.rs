//! What both forms of the MLP share: shapes, parameters, initial weights.

use crate::kernel::{DropoutKey, DropoutRate};
use crate::parameters::{Declaration, Parameters};

/// What follows a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Activation {
    Relu,
    None,
}

/// Which of several linear layers has a bias: one before another would be the same as one behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bias {
    None,
    Last,
}

/// One linear layer.
#[derive(Clone, Debug)]
pub(crate) struct LayerShape {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) activation: Activation,
    /// Entry of the weight [outputs, inputs].
    pub(crate) weight: usize,
    /// Entry of the bias [outputs], if there is one.
    pub(crate) bias: Option<usize>,
}

/// A stack of linear layers.
#[derive(Clone, Debug)]
pub(crate) struct MlpShape {
    pub(crate) layers: Vec<LayerShape>,
    /// Share of hidden values dropped in training.
    pub(crate) dropout: DropoutRate,
    /// Tells apart the dropout masks of several MLPs.
    pub(crate) stream: u64,
}

/// Dropout of one training step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DropoutStep {
    pub(crate) seed: u64,
    pub(crate) step: u64,
    pub(crate) row_first: usize,
}

impl MlpShape {
    /// Declares `inputs -> widths[0] -> … -> widths[last]`, ReLU between the layers and `last`
    /// after the last one.
    pub(crate) fn declare(
        declaration: &mut Declaration,
        name: &str,
        inputs: usize,
        widths: &[usize],
        last: Activation,
    ) -> Self {
        let dropout = DropoutRate::new(0.0).expect("0 is a rate");
        let mut layers = Vec::with_capacity(widths.len());
        let mut inputs = inputs;
        for (at, &outputs) in widths.iter().enumerate() {
            let weight = declaration.add(format!("{name}.{at}.weight"), &[outputs, inputs]);
            let bias = Some(declaration.add(format!("{name}.{at}.bias"), &[outputs]));
            let activation = if at + 1 < widths.len() { Activation::Relu } else { last };
            layers.push(LayerShape { inputs, outputs, activation, weight, bias });
            inputs = outputs;
        }
        Self { layers, dropout, stream: 0 }
    }

    /// Declares linear layers `inputs -> widths[0] -> … -> widths[last]` with nothing between them;
    /// only the last one has a bias, if any.
    pub(crate) fn declare_linear(
        declaration: &mut Declaration,
        name: &str,
        inputs: usize,
        widths: &[usize],
        bias: Bias,
    ) -> Self {
        let dropout = DropoutRate::new(0.0).expect("0 is a rate");
        let mut layers: Vec<LayerShape> = Vec::with_capacity(widths.len());
        for (at, &outputs) in widths.iter().enumerate() {
            let inputs = layers.last().map_or(inputs, |layer| layer.outputs);
            let weight = declaration.add(format!("{name}.{at}.weight"), &[outputs, inputs]);
            let has_bias = bias == Bias::Last && at + 1 == widths.len();
            let bias = has_bias.then(|| declaration.add(format!("{name}.{at}.bias"), &[outputs]));
            layers.push(LayerShape { inputs, outputs, activation: Activation::None, weight, bias });
        }
        Self { layers, dropout, stream: 0 }
    }

    /// Initial weights as in the reference DLRM: normal, with variance 2 / (inputs + outputs), and
    /// biases with variance 1 / outputs.
    pub(crate) fn init(&self, parameters: &mut Parameters, seed: u64) {
        self.init_weights(parameters, seed);
        for layer in &self.layers {
            if let Some(bias) = layer.bias {
                parameters.init_normal(bias, (1.0 / layer.outputs as f32).sqrt(), seed);
            }
        }
    }

    /// Initial weights that are normal, with variance 2 / (inputs + outputs); biases stay 0.
    pub(crate) fn init_weights(&self, parameters: &mut Parameters, seed: u64) {
        for layer in &self.layers {
            let fans = (layer.inputs + layer.outputs) as f32;
            parameters.init_normal(layer.weight, (2.0 / fans).sqrt(), seed);
        }
    }

    /// Width of what the last layer makes.
    pub(crate) fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.outputs)
    }

    /// Multiplications of a row going forward; backward takes twice as many.
    pub(crate) fn multiplications(&self) -> usize {
        self.layers.iter().map(|layer| layer.inputs * layer.outputs).sum()
    }

    /// Values of a row that outlive the forward pass: the input and every layer's output.
    pub(crate) fn kept(&self) -> usize {
        let inputs = self.layers.first().map_or(0, |layer| layer.inputs);
        inputs + self.layers.iter().map(|layer| layer.outputs).sum::<usize>()
    }

    /// The mask's key for the output of layer `at`, or `None` where nothing is dropped.
    pub(crate) fn dropout_key(&self, at: usize, step: Option<DropoutStep>) -> Option<DropoutKey> {
        let step = step?;
        if self.dropout.get() == 0.0 || at + 1 == self.layers.len() {
            return None;
        }
        Some(DropoutKey {
            seed: step.seed,
            layer: self.stream + at as u64,
            step: step.step,
            row_first: step.row_first,
        })
    }
}
