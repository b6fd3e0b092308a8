//! The MPI functions that are used, each behind a safe one. All unsafe code of this crate is here.
//!
//! MPI is started with `MPI_THREAD_SERIALIZED`: any thread may call it, one at a time. [`World`] is
//! not `Sync`, every call takes it by `&mut`, and the one `World` of the process lives behind the
//! lock in [`super`], which makes that so.
//!
//! An MPI library may write past the end of a buffer that is shorter than the peer's message: Open
//! MPI 4.1 does. So [`super`] compares lengths with every peer, by [`World::exchange_headers`], whose
//! own length is fixed, before each call of the others; their SAFETY comments call that "compared".
#![expect(unsafe_code, reason = "calls into the MPI library")]

use std::ffi::{c_char, c_int, c_void};
use std::ops::Range;
use std::ptr;
use std::time::Duration;

use mpi::ffi;

use crate::CommError;

/// What ranks tell each other before they exchange anything else.
pub(super) type Header = [u64; HEADER_WORDS];
pub(super) const HEADER_WORDS: usize = 4;

/// A running MPI and communicators of our own over all its ranks.
pub(super) struct World {
    comm: ffi::MPI_Comm,
    /// Those of [`World::fork`], in order.
    forks: Vec<ffi::MPI_Comm>,
    pub(super) rank: usize,
    pub(super) size: usize,
    pub(super) local_rank: usize,
    pub(super) local_size: usize,
}

// SAFETY: `comm` and `forks` are handles, in some libraries pointers into them; they belong to the
// process and not to a thread. With `MPI_THREAD_SERIALIZED`, checked in `start`, any thread may use it.
unsafe impl Send for World {}

/// Turns an MPI return code into a result.
fn checked(code: c_int, during: &'static str) -> Result<(), CommError> {
    if code == ffi::MPI_SUCCESS as c_int {
        return Ok(());
    }
    let mut text = [0_u8; ffi::MPI_MAX_ERROR_STRING as usize + 1];
    let mut length: c_int = 0;
    // SAFETY: MPI writes at most MPI_MAX_ERROR_STRING bytes, which `text` has.
    let known =
        unsafe { ffi::MPI_Error_string(code, text.as_mut_ptr().cast::<c_char>(), &raw mut length) };
    let message = if known == ffi::MPI_SUCCESS as c_int {
        String::from_utf8_lossy(&text[..length as usize]).into_owned()
    } else {
        format!("MPI error {code}")
    };
    Err(CommError::Transport { during, message })
}

fn count(length: usize) -> c_int {
    c_int::try_from(length).expect("callers cut messages at 2^30 bytes")
}

/// The version string of the library. May be called at any time.
pub(super) fn library_version() -> String {
    let mut length: c_int = 0;
    // SAFETY: a constant of the library, never written.
    let longest = unsafe { ffi::RSMPI_MAX_LIBRARY_VERSION_STRING };
    let mut text = vec![0_u8; longest as usize + 1];
    // SAFETY: MPI writes at most as many bytes as that constant says, which `text` has; this function
    // is allowed before initialisation and after the end.
    let code = unsafe {
        ffi::MPI_Get_library_version(text.as_mut_ptr().cast::<c_char>(), &raw mut length)
    };
    if code != ffi::MPI_SUCCESS as c_int {
        return "unknown".to_owned();
    }
    String::from_utf8_lossy(&text[..length as usize]).trim_end_matches('\0').to_owned()
}

impl World {
    /// Starts MPI. The caller sees to it that this happens once per process.
    pub(super) fn start() -> Result<Self, CommError> {
        const DURING: &str = "start of MPI";
        let (mut started, mut provided): (c_int, c_int) = (0, 0);
        // SAFETY: `started` is a valid place to write; allowed at any time.
        unsafe { checked(ffi::MPI_Initialized(&raw mut started), DURING)? };
        if started != 0 {
            let message = "MPI was started before, by other code of this process".to_owned();
            return Err(CommError::Transport { during: DURING, message });
        }
        // SAFETY: MPI is not started; null arguments are allowed since MPI 2; `provided` is a valid
        // place to write.
        let code = unsafe {
            ffi::MPI_Init_thread(
                ptr::null_mut(),
                ptr::null_mut(),
                ffi::RSMPI_THREAD_SERIALIZED,
                &raw mut provided,
            )
        };
        checked(code, DURING)?;
        // SAFETY: a constant of the library, never written. The levels are ordered numbers.
        if provided < unsafe { ffi::RSMPI_THREAD_SERIALIZED } {
            let message = "this MPI library has no MPI_THREAD_SERIALIZED".to_owned();
            return Err(CommError::Transport { during: DURING, message });
        }
        let (comm, mut local) = Self::communicators()?;
        let (rank, size) = rank_and_size(comm)?;
        let (local_rank, local_size) = rank_and_size(local)?;
        // SAFETY: `local` was made by `communicators` and is not used again.
        unsafe { checked(ffi::MPI_Comm_free(&raw mut local), DURING)? };
        // From here on errors come back as return codes instead of ending the process.
        // SAFETY: `comm` is a live communicator; the handler is a constant of the library.
        unsafe {
            checked(ffi::MPI_Comm_set_errhandler(comm, ffi::RSMPI_ERRORS_RETURN), DURING)?;
        }
        Ok(Self { comm, forks: Vec::new(), rank, size, local_rank, local_size })
    }

    /// A copy of the world communicator, and that of this machine's ranks.
    fn communicators() -> Result<(ffi::MPI_Comm, ffi::MPI_Comm), CommError> {
        const DURING: &str = "start of MPI";
        // SAFETY: constants of the library; both places are valid to write a handle to, and MPI,
        // which is running, writes them before they are read.
        unsafe {
            let (mut comm, mut local) = (ffi::RSMPI_COMM_NULL, ffi::RSMPI_COMM_NULL);
            checked(ffi::MPI_Comm_dup(ffi::RSMPI_COMM_WORLD, &raw mut comm), DURING)?;
            let kind = ffi::RSMPI_COMM_TYPE_SHARED;
            let code =
                ffi::MPI_Comm_split_type(comm, kind, 0, ffi::RSMPI_INFO_NULL, &raw mut local);
            checked(code, DURING)?;
            Ok((comm, local))
        }
    }

    /// One more communicator over all ranks; gives its position.
    pub(super) fn fork(&mut self) -> Result<usize, CommError> {
        // SAFETY: constants of the library; `comm` is live; the place is valid to write a handle to. The
        // copy inherits the error handler.
        let fork = unsafe {
            let mut fork = ffi::RSMPI_COMM_NULL;
            checked(ffi::MPI_Comm_dup(self.comm, &raw mut fork), "fork")?;
            fork
        };
        self.forks.push(fork);
        Ok(self.forks.len() - 1)
    }

    /// One message of `bytes` from `root` to all others.
    pub(super) fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<(), CommError> {
        let (length, pointer) = (count(bytes.len()), bytes.as_mut_ptr().cast::<c_void>());
        // SAFETY: the pointer is valid for reading and writing `length` bytes, which was compared, and
        // no one else's while `bytes` is borrowed; the call returns when MPI is done with it.
        let code =
            unsafe { ffi::MPI_Bcast(pointer, length, ffi::RSMPI_UINT8_T, count(root), self.comm) };
        checked(code, "broadcast")
    }

    /// One header to and from each rank. Returns when every rank has called it.
    pub(super) fn exchange_headers(&mut self, send: &[Header]) -> Result<Vec<Header>, CommError> {
        assert_eq!(send.len(), self.size, "one header per rank");
        let mut receive = vec![Header::default(); self.size];
        // SAFETY: both buffers hold one header of that many u64 per rank and do not overlap; every
        // rank passes that length, as there is no other. The call returns when MPI is done with them.
        let code = unsafe {
            let (of, length) = (ffi::RSMPI_UINT64_T, count(HEADER_WORDS));
            let from = send.as_ptr().cast::<c_void>();
            let to = receive.as_mut_ptr().cast::<c_void>();
            ffi::MPI_Alltoall(from, length, of, to, length, of, self.comm)
        };
        checked(code, "exchange of headers")?;
        Ok(receive)
    }

    /// All parts into `all`; `all` is at most one message long.
    pub(super) fn all_gather(
        &mut self,
        own: &[u8],
        all: &mut [u8],
        parts: &[usize],
    ) -> Result<(), CommError> {
        crate::assert_parts(parts, self.size, Some(all.len()));
        crate::assert_own(own.len(), parts[self.rank]);
        if all.is_empty() {
            // No rank has anything. Two empty slices may have one address, which MPI takes for
            // overlapping buffers.
            return Ok(());
        }
        let counts: Vec<c_int> = parts.iter().map(|part| count(*part)).collect();
        let starts: Vec<c_int> = starts_of(&counts);
        // SAFETY: `own` is valid for its length; every part lies within `all`, since the parts sum to
        // its length, as asserted, and each part was compared; the buffers do not overlap since `all`
        // is borrowed mutably; both lists have one entry per rank. The call returns when MPI is done
        // with them.
        let code = unsafe {
            ffi::MPI_Allgatherv(
                own.as_ptr().cast::<c_void>(),
                count(own.len()),
                ffi::RSMPI_UINT8_T,
                all.as_mut_ptr().cast::<c_void>(),
                counts.as_ptr(),
                starts.as_ptr(),
                ffi::RSMPI_UINT8_T,
                self.comm,
            )
        };
        checked(code, "all-gather")
    }

    /// One message to a rank and one from a rank at the same time; `None` for no message.
    pub(super) fn send_receive(
        &mut self,
        send: Option<(&[u8], usize)>,
        receive: Option<(&mut [u8], usize)>,
        during: &'static str,
    ) -> Result<(), CommError> {
        // SAFETY: a constant of the library, never written.
        let nobody = unsafe { ffi::RSMPI_PROC_NULL };
        let (sent, send_to) = send.map_or((&[][..], nobody), |(bytes, to)| (bytes, count(to)));
        let (received, receive_from) =
            receive.map_or((&mut [][..], nobody), |(bytes, from)| (bytes, count(from)));
        // SAFETY: both buffers are valid for their lengths, which were compared, and do not overlap
        // since `received` is borrowed mutably. The call returns when MPI is done with both.
        let code = unsafe {
            let of = ffi::RSMPI_UINT8_T;
            let from = sent.as_ptr().cast::<c_void>();
            let to = received.as_mut_ptr().cast::<c_void>();
            let (sends, receives) = (count(sent.len()), count(received.len()));
            let status = ffi::RSMPI_STATUS_IGNORE;
            ffi::MPI_Sendrecv(
                from,
                sends,
                of,
                send_to,
                0,
                to,
                receives,
                of,
                receive_from,
                0,
                self.comm,
                status,
            )
        };
        checked(code, during)
    }

    /// Ends MPI.
    pub(super) fn finish(mut self) {
        // SAFETY: all communicators are live and not used again; MPI is running, and this, its only
        // `World`, is consumed. Their return codes tell nothing that could be acted upon at the end.
        unsafe {
            for fork in &mut self.forks {
                ffi::MPI_Comm_free(&raw mut *fork);
            }
            ffi::MPI_Comm_free(&raw mut self.comm);
            ffi::MPI_Finalize();
        }
    }

    /// Ends all processes of the job.
    pub(super) fn abort(&mut self, code: i32) -> ! {
        // SAFETY: MPI is running while there is a `World`.
        unsafe { ffi::MPI_Abort(self.comm, code) };
        exit_at_once(code)
    }
}

/// Ends this process without running exit handlers, which might wait for a thread inside MPI.
pub(super) fn exit_at_once(code: i32) -> ! {
    // SAFETY: no precondition.
    unsafe { libc::_exit(code) }
}

fn rank_and_size(comm: ffi::MPI_Comm) -> Result<(usize, usize), CommError> {
    const DURING: &str = "start of MPI";
    let (mut rank, mut size): (c_int, c_int) = (0, 0);
    // SAFETY: `comm` comes from `communicators` and is live; both places are valid to write.
    unsafe {
        checked(ffi::MPI_Comm_rank(comm, &raw mut rank), DURING)?;
        checked(ffi::MPI_Comm_size(comm, &raw mut size), DURING)?;
    }
    Ok((rank as usize, size as usize))
}

fn starts_of(counts: &[c_int]) -> Vec<c_int> {
    let mut end = 0;
    counts
        .iter()
        .map(|count| {
            end += count;
            end - count
        })
        .collect()
}

/// Lets a call into MPI while no other thread is there.
pub(super) type Turn =
    fn(&'static str, &mut dyn FnMut(&mut World) -> Result<(), CommError>) -> Result<(), CommError>;

/// What a fork's messages are for; they are never taken for each other.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    Header = 1,
    Content = 2,
}

/// Messages over one fork that do not keep other threads out of MPI while they are under way.
pub(super) struct Mailbox {
    turn: Turn,
    /// Position among the world's forks.
    fork: usize,
    message_bytes_max: usize,
    send: Vec<u8>,
    receive: Vec<u8>,
    /// After an error messages may be on their way that nobody waits for.
    broken: bool,
}

/// A message: to or from whom, and where it lies in the buffer.
struct Message {
    rank: usize,
    place: Range<usize>,
}

/// Looks for progress before a thread sleeps between looks, and the longest sleep.
const EAGER_LOOKS: u32 = 16;
const SLEEP_MAX: Duration = Duration::from_micros(100);

impl Mailbox {
    pub(super) fn new(turn: Turn, fork: usize, message_bytes_max: usize) -> Self {
        let (send, receive) = (Vec::new(), Vec::new());
        Self { turn, fork, message_bytes_max, send, receive, broken: false }
    }

    /// Bytes to and from other ranks; returns when all have gone and come. Their lengths were
    /// compared, or are fixed by `tag`.
    pub(super) fn exchange(
        &mut self,
        tag: Tag,
        during: &'static str,
        sends: &[(usize, &[u8])],
        receives: &mut [(usize, &mut [u8])],
    ) -> Result<(), CommError> {
        if self.broken {
            let message = "an earlier call failed".to_owned();
            return Err(CommError::Transport { during, message });
        }
        self.send.clear();
        for (_, bytes) in sends {
            self.send.extend_from_slice(bytes);
        }
        self.receive.resize(receives.iter().map(|(_, bytes)| bytes.len()).sum(), 0);
        let to = self.messages(sends.iter().map(|(rank, bytes)| (*rank, bytes.len())));
        let from = self.messages(receives.iter().map(|(rank, bytes)| (*rank, bytes.len())));
        let (turn, mut requests) = (self.turn, Vec::new());
        let mut result = turn(during, &mut |world| {
            self.start_receives(world, tag, &from, &mut requests)?;
            self.start_sends(world, tag, &to, &mut requests)
        });
        let mut looks = 0;
        while result.is_ok() {
            let mut done = false;
            result = turn(during, &mut |_| {
                done = all_done(&mut requests, during)?;
                Ok(())
            });
            if done {
                break;
            }
            pause(&mut looks);
        }
        if result.is_err() {
            // MPI may still read and write the buffers: they must stay for ever.
            self.broken = true;
            std::mem::forget((std::mem::take(&mut self.send), std::mem::take(&mut self.receive)));
            return result;
        }
        let mut rest = self.receive.as_slice();
        for (_, bytes) in receives {
            let (own, after) = rest.split_at(bytes.len());
            bytes.copy_from_slice(own);
            rest = after;
        }
        Ok(())
    }

    /// Bytes that lie one after another in a buffer, cut into messages.
    fn messages(&self, parts: impl Iterator<Item = (usize, usize)>) -> Vec<Message> {
        let (mut start, mut messages) = (0, Vec::new());
        for (rank, length) in parts {
            let end = start + length;
            while start < end {
                let place = start..end.min(start + self.message_bytes_max);
                start = place.end;
                messages.push(Message { rank, place });
            }
        }
        messages
    }

    /// What was started stands in `requests`, also after an error.
    fn start_receives(
        &mut self,
        world: &World,
        tag: Tag,
        messages: &[Message],
        requests: &mut Vec<ffi::MPI_Request>,
    ) -> Result<(), CommError> {
        let comm = world.forks[self.fork];
        for Message { rank, place } in messages {
            let bytes = &mut self.receive[place.clone()];
            let (length, rank) = (count(bytes.len()), count(*rank));
            let into = bytes.as_mut_ptr().cast::<c_void>();
            // SAFETY: the message lies within the buffer, at a place that no other one is received
            // into. The buffer neither moves nor is used until the request is done, or for ever if it
            // fails, which `exchange` sees to; the length was compared. `comm` is live, and `request`
            // is valid to write a handle to.
            let (code, request) = unsafe {
                let (of, mut request) = (ffi::RSMPI_UINT8_T, ffi::RSMPI_REQUEST_NULL);
                let code =
                    ffi::MPI_Irecv(into, length, of, rank, tag as c_int, comm, &raw mut request);
                (code, request)
            };
            requests.push(request);
            checked(code, "start of messages")?;
        }
        Ok(())
    }

    /// As [`Mailbox::start_receives`].
    fn start_sends(
        &self,
        world: &World,
        tag: Tag,
        messages: &[Message],
        requests: &mut Vec<ffi::MPI_Request>,
    ) -> Result<(), CommError> {
        let comm = world.forks[self.fork];
        for Message { rank, place } in messages {
            let bytes = &self.send[place.clone()];
            let (length, rank) = (count(bytes.len()), count(*rank));
            let from = bytes.as_ptr().cast::<c_void>();
            // SAFETY: as in `start_receives`; the buffer is only read.
            let (code, request) = unsafe {
                let (of, mut request) = (ffi::RSMPI_UINT8_T, ffi::RSMPI_REQUEST_NULL);
                let code =
                    ffi::MPI_Isend(from, length, of, rank, tag as c_int, comm, &raw mut request);
                (code, request)
            };
            requests.push(request);
            checked(code, "start of messages")?;
        }
        Ok(())
    }
}

/// Whether all requests are done; helps them on.
fn all_done(requests: &mut [ffi::MPI_Request], during: &'static str) -> Result<bool, CommError> {
    let mut done: c_int = 0;
    // SAFETY: the requests were made by `Mailbox::start_…` or are null since they are done; `done` is a
    // valid place to write; that statuses are ignored is a constant of the library.
    let code = unsafe {
        let (length, statuses) = (count(requests.len()), ffi::RSMPI_STATUSES_IGNORE);
        ffi::MPI_Testall(length, requests.as_mut_ptr(), &raw mut done, statuses)
    };
    checked(code, during)?;
    Ok(done != 0)
}

/// Waits a little, and longer the more often it was called.
fn pause(looks: &mut u32) {
    *looks += 1;
    match looks.checked_sub(EAGER_LOOKS) {
        None => std::thread::yield_now(),
        Some(looks) => std::thread::sleep(SLEEP_MAX.min(Duration::from_micros(10) * (looks + 1))),
    }
}
