//! The system's error behind that of a writer: that a disk is full says more than that Arrow failed.

use std::io;

use arrow_schema::ArrowError;
use parquet::errors::ParquetError;

/// What stopped an Arrow writer.
pub fn arrow_io_error(error: ArrowError) -> io::Error {
    match error {
        ArrowError::IoError(_, source) => source,
        other => io::Error::other(other),
    }
}

/// What stopped a Parquet writer.
pub fn parquet_io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(source) => *source,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_systems_error_comes_through() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let arrow = arrow_io_error(ArrowError::IoError("writing".to_owned(), full()));
        let parquet = parquet_io_error(ParquetError::External(Box::new(full())));
        assert_eq!((arrow.kind(), parquet.kind()), (full().kind(), full().kind()));
        let other = parquet_io_error(ParquetError::General("a bad page".to_owned()));
        assert!(other.to_string().contains("a bad page"), "{other}");
    }
}
