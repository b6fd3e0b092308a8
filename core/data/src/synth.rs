//! Made-up data with a known answer: logs whose labels come from a hidden teacher.

mod columns;
mod score;
mod teacher;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rayon::prelude::*;
use rectool_base::{Column, WholeFile};

use crate::DataError;
use crate::import::{criteo_schema, fraction_ends};
use crate::writer::{DatasetWriter, WriterOptions};
use columns::{CATEGORIES, INTEGERS, Row, Shape};
use score::Scores;
use teacher::Teacher;

/// Rows made by one thread at a time.
const BLOCK_ROWS: u64 = 8_192;
/// Blocks in memory at a time, for all threads: 64 hold 140 MB.
const BLOCKS_TOGETHER: u64 = 16;

/// Choices of [`criteo`].
#[derive(Clone, Debug, PartialEq)]
pub struct SynthOptions {
    /// Rows of all splits, 1 or more.
    pub rows: u64,
    /// All values are a function of this, of `rows` and of the row's number.
    pub seed: u64,
    /// Fraction of the rows that go to `valid`; what is left goes to `train`.
    pub valid: f64,
    /// Fraction of the rows that go to `test`, the last ones.
    pub test: f64,
    /// Also write all rows, in order, as a Criteo TSV: input for the importer.
    pub tsv: Option<PathBuf>,
    /// How shards are written.
    pub writer: WriterOptions,
}

impl Default for SynthOptions {
    fn default() -> Self {
        let writer = WriterOptions::default();
        Self { rows: 1_000_000, seed: 1, valid: 0.1, test: 0.1, tsv: None, writer }
    }
}

/// What was made.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthSummary {
    /// Rows by split; a split without rows is not in the dataset.
    pub splits: Vec<(String, u64)>,
    /// Fraction of all rows with label 1.
    pub click_rate: f64,
    /// Exact AUC of the teacher's own probabilities on `test`: what no model can beat but by luck.
    /// `None` if `test` lacks rows of either label.
    pub teacher_auc: Option<f64>,
    /// Mean log loss of the same; `None` without rows.
    pub teacher_log_loss: Option<f64>,
    /// Shards written.
    pub shards: usize,
    /// Bytes of all shards.
    pub bytes_written: u64,
    /// Wall time.
    pub seconds: f64,
}

/// Makes a click log like Criteo's, with the schema of [`crate::import::criteo_schema`].
///
/// Integers are log-normal with Criteo's rates of missing values; categories are Zipf-distributed
/// over vocabularies of Criteo's sizes (scaled to the rows) and scattered over 32 bits. Labels are
/// drawn from a teacher: a weight per id, low-rank id × id interactions, and curves over integers,
/// calibrated to a click rate of 0.256 and an AUC of 0.80.
///
/// `on_progress` is called with the rows made so far.
///
/// # Errors
/// [`DataError::Option`] for no rows or fractions out of range; [`DataError::OutputExists`] if `out`
/// or the TSV exist and `overwrite` is off; [`DataError::Io`].
///
/// # Determinism
/// The same files for any number of threads; the TSV imported with the same fractions gives the same
/// shards.
///
/// ```
/// use rectool_data::synth::{SynthOptions, criteo};
///
/// let folder = tempfile::tempdir()?;
/// let options = SynthOptions { rows: 1_000, seed: 7, ..SynthOptions::default() };
/// let summary = criteo(&folder.path().join("clicks"), &options, &|_| {})?;
/// assert_eq!(summary.splits[0], ("train".to_owned(), 800));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn criteo(
    out: &Path,
    options: &SynthOptions,
    on_progress: &dyn Fn(u64),
) -> Result<SynthSummary, DataError> {
    let started = Instant::now();
    check(options)?;
    let mut tsv = options.tsv.as_ref().map(|path| Tsv::create(path, options)).transpose()?;
    let mut writer = DatasetWriter::create(out, criteo_schema(), options.writer)?;
    let shape = Shape::new(options.seed, options.rows);
    let teacher = Teacher::calibrated(&shape);
    let splits = split_rows(options);
    let mut scores = Scores::default();
    let mut clicks = 0;
    for (name, rows) in &splits {
        let mut from = rows.start;
        while from < rows.end {
            let to = (from + BLOCK_ROWS * BLOCKS_TOGETHER).min(rows.end);
            for block in make_blocks(&shape, &teacher, from..to, tsv.is_some()) {
                clicks += block.clicks();
                if name == "test" {
                    scores.add(&block.logits, block.labels());
                }
                if let Some(tsv) = &mut tsv {
                    tsv.write(&block.text)?;
                }
                writer.write(name, block.columns)?;
            }
            from = to;
            on_progress(from);
        }
    }
    let manifest = writer.finish()?;
    if let Some(tsv) = tsv {
        tsv.finish()?;
    }
    let shards = || manifest.splits.iter().flat_map(|split| &split.shards);
    Ok(SynthSummary {
        splits: splits.into_iter().map(|(name, rows)| (name, rows.end - rows.start)).collect(),
        click_rate: clicks as f64 / options.rows as f64,
        teacher_auc: scores.auc(),
        teacher_log_loss: scores.log_loss(),
        shards: shards().count(),
        bytes_written: shards().map(|shard| shard.bytes).sum(),
        seconds: started.elapsed().as_secs_f64(),
    })
}

fn check(options: &SynthOptions) -> Result<(), DataError> {
    let error = |option, expected: &str, found: String| {
        Err(DataError::Option { option, expected: expected.to_owned(), found })
    };
    if options.rows == 0 {
        return error("rows", "1 or more", "0".into());
    }
    let good = |fraction: f64| (0.0..=1.0).contains(&fraction);
    let (valid, test) = (options.valid, options.test);
    if !good(valid) || !good(test) || !good(valid + test) {
        let expected = "fractions of valid and test from 0 to 1 that add up to 1 at most";
        return error("fractions", expected, format!("{valid} and {test}"));
    }
    Ok(())
}

fn split_rows(options: &SynthOptions) -> Vec<(String, Range<u64>)> {
    let fractions = [1.0 - options.valid - options.test, options.valid, options.test];
    let ends = fraction_ends(options.rows, &fractions);
    let starts = [0, ends[0], ends[1]];
    let names = ["train", "valid", "test"];
    (0..3).map(|at| (names[at].to_owned(), starts[at]..ends[at])).collect()
}

/// Consecutive rows.
struct Block {
    columns: Vec<Column>,
    /// The teacher's.
    logits: Vec<f32>,
    text: Vec<u8>,
}

impl Block {
    fn labels(&self) -> &[f32] {
        let Column::F32 { values, .. } = &self.columns[0] else {
            unreachable!("the first column is the label")
        };
        values
    }

    fn clicks(&self) -> u64 {
        self.labels().iter().map(|&label| label as u64).sum()
    }
}

fn make_blocks(shape: &Shape, teacher: &Teacher, rows: Range<u64>, with_text: bool) -> Vec<Block> {
    let count = (rows.end - rows.start).div_ceil(BLOCK_ROWS);
    let block = |at: u64| {
        let first = rows.start + at * BLOCK_ROWS;
        make_block(shape, teacher, first..(first + BLOCK_ROWS).min(rows.end), with_text)
    };
    (0..count).into_par_iter().map(block).collect()
}

fn make_block(shape: &Shape, teacher: &Teacher, rows: Range<u64>, with_text: bool) -> Block {
    let count = (rows.end - rows.start) as usize;
    let mut labels = Vec::with_capacity(count);
    let mut dense = Vec::with_capacity(count * INTEGERS);
    let mut ids = Vec::with_capacity(count * CATEGORIES);
    let (mut logits, mut text) = (Vec::with_capacity(count), Vec::new());
    for number in rows {
        let row = shape.row(number);
        let logit = teacher.logit(shape, &row);
        let label = row.chance < teacher::sigmoid(logit);
        let row_ids = shape.ids(&row);
        if with_text {
            push_line(&mut text, label, &row, &row_ids);
        }
        labels.push(f32::from(u8::from(label)));
        dense.extend_from_slice(&row.integers);
        ids.extend_from_slice(&row_ids);
        logits.push(logit as f32);
    }
    let columns = vec![
        Column::F32 { width: 1, values: labels },
        Column::F32 { width: INTEGERS, values: dense },
        Column::I64 { width: CATEGORIES, values: ids },
    ];
    Block { columns, logits, text }
}

fn push_line(text: &mut Vec<u8>, label: bool, row: &Row, ids: &[i64; CATEGORIES]) {
    const WRITABLE: &str = "writing to memory does not fail";
    text.push(if label { b'1' } else { b'0' });
    for integer in row.integers {
        text.push(b'\t');
        if !integer.is_nan() {
            write!(text, "{integer}").expect(WRITABLE);
        }
    }
    for id in ids {
        text.push(b'\t');
        if *id != rectool_base::MISSING_ID {
            write!(text, "{id:08x}").expect(WRITABLE);
        }
    }
    text.push(b'\n');
}

/// A text file that gets its name when it is whole.
struct Tsv {
    whole: WholeFile,
    path: PathBuf,
    file: BufWriter<File>,
}

impl Tsv {
    fn create(path: &Path, options: &SynthOptions) -> Result<Self, DataError> {
        if !options.writer.overwrite && fs::symlink_metadata(path).is_ok() {
            return Err(DataError::OutputExists { path: path.to_owned() });
        }
        let whole = WholeFile::at(path);
        let file = File::create(whole.partial()).map_err(DataError::io(path))?;
        Ok(Self { whole, path: path.to_owned(), file: BufWriter::new(file) })
    }

    fn write(&mut self, text: &[u8]) -> Result<(), DataError> {
        self.file.write_all(text).map_err(DataError::io(&self.path))
    }

    fn finish(mut self) -> Result<(), DataError> {
        let flushed = self.file.flush();
        flushed.and_then(|()| self.whole.publish()).map_err(DataError::io(&self.path))
    }
}

#[cfg(test)]
mod tests;
