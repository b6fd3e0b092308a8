//! A group of one.

use std::sync::Arc;

use crate::{Comm, CommError, Reduce, Values};

/// The only rank of its group: every collective is a copy to itself, and none can fail.
///
/// ```
/// use rectool_comm::{CommExt, Solo};
/// assert_eq!(Solo.sum_u64(7).unwrap(), 7);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Solo;

impl Comm for Solo {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn local_rank(&self) -> usize {
        0
    }

    fn local_size(&self) -> usize {
        1
    }

    fn barrier(&self) -> Result<(), CommError> {
        Ok(())
    }

    fn broadcast_bytes(&self, _bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        crate::assert_root(root, 1);
        Ok(())
    }

    fn all_reduce(&self, _values: Values<'_>, _reduce: Reduce) -> Result<(), CommError> {
        Ok(())
    }

    fn exchange_counts(&self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        crate::assert_parts(counts, 1, None);
        Ok(counts.to_vec())
    }

    fn all_gather_into(
        &self,
        own: &[u8],
        all: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(parts, 1, Some(all.len()));
        crate::assert_own(own.len(), parts[0]);
        all.copy_from_slice(own);
        Ok(())
    }

    fn all_to_all_into(
        &self,
        send: &[u8],
        send_bytes: &[usize],
        receive: &mut [u8],
        receive_bytes: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(send_bytes, 1, Some(send.len()));
        crate::assert_parts(receive_bytes, 1, Some(receive.len()));
        crate::assert_own(send.len(), receive.len());
        receive.copy_from_slice(send);
        Ok(())
    }

    fn fork(&self) -> Result<Arc<dyn Comm>, CommError> {
        Ok(Arc::new(Self))
    }

    fn abort(&self, _code: i32) {}
}
