//! `rectool plugin`: makes, builds, checks, measures and tries plugins.

mod bench;
mod build;
mod check;
mod inspect;
mod list;
mod new;
mod run;
mod target;

use clap::{Args, Subcommand};
use rectool_comm::Launched;

use crate::failure::{Exit, Failure};

/// Options of `rectool plugin`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub(crate) struct PluginArgs {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a folder for a new plugin, ready to be built and checked
    New(new::NewArgs),
    /// Build a plugin's folder with its language's own tool
    Build(build::BuildArgs),
    /// Show what a plugin says about itself: kind, parameters, contents
    Inspect(inspect::InspectArgs),
    /// Replay golden cases and see whether the plugin keeps its contract
    Check(check::CheckArgs),
    /// Measure what a plugin costs: start, memory, ns per value, share of a training step
    Bench(bench::BenchArgs),
    /// List the plugins that recipes find
    List(list::ListArgs),
    /// Try a plugin on rows of a dataset
    Run(run::RunArgs),
}

/// Does it; under a launcher only rank 0 does.
pub(crate) fn run(args: &PluginArgs) -> Result<Exit, Failure> {
    if Launched::from_environment().is_some_and(|launched| launched.rank > 0) {
        return Ok(Exit::Ok);
    }
    match &args.command {
        PluginCommand::New(args) => args.run(),
        PluginCommand::Build(args) => args.run(),
        PluginCommand::Inspect(args) => args.run(),
        PluginCommand::Check(args) => args.run(),
        PluginCommand::Bench(args) => args.run(),
        PluginCommand::List(args) => args.run(),
        PluginCommand::Run(args) => args.run(),
    }
}
