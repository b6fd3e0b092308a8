//! The vote that starts every step: no rank enters a collective that another will not reach.

use rectool_comm::{Comm, CommError, Reduce, Values};

use crate::ModelError;

/// What ranks agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All go on.
    Proceed,
    /// At least one was asked to stop.
    Interrupt,
}

/// Tells the others whether this rank can go on. If any cannot, the lowest such rank gets its own
/// error back, to be shown, and the others [`CommError::PeerFailed`].
///
/// # Collective
/// Every rank, in place of whatever would follow.
pub(crate) fn vote<T>(
    comm: &dyn Comm,
    own: Result<T, ModelError>,
    interrupted: bool,
) -> Result<(T, Verdict), ModelError> {
    let rank = comm.rank() as u64;
    // The least failing rank, and whether all may go on (0: somebody was interrupted).
    let mut ballot = [if own.is_err() { rank } else { u64::MAX }, u64::from(!interrupted)];
    if comm.size() > 1 {
        comm.all_reduce(Values::U64(&mut ballot), Reduce::Min)?;
    }
    let verdict = if ballot[1] == 1 { Verdict::Proceed } else { Verdict::Interrupt };
    match own {
        Ok(value) if ballot[0] == u64::MAX => Ok((value, verdict)),
        Err(error) if ballot[0] == rank => Err(error),
        _ => Err(CommError::PeerFailed { during: "a step" }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_lowest_failing_rank_keeps_its_error() {
        let outcomes = rectool_comm::on_ranks(4, |comm| {
            let fails = comm.rank() == 1 || comm.rank() == 3;
            let own = if fails { Err(ModelError::option("x", comm.rank(), "0")) } else { Ok(()) };
            match vote(&*comm, own, false) {
                Err(ModelError::Option { .. }) => "own",
                Err(ModelError::Comm(CommError::PeerFailed { .. })) => "peer",
                _ => "none",
            }
        });
        assert_eq!(outcomes, ["peer", "own", "peer", "peer"]);
    }

    #[test]
    fn one_interrupted_rank_stops_all() {
        let verdicts =
            rectool_comm::on_ranks(3, |comm| vote(&*comm, Ok(()), comm.rank() == 2).unwrap().1);
        assert_eq!(verdicts, [Verdict::Interrupt; 3]);
    }
}
