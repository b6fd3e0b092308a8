//! DLRM (Naumov et al., 2019): shapes, parameters, and the choice of how it computes.

use rectool_embedding::Layout;

use super::dlrm_fused::DlrmStages;
use super::fused::Fused;
use super::mlp::{Activation, MlpShape};
use super::{Network, dlrm_tensor::TensorDlrm};
use crate::kernel::{self, DropoutRate, FirstVector, Place, RowWork, SelfDots};
use crate::parameters::{Declaration, Parameters};
use crate::{Compute, Interaction, ModelError, ModelSpec};

/// Rows of the top MLP's input are padded to a multiple of this many floats (64 bytes), so that they
/// start on cache lines.
const ROW_ALIGNMENT: usize = 16;

/// Everything about a DLRM that follows from its options.
#[derive(Clone, Debug)]
pub(crate) struct DlrmShape {
    /// Dense inputs N.
    pub(crate) dense: usize,
    /// Vectors per row F1: the bottom MLP's output, if there are dense inputs, then the embeddings.
    pub(crate) vectors: usize,
    /// Width D.
    pub(crate) dim: usize,
    pub(crate) interaction: Interaction,
    /// Width of the top MLP's input, padded.
    pub(crate) top_stride: usize,
    pub(crate) bottom: Option<MlpShape>,
    pub(crate) top: MlpShape,
    /// Outputs O.
    pub(crate) outputs: usize,
    /// Where embeddings stand among the vectors.
    pub(crate) layout: Layout,
    pub(crate) seed: u64,
}

/// The widths of a DLRM's MLPs from input to output, bottom (empty without dense inputs) and top,
/// given those of the hidden layers and, of the top, its outputs.
///
/// ```
/// use rectool_model::{dlrm_widths, Interaction};
/// let (bottom, top) = dlrm_widths(13, 26, 16, (&[512, 256], &[512, 256, 1]), Interaction::Dot);
/// assert_eq!(bottom, [13, 512, 256, 16]);
/// assert_eq!(top, [16 + 27 * 26 / 2, 512, 256, 1]);
/// ```
pub fn dlrm_widths(
    dense: usize,
    features: usize,
    dim: usize,
    (bottom, top): (&[usize], &[usize]),
    interaction: Interaction,
) -> (Vec<usize>, Vec<usize>) {
    let vectors = features + usize::from(dense > 0);
    let pairs = vectors * (vectors - 1) / 2;
    let inputs = match interaction {
        Interaction::Dot => pairs + if dense > 0 { dim } else { 0 },
        Interaction::Cat => vectors * dim,
        Interaction::DotCat => vectors * dim + pairs,
    };
    let top = [&[inputs], top].concat();
    let bottom = if dense > 0 { [&[dense], bottom, &[dim]].concat() } else { Vec::new() };
    (bottom, top)
}

impl DlrmShape {
    pub(crate) fn declare(spec: &ModelSpec, dense: usize, declaration: &mut Declaration) -> Self {
        let features = spec.features.ids.len();
        let dim = spec.embedding_dim;
        let outputs = spec.logits();
        let top = [spec.top_mlp.as_slice(), &[outputs]].concat();
        let given = (spec.bottom_mlp.as_slice(), top.as_slice());
        let (bottom, top) = dlrm_widths(dense, features, dim, given, spec.interaction);
        let vectors = features + usize::from(dense > 0);
        let bottom = (dense > 0).then(|| {
            MlpShape::declare(declaration, "bottom", dense, &bottom[1..], Activation::Relu)
        });
        let top_inputs = top[0];
        let mut top =
            MlpShape::declare(declaration, "top", top_inputs, &top[1..], Activation::None);
        top.dropout = DropoutRate::new(spec.dropout).expect("the spec was checked");
        let first = vectors - features;
        let offsets = (first..vectors).map(|vector| vector * dim).collect();
        Self {
            dense,
            vectors,
            dim,
            interaction: spec.interaction,
            top_stride: top_inputs.next_multiple_of(ROW_ALIGNMENT),
            bottom,
            top,
            outputs,
            layout: Layout { row_stride: vectors * dim, offsets },
            seed: spec.seed,
        }
    }

    /// The products of all pairs, as the kernel computes them.
    pub(crate) fn products(&self) -> kernel::DotInteraction {
        let copies_bottom = self.interaction == Interaction::Dot && self.dense > 0;
        let first = if copies_bottom { FirstVector::Copy } else { FirstVector::Omit };
        kernel::DotInteraction::new(self.vectors, self.dim, SelfDots::Exclude, first)
    }

    /// Where the kernel's outputs stand in the top MLP's input.
    pub(crate) fn products_place(&self) -> Place {
        Place { stride: self.top_stride, offset: self.concatenated() }
    }

    /// Leading values of the top MLP's input that are all the vectors, one after another.
    pub(crate) fn concatenated(&self) -> usize {
        match self.interaction {
            Interaction::Dot => 0,
            Interaction::Cat | Interaction::DotCat => self.vectors * self.dim,
        }
    }

    /// Leading values of the top MLP's input that are copies of the leading vectors.
    pub(crate) fn copied(&self) -> usize {
        match self.interaction {
            Interaction::Dot if self.dense > 0 => self.dim,
            Interaction::Dot => 0,
            Interaction::Cat | Interaction::DotCat => self.vectors * self.dim,
        }
    }

    /// What a row costs a training step at least.
    pub(crate) fn row_work(&self) -> RowWork {
        let bottom = self.bottom.as_ref();
        let pairs = self.vectors * (self.vectors - 1) / 2;
        let products = if self.has_products() { pairs * self.dim } else { 0 };
        // Forward, and backward for the weights and for the input, which the first layer has none of.
        let first = bottom.map_or(0, |mlp| mlp.layers[0].inputs * mlp.layers[0].outputs);
        let layers = bottom.map_or(0, MlpShape::multiplications) + self.top.multiplications();
        let flops = 2 * (3 * (layers + products) - first);
        // Activations are written and read; vectors are written, read forward and backward, and their
        // gradients written and read; table rows are read, and read and written in the update.
        let kept = bottom.map_or(0, MlpShape::kept) + self.top.kept();
        let features = self.layout.offsets.len() * self.dim;
        let values = 2 * kept + 5 * self.layout.row_stride + 3 * features;
        RowWork { flops: flops as f64, bytes: (4 * values) as f64 }
    }

    /// Whether pairwise products follow the copies.
    pub(crate) fn has_products(&self) -> bool {
        self.interaction != Interaction::Cat
    }
}

/// Builds the network for the device.
pub(crate) struct Dlrm;

impl Dlrm {
    pub(crate) fn build(
        shape: DlrmShape,
        parameters: &mut Parameters,
        compute: Compute,
    ) -> Result<Box<dyn Network>, ModelError> {
        if let Some(bottom) = &shape.bottom {
            bottom.init(parameters, shape.seed);
        }
        shape.top.init(parameters, shape.seed);
        parameters.publish();
        Ok(match compute {
            Compute::Fused => Box::new(Fused::new(DlrmStages::new(shape))?),
            Compute::Tensor(device) => Box::new(TensorDlrm::new(shape, parameters, device)?),
        })
    }
}
