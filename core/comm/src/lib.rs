//! Collectives over slices: what ranks say to each other.
//!
//! [`Comm`] is the one interface; [`connect`] gives the one that fits how the process was started:
//! [`Solo`] by hand, `Mpi` under a launcher. [`on_ranks`] runs a test body on R ranks within one
//! process. Nothing here knows tensors, tables or batches.

mod agree;
mod clocked;
mod connect;
mod cores;
mod error;
mod launcher;
#[cfg(feature = "mpi")]
mod mpi;
mod reduce;
mod self_test;
mod solo;
mod threads;
mod typed;

pub use agree::{agree, assert_same};
pub use clocked::Clocked;
pub use connect::{abort_job, connect, connect_with, finish, mpi_version};
pub use cores::{threads_available, threads_per_rank};
pub use error::CommError;
pub use launcher::Launched;
#[cfg(feature = "mpi")]
pub use mpi::Mpi;
pub use self_test::self_test;
pub use solo::Solo;
pub use threads::on_ranks;
pub use typed::CommExt;

use std::sync::Arc;

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
/// with lengths that fit each other. A rank that fails must call [`Comm::abort`] (or, within
/// [`on_ranks`], return from its body), upon which the others' pending and later calls end with
/// [`CommError::PeerFailed`] or with the process: no rank is left hanging.
///
/// # Determinism
/// For the same inputs and the same R the results are the same bytes in every run, on every rank and
/// over every transport: sums are taken in rank order.
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

    /// Sends one count to each rank, `counts[r]` to rank r, and returns the count that each rank
    /// sent here.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// If `counts` has not R entries.
    fn exchange_counts(&self, counts: &[usize]) -> Result<Vec<usize>, CommError>;

    /// Every rank's bytes, one after another in rank order, into `all`, where the lengths are known:
    /// `parts[r]` bytes come from rank r.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// If `parts` has not R entries, does not sum to `all.len()`, or `parts[rank]` is not
    /// `own.len()`.
    fn all_gather_into(&self, own: &[u8], all: &mut [u8], parts: &[usize])
    -> Result<(), CommError>;

    /// Sends to rank r the r-th part of `send`, `send_bytes[r]` long, and receives into `receive` the
    /// parts meant for this rank, in rank order, where their lengths `receive_bytes` are known, from
    /// [`Comm::exchange_counts`] or from an exchange the other way.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    ///
    /// # Panics
    /// If a list of lengths has not R entries or does not sum to its slice, or if the lengths that
    /// this rank sends to and receives from itself differ.
    fn all_to_all_into(
        &self,
        send: &[u8],
        send_bytes: &[usize],
        receive: &mut [u8],
        receive_bytes: &[usize],
    ) -> Result<(), CommError>;

    /// Every rank's bytes (lengths may differ, also 0), one after another in rank order into `all`,
    /// whose former content is dropped. Returns the length of each rank's part, in bytes. The
    /// lengths travel first.
    ///
    /// # Errors
    /// As [`Comm::barrier`].
    fn all_gather_bytes(&self, own: &[u8], all: &mut Vec<u8>) -> Result<Vec<usize>, CommError> {
        let parts = self.exchange_counts(&vec![own.len(); self.size()])?;
        // Without a `clear`, so that a buffer used again is not zeroed again.
        all.resize(parts.iter().sum(), 0);
        self.all_gather_into(own, all, &parts)?;
        Ok(parts)
    }

    /// [`Comm::all_to_all_into`] where the lengths to be received are not known: they travel first,
    /// and are returned. The former content of `receive` is dropped.
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
    ) -> Result<Vec<usize>, CommError> {
        assert_parts(send_bytes, self.size(), Some(send.len()));
        let receive_bytes = self.exchange_counts(send_bytes)?;
        receive.resize(receive_bytes.iter().sum(), 0);
        self.all_to_all_into(send, send_bytes, receive, &receive_bytes)?;
        Ok(receive_bytes)
    }

    /// A second group of the same ranks, whose collectives have an order of their own: a helper thread
    /// can be in them while this group's go on. It waits with little use of the processor, so it is
    /// for work ahead of time. It lives until the job ends, and fails when this one does.
    ///
    /// # Errors
    /// As [`Comm::barrier`], and if this group is itself a fork.
    fn fork(&self) -> Result<Arc<dyn Comm>, CommError>;

    /// Ends the whole job: the peers' collectives fail, or the launcher kills their processes.
    /// `code` becomes the job's exit status where this ends the process. A group of one has no
    /// peers, and goes on.
    fn abort(&self, code: i32);
}

/// The checks of lengths that every transport makes.
fn assert_parts(parts: &[usize], ranks: usize, total: Option<usize>) {
    assert_eq!(parts.len(), ranks, "one length per rank: {} given for {ranks} ranks", parts.len());
    if let Some(total) = total {
        let sum: usize = parts.iter().sum();
        assert_eq!(sum, total, "the parts sum to {sum} bytes, the buffer has {total}");
    }
}

/// The error of a fork that is to be forked.
fn no_fork() -> CommError {
    let message = "this group is a fork: fork the group that it came from".to_owned();
    CommError::Transport { during: "fork", message }
}

fn assert_own(sent: usize, received: usize) {
    assert_eq!(sent, received, "a rank sends itself {sent} bytes and expects {received}");
}

fn assert_root(root: usize, ranks: usize) {
    assert!(root < ranks, "root {root} of {ranks} ranks");
}
