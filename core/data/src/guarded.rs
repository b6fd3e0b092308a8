//! The Parquet reader, which panics on some damaged files.

use std::fmt::Display;
use std::path::Path;

use rectool_base::catch_panic;

use crate::DataError;

/// Runs code of the Parquet crate on the file at `path`, of which `rows` rows were read before.
///
/// # Errors
/// [`DataError::Parquet`] for an error of that crate, and for a panic in it.
pub(crate) fn guarded<T, E: Display>(
    path: &Path,
    rows: u64,
    run: impl FnOnce() -> Result<T, E>,
) -> Result<T, DataError> {
    let found = match catch_panic(run) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the reader gives up: {panic}"),
    };
    Err(DataError::Parquet { file: path.to_owned(), row: rows + 1, found })
}
