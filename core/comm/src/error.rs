//! What can go wrong between ranks.

use rectool_base::Hint;

/// A collective that did not complete.
#[derive(Debug, thiserror::Error)]
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
    /// The transport failed.
    #[error("{during}: {message}")]
    Transport {
        /// The collective.
        during: &'static str,
        /// The transport's own words.
        message: String,
    },
}

impl Hint for CommError {}
