//! The MLP in host memory, one block of rows at a time through all its layers.

use rayon::prelude::*;

use super::mlp::{Activation, DropoutStep, LayerShape, MlpShape};
use crate::kernel::{
    self, Around, Finish, Level, PANEL, Panels, ROW_TILE, Start, Write, dropout_panels,
    transpose_panel,
};
use crate::parameters::Parameters;

/// Rows of a block. Its activations and gradients stay in a core's second-level cache from layer to
/// layer (128 rows of 512 values are 256 KB), and the weights pass by often enough to cost nothing.
pub(crate) const BLOCK_ROWS: usize = 128;

/// Rows of a weight's gradient that one task sums.
const ROWS_PER_TASK: usize = 16;

/// A stack of linear layers with its weights in the products' layout.
#[derive(Debug)]
pub(crate) struct FusedMlp {
    shape: MlpShape,
    layers: Vec<Packed>,
}

/// A layer's weights.
#[derive(Debug)]
struct Packed {
    /// [inputs, outputs].
    forward: Panels,
    /// [outputs, inputs].
    backward: Panels,
    /// The bias, padded to whole panels.
    bias: Vec<f32>,
}

/// The gradient of a layer's parameters from some blocks of a batch.
#[derive(Clone, Debug)]
pub(crate) struct LayerGradient {
    /// [outputs rounded up to 8, inputs].
    weight: Panels,
    /// The bias's, padded to whole panels.
    bias: Vec<f32>,
}

/// Whether [`FusedMlp::backward`] goes on to the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputGradient {
    Wanted,
    Unwanted,
}

/// A block's place in a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockPlace {
    /// The block's first row.
    pub(crate) first: usize,
    /// Its rows, at most [`BLOCK_ROWS`].
    pub(crate) rows: usize,
}

/// How [`FusedMlp::backward`] treats a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockBackward {
    pub(crate) place: BlockPlace,
    /// As it was going forward.
    pub(crate) dropout: Option<DropoutStep>,
    pub(crate) input_gradient: InputGradient,
    /// Whether the block is the first of its sums.
    pub(crate) write: Write,
}

impl LayerGradient {
    /// Begins sums anew.
    pub(crate) fn clear(&mut self) {
        self.weight.values_mut().fill(0.0);
        self.bias.fill(0.0);
    }
}

impl BlockPlace {
    /// The rows that kernels compute: those beyond the batch are zero in every input and gradient.
    pub(crate) fn padded(self) -> usize {
        self.rows.next_multiple_of(ROW_TILE)
    }
}

impl FusedMlp {
    pub(crate) fn new(shape: MlpShape) -> Self {
        let packed = |layer: &LayerShape| Packed {
            forward: Panels::zeros(layer.inputs, layer.outputs),
            backward: Panels::zeros(layer.outputs, layer.inputs),
            bias: vec![0.0; layer.outputs.next_multiple_of(PANEL)],
        };
        let layers = shape.layers.iter().map(packed).collect();
        Self { shape, layers }
    }

    /// Takes over the weights for forward passes.
    pub(crate) fn pack_forward(&mut self, parameters: &Parameters) {
        for (layer, packed) in self.shape.layers.iter().zip(&mut self.layers) {
            let weight = parameters.value(layer.weight);
            let panels = packed.forward.values_mut().par_chunks_exact_mut(layer.inputs * PANEL);
            panels.enumerate().for_each(|(at, panel)| transpose_panel(weight, at * PANEL, panel));
            if let Some(bias) = layer.bias {
                packed.bias[..layer.outputs].copy_from_slice(parameters.value(bias));
            }
        }
    }

    /// Takes over the weights for backward passes.
    pub(crate) fn pack_backward(&mut self, parameters: &Parameters) {
        let layers = self.shape.layers.iter().zip(&mut self.layers);
        let tasks: Vec<_> = layers
            .map(|(layer, packed)| (parameters.value(layer.weight), layer.inputs, packed))
            .collect();
        tasks.into_par_iter().for_each(|(weight, inputs, packed)| {
            packed.backward.write_rows(weight, inputs);
        });
    }

    /// Room for a block's input and the outputs of all layers.
    pub(crate) fn activations(&self) -> Vec<Panels> {
        let inputs = self.shape.layers.first().map(|layer| layer.inputs);
        let widths = inputs.into_iter().chain(self.shape.layers.iter().map(|layer| layer.outputs));
        widths.map(|width| Panels::zeros(BLOCK_ROWS, width)).collect()
    }

    /// Room for the gradients of all parameters.
    pub(crate) fn gradients(&self) -> Vec<LayerGradient> {
        let layers = self.shape.layers.iter();
        let gradient = |layer: &LayerShape| LayerGradient {
            weight: Panels::zeros(layer.outputs.next_multiple_of(ROW_TILE), layer.inputs),
            bias: vec![0.0; layer.outputs.next_multiple_of(PANEL)],
        };
        layers.map(gradient).collect()
    }

    /// The widest input or output of a layer.
    pub(crate) fn width_max(&self) -> usize {
        let widths = self.shape.layers.iter().flat_map(|layer| [layer.inputs, layer.outputs]);
        widths.max().unwrap_or(0)
    }

    /// Runs all layers over a block: `activations[0]` is the input, each layer writes the next.
    pub(crate) fn forward(
        &self,
        place: BlockPlace,
        activations: &mut [Panels],
        dropout: Option<DropoutStep>,
    ) {
        let level = Level::best();
        for (at, (layer, packed)) in self.shape.layers.iter().zip(&self.layers).enumerate() {
            let (inputs, outputs) = activations.split_at_mut(at + 1);
            let operands = [&inputs[at], &packed.forward];
            let (start, finish) = (Start::Bias(&packed.bias), finish(layer.activation));
            let around = Around { start, finish };
            kernel::multiply(level, place.padded(), operands, &mut outputs[0], around);
            if let Some(mut key) = self.shape.dropout_key(at, dropout) {
                key.row_first += place.first;
                dropout_panels(&mut outputs[0], place.rows, self.shape.dropout, key);
            }
        }
    }

    /// Runs a single layer over a block that is kept elsewhere.
    pub(crate) fn apply(&self, place: BlockPlace, input: &Panels, output: &mut Panels) {
        let ([layer], [packed]) = (&*self.shape.layers, &*self.layers) else {
            panic!("{} layers applied as one", self.layers.len())
        };
        let (start, finish) = (Start::Bias(&packed.bias), finish(layer.activation));
        let around = Around { start, finish };
        kernel::multiply(Level::best(), place.padded(), [input, &packed.forward], output, around);
    }

    /// Goes back through all layers: `gradients[0]` holds the gradient of the last layer's output
    /// and, at the end, that of the input, if wanted. What the block adds to the parameters' gradients goes
    /// to `sums`.
    pub(crate) fn backward(
        &self,
        how: BlockBackward,
        activations: &[Panels],
        gradients: &mut [Panels; 2],
        sums: &mut [LayerGradient],
    ) {
        let BlockBackward { place, dropout, input_gradient, write } = how;
        let (level, rows) = (Level::best(), place.padded());
        if self.shape.layers.last().is_some_and(|layer| layer.activation == Activation::Relu) {
            kernel::mask(&mut gradients[0], &activations[activations.len() - 1]);
        }
        for (at, (layer, packed)) in self.shape.layers.iter().zip(&self.layers).enumerate().rev() {
            let [gradient, next] = gradients;
            let (sum, input) = (&mut sums[at], &activations[at]);
            if write == Write::Replace {
                sum.bias.fill(0.0);
            }
            if layer.bias.is_some() {
                kernel::add_column_sums(level, rows, gradient, &mut sum.bias);
            }
            kernel::multiply_transposed(level, rows, [gradient, input], &mut sum.weight, write);
            if at == 0 && input_gradient == InputGradient::Unwanted {
                return;
            }
            next.reshape(layer.inputs);
            let finish = match at.checked_sub(1) {
                // Behind a ReLU, and perhaps dropout, the output shows the mask.
                Some(before) if self.shape.layers[before].activation == Activation::Relu => {
                    let drops = self.shape.dropout_key(before, dropout).is_some();
                    let scale = if drops { 1.0 / (1.0 - self.shape.dropout.get()) } else { 1.0 };
                    Finish::Mask { activated: input, scale }
                }
                _ => Finish::Keep,
            };
            let operands = [&*gradient, &packed.backward];
            let around = Around { start: Start::Zero, finish };
            kernel::multiply(level, rows, operands, next, around);
            gradients.swap(0, 1);
        }
    }

    /// Writes the parameters' gradients: the sums of `partial`, in that order.
    pub(crate) fn collect(&self, partial: &[&[LayerGradient]], parameters: &mut Parameters) {
        for (at, layer) in self.shape.layers.iter().enumerate() {
            let tasks = parameters
                .gradient_mut(layer.weight)
                .par_chunks_mut(ROWS_PER_TASK * layer.inputs)
                .enumerate();
            tasks.for_each(|(task, rows)| {
                for (row, into) in rows.chunks_exact_mut(layer.inputs).enumerate() {
                    sum_row(partial, at, task * ROWS_PER_TASK + row, into);
                }
            });
            let Some(bias) = layer.bias else { continue };
            let bias = parameters.gradient_mut(bias);
            bias.fill(0.0);
            for partial in partial {
                for (sum, value) in bias.iter_mut().zip(&partial[at].bias) {
                    *sum += value;
                }
            }
        }
    }
}

fn finish(activation: Activation) -> Finish<'static> {
    match activation {
        Activation::Relu => Finish::Relu,
        Activation::None => Finish::Keep,
    }
}

/// Sums row `row` of layer `at`'s weight gradients into `into` [inputs].
fn sum_row(partial: &[&[LayerGradient]], at: usize, row: usize, into: &mut [f32]) {
    for (panel, into) in into.chunks_mut(PANEL).enumerate() {
        let mut sums = [0.0f32; PANEL];
        for partial in partial {
            let weight = &partial[at].weight;
            let line = (panel * weight.rows() + row) * PANEL;
            for (sum, value) in sums.iter_mut().zip(&weight.values()[line..line + PANEL]) {
                *sum += value;
            }
        }
        into.copy_from_slice(&sums[..into.len()]);
    }
}
