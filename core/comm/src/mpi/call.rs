//! What a rank tells each other rank about a collective before it starts.

use crate::{CommError, Reduce};

use super::calls::Header;

/// A collective, with what must be the same on every rank.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Barrier,
    Broadcast { root: usize },
    AllReduce { type_code: u8, reduce: Reduce },
    ExchangeCounts,
    AllGather { total: usize },
    AllToAll,
    Fork,
}

/// Names by the low byte of a code.
const NAMES: [&str; 7] = [
    "barrier",
    "broadcast",
    "all-reduce",
    "exchange of counts",
    "all-gather",
    "all-to-all",
    "fork",
];

impl Call {
    pub(super) fn name(self) -> &'static str {
        name_of(self.code())
    }

    fn code(self) -> u64 {
        match self {
            Self::Barrier => 0,
            Self::Broadcast { root } => 1 | (root as u64) << 8,
            Self::AllReduce { type_code, reduce } => {
                2 | u64::from(type_code) << 8 | (reduce as u64) << 16
            }
            Self::ExchangeCounts => 3,
            // Totals are far below 2⁵⁶ bytes.
            Self::AllGather { total } => 4 | (total as u64) << 8,
            Self::AllToAll => 5,
            Self::Fork => 6,
        }
    }

    /// The header for a rank that is sent `send` and expected to send `expect`, in bytes. A rank
    /// that cuts messages elsewhere must be told from this one too.
    pub(super) fn header(self, send: usize, expect: usize, message_bytes_max: usize) -> Header {
        [self.code(), send as u64, expect as u64, message_bytes_max as u64]
    }

    /// Whether the header of rank `peer` fits the one sent to it.
    pub(super) fn check(self, own: &Header, theirs: &Header, peer: usize) -> Result<(), CommError> {
        self.count(own, theirs, peer)?;
        if (own[1], own[2]) == (theirs[2], theirs[1]) {
            return Ok(());
        }
        let [_, sends, expects, _] = theirs;
        let found = format!(
            "rank {peer} sends {sends} bytes and expects {expects}, this rank sends {} and expects {}",
            own[1], own[2]
        );
        Err(CommError::Disagree { during: self.name(), found })
    }

    /// The count in the header of rank `peer`, if that rank called the same collective.
    pub(super) fn count(
        self,
        own: &Header,
        theirs: &Header,
        peer: usize,
    ) -> Result<usize, CommError> {
        if (own[0], own[3]) == (theirs[0], theirs[3]) {
            return Ok(theirs[1] as usize);
        }
        let other = name_of(theirs[0]);
        let found = if other == self.name() {
            format!("rank {peer} called it with another root, type, operation, total or cut")
        } else {
            format!("rank {peer} called {other}")
        };
        Err(CommError::Disagree { during: self.name(), found })
    }
}

fn name_of(code: u64) -> &'static str {
    NAMES.get((code & 0xff) as usize).copied().unwrap_or("something else")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reduce_of(type_code: u8) -> Call {
        Call::AllReduce { type_code, reduce: Reduce::Sum }
    }

    #[test]
    fn fitting_calls_pass() {
        let own = Call::AllToAll.header(3, 5, 64);
        Call::AllToAll.check(&own, &Call::AllToAll.header(5, 3, 64), 1).unwrap();
        let counts = Call::ExchangeCounts.header(3, 0, 64);
        let theirs = Call::ExchangeCounts.header(9, 0, 64);
        assert_eq!(Call::ExchangeCounts.count(&counts, &theirs, 1).unwrap(), 9);
    }

    #[test]
    fn anything_else_is_a_disagreement() {
        let own = reduce_of(1).header(4, 4, 64);
        let others = [
            (reduce_of(1).header(8, 8, 64), "sends 8 bytes and expects 8"),
            (reduce_of(2).header(4, 4, 64), "another root, type"),
            (reduce_of(1).header(4, 4, 32), "another root, type"),
            (Call::Broadcast { root: 0 }.header(4, 4, 64), "rank 7 called broadcast"),
            ([250, 4, 4, 64], "rank 7 called something else"),
        ];
        for (theirs, expected) in others {
            let error = reduce_of(1).check(&own, &theirs, 7).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
        let roots = [0, 1].map(|root| Call::Broadcast { root });
        let error = roots[0].check(&roots[0].header(4, 4, 8), &roots[1].header(4, 4, 8), 1);
        assert!(matches!(error, Err(CommError::Disagree { .. })));
    }
}
