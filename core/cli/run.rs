//! `rectool run`: trains what a recipe says.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rectool_base::Hint;
use rectool_recipe::{
    Calibrate, RecipeError, RecipeOptions, Resume, RunOptions, RunOutcome, Silent,
};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::device::DeviceArgs;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::progress::Shown;

/// The recipe and its parameters.
#[derive(Debug, clap::Args)]
pub(crate) struct RecipeArgs {
    /// The recipe: a .rhai script
    recipe: PathBuf,

    /// Set a parameter of the recipe: --set embedding_dim=32
    #[arg(long, value_name = "NAME=VALUE")]
    set: Vec<String>,

    /// Further folder for `import`
    #[arg(long, value_name = "DIR")]
    recipe_path: Vec<PathBuf>,

    /// Further folder for plugins, before those of the user and those that come with rectool
    #[arg(long, value_name = "DIR")]
    plugin_path: Vec<PathBuf>,

    /// Measure this machine anew for the placement of tables, instead of using what is kept from
    /// the last time
    #[arg(long)]
    calibrate: bool,
}

/// Options of `rectool run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    recipe: RecipeArgs,

    #[command(flatten)]
    device: DeviceArgs,

    /// Go on from a checkpoint or run folder; `auto`: from where this recipe was left
    #[arg(long, value_name = "PATH|auto")]
    resume: Option<PathBuf>,

    /// Folder for results and checkpoints [default: runs/RECIPE-TIME]
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,

    /// Threads of each rank [default: its share of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl RecipeArgs {
    /// As the recipe crate takes them.
    pub(crate) fn options(&self) -> RecipeOptions {
        RecipeOptions {
            recipe: self.recipe.clone(),
            set: self.set.clone(),
            recipe_paths: self.recipe_path.clone(),
            plugin_paths: self.plugin_path.clone(),
            calibrate: if self.calibrate { Calibrate::Fresh } else { Calibrate::Cached },
        }
    }
}

impl RunArgs {
    fn options(&self, interrupted: Arc<AtomicBool>) -> RunOptions {
        let resume = self.resume.clone().map(|path| match path.to_str() {
            Some("auto") => Resume::Auto,
            _ => Resume::From(path),
        });
        RunOptions {
            recipe: self.recipe.options(),
            run_dir: self.run_dir.clone(),
            resume,
            device: self.device.choice(),
            threads: self.threads.map(usize::from),
            interrupted,
        }
    }
}

/// Runs the recipe; rank 0 prints the metrics.
///
/// # Collective
/// Every rank of the job.
pub(crate) fn run(args: &RunArgs) -> Result<Exit, Failure> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The first signal asks for an orderly end, the second one ends the process at once.
        let exit = i32::from(Exit::Interrupted as u8);
        let twice =
            signal_hook::flag::register_conditional_shutdown(signal, exit, interrupted.clone());
        let once = signal_hook::flag::register(signal, interrupted.clone());
        if let Err(error) = twice.and(once) {
            tracing::warn!("signal {signal} will not be caught: {error}");
        }
    }
    let comm = rectool_comm::connect().map_err(Failure::failed)?;
    let first = comm.rank() == 0;
    let options = args.options(interrupted);
    let progress: Box<dyn rectool_recipe::Progress> =
        if first { Box::new(Shown::new()) } else { Box::new(Silent) };
    match rectool_recipe::run(&options, &comm, progress) {
        Ok(outcome) if first => {
            output::print(&summary(&outcome))?;
            Ok(Exit::Ok)
        }
        Ok(_) => Ok(Exit::Ok),
        Err(error @ RecipeError::Interrupted { .. }) => {
            // In good order on every rank: nothing to abort.
            if first {
                let hint = error.hint().map(|hint| format!("; {hint}"));
                tracing::warn!("{error}{}", hint.unwrap_or_default());
            }
            Ok(Exit::Interrupted)
        }
        Err(error) => Err(failure(error)),
    }
}

/// The failure of a recipe with its exit code.
pub(crate) fn failure(error: RecipeError) -> Failure {
    match error.exit_code() {
        2 => Failure::usage(error),
        3 => Failure::plugin(error),
        _ => Failure::failed(error),
    }
}

/// The metrics and where everything else is.
fn summary(outcome: &RunOutcome) -> String {
    let wide = outcome.metrics.keys().map(String::len).max().unwrap_or(0);
    let line = |(name, value): (&String, &serde_json::Value)| match value.as_f64() {
        Some(number) if !value.is_i64() => format!("{name:<wide$}  {number:.6}\n"),
        _ => format!("{name:<wide$}  {value}\n"),
    };
    let metrics: String = outcome.metrics.iter().map(line).collect();
    let (speed, seconds) = (outcome.samples_per_s, outcome.seconds);
    let report = outcome.report.display();
    format!("{metrics}{speed:.0} samples/s, {seconds:.1} s in all\nreport: {report}\n")
}
