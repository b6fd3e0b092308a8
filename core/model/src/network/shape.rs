//! Which network a spec asks for.

use super::fused::Fused;
use super::towers::TowersShape;
use super::towers_fused::TowersStages;
use super::towers_tensor::TensorTowers;
use super::{Dlrm, DlrmShape, Network};
use crate::kernel::RowWork;
use crate::parameters::{Declaration, Parameters};
use crate::{Architecture, Compute, ModelError, ModelSpec};

/// Everything about a network that follows from its options, whatever its kind.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Dlrm(DlrmShape),
    Towers(TowersShape),
}

/// What the dense part of a model consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenseOutline {
    /// Its matrices as name, inputs and outputs, in the order in which they are declared.
    pub layers: Vec<(String, usize, usize)>,
    /// Weights in all.
    pub parameters: usize,
    /// Floats of the embeddings of a row.
    pub embedding_floats: usize,
}

/// What the dense part of `spec` consists of; `dense` has the width of each of its dense columns.
///
/// # Errors
/// As [`ModelSpec::check`], and if two towers make vectors of different widths.
pub fn dense_outline(spec: &ModelSpec, dense: &[usize]) -> Result<DenseOutline, ModelError> {
    spec.check()?;
    let mut declaration = Declaration::default();
    let shape = Shape::declare(spec, dense, &mut declaration)?;
    let layer = |(name, shape): (&str, &[usize])| match (name.strip_suffix(".weight"), shape) {
        (Some(name), [outputs, inputs]) => Some((name.to_owned(), *inputs, *outputs)),
        _ => None,
    };
    let entries = || declaration.entries().map(|entry| (entry.name.as_str(), &*entry.shape));
    Ok(DenseOutline {
        layers: entries().filter_map(layer).collect(),
        parameters: entries().map(|(_, shape)| shape.iter().product::<usize>()).sum(),
        embedding_floats: match &shape {
            Shape::Dlrm(shape) => shape.layout.row_stride,
            Shape::Towers(shape) => shape.layout.row_stride,
        },
    })
}

impl Shape {
    /// Declares the parameters of the network that `spec`, which was checked, asks for. `dense` has
    /// the width of each dense column.
    pub(crate) fn declare(
        spec: &ModelSpec,
        dense: &[usize],
        declaration: &mut Declaration,
    ) -> Result<Self, ModelError> {
        if spec.architecture == Architecture::Dlrm {
            let inputs = dense.iter().sum();
            return Ok(Self::Dlrm(DlrmShape::declare(spec, inputs, declaration)));
        }
        Ok(Self::Towers(TowersShape::declare(spec, dense, declaration)?))
    }

    /// What a row costs a training step at least.
    pub(crate) fn row_work(&self) -> RowWork {
        match self {
            Self::Dlrm(shape) => shape.row_work(),
            Self::Towers(shape) => shape.row_work(),
        }
    }

    /// Sets the initial weights and makes the network for the device.
    pub(crate) fn build(
        self,
        parameters: &mut Parameters,
        compute: Compute,
    ) -> Result<Box<dyn Network>, ModelError> {
        match self {
            Self::Dlrm(shape) => Dlrm::build(shape, parameters, compute),
            Self::Towers(shape) => {
                shape.init(parameters);
                parameters.publish();
                Ok(match compute {
                    Compute::Fused => Box::new(Fused::new(TowersStages::new(shape))?),
                    Compute::Tensor(device) => {
                        Box::new(TensorTowers::new(shape, parameters, device)?)
                    }
                })
            }
        }
    }
}
