//! The subcommands. Each one's options live in its own file.

use clap::{Parser, Subcommand};
use rectool_comm::Launched;

use crate::failure::{Exit, Failure};
use crate::{check, ckpt, data, doctor, index, infer, output, plugin, run};

/// Trains, indexes and serves recommenders
#[derive(Debug, Parser)]
#[command(name = "rectool", version, max_term_width = 100, arg_required_else_help = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train what a recipe says, alone or under mpirun
    Run(run::RunArgs),
    /// Plan what a recipe says without training: schema, shapes, rows, where tables will live, bytes
    /// and predicted times per rank
    #[command(visible_alias = "plan")]
    Check(check::CheckArgs),
    /// Make datasets and look into them
    Data(data::DataArgs),
    /// Look into checkpoints
    Ckpt(ckpt::CkptArgs),
    /// Write the vectors that a model of two towers makes of users or items
    Embed(infer::EmbedArgs),
    /// Write the best items for each user, by a model of two towers
    Recommend(infer::RecommendArgs),
    /// Write what a ranking model says of each row of a split
    Score(infer::ScoreArgs),
    /// Build, search, change and measure indexes of vectors
    Index(index::IndexArgs),
    /// Make, build, check, measure and try plugins
    Plugin(plugin::PluginArgs),
    /// Say what this machine has, what is wrong with it, and how to mend it
    Doctor(doctor::DoctorArgs),
}

impl Command {
    /// Does it.
    ///
    /// # Collective
    /// Under a launcher every rank runs the same command.
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        match self {
            Self::Run(args) => run::run(&args),
            Self::Check(args) => check::run(&args),
            Self::Data(args) => data::run(&args),
            Self::Ckpt(args) => ckpt::run(&args),
            Self::Embed(args) => infer::embed(&args),
            Self::Recommend(args) => infer::recommend(&args),
            Self::Score(args) => infer::score(&args),
            Self::Index(args) => index::run(&args),
            Self::Plugin(args) => plugin::run(&args),
            Self::Doctor(args) => doctor::run(&args),
        }
    }
}

/// Reads the arguments; `None` if they only asked for help or the version, which is printed.
pub(crate) fn parse() -> Result<Option<Command>, Failure> {
    let error = match Args::try_parse() {
        Ok(args) => return Ok(Some(args.command)),
        Err(error) => error,
    };
    if error.use_stderr() {
        return Err(Failure::arguments(&error));
    }
    if Launched::from_environment().is_none_or(|launched| launched.rank == 0) {
        let text = error.render();
        output::print(&if output::colored() { text.ansi().to_string() } else { text.to_string() })?;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn options_are_consistent() {
        Args::command().debug_assert();
    }
}
