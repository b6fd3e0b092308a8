//! `rectool ckpt`: what a checkpoint holds, whether it is whole, and other forms of it.

mod diff;
mod inspect;

use std::path::{Path, PathBuf};

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand, ValueEnum};
use rectool_model::{Chain, Checkpoint, ExportColumns, ExportFormat};

use crate::failure::{Exit, Failure};
use crate::output::print;

/// Ranks that a table can be spread over: each of its logical buckets has one.
const RANKS_MAX: u64 = rectool_embedding::BUCKETS as u64;

/// Look at checkpoints.
#[derive(Args, Debug)]
pub(crate) struct CkptArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show what a checkpoint holds: model, tables, files, where the training stood, what it builds on
    Inspect(Target),
    /// Check every file of a checkpoint, and of those it builds on, down to every row
    Verify(Target),
    /// Say what differs between two checkpoints; exit code 1 if anything does
    Diff(DiffArgs),
    /// Write a checkpoint anew for another number of ranks; a delta becomes one that stands alone
    Reshard(ReshardArgs),
    /// Write a table as one file for other programs
    Export(ExportArgs),
}

#[derive(Args, Debug)]
struct Target {
    /// A checkpoint, or a run's folder: then the latest one of its last training
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct DiffArgs {
    /// A checkpoint, or a run's folder
    a: PathBuf,
    /// Another one
    b: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct ReshardArgs {
    /// A checkpoint, or a run's folder
    path: PathBuf,
    /// Parts of each table
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=RANKS_MAX))]
    ranks: usize,
    /// The new checkpoint's folder
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(Args, Debug)]
struct ExportArgs {
    /// A checkpoint, or a run's folder
    path: PathBuf,
    /// The table's name
    #[arg(long)]
    table: String,
    /// Kind of file
    #[arg(long, value_enum)]
    format: Format,
    /// The new file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Also the optimizer's state, and when and how often each row was updated
    #[arg(long)]
    state: bool,
}

/// A format as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Apache Parquet
    Parquet,
    /// Arrow IPC file (Feather version 2)
    Arrow,
    /// Safetensors
    Safetensors,
}

/// Does it.
pub(crate) fn run(args: &CkptArgs) -> Result<Exit, Failure> {
    match &args.action {
        Action::Inspect(target) => {
            print(&inspect::text(&open(&target.path)?, target.json))?;
        }
        Action::Verify(target) => {
            let checked = chain(&target.path).and_then(|chain| {
                chain.verify_rows().map_err(Failure::failed)?;
                Ok(verified(&chain, target.json))
            });
            if let (Err(failure), true) = (&checked, target.json) {
                let Failure { message, hint, .. } = failure;
                let value = serde_json::json!({ "ok": false, "error": message, "hint": hint });
                print(&format!("{value}\n"))?;
            }
            print(&checked?)?;
        }
        Action::Diff(args) => {
            let diff = chain(&args.a)?.diff(&chain(&args.b)?).map_err(Failure::failed)?;
            print(&diff::text(&diff, args.json))?;
            return Ok(if diff.equal { Exit::Ok } else { Exit::Failed });
        }
        Action::Reshard(args) => {
            let made = chain(&args.path)?.reshard(args.ranks, &args.out);
            let made = made.map_err(Failure::failed)?;
            let rows: u64 = made.manifest().tables.iter().map(|table| table.rows).sum();
            let (out, ranks) = (made.path().display(), args.ranks);
            print(&format!("{out}: {rows} rows in parts for {ranks} ranks\n"))?;
        }
        Action::Export(args) => {
            let columns = if args.state { ExportColumns::All } else { ExportColumns::Values };
            let format = match args.format {
                Format::Parquet => ExportFormat::Parquet,
                Format::Arrow => ExportFormat::Arrow,
                Format::Safetensors => ExportFormat::Safetensors,
            };
            let rows = chain(&args.path)?.export(&args.table, format, columns, &args.out);
            let rows = rows.map_err(Failure::failed)?;
            print(&format!("{}: {rows} rows of {}\n", args.out.display(), args.table))?;
        }
    }
    Ok(Exit::Ok)
}

/// The checkpoint that the user means.
fn open(path: &Path) -> Result<Checkpoint, Failure> {
    let path = Checkpoint::find_last(path).unwrap_or_else(|| path.to_owned());
    Checkpoint::open(&path).map_err(Failure::failed)
}

fn chain(path: &Path) -> Result<Chain, Failure> {
    open(path)?.chain().map_err(Failure::failed)
}

fn verified(chain: &Chain, json: bool) -> String {
    let files: usize = chain.links().iter().map(|link| link.manifest().files.len()).sum();
    if json {
        let checkpoints = chain.links().len();
        let value = serde_json::json!({ "ok": true, "files": files, "checkpoints": checkpoints });
        return format!("{value}\n");
    }
    let with = match chain.links().len() {
        1 => String::new(),
        links => format!(" and the {} it builds on", links - 1),
    };
    format!("ok: {files} files of {}{with}\n", chain.head().path().display())
}
