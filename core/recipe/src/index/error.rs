//! What can go wrong around an index.

use std::path::{Path, PathBuf};

use rectool_ann::AnnError;
use rectool_base::Hint;
use rectool_comm::CommError;
use rectool_data::DataError;

/// An index that could not be built of its input, or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The index refused it.
    #[error(transparent)]
    Ann(#[from] AnnError),
    /// A file that the index refused.
    #[error("`{}`: {source}", path.display())]
    Input {
        /// The file.
        path: PathBuf,
        /// Why.
        source: AnnError,
    },
    /// A file that could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Another rank failed.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// Files that do not go together.
    #[error("`{}`: {what}: expected {expected}, found {found}", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// What was compared.
        what: &'static str,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The place to write to is taken.
    #[error("`{}` already exists", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// A line that is no change.
    #[error("line {line}: expected {expected}, found {found}")]
    Line {
        /// The line, from 1.
        line: u64,
        /// What a line is.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
}

impl IndexError {
    /// For `map_err` on what the index says of a file.
    pub(super) fn input(path: &Path) -> impl FnOnce(AnnError) -> Self {
        let path = path.to_owned();
        move |source| Self::Input { path, source }
    }
}

impl Hint for IndexError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Ann(source) | Self::Input { source, .. } => source.hint(),
            Self::Data(error) => error.hint(),
            Self::Comm(error) => error.hint(),
            Self::Exists { .. } => Some("choose another folder, or pass `--overwrite`".to_owned()),
            Self::Differs { .. } | Self::Line { .. } => None,
        }
    }
}
