//! Collectives over slices: what ranks say to each other.
//!
//! [`Comm`] is the one interface. Nothing here knows tensors,
//! tables or batches.

mod error;
mod typed;

pub use error::CommError;
pub use typed::CommExt;

/// How an all-reduce joins the ranks' values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Sum.
    Sum,
    /// Minimum.
    Min,
    /// Maximum.
    Max,
}

/// The values of an all-reduce, reduced in place.
#[derive(Debug)]
#[non_exhaustive]
pub enum Values<'a> {
    /// 32-bit floats.
    F32(&'a mut [f32]),
    /// 64-bit floats.
    F64(&'a mut [f64]),
    /// Unsigned 64-bit counts.
    U64(&'a mut [u64]),
}

/// A group of R ranks that call the same collectives in the same order.
///
/// # Collective
/// Every method except `rank`, `size` and `abort` must be called by every rank, in the same order,
/// with lengths that fit each other. A rank that fails must call [`Comm::abort`] (or, for `Threads`,
/// return from its body), upon which the others' pending and later calls end with
/// [`CommError::PeerFailed`] or with the process: no rank is left hanging.
///
/// # Determinism
/// For the same inputs and the same R the results are the same bytes in every run. Sums are taken in
/// rank order, or in another order that is fixed for R.
pub trait Comm: Send + Sync {
    /// This rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks R.
    fn size(&self) -> usize;

    /// Position of this rank among those of the same machine (chooses the GPU).
    fn local_rank(&self) -> usize;

    /// Number of ranks on this rank's machine (shares the cores).
    fn local_size(&self) -> usize;

    /// Returns when every rank has called it.
    ///
    /// # Errors
    /// If a peer failed or the transport did.
    fn barrier(&self) -> Result<(), CommError>;

    /// Copies `bytes` of rank `root` to the others; all must pass the same length.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn broadcast_bytes(&self, bytes: &mut [u8], root: usize) -> Result<(), CommError>;

    /// Reduces element by element over ranks, in place; all must pass the same length and type.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn all_reduce(&self, values: Values<'_>, reduce: Reduce) -> Result<(), CommError>;

    /// Every rank's bytes (lengths may differ, also 0), one after another in rank order into `all`,
    /// whose former content is dropped. Returns the length of each rank's part, in bytes.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn all_gather_bytes(&self, own: &[u8], all: &mut Vec<u8>) -> Result<Vec<usize>, CommError>;

    /// Sends to rank r the r-th part of `send`, `send_bytes[r]` long, and receives into `receive`
    /// (former content dropped) the parts meant for this rank, in rank order. Returns the length of
    /// each part received, in bytes. The counts travel first.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// If `send_bytes` has not R entries or does not sum to `send.len()`.
    fn all_to_all_bytes(
        &self,
        send: &[u8],
        send_bytes: &[usize],
        receive: &mut Vec<u8>,
    ) -> Result<Vec<usize>, CommError>;

    /// Ends the whole job: the peers' collectives fail, or the launcher kills their processes.
    /// `code` becomes the job's exit status where this ends the process.
    fn abort(&self, code: i32);
}
