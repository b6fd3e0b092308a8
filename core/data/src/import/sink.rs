//! Where parsed rows go: the right split, the rejects, the limits, the summary.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rectool_base::Schema;

use super::parsed::Parsed;
use super::rejects::{REJECTS_FILE, Rejects};
use super::{ImportOptions, ImportSummary, MaxBad, OnProgress, Progress, SplitRule, input};
use crate::DataError;
use crate::writer::{DatasetWriter, sibling};

/// An input file and the split all its rows go to, if the rule says so.
#[derive(Clone, Debug)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    pub(super) split: Option<usize>,
}

/// The checked form of a [`SplitRule`].
#[derive(Clone, Debug)]
pub(super) struct Inputs {
    pub(super) files: Vec<InputFile>,
    splits: Vec<String>,
    /// Fractions of the splits, if rows are cut by number.
    pub(super) fractions: Option<Vec<f64>>,
    pub(super) bytes: u64,
}

impl Inputs {
    pub(super) fn new(rule: &SplitRule) -> Result<Self, DataError> {
        let mut inputs = Self { files: vec![], splits: vec![], fractions: None, bytes: 0 };
        match rule {
            SplitRule::Files(splits) => {
                for (at, (name, files)) in splits.iter().enumerate() {
                    inputs.add_split(name)?;
                    for path in files {
                        inputs.files.push(InputFile { path: path.clone(), split: Some(at) });
                    }
                }
            }
            SplitRule::Fractions { files, fractions } => {
                check_fractions(fractions)?;
                for (name, _) in fractions {
                    inputs.add_split(name)?;
                }
                inputs.fractions = Some(fractions.iter().map(|(_, fraction)| *fraction).collect());
                let file = |path: &PathBuf| InputFile { path: path.clone(), split: None };
                inputs.files.extend(files.iter().map(file));
            }
        }
        if inputs.files.is_empty() {
            return Err(option_error("input", "one file or more", "none".into()));
        }
        for file in &inputs.files {
            inputs.bytes += input::size(&file.path)?;
        }
        Ok(inputs)
    }

    fn add_split(&mut self, name: &str) -> Result<(), DataError> {
        if self.splits.iter().any(|other| other == name) {
            return Err(option_error("split", "each name once", format!("`{name}` twice")));
        }
        self.splits.push(name.to_owned());
        Ok(())
    }
}

fn option_error(option: &'static str, expected: &str, found: String) -> DataError {
    DataError::Option { option, expected: expected.to_owned(), found }
}

fn check_fractions(fractions: &[(String, f64)]) -> Result<(), DataError> {
    let sum: f64 = fractions.iter().map(|(_, fraction)| fraction).sum();
    let all_good = fractions.iter().all(|(_, fraction)| (0.0..=1.0).contains(fraction));
    if all_good && (sum - 1.0).abs() < 1e-6 {
        return Ok(());
    }
    let found: Vec<String> = fractions.iter().map(|(_, fraction)| fraction.to_string()).collect();
    Err(option_error("fractions", "numbers from 0 to 1 that add up to 1", found.join(",")))
}

/// Where each split ends when `rows` rows are cut by `fractions`.
pub(crate) fn fraction_ends(rows: u64, fractions: &[f64]) -> Vec<u64> {
    let mut sum = 0.0;
    let mut ends: Vec<u64> = fractions
        .iter()
        .map(|fraction| {
            sum += fraction;
            ((sum * rows as f64).round() as u64).min(rows)
        })
        .collect();
    if let Some(last) = ends.last_mut() {
        *last = rows;
    }
    ends
}

/// Takes parsed rows in order and makes the dataset of them.
pub(super) struct Sink {
    writer: DatasetWriter,
    inputs: Inputs,
    rejects: Rejects,
    /// Where each split ends, if rows are cut by number.
    ends: Vec<u64>,
    rows: Vec<u64>,
    records: u64,
    line_next: u64,
    bytes_read: Arc<AtomicU64>,
    rejects_kept: PathBuf,
    started: Instant,
}

impl Sink {
    pub(super) fn new(
        inputs: Inputs,
        schema: &Schema,
        out: &Path,
        options: &ImportOptions,
    ) -> Result<Self, DataError> {
        if let MaxBad::Fraction(fraction) = options.max_bad
            && !(0.0..=1.0).contains(&fraction)
        {
            return Err(option_error("max_bad", "a fraction from 0 to 1", fraction.to_string()));
        }
        let writer = DatasetWriter::create(out, schema.clone(), options.writer)?;
        Ok(Self {
            writer,
            rejects: Rejects::new(options.max_bad),
            ends: Vec::new(),
            rows: vec![0; inputs.splits.len()],
            records: 0,
            line_next: 1,
            bytes_read: Arc::default(),
            rejects_kept: sibling(out, REJECTS_FILE),
            started: Instant::now(),
            inputs,
        })
    }

    pub(super) fn bytes_read(&self) -> &Arc<AtomicU64> {
        &self.bytes_read
    }

    /// Sets where the splits end, for a cut by number of rows.
    pub(super) fn set_records(&mut self, records: u64) {
        if let Some(fractions) = &self.inputs.fractions {
            self.ends = fraction_ends(records, fractions);
        }
    }

    /// Line numbers begin at `line` with the next rows.
    pub(super) fn begin_file(&mut self, line: u64) {
        self.line_next = line;
    }

    /// Takes the next rows of `file`.
    pub(super) fn accept(&mut self, file: &InputFile, parsed: &Parsed) -> Result<(), DataError> {
        let (first, last) = (self.records, self.records + parsed.records());
        if let Some(split) = file.split {
            self.write(split, parsed, 0..last - first)?;
        } else {
            let mut from = first;
            for split in 0..self.ends.len() {
                // A file that grew since its rows were counted goes on in the last split.
                let is_last = split + 1 == self.ends.len();
                let end = if is_last { last } else { self.ends[split].min(last) };
                if end > from {
                    self.write(split, parsed, from - first..end - first)?;
                    from = end;
                }
            }
        }
        let bad = parsed.bad_records.len() as u64;
        self.rejects.add(&file.path, self.line_next, bad, &parsed.samples);
        self.records = last;
        self.line_next += parsed.lines;
        self.rejects.check(self.records, false, &self.rejects_kept)
    }

    fn write(
        &mut self,
        split: usize,
        parsed: &Parsed,
        records: std::ops::Range<u64>,
    ) -> Result<(), DataError> {
        let rows = parsed.rows_of(records);
        self.rows[split] += rows.len() as u64;
        self.writer.write_rows(&self.inputs.splits[split], &parsed.columns, rows)
    }

    pub(super) fn report(&self, on_progress: OnProgress) {
        let passes = if self.ends.is_empty() { 1 } else { 2 };
        on_progress(Progress {
            rows: self.rows.iter().sum(),
            bad: self.rejects.bad(),
            bytes_read: self.bytes_read.load(Ordering::Relaxed),
            bytes_total: passes * self.inputs.bytes,
        });
    }

    /// Ends the import with the result of reading: the dataset takes its place, or nothing is left
    /// but the rejects.
    pub(super) fn finish(self, read: Result<(), DataError>) -> Result<ImportSummary, DataError> {
        let rejects_kept = self.rejects_kept.clone();
        let checked = read.and_then(|()| {
            self.rejects.check(self.records, true, &rejects_kept)?;
            if self.rows.iter().sum::<u64>() > 0 {
                return Ok(());
            }
            let file = self.inputs.files[0].path.clone();
            let what = format!("no row to import; {} bad rows", self.rejects.bad());
            Err(DataError::Input { file, line: 1, what })
        });
        if let Err(error) = checked {
            // The error is what counts, even if the rejects cannot be written as well.
            let _ = self.rejects.write(&rejects_kept);
            return Err(error);
        }
        self.rejects.write(&self.writer.folder().join(REJECTS_FILE))?;
        let manifest = self.writer.finish()?;
        let shards = || manifest.splits.iter().flat_map(|split| &split.shards);
        Ok(ImportSummary {
            splits: self.inputs.splits.into_iter().zip(self.rows).collect(),
            bad: self.rejects.bad(),
            shards: shards().count(),
            bytes_written: shards().map(|shard| shard.bytes).sum(),
            bytes_input: self.inputs.bytes,
            left_out: Vec::new(),
            seconds: self.started.elapsed().as_secs_f64(),
        })
    }
}
