//! How long collectives take.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::{Comm, CommError, Reduce, Values};

/// Another communicator, and the time spent in its collectives: of the transport and of waiting for
/// other ranks.
///
/// ```
/// use std::sync::Arc;
/// use rectool_comm::{Clocked, Comm, Solo};
/// let comm = Clocked::new(Arc::new(Solo));
/// comm.barrier()?;
/// assert!(comm.elapsed_ms() < 1e3);
/// # Ok::<(), rectool_comm::CommError>(())
/// ```
pub struct Clocked {
    comm: Arc<dyn Comm>,
    nanoseconds: AtomicU64,
}

impl Clocked {
    /// Nothing spent yet.
    pub fn new(comm: Arc<dyn Comm>) -> Self {
        Self { comm, nanoseconds: AtomicU64::new(0) }
    }

    /// Milliseconds spent in collectives so far, over all threads that called them.
    pub fn elapsed_ms(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 * 1e-6
    }

    fn clock<T>(&self, call: impl FnOnce(&dyn Comm) -> T) -> T {
        let started = Instant::now();
        let result = call(&*self.comm);
        let spent = started.elapsed().as_nanos() as u64;
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        result
    }
}

impl Comm for Clocked {
    fn rank(&self) -> usize {
        self.comm.rank()
    }

    fn size(&self) -> usize {
        self.comm.size()
    }

    fn local_rank(&self) -> usize {
        self.comm.local_rank()
    }

    fn local_size(&self) -> usize {
        self.comm.local_size()
    }

    fn barrier(&self) -> Result<(), CommError> {
        self.clock(|comm| comm.barrier())
    }

    fn broadcast_bytes(&self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        self.clock(|comm| comm.broadcast_bytes(bytes, root))
    }

    fn all_reduce(&self, values: Values<'_>, reduce: Reduce) -> Result<(), CommError> {
        self.clock(|comm| comm.all_reduce(values, reduce))
    }

    fn exchange_counts(&self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        self.clock(|comm| comm.exchange_counts(counts))
    }

    fn all_gather_into(
        &self,
        own: &[u8],
        all: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        self.clock(|comm| comm.all_gather_into(own, all, parts))
    }

    fn all_to_all_into(
        &self,
        send: &[u8],
        send_bytes: &[usize],
        receive: &mut [u8],
        receive_bytes: &[usize],
    ) -> Result<(), CommError> {
        self.clock(|comm| comm.all_to_all_into(send, send_bytes, receive, receive_bytes))
    }

    /// The fork's time is its own, and not counted here.
    fn fork(&self) -> Result<Arc<dyn Comm>, CommError> {
        self.comm.fork()
    }

    fn abort(&self, code: i32) {
        self.comm.abort(code);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{on_ranks, self_test};

    #[test]
    fn waiting_counts_and_results_are_those_of_the_other() {
        let waited = on_ranks(2, |comm| {
            let comm = Clocked::new(comm);
            if comm.rank() == 1 {
                std::thread::sleep(Duration::from_millis(30));
            }
            comm.barrier().unwrap();
            let waited = comm.elapsed_ms();
            self_test(&comm).unwrap();
            assert!(comm.elapsed_ms() > waited);
            waited
        });
        assert!(waited[0] >= 20.0, "{waited:?}");
    }
}
