//! `rectool data`: makes datasets and looks into them.

mod import;
mod inspect;
mod progress;
mod split;
mod synth;
mod values;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use rectool_comm::Launched;
use rectool_data::{Compression, DataError, SHARD_ROWS, WriterOptions};

use crate::failure::{Exit, Failure};

pub(crate) use inspect::{fields, headings};

/// Options of `rectool data`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    command: DataCommand,
}

#[derive(Debug, Subcommand)]
enum DataCommand {
    /// Make a dataset of files of another format
    #[command(subcommand)]
    Import(Box<import::ImportCommand>),
    /// Make a dataset of made-up rows whose labels can be learnt
    #[command(subcommand)]
    Synth(synth::SynthCommand),
    /// Make training, validation and test splits of interactions, with histories, and look for leaks
    #[command(after_help = split::HELP)]
    Split(split::SplitArgs),
    /// Show what a dataset holds: splits, columns, ranges of ids
    Inspect(inspect::InspectArgs),
    /// Print the first rows of a split as tab-separated text
    Head(inspect::HeadArgs),
    /// Read every shard and compare it with its checksum and the manifest
    Verify(inspect::VerifyArgs),
}

/// Does it; under a launcher only rank 0 does.
pub(crate) fn run(args: &DataArgs) -> Result<Exit, Failure> {
    if Launched::from_environment().is_some_and(|launched| launched.rank > 0) {
        return Ok(Exit::Ok);
    }
    match &args.command {
        DataCommand::Import(command) => command.run(),
        DataCommand::Synth(command) => command.run(),
        DataCommand::Split(args) => args.run(),
        DataCommand::Inspect(args) => args.run(),
        DataCommand::Head(args) => args.run(),
        DataCommand::Verify(args) => args.run(),
    }
}

/// What cannot be asked for is a usage error; all else failed while being done.
fn failure(error: DataError) -> Failure {
    match error {
        DataError::Option { .. }
        | DataError::Schema(_)
        | DataError::Leak { .. }
        | DataError::OutputExists { .. } => Failure::usage(error),
        other => Failure::failed(other),
    }
}

/// How buffers are stored, on the command line.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum CompressionArg {
    /// As they are: used in place, fastest
    None,
    /// About half the size
    Lz4,
    /// Smallest
    Zstd,
}

/// Where the dataset goes, for all that make one.
#[derive(Debug, Args)]
struct OutputArgs {
    /// Folder of the new dataset
    #[arg(long, short, value_name = "DIR")]
    out: PathBuf,

    /// Replace the dataset that is there, once the new one is whole
    #[arg(long)]
    overwrite: bool,

    /// Rows per shard (data file)
    #[arg(long, value_name = "N", default_value_t = SHARD_ROWS)]
    shard_rows: usize,

    /// Compression of the shards
    #[arg(long, value_name = "KIND", default_value = "none")]
    compress: CompressionArg,
}

impl OutputArgs {
    fn writer(&self) -> WriterOptions {
        let compression = match self.compress {
            CompressionArg::None => Compression::None,
            CompressionArg::Lz4 => Compression::Lz4,
            CompressionArg::Zstd => Compression::Zstd,
        };
        WriterOptions { shard_rows: self.shard_rows, compression, overwrite: self.overwrite }
    }
}
