//! What can go wrong between ranks.

use rectool_base::Hint;

/// A collective, or the start of the group, that did not complete.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommError {
    /// Another rank failed; its own message says why.
    #[error("another rank failed during {during}")]
    PeerFailed {
        /// The collective.
        during: &'static str,
    },
    /// Ranks called a collective with arguments that do not fit each other.
    #[error("{during}: ranks disagree: {found}")]
    Disagree {
        /// The collective.
        during: &'static str,
        /// What was passed by whom.
        found: String,
    },
    /// Something that must be the same on every rank is not.
    #[error("{what} is not the same on every rank: {found}")]
    Differ {
        /// What was compared.
        what: String,
        /// Which ranks differ from rank 0.
        found: String,
    },
    /// The transport failed.
    #[error("{during}: {message}")]
    Transport {
        /// The collective.
        during: &'static str,
        /// The transport's own words.
        message: String,
    },
    /// The launcher started another number of ranks than MPI connected.
    #[error("{by} started {launched} ranks, but MPI connected {connected}")]
    Unconnected {
        /// The launcher.
        by: &'static str,
        /// Ranks by the launcher's account.
        launched: usize,
        /// Ranks by MPI's account.
        connected: usize,
    },
    /// Several ranks were started of a build that cannot connect them.
    #[error("started as one of {ranks} ranks by {by}, but this rectool is built without MPI")]
    BuiltWithoutMpi {
        /// The launcher.
        by: &'static str,
        /// Ranks by the launcher's account; `several` if it does not say.
        ranks: String,
    },
}

impl Hint for CommError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::PeerFailed { .. } => "the message of the rank that failed first says why",
            Self::Differ { .. } => {
                "start every rank with the same command, and let all machines read the same files"
            }
            Self::Unconnected { .. } => {
                "use the mpirun of the MPI library that rectool is linked with, which `rectool doctor` \
                 names; under Slurm, `srun --mpi=pmix`"
            }
            Self::BuiltWithoutMpi { .. } => {
                "rebuild with the default features: `cargo build --release`"
            }
            Self::Disagree { .. } | Self::Transport { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
