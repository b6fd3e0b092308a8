//! `rectool data inspect`, `head` and `verify`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Args;
use rectool_base::{Column, ColumnKind, ColumnSchema, MISSING_ID, Schema};
use rectool_data::{Dataset, Manifest};

use super::failure;
use super::progress::Meter;
use super::values::{bytes, counted, grouped};
use crate::failure::{Exit, Failure};
use crate::output;

/// Options of `rectool data inspect`.
#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The dataset folder
    dir: PathBuf,

    /// Print the manifest as JSON
    #[arg(long)]
    json: bool,
}

/// Options of `rectool data head`.
#[derive(Debug, Args)]
pub(super) struct HeadArgs {
    /// The dataset folder
    dir: PathBuf,

    /// The split [default: the first]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Rows to print
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    rows: u64,
}

/// Options of `rectool data verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The dataset folder
    dir: PathBuf,
}

impl InspectArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let dataset = Dataset::open(&self.dir).map_err(failure)?;
        let manifest = dataset.manifest();
        let text = if self.json {
            let json = serde_json::to_string_pretty(manifest);
            json.expect("a manifest has only string keys") + "\n"
        } else {
            description(&self.dir, manifest)
        };
        output::print(&text)?;
        Ok(Exit::Ok)
    }
}

fn description(dir: &Path, manifest: &Manifest) -> String {
    let (format, version, by) = (&manifest.format, manifest.version, &manifest.written_by);
    let mut text = format!("{}: {format} {version}, written by {by}\n\nsplits\n", dir.display());
    // Writing to a string does not fail.
    for split in &manifest.splits {
        let size = bytes(split.shards.iter().map(|shard| shard.bytes).sum());
        let shards = counted(split.shards.len(), "shard");
        let _ = writeln!(
            text,
            "  {:<12} {:>14} rows  {shards}, {size}",
            split.name,
            grouped(split.rows)
        );
    }
    text += "\ncolumns\n";
    for column in manifest.schema.columns() {
        let members = match column.members.as_slice() {
            [] => String::new(),
            [only] => only.clone(),
            [first, second] => format!("{first}, {second}"),
            [first, .., last] => format!("{first} … {last}"),
        };
        let line = format!("  {:<12} {:<10} {members}", column.name, type_name(column));
        text += line.trim_end();
        text.push('\n');
    }
    if !manifest.ids.is_empty() {
        let _ =
            writeln!(text, "\n{:<14} {:>20} {:>20} {:>14}", "ids", "least", "greatest", "missing");
    }
    for column in manifest.schema.columns() {
        let Some(ids) = manifest.ids.get(&column.name) else { continue };
        for (at, ((min, max), missing)) in
            ids.min.iter().zip(&ids.max).zip(&ids.missing).enumerate()
        {
            let (name, missing) = (column.member_name(at), grouped(*missing));
            let (min, max) = if min > max {
                ("none".to_owned(), "none".to_owned())
            } else {
                (min.to_string(), max.to_string())
            };
            let _ = writeln!(text, "  {name:<12} {min:>20} {max:>20} {missing:>14}");
        }
    }
    text
}

fn type_name(column: &ColumnSchema) -> String {
    match column.kind {
        ColumnKind::F32 { width: 1 } if column.members.is_empty() => "f32".to_owned(),
        ColumnKind::I64 { width: 1 } if column.members.is_empty() => "i64".to_owned(),
        ColumnKind::Text { width: 1 } if column.members.is_empty() => "text".to_owned(),
        kind => kind.to_string(),
    }
}

impl HeadArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let dataset = Dataset::open(&self.dir).map_err(failure)?;
        let first = dataset.splits().next().unwrap_or("train").to_owned();
        let split = dataset.split(self.split.as_ref().unwrap_or(&first)).map_err(failure)?;
        let columns: Vec<usize> = (0..split.schema().columns().len()).collect();
        output::print(&(headings(split.schema()).join("\t") + "\n"))?;
        let rows: Vec<u64> = (0..self.rows.min(split.rows())).collect();
        for rows in rows.chunks(1_024) {
            let values = split.gather(rows, &columns).map_err(failure)?;
            let mut text = String::new();
            for row in 0..rows.len() {
                let fields: Vec<String> =
                    values.iter().flat_map(|column| fields(column, row)).collect();
                text += &fields.join("\t");
                text.push('\n');
            }
            output::print(&text)?;
        }
        Ok(Exit::Ok)
    }
}

/// A name for each value of a row, list columns as one.
pub(crate) fn headings(schema: &Schema) -> Vec<String> {
    let columns = schema.columns().iter();
    let names = columns
        .flat_map(|column| (0..column.width().unwrap_or(1)).map(|at| column.member_name(at)));
    names.collect()
}

/// The values of a row as text; what is missing is empty.
pub(crate) fn fields(column: &Column, row: usize) -> Vec<String> {
    let list = |fields: Vec<String>| vec![fields.join("|")];
    match column {
        Column::F32 { width, values } => {
            values[row * width..(row + 1) * width].iter().copied().map(float).collect()
        }
        Column::I64 { width, values } => {
            values[row * width..(row + 1) * width].iter().copied().map(id).collect()
        }
        Column::Text { width, values } => {
            (row * width..(row + 1) * width).map(|at| text(values.get(at))).collect()
        }
        Column::F32List(jagged) => list(jagged.row(row).iter().copied().map(float).collect()),
        Column::I64List(jagged) => list(jagged.row(row).iter().copied().map(id).collect()),
        Column::TextList { offsets, values } => {
            let range = offsets[row] as usize..offsets[row + 1] as usize;
            list(range.map(|at| text(values.get(at))).collect())
        }
        other => vec![format!("({})", other.kind())],
    }
}

fn float(value: f32) -> String {
    if value.is_nan() { String::new() } else { value.to_string() }
}

fn id(id: i64) -> String {
    if id == MISSING_ID { String::new() } else { id.to_string() }
}

/// Kept on its line and in its field.
fn text(text: Option<&str>) -> String {
    let text = text.unwrap_or_default().replace('\\', "\\\\");
    text.replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

impl VerifyArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let dataset = Dataset::open(&self.dir).map_err(failure)?;
        let manifest = dataset.manifest();
        let shards = || manifest.splits.iter().flat_map(|split| &split.shards);
        let total: u64 = shards().map(|shard| shard.bytes).sum();
        let (done, rows) = (AtomicU64::new(0), AtomicU64::new(0));
        let meter = Meter::new();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let faults = dataset.verify(threads, |shard| {
            let done = done.fetch_add(shard.bytes, Ordering::Relaxed) + shard.bytes;
            let rows = rows.fetch_add(shard.rows, Ordering::Relaxed) + shard.rows;
            meter.show(done, total, rows, "");
        });
        drop(meter);
        let (count, size) = (counted(shards().count(), "shard"), bytes(total));
        if faults.is_empty() {
            let rows = grouped(manifest.rows());
            output::print(&format!("OK: {count}, {rows} rows, {size}\n"))?;
            return Ok(Exit::Ok);
        }
        let bad = faults.len();
        output::print(&format!("{bad} of {count} are bad:\n"))?;
        for fault in &faults {
            output::print(&format!("  {}: {}\n", fault.file, fault.error))?;
        }
        let first = faults.into_iter().next().expect("there is a fault");
        Err(failure(first.error))
    }
}
