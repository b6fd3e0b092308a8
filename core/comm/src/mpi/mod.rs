//! Ranks as processes, over MPI.
//!
//! Messages of any length travel as several of at most `message_bytes_max`. Exchanges of parts go
//! pair by pair: in step i a rank sends to the i-th after it and receives from the i-th before it.
//! An all-reduce is such an exchange of slices, a sum in rank order, and the exchange back. It
//! moves no more than the best that MPI libraries do, and unlike theirs gives the same bytes as
//! every other transport, whatever the library, its algorithms and the length.

mod call;
mod calls;

use std::ops::Range;
use std::sync::{Mutex, PoisonError, TryLockError};

use crate::reduce::{Element, join_into};
use crate::{Comm, CommError, Launched, Reduce, Values};
use call::Call;
use calls::World;

/// MPI belongs to the process: it starts once, ends once, and is never started again.
enum Phase {
    Before,
    Running { world: World, scratch: Vec<u64> },
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
#[derive(Clone, Copy, Debug)]
pub struct Mpi {
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: usize,
    message_bytes_max: usize,
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
        let mut phase = PHASE.lock().unwrap_or_else(PoisonError::into_inner);
        if !matches!(*phase, Phase::Before) {
            let message = "MPI was started before".to_owned();
            return Err(CommError::Transport { during: "start of MPI", message });
        }
        let world = World::start()?;
        let (rank, size) = (world.rank, world.size);
        let (local_rank, local_size) = (world.local_rank, world.local_size);
        *phase = Phase::Running { world, scratch: Vec::new() };
        if let Some(expected) = launched.size.filter(|expected| *expected != size) {
            let by = launched.by;
            return Err(CommError::Unconnected { by, launched: expected, connected: size });
        }
        Ok(Self { rank, size, local_rank, local_size, message_bytes_max })
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

    /// Runs `call` while no other thread is in MPI.
    fn with<T>(
        &self,
        what: Call,
        call: impl FnOnce(&mut Link<'_>) -> Result<T, CommError>,
    ) -> Result<T, CommError> {
        let during = what.name();
        let mut phase = PHASE.lock().unwrap_or_else(PoisonError::into_inner);
        let Phase::Running { world, scratch } = &mut *phase else {
            let message = "MPI has been finished".to_owned();
            return Err(CommError::Transport { during, message });
        };
        call(&mut Link { world, scratch, what, message_bytes_max: self.message_bytes_max })
    }
}

/// Ends MPI, if it runs.
pub(crate) fn finish() {
    let mut phase = PHASE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Phase::Running { world, .. } = std::mem::replace(&mut *phase, Phase::Finished) {
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
    if let Phase::Running { world, .. } = phase {
        world.abort(code);
    }
}

/// The library's account of itself.
pub(crate) fn version() -> String {
    calls::library_version()
}

/// MPI during one collective.
struct Link<'a> {
    world: &'a mut World,
    scratch: &'a mut Vec<u64>,
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
        let own: Vec<_> = (0..self.world.size).map(own).collect();
        let theirs = self.world.exchange_headers(&own)?;
        let mut each = own.iter().zip(&theirs).enumerate();
        each.try_for_each(|(rank, (own, theirs))| self.what.check(own, theirs, rank))
    }

    fn exchange_counts(&mut self, counts: &[usize]) -> Result<Vec<usize>, CommError> {
        let max = self.message_bytes_max;
        let own: Vec<_> = counts.iter().map(|count| self.what.header(*count, 0, max)).collect();
        let theirs = self.world.exchange_headers(&own)?;
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
            self.world.send_receive(send, receive, self.what.name())?;
        }
    }

    /// Whom this rank sends to and receives from in each step.
    fn steps(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (rank, size) = (self.world.rank, self.world.size);
        (1..size).map(move |step| ((rank + step) % size, (rank + size - step) % size))
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        for message in bytes.chunks_mut(self.message_bytes_max) {
            self.world.broadcast(message, root)?;
        }
        Ok(())
    }

    fn all_gather(&mut self, own: &[u8], all: &mut [u8], parts: &[usize]) -> Result<(), CommError> {
        if all.len() <= self.message_bytes_max {
            return self.world.all_gather(own, all, parts);
        }
        let ranges = ranges_of(parts);
        all[ranges[self.world.rank].clone()].copy_from_slice(own);
        for (to, from) in self.steps() {
            self.swap(own, to, &mut all[ranges[from].clone()], from)?;
        }
        Ok(())
    }

    fn all_reduce<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
    ) -> Result<(), CommError> {
        let (rank, size) = (self.world.rank, self.world.size);
        let bytes = size_of_val(values) * size;
        if size == 1 || values.is_empty() {
            return Ok(());
        }
        let mut scratch = std::mem::take(self.scratch);
        let result = if bytes <= GATHERED_BYTES_MAX.min(self.message_bytes_max) {
            self.reduce_gathered(values, reduce, take(&mut scratch, values.len() * size))
        } else {
            let own = slice_of(values.len(), rank, size).len();
            self.reduce_slices(values, reduce, take(&mut scratch, own * size))
        };
        *self.scratch = scratch;
        result
    }

    /// Everything to everyone, and everyone adds up.
    fn reduce_gathered<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
        all: &mut [T],
    ) -> Result<(), CommError> {
        let parts = vec![size_of_val(values); self.world.size];
        let own = bytemuck::cast_slice(values);
        self.world.all_gather(own, bytemuck::cast_slice_mut(all), &parts)?;
        join_rows(values, all, reduce);
        Ok(())
    }

    /// Each rank adds up one slice of the values, and sends the sum to everyone.
    fn reduce_slices<T: Element>(
        &mut self,
        values: &mut [T],
        reduce: Reduce,
        rows: &mut [T],
    ) -> Result<(), CommError> {
        let (rank, size) = (self.world.rank, self.world.size);
        let length = values.len();
        let own = slice_of(length, rank, size);
        let width = own.len();
        for (to, from) in self.steps() {
            let send = bytemuck::cast_slice(&values[slice_of(length, to, size)]);
            let row = &mut rows[from * width..(from + 1) * width];
            self.swap(send, to, bytemuck::cast_slice_mut(row), from)?;
        }
        rows[rank * width..(rank + 1) * width].copy_from_slice(&values[own.clone()]);
        join_rows(&mut values[own.clone()], rows, reduce);
        for (to, from) in self.steps() {
            let from_slice = slice_of(length, from, size);
            let [send, receive] = values
                .get_disjoint_mut([own.clone(), from_slice])
                .expect("slices of different ranks are disjoint and within the values");
            let receive = bytemuck::cast_slice_mut(receive);
            self.swap(bytemuck::cast_slice(send), to, receive, from)?;
        }
        Ok(())
    }
}

/// The rows of `all`, one per rank, joined in rank order.
fn join_rows<T: Element>(joined: &mut [T], all: &[T], reduce: Reduce) {
    if joined.is_empty() {
        return;
    }
    let (first, others) = all.split_at(joined.len());
    joined.copy_from_slice(first);
    for next in others.chunks_exact(joined.len()) {
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
        let (sends, receives) = (ranges_of(send_bytes), ranges_of(receive_bytes));
        let own = &send[sends[self.rank].clone()];
        receive[receives[self.rank].clone()].copy_from_slice(own);
        self.with(Call::AllToAll, |link| {
            link.compare(|rank| send_bytes[rank], |rank| receive_bytes[rank])?;
            link.steps().try_for_each(|(to, from)| {
                let send = &send[sends[to].clone()];
                link.swap(send, to, &mut receive[receives[from].clone()], from)
            })
        })
    }

    fn abort(&self, code: i32) {
        abort(code);
    }
}
