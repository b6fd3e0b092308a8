//! Typed forms of the byte collectives.

use bytemuck::{AnyBitPattern, NoUninit};

use crate::{Comm, CommError, Reduce, Values};

/// Collectives over slices of plain values, for every [`Comm`].
///
/// ```
/// use rectool_comm::{CommExt, on_ranks};
/// let sums = on_ranks(3, |comm| comm.sum_u64(comm.rank() as u64).unwrap());
/// assert_eq!(sums, [3, 3, 3]);
/// ```
///
/// # Collective
/// All of them, as in [`Comm`].
pub trait CommExt: Comm {
    /// [`Comm::all_to_all_bytes`] over values: `counts[r]` values go to rank r. Returns how many
    /// came from each rank.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// If `counts` has not R entries or does not sum to `send.len()`.
    fn all_to_all<T: NoUninit + AnyBitPattern>(
        &self,
        send: &[T],
        counts: &[usize],
        receive: &mut Vec<T>,
    ) -> Result<Vec<usize>, CommError> {
        let receive_counts = self.exchange_counts(counts)?;
        receive.resize(receive_counts.iter().sum(), T::zeroed());
        self.all_to_all_known(send, counts, receive, &receive_counts)?;
        Ok(receive_counts)
    }

    /// [`Comm::all_to_all_into`] over values: one message less where the counts are known.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// As [`Comm::all_to_all_into`].
    fn all_to_all_known<T: NoUninit + AnyBitPattern>(
        &self,
        send: &[T],
        counts: &[usize],
        receive: &mut [T],
        receive_counts: &[usize],
    ) -> Result<(), CommError> {
        let bytes = |counts: &[usize]| -> Vec<usize> {
            counts.iter().map(|count| count * size_of::<T>()).collect()
        };
        self.all_to_all_into(
            bytemuck::cast_slice(send),
            &bytes(counts),
            bytemuck::cast_slice_mut(receive),
            &bytes(receive_counts),
        )
    }

    /// [`Comm::all_gather_bytes`] over values. Returns how many came from each rank.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn all_gather<T: NoUninit + AnyBitPattern>(
        &self,
        own: &[T],
        all: &mut Vec<T>,
    ) -> Result<Vec<usize>, CommError> {
        let counts = self.exchange_counts(&vec![own.len(); self.size()])?;
        all.resize(counts.iter().sum(), T::zeroed());
        let parts: Vec<usize> = counts.iter().map(|count| count * size_of::<T>()).collect();
        self.all_gather_into(bytemuck::cast_slice(own), bytemuck::cast_slice_mut(all), &parts)?;
        Ok(counts)
    }

    /// [`Comm::broadcast_bytes`] over values.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn broadcast<T: NoUninit + AnyBitPattern>(
        &self,
        values: &mut [T],
        root: usize,
    ) -> Result<(), CommError> {
        self.broadcast_bytes(bytemuck::cast_slice_mut(values), root)
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
