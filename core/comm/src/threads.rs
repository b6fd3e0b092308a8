//! R ranks within one process, for tests.

use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::reduce::{Element, join_into};
use crate::{Comm, CommError, Reduce, Values};

/// Runs `body` once per rank, each on its own thread, and returns what they returned, in rank order.
///
/// A rank that returns or panics while others wait for it in a collective ends their wait with
/// [`CommError::PeerFailed`]. Collectives that do not fit each other end with
/// [`CommError::Disagree`] on every rank.
///
/// ```
/// use rectool_comm::{CommExt, on_ranks};
/// let sums = on_ranks(4, |comm| comm.sum_f64(0.5).unwrap());
/// assert_eq!(sums, [2.0; 4]);
/// ```
///
/// # Panics
/// With the panic of the lowest rank that panicked, after all have ended. If `ranks` is 0.
pub fn on_ranks<T: Send>(ranks: usize, body: impl Fn(Arc<dyn Comm>) -> T + Sync) -> Vec<T> {
    assert!(ranks > 0, "a group has at least one rank");
    let group = Arc::new(Group::new(ranks));
    let results: Vec<_> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..ranks)
            .map(|rank| {
                let forks = Some(AtomicUsize::new(0));
                let comm = Threads { rank, size: ranks, group: Arc::clone(&group), forks };
                let (group, body) = (&group, &body);
                scope.spawn(move || {
                    let result = catch_unwind(AssertUnwindSafe(|| body(Arc::new(comm))));
                    group.leave();
                    result
                })
            })
            .collect();
        handles.into_iter().map(|handle| handle.join().unwrap_or_else(Err)).collect()
    });
    results.into_iter().map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
}

/// One rank of a group of threads.
struct Threads {
    rank: usize,
    size: usize,
    group: Arc<Group>,
    /// Forks made by this rank; `None` in a fork.
    forks: Option<AtomicUsize>,
}

struct Group {
    state: Mutex<State>,
    changed: Condvar,
    /// In the order in which they were made.
    forks: Mutex<Vec<Arc<Group>>>,
}

struct State {
    /// What each rank brought to the round that is being gathered.
    arrived: Vec<Option<Part>>,
    /// Rounds completed.
    round: u64,
    /// The last completed round. It stays until every rank has come to the next one.
    finished: Arc<Vec<Part>>,
    /// Whether a rank will bring nothing any more.
    left: bool,
}

/// What one rank brings to a collective.
#[derive(Clone)]
struct Part {
    call: Call,
    bytes: Vec<u8>,
    /// Per rank, in bytes; empty where the collective has none.
    send: Vec<usize>,
    receive: Vec<usize>,
}

/// What must be the same on every rank.
#[derive(Clone, Debug, PartialEq)]
enum Call {
    Barrier,
    Broadcast { bytes: usize, root: usize },
    AllReduce { values: usize, of: &'static str, reduce: Reduce },
    ExchangeCounts,
    AllGather { parts: Vec<usize> },
    AllToAll,
    Fork,
}

impl Call {
    fn name(&self) -> &'static str {
        match self {
            Self::Barrier => "barrier",
            Self::Broadcast { .. } => "broadcast",
            Self::AllReduce { .. } => "all-reduce",
            Self::ExchangeCounts => "exchange of counts",
            Self::AllGather { .. } => "all-gather",
            Self::AllToAll => "all-to-all",
            Self::Fork => "fork",
        }
    }
}

impl Group {
    fn new(ranks: usize) -> Self {
        let state =
            State { arrived: vec![None; ranks], round: 0, finished: Arc::default(), left: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), forks: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock; a panicking rank is noticed by `leave`.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self) {
        self.lock().left = true;
        self.changed.notify_all();
        for fork in self.forks.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            fork.leave();
        }
    }

    /// The fork of position `at`, which the first rank to come makes.
    fn fork(&self, at: usize, ranks: usize) -> Arc<Self> {
        let mut forks = self.forks.lock().unwrap_or_else(PoisonError::into_inner);
        if forks.len() == at {
            forks.push(Arc::new(Self::new(ranks)));
        }
        let fork = Arc::clone(&forks[at]);
        drop(forks);
        // A rank may have left since all ranks met to make it.
        if self.lock().left {
            fork.leave();
        }
        fork
    }

    /// Brings `part` and returns those of all ranks once they are there and fit each other.
    fn meet(&self, rank: usize, part: Part) -> Result<Arc<Vec<Part>>, CommError> {
        let during = part.call.name();
        let mut state = self.lock();
        if state.left {
            return Err(CommError::PeerFailed { during });
        }
        let round = state.round;
        state.arrived[rank] = Some(part);
        if state.arrived.iter().all(Option::is_some) {
            let parts: Vec<Part> = state.arrived.iter_mut().filter_map(Option::take).collect();
            state.finished = Arc::new(parts);
            state.round += 1;
            self.changed.notify_all();
        }
        while state.round == round {
            if state.left {
                return Err(CommError::PeerFailed { during });
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let parts = Arc::clone(&state.finished);
        drop(state);
        check(&parts)?;
        Ok(parts)
    }
}

/// Whether the ranks called the same thing. Every rank comes to the same result.
fn check(parts: &[Part]) -> Result<(), CommError> {
    let during = parts[0].call.name();
    if parts.iter().any(|part| part.call != parts[0].call) {
        let mut found = String::new();
        for (rank, part) in parts.iter().enumerate() {
            let comma = if rank == 0 { "" } else { ", " };
            let _ = write!(found, "{comma}rank {rank} called {:?}", part.call);
        }
        return Err(CommError::Disagree { during, found });
    }
    if parts[0].call == Call::AllToAll {
        for (from, sender) in parts.iter().enumerate() {
            for (to, receiver) in parts.iter().enumerate() {
                let (sent, expected) = (sender.send[to], receiver.receive[from]);
                if sent != expected {
                    let found = format!(
                        "rank {from} sends {sent} bytes to rank {to}, which expects {expected}"
                    );
                    return Err(CommError::Disagree { during, found });
                }
            }
        }
    }
    Ok(())
}

impl Threads {
    fn meet(&self, call: Call, bytes: &[u8]) -> Result<Arc<Vec<Part>>, CommError> {
        let part = Part { call, bytes: bytes.to_vec(), send: Vec::new(), receive: Vec::new() };
        self.group.meet(self.rank, part)
    }

    fn reduce<T: Element>(&self, own: &mut [T], reduce: Reduce) -> Result<(), CommError> {
        let call = Call::AllReduce { values: own.len(), of: std::any::type_name::<T>(), reduce };
        let parts = self.meet(call, bytemuck::cast_slice(own))?;
        own.copy_from_slice(&to_values(&parts[0].bytes));
        for part in &parts[1..] {
            join_into(own, &to_values(&part.bytes), reduce);
        }
        Ok(())
    }
}

/// Values out of bytes that may lie anywhere.
fn to_values<T: Element>(bytes: &[u8]) -> Vec<T> {
    bytes.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect()
}

impl Comm for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local_rank(&self) -> usize {
        self.rank
    }

    fn local_size(&self) -> usize {
        self.size
    }

    fn barrier(&self) -> Result<(), CommError> {
        self.meet(Call::Barrier, &[]).map(drop)
    }

    fn broadcast_bytes(&self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        crate::assert_root(root, self.size);
        let parts = self.meet(Call::Broadcast { bytes: bytes.len(), root }, bytes)?;
        bytes.copy_from_slice(&parts[root].bytes);
        Ok(())
    }

    fn all_reduce(&self, values: Values<'_>, reduce: Reduce) -> Result<(), CommError> {
        match values {
            Values::F32(values) => self.reduce(values, reduce),
            Values::F64(values) => self.reduce(values, reduce),
            Values::U64(values) => self.reduce(values, reduce),
        }
    }

    fn exchange_counts(&self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        crate::assert_parts(counts, self.size, None);
        let part = Part {
            call: Call::ExchangeCounts,
            bytes: Vec::new(),
            send: counts.to_vec(),
            receive: Vec::new(),
        };
        let parts = self.group.meet(self.rank, part)?;
        Ok(parts.iter().map(|part| part.send[self.rank]).collect())
    }

    fn all_gather_into(
        &self,
        own: &[u8],
        all: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(parts, self.size, Some(all.len()));
        crate::assert_own(own.len(), parts[self.rank]);
        let parts = self.meet(Call::AllGather { parts: parts.to_vec() }, own)?;
        let mut rest = all;
        for part in parts.iter() {
            let (here, after) = rest.split_at_mut(part.bytes.len());
            here.copy_from_slice(&part.bytes);
            rest = after;
        }
        Ok(())
    }

    fn all_to_all_into(
        &self,
        send: &[u8],
        send_bytes: &[usize],
        receive: &mut [u8],
        receive_bytes: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(send_bytes, self.size, Some(send.len()));
        crate::assert_parts(receive_bytes, self.size, Some(receive.len()));
        crate::assert_own(send_bytes[self.rank], receive_bytes[self.rank]);
        let part = Part {
            call: Call::AllToAll,
            bytes: send.to_vec(),
            send: send_bytes.to_vec(),
            receive: receive_bytes.to_vec(),
        };
        let parts = self.group.meet(self.rank, part)?;
        let mut rest = receive;
        for part in parts.iter() {
            let start: usize = part.send[..self.rank].iter().sum();
            let length = part.send[self.rank];
            let (here, after) = rest.split_at_mut(length);
            here.copy_from_slice(&part.bytes[start..start + length]);
            rest = after;
        }
        Ok(())
    }

    fn fork(&self) -> Result<Arc<dyn Comm>, CommError> {
        let forks = self.forks.as_ref().ok_or_else(crate::no_fork)?;
        self.meet(Call::Fork, &[])?;
        let at = forks.fetch_add(1, Ordering::Relaxed);
        let group = self.group.fork(at, self.size);
        Ok(Arc::new(Self { rank: self.rank, size: self.size, group, forks: None }))
    }

    fn abort(&self, _code: i32) {
        self.group.leave();
    }
}

#[cfg(test)]
mod tests;
