//! `rectool index`: builds, searches, changes and measures indexes of vectors.

mod bench;
mod build;
mod changes;
mod info;
mod input;
mod meter;
mod query;
mod tune;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use rectool_ann::{AnnError, Index, IndexKind, IndexStats, Maintenance, OperatingPoint};
use rectool_base::{bytes_text, grouped};
use rectool_comm::Launched;
use rectool_data::DataError;
use rectool_recipe::index::IndexError;

use crate::failure::{Exit, Failure};
use crate::output::print;

/// Options of `rectool index`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    command: IndexCommand,
}

#[derive(Debug, Subcommand)]
enum IndexCommand {
    /// Build an index of vectors, alone or under mpirun
    Build(Box<build::BuildArgs>),
    /// Find what is nearest to one vector or to each vector of a file
    Query(Box<query::QueryArgs>),
    /// Put vectors in, in place of those with the same ids
    Upsert(changes::UpsertArgs),
    /// Take vectors out
    Delete(changes::DeleteArgs),
    /// Show what an index holds, what changed since its build, and which effort reaches which recall
    Info(Target),
    /// Compare every byte of an index with its checksums
    Verify(Target),
    /// Measure recall, speed and latency at rising effort, and draw the curve
    Bench(bench::BenchArgs),
    /// Measure again which effort reaches which recall, for queries like those of a file
    Tune(tune::TuneArgs),
}

/// An index that is looked at.
#[derive(Debug, Args)]
struct Target {
    /// The index's folder
    index: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Does it; under a launcher all ranks build, and all else is done by rank 0 alone.
///
/// # Collective
/// Every rank of the job.
pub(crate) fn run(args: &IndexArgs) -> Result<Exit, Failure> {
    if let IndexCommand::Build(args) = &args.command {
        return args.run();
    }
    if Launched::from_environment().is_some_and(|launched| launched.rank > 0) {
        return Ok(Exit::Ok);
    }
    match &args.command {
        IndexCommand::Build(args) => args.run(),
        IndexCommand::Query(args) => args.run(),
        IndexCommand::Upsert(args) => args.run(),
        IndexCommand::Delete(args) => args.run(),
        IndexCommand::Info(target) => info::run(target),
        IndexCommand::Verify(target) => verify(target),
        IndexCommand::Bench(args) => args.run(),
        IndexCommand::Tune(args) => args.run(),
    }
}

fn verify(target: &Target) -> Result<Exit, Failure> {
    let index = Index::open(&target.index).map_err(failure)?;
    index.verify().map_err(failure)?;
    let stats = index.stats();
    print(&if target.json {
        let value = serde_json::json!({
            "ok": true, "parts": stats.parts.len(), "vectors": stats.vectors, "bytes": stats.bytes,
        });
        format!("{value}\n")
    } else {
        let (vectors, bytes) = (grouped(stats.vectors as u64), bytes_text(stats.bytes));
        let parts = counted(stats.parts.len(), "part");
        format!("ok: {parts} of {}, {vectors} vectors, {bytes}\n", target.index.display())
    })?;
    Ok(Exit::Ok)
}

/// Opens an index that is to be changed.
fn open_for_changes(path: &Path) -> Result<Index, Failure> {
    // Opened for reading first: what is no index gets no lock file.
    Index::open(path).map_err(failure)?;
    Index::open_for_changes(path, Maintenance::Manual).map_err(failure)
}

/// What cannot be asked for is a usage error; all else failed while being done.
fn failure(error: impl Into<IndexError>) -> Failure {
    let error = error.into();
    match &error {
        IndexError::Exists { .. }
        | IndexError::Data(DataError::NoColumn { .. })
        | IndexError::Ann(
            AnnError::Option { .. } | AnnError::Filter { .. } | AnnError::UnknownAttribute { .. },
        ) => Failure::usage(error),
        _ => Failure::failed(error),
    }
}

/// `recall 0.9512: 40 leaves, 100 candidates`, or what that is in a graph.
fn effort_text(point: &OperatingPoint, stats: &IndexStats) -> String {
    let OperatingPoint { recall, leaves, candidates } = point;
    if stats.parts.first().is_some_and(|part| part.kind == IndexKind::Graph.name()) {
        return format!("recall {recall:.4}: from {leaves} leaves, beam {candidates}");
    }
    format!("recall {recall:.4}: {leaves} leaves, {candidates} candidates")
}

/// `1 part`, `2 parts`.
fn counted(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number as u64))
}

/// Threads of searches and builds.
#[derive(Debug, Args)]
struct ThreadArgs {
    /// Threads [default: all cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl ThreadArgs {
    /// Makes the threads of this process; `share` is how many there are by default.
    fn apply(&self, share: usize) {
        rectool_model::set_threads(self.threads.map_or(share, usize::from));
    }
}
