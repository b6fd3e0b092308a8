//! The dense weights of a model as one flat vector: one all-reduce, one fused optimizer pass.

use rectool_base::Stream;
use tch::{Device, Tensor};

use crate::ModelError;
use crate::blob::HostTensor;

/// Entries start at multiples of this many floats (64 bytes), which GEMM kernels like.
const ALIGNMENT: usize = 16;

/// A named tensor within the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) offset: usize,
}

impl Entry {
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }

    pub(crate) fn range(&self) -> std::ops::Range<usize> {
        self.offset..self.offset + self.len()
    }
}

/// Declares entries before any memory is taken.
#[derive(Debug, Default)]
pub(crate) struct Declaration {
    entries: Vec<Entry>,
    len: usize,
}

impl Declaration {
    /// The entries so far.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Adds an entry and returns its index.
    pub(crate) fn add(&mut self, name: String, shape: &[usize]) -> usize {
        let entry = Entry { name, shape: shape.to_vec(), offset: self.len };
        self.len = entry.range().end.next_multiple_of(ALIGNMENT);
        self.entries.push(entry);
        self.entries.len() - 1
    }
}

/// Values and gradients of all dense weights.
///
/// The master copy is in host memory, where ranks reduce gradients and the optimizer steps. On
/// another device there is a second copy of both, which [`Parameters::publish`] and
/// [`Parameters::collect`] keep in step.
#[derive(Debug)]
pub(crate) struct Parameters {
    entries: Vec<Entry>,
    values: HostTensor,
    gradients: HostTensor,
    device_values: Tensor,
    device_gradients: Tensor,
    device: Device,
}

impl Parameters {
    pub(crate) fn new(declaration: Declaration, device: Device) -> Result<Self, ModelError> {
        let torch = ModelError::torch("allocating the dense weights");
        let values = HostTensor::zeros(&[declaration.len], device).map_err(&torch)?;
        let gradients = HostTensor::zeros(&[declaration.len], device).map_err(&torch)?;
        let on_device = |host: &HostTensor| match device {
            Device::Cpu => Ok(host.tensor().shallow_clone()),
            device => host.tensor().f_to_device(device).map_err(&torch),
        };
        let (device_values, device_gradients) = (on_device(&values)?, on_device(&gradients)?);
        let entries = declaration.entries;
        Ok(Self { entries, values, gradients, device_values, device_gradients, device })
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Number of weights, padding left out.
    pub(crate) fn count(&self) -> usize {
        self.entries.iter().map(Entry::len).sum()
    }

    pub(crate) fn values(&self) -> &[f32] {
        self.values.slice()
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        self.values.slice_mut()
    }

    pub(crate) fn gradients_mut(&mut self) -> &mut [f32] {
        self.gradients.slice_mut()
    }

    /// Values for writing beside gradients for reading: what an optimizer needs.
    pub(crate) fn values_and_gradients(&mut self) -> (&mut [f32], &[f32]) {
        (self.values.slice_mut(), self.gradients.slice())
    }

    /// The values of an entry.
    pub(crate) fn value(&self, entry: usize) -> &[f32] {
        &self.values.slice()[self.entries[entry].range()]
    }

    /// The gradient of an entry, for writing.
    pub(crate) fn gradient_mut(&mut self, entry: usize) -> &mut [f32] {
        let range = self.entries[entry].range();
        &mut self.gradients.slice_mut()[range]
    }

    /// Views of an entry's values and gradient on the device, of the entry's shape.
    pub(crate) fn views(&self, entry: usize) -> (Tensor, Tensor) {
        let entry = &self.entries[entry];
        let shape: Vec<i64> = entry.shape.iter().map(|&n| n as i64).collect();
        let view = |flat: &Tensor| {
            flat.narrow(0, entry.offset as i64, entry.len() as i64).view(shape.as_slice())
        };
        (view(&self.device_values), view(&self.device_gradients))
    }

    /// Fills an entry with normal numbers, a pure function of the seed and the entry's index.
    pub(crate) fn init_normal(&mut self, entry: usize, std: f32, seed: u64) {
        let range = self.entries[entry].range();
        let mut stream = Stream::new(seed, &[INIT_STREAM, entry as u64]);
        for value in &mut self.values.slice_mut()[range] {
            *value = std * stream.next_normal();
        }
    }

    /// Copies the host's values to the device.
    pub(crate) fn publish(&mut self) {
        if self.device != Device::Cpu {
            self.device_values.copy_(self.values.tensor());
        }
    }

    /// Copies the device's gradients to the host.
    pub(crate) fn collect(&mut self) {
        if self.device != Device::Cpu {
            self.gradients.tensor().shallow_clone().copy_(&self.device_gradients);
        }
    }
}

/// Address of the random streams of initial dense weights.
const INIT_STREAM: u64 = 0x6465_6e73_6500_0001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_views_of_one_vector() {
        let mut declaration = Declaration::default();
        let first = declaration.add("a".into(), &[3, 5]);
        let second = declaration.add("b".into(), &[4]);
        let mut parameters = Parameters::new(declaration, Device::Cpu).unwrap();
        assert_eq!(parameters.entries()[second].offset, 16);
        assert_eq!(parameters.count(), 19);
        parameters.init_normal(first, 1.0, 7);
        let (view, _) = parameters.views(first);
        assert_eq!(view.size(), [3, 5]);
        assert_eq!(view.double_value(&[0, 1]) as f32, parameters.value(first)[1]);
        assert_ne!(parameters.value(first)[1], 0.0);
        assert!(parameters.value(second).iter().all(|&x| x == 0.0));
    }
}
