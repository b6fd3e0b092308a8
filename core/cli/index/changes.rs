//! `rectool index upsert` and `rectool index delete`.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::path::{Path, PathBuf};

use clap::Args;
use rectool_ann::{Index, Item, Rebuild};
use rectool_base::grouped;
use rectool_comm::threads_available;
use rectool_data::DataError;
use rectool_recipe::index::{VectorInput, read_delete, read_update};

use super::input::ColumnArgs;
use super::meter::Meter;
use super::{ThreadArgs, counted, failure, open_for_changes};
use crate::failure::{Exit, Failure};
use crate::output::print;

const UPSERT_HELP: &str = "\
Input: a file as for `build`, or lines of JSON (`-`, or a file called *.jsonl):
  {\"id\": 7, \"vector\": [0.5, 1.0], \"attributes\": {\"genre\": [\"comedy\"], \"year\": 1990}}

After each batch `acknowledged N` is printed: the first N changes are on the disk and survive a crash.
Searches of other processes see them when they open the index again.";

/// Where changes go, and how.
#[derive(Debug, Args)]
struct ChangeArgs {
    /// Changes that are logged and acknowledged together
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = batch)]
    batch: usize,

    /// Leave parts as they are, even where so much has changed that they should be built again
    #[arg(long)]
    no_rebuild: bool,

    #[command(flatten)]
    threads: ThreadArgs,
}

fn batch(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows @ 1..=1_000_000) => Ok(rows),
        _ => Err(format!("`{text}` is no number from 1 to 1000000")),
    }
}

/// Options of `rectool index upsert`.
#[derive(Debug, Args)]
#[command(after_help = UPSERT_HELP)]
pub(super) struct UpsertArgs {
    /// The index's folder
    index: PathBuf,

    /// A file of vectors, or - for lines of JSON on standard input
    input: PathBuf,

    #[command(flatten)]
    columns: ColumnArgs,

    #[command(flatten)]
    changes: ChangeArgs,
}

/// Options of `rectool index delete`.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The index's folder
    index: PathBuf,

    /// A file with an id on each line, a .npy file of whole numbers, or - for standard input
    #[arg(required_unless_present = "ids")]
    input: Option<PathBuf>,

    /// Ids with commas between them
    #[arg(long, value_name = "ID,…", value_delimiter = ',', conflicts_with = "input")]
    ids: Vec<u64>,

    #[command(flatten)]
    changes: ChangeArgs,
}

impl UpsertArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let mut changed = Changed::open(&self.index, &self.changes)?;
        let lines = self.input.extension().is_some_and(|extension| extension == "jsonl");
        if lines || self.input == Path::new("-") {
            each_batch(&self.input, self.changes.batch, read_update_line, |items: Vec<Item>| {
                changed.upsert(&items)
            })?;
        } else {
            let input =
                VectorInput::open(std::slice::from_ref(&self.input), &self.columns.columns());
            let input = input.map_err(failure)?;
            let vectors = input.vectors().map_err(failure)?;
            let rows: Vec<usize> = (0..input.rows()).collect();
            for rows in rows.chunks(self.changes.batch) {
                let items: Vec<Item> = rows.iter().map(|row| input.item(&vectors, *row)).collect();
                changed.upsert(&items)?;
            }
        }
        changed.finish(&self.changes)
    }
}

impl DeleteArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let mut changed = Changed::open(&self.index, &self.changes)?;
        let all = match &self.input {
            None => self.ids.clone(),
            Some(path) if path.extension().is_some_and(|extension| extension == "npy") => {
                rectool_ann::read_ids(path).map_err(failure)?
            }
            Some(path) => {
                each_batch(path, self.changes.batch, read_delete_line, |ids| changed.delete(&ids))?;
                Vec::new()
            }
        };
        for ids in all.chunks(self.changes.batch) {
            changed.delete(ids)?;
        }
        changed.finish(&self.changes)
    }
}

fn read_update_line(text: &str, line: u64) -> Result<Item, Failure> {
    read_update(text, line).map_err(failure)
}

fn read_delete_line(text: &str, line: u64) -> Result<u64, Failure> {
    read_delete(text, line).map_err(failure)
}

/// Reads lines and hands them on in batches; empty lines are passed over. What was read before a line
/// that is wrong has been handed on.
fn each_batch<T>(
    path: &Path,
    size: usize,
    read: impl Fn(&str, u64) -> Result<T, Failure>,
    mut take: impl FnMut(Vec<T>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let broken = DataError::io(path);
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(stdin().lock())
    } else {
        match File::open(path) {
            Ok(file) => Box::new(BufReader::new(file)),
            Err(error) => return Err(failure(broken(error))),
        }
    };
    let mut batch = Vec::new();
    for (at, line) in input.lines().enumerate() {
        let line = line.map_err(|error| failure(DataError::io(path)(error)))?;
        if line.trim().is_empty() {
            continue;
        }
        match read(&line, at as u64 + 1) {
            Ok(change) => batch.push(change),
            Err(error) => {
                take(std::mem::take(&mut batch))?;
                return Err(error);
            }
        }
        if batch.len() >= size {
            take(std::mem::take(&mut batch))?;
        }
    }
    take(batch)
}

/// An index that is being changed.
struct Changed {
    index: Index,
    acknowledged: u64,
}

impl Changed {
    fn open(path: &Path, args: &ChangeArgs) -> Result<Self, Failure> {
        args.threads.apply(threads_available());
        Ok(Self { index: open_for_changes(path)?, acknowledged: 0 })
    }

    fn upsert(&mut self, items: &[Item]) -> Result<(), Failure> {
        self.index.upsert(items).map_err(failure)?;
        self.acknowledge(items.len())
    }

    fn delete(&mut self, ids: &[u64]) -> Result<(), Failure> {
        self.index.delete(ids).map_err(failure)?;
        self.acknowledge(ids.len())
    }

    fn acknowledge(&mut self, changes: usize) -> Result<(), Failure> {
        if changes == 0 {
            return Ok(());
        }
        self.acknowledged += changes as u64;
        print(&format!("acknowledged {}\n", self.acknowledged))
    }

    fn finish(self, args: &ChangeArgs) -> Result<Exit, Failure> {
        let rebuilt = if args.no_rebuild {
            0
        } else {
            let meter = Meter::new();
            self.index.rebuild(Rebuild::Due, &meter).map_err(failure)?
        };
        let stats = self.index.stats();
        let due = stats.parts.iter().filter(|part| part.rebuild_due).count();
        let note = match (rebuilt, due) {
            (0, 0) => String::new(),
            (0, due) => format!(", {} due to be built again", counted(due, "part")),
            (rebuilt, _) => format!(", {} built again", counted(rebuilt, "part")),
        };
        print(&format!("{} vectors{note}\n", grouped(stats.vectors as u64)))?;
        Ok(Exit::Ok)
    }
}
