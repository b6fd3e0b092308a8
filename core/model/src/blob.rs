//! CPU tensors and slices over the same memory: the only unsafe code around libtorch's storage.

use tch::{Device, Kind, Tensor};

/// A zeroed f32 tensor in host memory that is read and written both by libtorch and as a slice.
///
/// The tensor owns its memory, is contiguous, and never leaves this type except as a shallow clone
/// that the owner uses up before the next call to [`HostTensor::slice_mut`].
#[derive(Debug)]
pub(crate) struct HostTensor {
    tensor: Tensor,
    len: usize,
}

impl HostTensor {
    /// Zeros of the given shape; page-locked where copies to `device` gain from it.
    pub(crate) fn zeros(shape: &[usize], device: Device) -> Result<Self, tch::TchError> {
        let shape: Vec<i64> = shape.iter().map(|&n| n as i64).collect();
        let mut tensor = Tensor::f_zeros(&shape, (Kind::Float, Device::Cpu))?;
        if device.is_cuda() {
            tensor = tensor.f_pin_memory(device)?;
        }
        let len = shape.iter().product::<i64>() as usize;
        Ok(Self { tensor, len })
    }

    /// The whole tensor.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// All values, row-major.
    pub(crate) fn slice(&self) -> &[f32] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: the tensor is a contiguous f32 CPU tensor of `len` values that `self` owns; f32
        // has no invalid bit patterns; nobody writes while `self` is borrowed, because every write
        // through libtorch starts from a borrow of the same owner (see the type's documentation).
        #[expect(unsafe_code, reason = "slice over the tensor's own memory")]
        unsafe {
            std::slice::from_raw_parts(self.tensor.data_ptr().cast::<f32>().cast_const(), self.len)
        }
    }

    /// All values, row-major, for writing.
    pub(crate) fn slice_mut(&mut self) -> &mut [f32] {
        if self.len == 0 {
            return &mut [];
        }
        // SAFETY: as in `slice`, and `self` is borrowed for writing.
        #[expect(unsafe_code, reason = "slice over the tensor's own memory")]
        unsafe {
            std::slice::from_raw_parts_mut(self.tensor.data_ptr().cast::<f32>(), self.len)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_and_slice_are_the_same_memory() {
        let mut host = HostTensor::zeros(&[2, 3], Device::Cpu).unwrap();
        host.slice_mut()[4] = 5.0;
        assert_eq!(host.tensor().double_value(&[1, 1]), 5.0);
        let _ = host.tensor().shallow_clone().fill_(2.0);
        assert_eq!(host.slice(), [2.0; 6]);
    }
}
