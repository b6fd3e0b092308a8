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
use std::ptr;

use mpi::ffi;

use crate::CommError;

/// What ranks tell each other before they exchange anything else.
pub(super) type Header = [u64; HEADER_WORDS];
pub(super) const HEADER_WORDS: usize = 4;

/// A running MPI and a communicator of our own over all its ranks.
pub(super) struct World {
    comm: ffi::MPI_Comm,
    pub(super) rank: usize,
    pub(super) size: usize,
    pub(super) local_rank: usize,
    pub(super) local_size: usize,
}

// SAFETY: `comm` is a handle, in some libraries a pointer into them; it belongs to the process and
// not to a thread. With `MPI_THREAD_SERIALIZED`, checked in `start`, any thread may use it.
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
        Ok(Self { comm, rank, size, local_rank, local_size })
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
        // SAFETY: `comm` is live and not used again; MPI is running, and this, its only `World`, is
        // consumed. Their return codes tell nothing that could be acted upon at the end.
        unsafe {
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
