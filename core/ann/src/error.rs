//! What can go wrong with an index.

use std::io;
use std::path::{Path, PathBuf};

use rectool_base::Hint;

use crate::live::MANIFEST_FILE;

/// An index that could not be built, opened, searched or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnError {
    /// An option outside of its range.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// Sizes that do not go together.
    #[error("{what}: found {found}, expected {expected}")]
    Shape {
        /// What has the size.
        what: &'static str,
        /// Its size.
        found: usize,
        /// What fits.
        expected: String,
    },
    /// A value that is no usable number.
    #[error("{what} {row} holds a value that is not finite or beyond 1e15")]
    NotFinite {
        /// `vector` or `query`.
        what: &'static str,
        /// Its row.
        row: usize,
    },
    /// One id for two vectors.
    #[error("id {id} stands for rows {first} and {second}")]
    DuplicateId {
        /// The id.
        id: u64,
        /// A row.
        first: usize,
        /// Another row.
        second: usize,
    },
    /// A file that is not what it should be.
    #[error("`{}`: {what}: found {found}, expected {expected}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
        /// What the file holds.
        found: String,
        /// What it should hold.
        expected: String,
    },
    /// A file that could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A filter on something that no vector has.
    #[error("no vector has the {kind} `{name}`")]
    UnknownAttribute {
        /// `namespace` or `number`.
        kind: &'static str,
        /// The name in the filter.
        name: String,
        /// The name it may have meant.
        nearest: Option<String>,
    },
    /// Text that is no filter.
    #[error("filter `{text}`, character {at}: {what}")]
    Filter {
        /// The text.
        text: String,
        /// Where the trouble begins, counted from 1.
        at: usize,
        /// The trouble.
        what: String,
    },
}

impl AnnError {
    #[expect(clippy::needless_pass_by_value, reason = "callers have numbers and texts at hand")]
    pub(crate) fn option(
        option: &'static str,
        found: impl ToString,
        expected: &'static str,
    ) -> Self {
        Self::Option { option, found: found.to_string(), expected }
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers have numbers and texts at hand")]
    pub(crate) fn corrupt(
        path: &Path,
        what: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> Self {
        let (found, expected) = (found.to_string(), expected.to_string());
        Self::Corrupt { path: path.to_owned(), what, found, expected }
    }

    /// For `map_err` around file operations.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

impl Hint for AnnError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownAttribute { nearest: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Self::NotFinite { .. } => {
                Some("look for diverged training or a wrong number format".to_owned())
            }
            Self::DuplicateId { .. } => Some("give each vector an id of its own".to_owned()),
            Self::Corrupt { .. } => {
                Some("copy the file again from where it was built, or build it again".to_owned())
            }
            Self::Io { path, source, .. }
                if source.kind() == io::ErrorKind::NotFound && path.ends_with(MANIFEST_FILE) =>
            {
                Some("an index is a folder that `rectool index build` makes".to_owned())
            }
            _ => None,
        }
    }
}
