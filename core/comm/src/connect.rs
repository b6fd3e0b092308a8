//! From how the process was started to its group.

use std::sync::Arc;

use crate::{Comm, CommError, Launched, Solo};

/// Largest single MPI message, in bytes. MPI counts are `i32`; half of that leaves the library room
/// for its own arithmetic.
pub(crate) const MESSAGE_BYTES_MAX: usize = 1 << 30;

/// The group of this process: [`Solo`] if it was started by hand, all ranks of the job under a
/// launcher.
///
/// Call it once, on the main thread, and [`finish`] before the process ends well.
///
/// # Collective
/// Under a launcher, every rank must call it.
///
/// # Errors
/// [`CommError::BuiltWithoutMpi`] if a build without MPI is started as one of several ranks,
/// [`CommError::Unconnected`] if launcher and MPI do not belong together, [`CommError::Transport`] if
/// MPI does not start, or was started before.
pub fn connect() -> Result<Arc<dyn Comm>, CommError> {
    connect_with(MESSAGE_BYTES_MAX)
}

/// [`connect`] with messages of at most `message_bytes_max` bytes, the same on every rank: longer ones
/// travel in several.
///
/// # Collective
/// As [`connect`].
///
/// # Errors
/// As [`connect`].
///
/// # Panics
/// If `message_bytes_max` is not within 8 and 2³⁰.
pub fn connect_with(message_bytes_max: usize) -> Result<Arc<dyn Comm>, CommError> {
    assert!(
        (8..=MESSAGE_BYTES_MAX).contains(&message_bytes_max),
        "messages of at most {message_bytes_max} bytes; expected 8 to {MESSAGE_BYTES_MAX}"
    );
    match Launched::from_environment() {
        None => Ok(Arc::new(Solo)),
        Some(launched) => join(launched, message_bytes_max),
    }
}

#[cfg(feature = "mpi")]
fn join(launched: Launched, message_bytes_max: usize) -> Result<Arc<dyn Comm>, CommError> {
    Ok(Arc::new(crate::Mpi::init(launched, message_bytes_max)?))
}

#[cfg(not(feature = "mpi"))]
fn join(launched: Launched, _message_bytes_max: usize) -> Result<Arc<dyn Comm>, CommError> {
    if launched.size == Some(1) {
        return Ok(Arc::new(Solo));
    }
    let ranks = launched.size.map_or("several".to_owned(), |size| size.to_string());
    Err(CommError::BuiltWithoutMpi { by: launched.by, ranks })
}

/// Leaves the job in good order. Every later collective of this process fails. Without MPI, and
/// when called again, it does nothing.
///
/// Call it on the thread that called [`connect`], at the end of `main` or before
/// `std::process::exit`: a rank that ends without it is a failure to the launcher, which then kills
/// the others.
///
/// # Collective
/// It may wait for the other ranks: a rank that failed alone calls [`abort_job`] instead.
pub fn finish() {
    #[cfg(feature = "mpi")]
    crate::mpi::finish();
}

/// Ends this process and, through the launcher, the whole job with exit status `code`, from any
/// thread. Returns if there is no job: MPI is not started, or [`finish`]ed.
pub fn abort_job(code: i32) {
    #[cfg(feature = "mpi")]
    crate::mpi::abort(code);
    #[cfg(not(feature = "mpi"))]
    let _ = code;
}

/// The MPI library's account of itself; `None` in a build without MPI.
pub fn mpi_version() -> Option<String> {
    #[cfg(feature = "mpi")]
    return Some(crate::mpi::version());
    #[cfg(not(feature = "mpi"))]
    None
}
