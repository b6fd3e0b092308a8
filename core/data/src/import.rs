//! Importers: rows of other formats to shards, streaming, parallel, with bounded memory.
//!
//! Text is decompressed into chunks of a few MiB that end with a row; chunks are parsed in parallel
//! and written in order while the next ones are read. Every row that cannot be taken is counted and
//! shown; too many of them end the import, and then nothing is left that looks like a dataset.

mod chunks;
mod columns;
mod criteo;
mod csv;
mod input;
mod lists;
mod ncf;
mod parquet;
mod parsed;
mod recode;
mod rejects;
mod sink;
mod text;
mod value;

use std::path::PathBuf;

pub use columns::{ColumnSpec, LabelRule};
pub use criteo::{criteo, criteo_schema};
pub use csv::{CsvSpec, Encoding, Header, Quotes, csv};
pub use lists::{ItemOrder, lists};
pub use ncf::{NcfFiles, ncf};
pub use parquet::parquet;

pub(crate) use sink::fraction_ends;

use crate::writer::WriterOptions;

/// Which input rows go to which split.
#[derive(Clone, Debug, PartialEq)]
pub enum SplitRule {
    /// The files of each split, in order.
    Files(Vec<(String, Vec<PathBuf>)>),
    /// All files one after another, cut into splits by numbers of rows: `[("train", 0.8), …]`. Rows
    /// that are refused count too, so that the cut does not depend on what is bad. Needs the number
    /// of rows first: text is read twice.
    Fractions {
        /// The files, in order.
        files: Vec<PathBuf>,
        /// Split names and fractions, which add up to 1.
        fractions: Vec<(String, f64)>,
    },
}

/// How many rows may be refused before an import ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum MaxBad {
    /// So many rows.
    Rows(u64),
    /// This fraction of the rows read, from 0 to 1: looked at from 10,000 rows on, and at the end.
    Fraction(f64),
}

impl Default for MaxBad {
    fn default() -> Self {
        Self::Rows(100)
    }
}

/// What all importers share.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportOptions {
    /// How shards are written.
    pub writer: WriterOptions,
    /// How many rows may be refused.
    pub max_bad: MaxBad,
}

/// Where an import stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Rows written.
    pub rows: u64,
    /// Rows refused.
    pub bad: u64,
    /// Bytes of the input files read so far, compressed as they are.
    pub bytes_read: u64,
    /// Bytes that will have been read at the end; files that are read twice count twice.
    pub bytes_total: u64,
}

/// Called every few MiB, on the importing thread.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Sync);

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportSummary {
    /// Rows written, by split, in order; a split without rows is not in the dataset.
    pub splits: Vec<(String, u64)>,
    /// Rows refused; the first thousand are in `rejects.tsv` in the dataset folder.
    pub bad: u64,
    /// Shards written.
    pub shards: usize,
    /// Bytes of all shards.
    pub bytes_written: u64,
    /// Bytes of the input files.
    pub bytes_input: u64,
    /// Input columns that were not asked for.
    pub left_out: Vec<String>,
    /// Wall time.
    pub seconds: f64,
}

impl ImportSummary {
    /// Rows of all splits.
    pub fn rows(&self) -> u64 {
        self.splits.iter().map(|(_, rows)| rows).sum()
    }
}

#[cfg(test)]
mod tests;
