//! Counts bad rows and keeps the first thousand for people to look at.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::MaxBad;
use super::parsed::BadRow;
use crate::DataError;

/// The file's name in a dataset folder, and its ending beside one that did not come to be.
pub(super) const REJECTS_FILE: &str = "rejects.tsv";
const SAMPLES_MAX: usize = 1_000;
/// A fraction of fewer rows says little: one bad row in the first ten is no tenth of the file.
const ROWS_BEFORE_FRACTION: u64 = 10_000;

#[derive(Debug)]
pub(super) struct Rejects {
    max: MaxBad,
    bad: u64,
    samples: u64,
    text: String,
    /// File, line and reason of the first one.
    first: Option<(PathBuf, String)>,
}

impl Rejects {
    pub(super) fn new(max: MaxBad) -> Self {
        let text = "file\tline\treason\ttext\n".to_owned();
        Self { max, bad: 0, samples: 0, text, first: None }
    }

    pub(super) fn bad(&self) -> u64 {
        self.bad
    }

    /// Takes the bad rows of a chunk; `samples` are the first of `count`, on lines counted from
    /// `line_first`.
    pub(super) fn add(&mut self, file: &Path, line_first: u64, count: u64, samples: &[BadRow]) {
        self.bad += count;
        for sample in samples {
            let line = line_first + sample.line;
            if self.first.is_none() {
                self.first = Some((file.to_owned(), format!("line {line}: {}", sample.reason)));
            }
            if self.samples < SAMPLES_MAX as u64 {
                self.samples += 1;
                let (file, reason) = (escape(&file.to_string_lossy()), escape(&sample.reason));
                let text = escape(&sample.text);
                // Writing to a string does not fail.
                let _ = writeln!(self.text, "{file}\t{line}\t{reason}\t{text}");
            }
        }
    }

    /// An error if more of `rows_read` rows are bad than allowed.
    pub(super) fn check(&self, rows_read: u64, at_end: bool, kept: &Path) -> Result<(), DataError> {
        let max = match self.max {
            MaxBad::Rows(max) => max,
            MaxBad::Fraction(_) if !at_end && rows_read < ROWS_BEFORE_FRACTION => return Ok(()),
            MaxBad::Fraction(fraction) => (fraction * rows_read as f64).floor() as u64,
        };
        let Some((file, first)) = self.first.as_ref().filter(|_| self.bad > max) else {
            return Ok(());
        };
        Err(DataError::TooManyBad {
            file: file.clone(),
            bad: self.bad,
            max,
            first: first.clone(),
            rejects: kept.to_owned(),
        })
    }

    /// Writes the samples, if there are any.
    pub(super) fn write(&self, path: &Path) -> Result<(), DataError> {
        if self.bad == 0 {
            return Ok(());
        }
        fs::write(path, &self.text).map_err(DataError::io(path))
    }
}

/// Keeps a text on its line and in its column.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}
