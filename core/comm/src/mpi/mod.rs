//! Ranks as processes, over MPI.
//!
//! Messages of any length travel as several of at most `message_bytes_max`. Exchanges of parts go
//! pair by pair: in step i a rank sends to the i-th after it and receives from the i-th before it.
//! An all-reduce is such an exchange of slices, a sum in rank order, and the exchange back. It
//! moves no more than the best that MPI libraries do, and unlike theirs gives the same bytes as
//! every other transport, whatever the library, its algorithms and the length.
//!
//! The main group's calls keep every other thread out of MPI until they return. A fork's do not: it
//! starts all messages of a call at once and looks for them from time to time, so its thread stands
//! in nobody's way, and a rank waits for a rank only within a group: no thread can wait for itself.

mod call;
mod calls;

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use crate::reduce::{Element, join_into};
use crate::{Comm, CommError, Launched, Reduce, Values};
use call::Call;
use calls::{Header, Mailbox, Tag, World};

/// MPI belongs to the process: it starts once, ends once, and is never started again.
enum Phase {
    Before,
    Running(World),
    Finished,
}

static PHASE: Mutex<Phase> = Mutex::new(Phase::Before);

/// Up to this many bytes in all, the ranks of an all-reduce send each other everything at once: then
/// the number of messages counts, not their length.
const GATHERED_BYTES_MAX: usize = 16 << 10;

/// All ranks of the job, over MPI.
///
/// Every collective starts with a word to each rank about what it is and how long. So calls that do
/// not fit each other end with [`CommError::Disagree`] on the ranks that see it; they must then
/// [`Comm::abort`], as others may wait for them.
///
/// Any thread may call it; calls wait for each other. As the ranks must make their calls in the same
/// order, that order must not depend on timing.
#[derive(Clone, Debug)]
pub struct Mpi {
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: usize,
    message_bytes_max: usize,
    lane: Arc<Mutex<Lane>>,
}

/// The messages of one group.
#[derive(Default)]
struct Lane {
    scratch: Vec<u64>,
    /// Of a fork; `None` for the main group.
    mailbox: Option<Mailbox>,
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(if self.mailbox.is_some() { "fork" } else { "main" })
    }
}

impl Mpi {
    /// Starts MPI, in a process that a launcher started.
    ///
    /// # Collective
    /// Every rank must call it.
    ///
    /// # Errors
    /// As [`crate::connect`].
    pub(crate) fn init(launched: Launched, message_bytes_max: usize) -> Result<Self, CommError> {
        let mut phase = lock();
        if !matches!(*phase, Phase::Before) {
            let message = "MPI was started before".to_owned();
            return Err(CommError::Transport { during: "start of MPI", message });
        }
        let world = World::start()?;
        let (rank, size) = (world.rank, world.size);
        let (local_rank, local_size) = (world.local_rank, world.local_size);
        *phase = Phase::Running(world);
        if let Some(expected) = launched.size.filter(|expected| *expected != size) {
            let by = launched.by;
            return Err(CommError::Unconnected { by, launched: expected, connected: size });
        }
        let lane = Arc::default();
        Ok(Self { rank, size, local_rank, local_size, message_bytes_max, lane })
    }

    fn reduce<T: Element>(
        &self,
        values: &mut [T],
        reduce: Reduce,
        type_code: u8,
    ) -> Result<(), CommError> {
        self.with(Call::AllReduce { type_code, reduce }, |link| {
            let bytes = size_of_val(values);
            link.compare(|_| bytes, |_| bytes)?;
            link.all_reduce(values, reduce)
        })
    }

    /// Runs `call` while no other thread is in this group.
    fn with<T>(
        &self,
        what: Call,
        call: impl FnOnce(&mut Link<'_>) -> Result<T, CommError>,
    ) -> Result<T, CommError> {
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let Self { rank, size, message_bytes_max, .. } = *self;
        call(&mut Link { lane: &mut lane, rank, size, what, message_bytes_max })
    }
}

/// Runs `call` while no other thread is in MPI.
fn running<T>(
    during: &'static str,
    call: impl FnOnce(&mut World) -> Result<T, CommError>,
) -> Result<T, CommError> {
    let mut phase = lock();
    let Phase::Running(world) = &mut *phase else {
        let message = "MPI has been finished".to_owned();
        return Err(CommError::Transport { during, message });
    };
    call(world)
}

fn lock() -> MutexGuard<'static, Phase> {
    PHASE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [`running`] as the messages of forks take it.
fn turn(
    during: &'static str,
    call: &mut dyn FnMut(&mut World) -> Result<(), CommError>,
) -> Result<(), CommError> {
    running(during, call)
}

/// Ends MPI, if it runs.
pub(crate) fn finish() {
    if let Phase::Running(world) = std::mem::replace(&mut *lock(), Phase::Finished) {
        world.finish();
    }
}

/// Ends the job, if MPI runs.
pub(crate) fn abort(code: i32) {
    match PHASE.try_lock() {
        Ok(mut phase) => abort_running(&mut phase, code),
        Err(TryLockError::Poisoned(phase)) => abort_running(&mut phase.into_inner(), code),
        // Another thread is inside MPI, perhaps for ever. The launcher sees this process end without
        // leaving MPI, and ends the others. Status 0 would look like a success.
        Err(TryLockError::WouldBlock) => calls::exit_at_once(if code == 0 { 1 } else { code }),
    }
}

fn abort_running(phase: &mut Phase, code: i32) {
    if let Phase::Running(world) = phase {
        world.abort(code);
    }
}

/// The library's account of itself.
pub(crate) fn version() -> String {
    calls::library_version()
}

/// A group during one collective.
struct Link<'a> {
    lane: &'a mut Lane,
    rank: usize,
    size: usize,
    what: Call,
    message_bytes_max: usize,
}

impl Link<'_> {
    /// Compares with every rank r what is called, that it sends here `expect(r)`, and that it expects
    /// `send(r)`, in bytes. Returns when every rank has called it.
    fn compare(
        &mut self,
        send: impl Fn(usize) -> usize,
        expect: impl Fn(usize) -> usize,
    ) -> Result<(), CommError> {
        let own = |rank| self.what.header(send(rank), expect(rank), self.message_bytes_max);
        let own: Vec<_> = (0..self.size).map(own).collect();
        let theirs = self.exchange_headers(&own)?;
        let mut each = own.iter().zip(&theirs).enumerate();
        each.try_for_each(|(rank, (own, theirs))| self.what.check(own, theirs, rank))
    }

    fn exchange_headers(&mut self, own: &[Header]) -> Result<Vec<Header>, CommError> {
        let Some(mailbox) = &mut self.lane.mailbox else {
            return running(self.what.name(), |world| world.exchange_headers(own));
        };
        let mut theirs = own.to_vec();
        let others = |rank: &usize| *rank != self.rank;
        let sends: Vec<(usize, &[u8])> = (0..self.size)
            .filter(others)
            .map(|rank| (rank, bytemuck::cast_slice(&own[rank])))
            .collect();
        let mut receives: Vec<(usize, &mut [u8])> = theirs
            .iter_mut()
            .enumerate()
            .filter(|(rank, _)| others(rank))
            .map(|(rank, header)| (rank, bytemuck::cast_slice_mut(header)))
            .collect();
        mailbox.exchange(Tag::Header, self.what.name(), &sends, &mut receives)?;
        Ok(theirs)
    }

    fn exchange_counts(&mut self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        let max = self.message_bytes_max;
        let own: Vec<_> = counts.iter().map(|count| self.what.header(*count, 0, max)).collect();
        let theirs = self.exchange_headers(&own)?;
        let each = own.iter().zip(&theirs).enumerate();
        each.map(|(rank, (own, theirs))| self.what.count(own, theirs, rank)).collect()
    }

    /// `send` to rank `to` and `receive` from rank `from`, of any length, also 0.
    fn swap(
        &mut self,
        send: &[u8],
        to: usize,
        receive: &mut [u8],
        from: usize,
    ) -> Result<(), CommError> {
        let mut sends = send.chunks(self.message_bytes_max);
        let mut receives = receive.chunks_mut(self.message_bytes_max);
        loop {
            let (send, receive) = (sends.next(), receives.next());
            if send.is_none() && receive.is_none() {
                return Ok(());
            }
            let send = send.map(|bytes| (bytes, to));
            let receive = receive.map(|bytes| (bytes, from));
            let during = self.what.name();
            running(during, |world| world.send_receive(send, receive, during))?;
        }
    }

    /// `send(r)` to each other rank r, and from each its part of `receive`, of any lengths.
    fn exchange<'s>(
        &mut self,
        send: impl Fn(usize) -> &'s [u8],
        receive: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        let (rank, size) = (self.rank, self.size);
        if self.lane.mailbox.is_none() {
            let ranges = ranges_of(parts);
            // In step i to the i-th after this rank, and from the i-th before it.
            return (1..size).try_for_each(|step| {
                let (to, from) = ((rank + step) % size, (rank + size - step) % size);
                self.swap(send(to), to, &mut receive[ranges[from].clone()], from)
            });
        }
        let others = (0..size).filter(|other| *other != rank);
        let sends: Vec<(usize, &[u8])> = others.map(|other| (other, send(other))).collect();
        let mut receives = Vec::with_capacity(size);
        let mut rest = receive;
        for (from, part) in parts.iter().enumerate() {
            let (own, after) = rest.split_at_mut(*part);
            rest = after;
            if from != rank {
                receives.push((from, own));
            }
        }
        self.post(&sends, &mut receives)
    }

    /// Messages of a fork.
    fn post(
        &mut self,
        sends: &[(usize, &[u8])],
        receives: &mut [(usize, &mut [u8])],
    ) -> Result<(), CommError> {
        let during = self.what.name();
        match &mut self.lane.mailbox {
            Some(mailbox) => mailbox.exchange(Tag::Content, during, sends, receives),
            None => Ok(()),
        }
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        if self.lane.mailbox.is_none() {
            let mut messages = bytes.chunks_mut(self.message_bytes_max);
            return messages.try_for_each(|message| {
                running(self.what.name(), |world| world.broadcast(message, root))
            });
        }
        if self.rank != root {
            return self.post(&[], &mut [(root, bytes)]);
        }
        let others = (0..self.size).filter(|other| *other != root);
        let sends: Vec<(usize, &[u8])> = others.map(|other| (other, &*bytes)).collect();
        self.post(&sends, &mut [])
    }

    fn all_gather(&mut self, own: &[u8], all: &mut [u8], parts: &[usize]) -> Result<(), CommError> {
        if self.lane.mailbox.is_none() && all.len() <= self.message_bytes_max {
            return running(self.what.name(), |world| world.all_gather(own, all, parts));
        }
        all[ranges_of(parts)[self.rank].clone()].copy_from_slice(own);
        self.exchange(|_| own, all, parts)
    }

    fn all_reduce<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
    ) -> Result<(), CommError> {
        let (rank, size) = (self.rank, self.size);
        let bytes = size_of_val(values) * size;
        if size == 1 || values.is_empty() {
            return Ok(());
        }
        let mut scratch = std::mem::take(&mut self.lane.scratch);
        let result = if bytes <= GATHERED_BYTES_MAX.min(self.message_bytes_max) {
            self.reduce_gathered(values, reduce, take(&mut scratch, values.len() * size))
        } else {
            let own = slice_of(values.len(), rank, size).len();
            self.reduce_slices(values, reduce, take(&mut scratch, own * size))
        };
        self.lane.scratch = scratch;
        result
    }

    /// Everything to everyone, and everyone adds up.
    fn reduce_gathered<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
        all: &mut [T],
    ) -> Result<(), CommError> {
        let parts = vec![size_of_val(values); self.size];
        let own = bytemuck::cast_slice(values);
        self.all_gather(own, bytemuck::cast_slice_mut(all), &parts)?;
        join_rows(all, values.len(), reduce);
        values.copy_from_slice(&all[..values.len()]);
        Ok(())
    }

    /// Each rank adds up one slice of the values, and sends the sum to everyone.
    fn reduce_slices<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
        rows: &mut [T],
    ) -> Result<(), CommError> {
        let (rank, size) = (self.rank, self.size);
        let length = values.len();
        let own = slice_of(length, rank, size);
        let width = own.len();
        let parts = vec![width * size_of::<T>(); size];
        let send = |to| bytemuck::cast_slice(&values[slice_of(length, to, size)]);
        self.exchange(send, bytemuck::cast_slice_mut(rows), &parts)?;
        rows[rank * width..(rank + 1) * width].copy_from_slice(&values[own.clone()]);
        join_rows(rows, width, reduce);
        let bytes = |rank| slice_of(length, rank, size).len() * size_of::<T>();
        let parts: Vec<usize> = (0..size).map(bytes).collect();
        let sum = bytemuck::cast_slice(&rows[..width]);
        self.exchange(|_| sum, bytemuck::cast_slice_mut(values), &parts)?;
        values[own].copy_from_slice(&rows[..width]);
        Ok(())
    }
}

/// Joins the rows of `all`, one per rank and `width` wide, in rank order into the first.
fn join_rows<T: Element>(all: &mut [T], width: usize, reduce: Reduce) {
    if width == 0 {
        return;
    }
    let (joined, others) = all.split_at_mut(width);
    for next in others.chunks_exact(width) {
        join_into(joined, next, reduce);
    }
}

/// The first `length` values of the scratch memory, whatever they are.
fn take<T: Element>(scratch: &mut Vec<u64>, length: usize) -> &mut [T] {
    // Words, because every element type fits their alignment.
    let words = (length * size_of::<T>()).div_ceil(size_of::<u64>());
    if scratch.len() < words {
        scratch.resize(words, 0);
    }
    &mut bytemuck::cast_slice_mut(scratch.as_mut_slice())[..length]
}

/// The slice of `length` values that rank `rank` of `size` adds up.
fn slice_of(length: usize, rank: usize, size: usize) -> Range<usize> {
    length * rank / size..length * (rank + 1) / size
}

fn ranges_of(parts: &[usize]) -> Vec<Range<usize>> {
    let mut end = 0;
    parts
        .iter()
        .map(|part| {
            end += part;
            end - part..end
        })
        .collect()
}

impl Comm for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn local_rank(&self) -> usize {
        self.local_rank
    }

    fn local_size(&self) -> usize {
        self.local_size
    }

    fn barrier(&self) -> Result<(), CommError> {
        self.with(Call::Barrier, |link| link.compare(|_| 0, |_| 0))
    }

    fn broadcast_bytes(&self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        crate::assert_root(root, self.size);
        self.with(Call::Broadcast { root }, |link| {
            link.compare(|_| bytes.len(), |_| bytes.len())?;
            link.broadcast(bytes, root)
        })
    }

    fn all_reduce(&self, values: Values<'_>, reduce: Reduce) -> Result<(), CommError> {
        match values {
            Values::F32(values) => self.reduce(values, reduce, 1),
            Values::F64(values) => self.reduce(values, reduce, 2),
            Values::U64(values) => self.reduce(values, reduce, 3),
        }
    }

    fn exchange_counts(&self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        crate::assert_parts(counts, self.size, None);
        self.with(Call::ExchangeCounts, |link| link.exchange_counts(counts))
    }

    fn all_gather_into(
        &self,
        own: &[u8],
        all: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(parts, self.size, Some(all.len()));
        crate::assert_own(own.len(), parts[self.rank]);
        // The total decides how it travels.
        self.with(Call::AllGather { total: all.len() }, |link| {
            link.compare(|_| own.len(), |rank| parts[rank])?;
            link.all_gather(own, all, parts)
        })
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
        let sends = ranges_of(send_bytes);
        let own = &send[sends[self.rank].clone()];
        receive[ranges_of(receive_bytes)[self.rank].clone()].copy_from_slice(own);
        self.with(Call::AllToAll, |link| {
            link.compare(|rank| send_bytes[rank], |rank| receive_bytes[rank])?;
            link.exchange(|to| &send[sends[to].clone()], receive, receive_bytes)
        })
    }

    fn fork(&self) -> Result<Arc<dyn Comm>, CommError> {
        let fork = self.with(Call::Fork, |link| {
            if link.lane.mailbox.is_some() {
                return Err(crate::no_fork());
            }
            link.compare(|_| 0, |_| 0)?;
            running("fork", World::fork)
        })?;
        let mailbox = Some(Mailbox::new(turn, fork, self.message_bytes_max));
        let lane = Arc::new(Mutex::new(Lane { mailbox, scratch: Vec::new() }));
        Ok(Arc::new(Self { lane, ..self.clone() }))
    }

    fn abort(&self, code: i32) {
        abort(code);
    }
}
