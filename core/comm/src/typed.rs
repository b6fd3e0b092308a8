//! Typed forms of the byte collectives.

use bytemuck::{AnyBitPattern, NoUninit};

use crate::{Comm, CommError, Reduce, Values};

/// Collectives over slices of plain values, for every [`Comm`].
///
/// # Collective
/// All of them, as in [`Comm`].
pub trait CommExt: Comm {
    /// [`Comm::all_to_all_bytes`] over values: `counts[r]` values go to rank r. Returns how many
    /// came from each rank.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn all_to_all<T: NoUninit + AnyBitPattern>(
        &self,
        send: &[T],
        counts: &[usize],
        receive: &mut Vec<T>,
    ) -> Result<Vec<usize>, CommError> {
        let size = size_of::<T>();
        let send_bytes: Vec<usize> = counts.iter().map(|count| count * size).collect();
        let mut bytes = Vec::new();
        let parts = self.all_to_all_bytes(bytemuck::cast_slice(send), &send_bytes, &mut bytes)?;
        receive.clear();
        // The bytes may lie anywhere, so values are read one by one.
        receive.extend(bytes.chunks_exact(size).map(bytemuck::pod_read_unaligned::<T>));
        Ok(parts.into_iter().map(|part| part / size).collect())
    }

    /// Sum over ranks of a 64-bit float.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn sum_f64(&self, value: f64) -> Result<f64, CommError> {
        let mut values = [value];
        self.all_reduce(Values::F64(&mut values), Reduce::Sum)?;
        Ok(values[0])
    }

    /// Sum over ranks of a count.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn sum_u64(&self, value: u64) -> Result<u64, CommError> {
        let mut values = [value];
        self.all_reduce(Values::U64(&mut values), Reduce::Sum)?;
        Ok(values[0])
    }

    /// Maximum over ranks.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn max_u64(&self, value: u64) -> Result<u64, CommError> {
        let mut values = [value];
        self.all_reduce(Values::U64(&mut values), Reduce::Max)?;
        Ok(values[0])
    }
}

impl<C: Comm + ?Sized> CommExt for C {}
