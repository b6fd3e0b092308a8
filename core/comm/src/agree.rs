//! Agreement at the seams: set-up steps that may fail on some ranks only, and things that must be
//! the same on all.

use std::fmt::Write;

use crate::{Comm, CommError, Reduce, Values};

/// Ends a step that may have failed on some ranks: `Ok` if it succeeded on every rank. Otherwise the
/// lowest failing rank gets its own error back, to print it, and every other rank
/// [`CommError::PeerFailed`].
///
/// ```
/// use rectool_comm::{CommError, Solo, agree};
/// assert_eq!(agree(&Solo, Ok::<_, CommError>(3)).unwrap(), 3);
/// ```
///
/// # Collective
/// Also for the ranks that failed: call it before returning the error.
///
/// # Errors
/// If the step failed on any rank.
pub fn agree<T, E: From<CommError>>(comm: &dyn Comm, result: Result<T, E>) -> Result<T, E> {
    let rank = comm.rank() as u64;
    let mut lowest = [if result.is_err() { rank } else { u64::MAX }];
    let exchanged = comm.all_reduce(Values::U64(&mut lowest), Reduce::Min);
    match (result, exchanged) {
        (Err(own), Err(_)) => Err(own),
        (Ok(_), Err(error)) => Err(error.into()),
        (result, Ok(())) if lowest[0] == u64::MAX || lowest[0] == rank => result,
        (_, Ok(())) => Err(CommError::PeerFailed { during: "a step of all ranks" }.into()),
    }
}

/// Checks that `fingerprint` (a hash of `what`, such as the recipe or the dataset's manifest) is the
/// same on every rank.
///
/// # Collective
/// Every rank must call it.
///
/// # Errors
/// [`CommError::Differ`], on every rank, naming the ranks that differ from rank 0.
pub fn assert_same(comm: &dyn Comm, what: &str, fingerprint: u64) -> Result<(), CommError> {
    let mut all = Vec::new();
    comm.all_gather_bytes(&fingerprint.to_le_bytes(), &mut all)?;
    let all: Vec<u64> = all.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect();
    let mut found = String::new();
    // A list of thousands helps nobody.
    let differing = all.iter().enumerate().filter(|(_, other)| **other != all[0]);
    for (rank, other) in differing.clone().take(8) {
        let _ = write!(found, "rank {rank} has {other:016x}, ");
    }
    if found.is_empty() {
        return Ok(());
    }
    let more = differing.count().saturating_sub(8);
    if more > 0 {
        let _ = write!(found, "{more} more differ too, ");
    }
    let _ = write!(found, "rank 0 has {:016x}", all[0]);
    Err(CommError::Differ { what: what.to_owned(), found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_ranks;

    #[test]
    fn lowest_failing_rank_keeps_its_error() {
        #[derive(Debug, PartialEq)]
        enum Failed {
            Own(usize),
            Peer,
        }
        impl From<CommError> for Failed {
            fn from(error: CommError) -> Self {
                assert!(matches!(error, CommError::PeerFailed { .. }), "{error}");
                Self::Peer
            }
        }
        let results = on_ranks(4, |comm| {
            let rank = comm.rank();
            agree(&*comm, if rank == 1 || rank == 3 { Err(Failed::Own(rank)) } else { Ok(()) })
        });
        let peer = || Err(Failed::Peer);
        assert_eq!(results, [peer(), Err(Failed::Own(1)), peer(), peer()]);
        assert!(on_ranks(3, |comm| agree(&*comm, Ok::<_, Failed>(()))).iter().all(Result::is_ok));
    }

    #[test]
    fn differing_ranks_are_named_on_every_rank() {
        let results = on_ranks(3, |comm| {
            assert_same(&*comm, "the recipe", if comm.rank() == 2 { 0xbad } else { 0x600d })
        });
        for result in results {
            assert_eq!(
                result.unwrap_err().to_string(),
                "the recipe is not the same on every rank: rank 2 has 0000000000000bad, rank 0 \
                 has 000000000000600d"
            );
        }
        assert!(on_ranks(3, |comm| assert_same(&*comm, "x", 1)).iter().all(Result::is_ok));
    }
}
