//! Why recommendations could not be evaluated.

use rectool_base::{Hint, SchemaError};
use rectool_comm::CommError;
use rectool_data::DataError;

/// What has no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RetrievalError {
    /// A column of ids that is something else.
    #[error("split `{split}`: column `{column}` has type {found}, expected {expected}")]
    ColumnType {
        /// The split.
        split: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What it should hold.
        expected: &'static str,
    },
    /// A case whose user is not a test user, or whose item is not in the catalogue.
    #[error("split `{split}`, row {row}: {what} {id} is not one of {expected}")]
    Unknown {
        /// The split.
        split: String,
        /// Row within it, from 0.
        row: u64,
        /// `user` or `item`.
        what: &'static str,
        /// The id.
        id: i64,
        /// What it should be one of.
        expected: &'static str,
    },
    /// No user has anything to find.
    #[error("no test user has a positive: {users} users, none with a test item")]
    Empty {
        /// Users without positives.
        users: usize,
    },
    /// A cut-off of 0, or none.
    #[error("`k` is {found}, expected one or more numbers from 1")]
    CutOff {
        /// What was given.
        found: String,
    },
    /// A baseline's setting out of range.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// The setting.
        option: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: &'static str,
    },
    /// A score that is no number.
    #[error("the score of test user {user} is NaN or infinite")]
    Score {
        /// The user's id.
        user: i64,
    },
    /// More pairs or ids than can be numbered.
    #[error("{found} {what}, expected at most {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// libtorch refused an operation of a search, such as an allocation.
    #[error("{doing} on `{device}`: {message}")]
    Torch {
        /// What was being done, with the numbers of vectors.
        doing: String,
        /// The device.
        device: String,
        /// The first line of libtorch's message, which says what memory was asked for and left.
        message: String,
    },
    /// A column is missing.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// Rows could not be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Ranks could not exchange their figures.
    #[error(transparent)]
    Comm(#[from] CommError),
}

impl Hint for RetrievalError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ColumnType { .. } => "name the columns that hold these ids",
            Self::Unknown { .. } => "make the catalogue of all items that lists name",
            Self::Empty { .. } => "check the split's name, and that it holds rows of these users",
            Self::CutOff { .. } => "give the lengths of the lists to judge, such as `[10, 20]`",
            Self::Score { .. } => {
                "the model has diverged: lower the learning rate, or clip the gradient's norm"
            }
            Self::TooMany { .. } => "evaluate a sample of the users",
            Self::Torch { .. } => {
                "free memory of the device, or search in that of the host with `--device cpu`"
            }
            Self::Option { .. } => return None,
            Self::Schema(error) => return error.hint(),
            Self::Data(error) => return error.hint(),
            Self::Comm(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
