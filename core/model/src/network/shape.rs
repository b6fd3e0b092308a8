//! Which network a spec asks for.

use super::{Dlrm, DlrmShape, Network};
use crate::kernel::RowWork;
use crate::parameters::{Declaration, Parameters};
use crate::{Architecture, Compute, ModelError, ModelSpec};

/// Everything about a network that follows from its options, whatever its kind.
#[derive(Clone, Debug)]
pub(crate) enum Shape {
    Dlrm(DlrmShape),
}

impl Shape {
    /// Declares the parameters of the network that `spec`, which was checked, asks for. `dense` has
    /// the width of each dense column.
    pub(crate) fn declare(
        spec: &ModelSpec,
        dense: &[usize],
        declaration: &mut Declaration,
    ) -> Result<Self, ModelError> {
        match &spec.architecture {
            Architecture::Dlrm => {
                let inputs = dense.iter().sum();
                Ok(Self::Dlrm(DlrmShape::declare(spec, inputs, declaration)))
            }
            other => Err(ModelError::option("architecture", other.name(), "dlrm")),
        }
    }

    /// What a row costs a training step at least.
    pub(crate) fn row_work(&self) -> RowWork {
        match self {
            Self::Dlrm(shape) => shape.row_work(),
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
        }
    }
}
