//! `rectool ckpt`: what a checkpoint holds, and whether it is whole.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use rectool_model::{Checkpoint, ModelError, PluginEntry, TableEntry};

use crate::failure::{Exit, Failure};
use crate::output::print;

/// Look at checkpoints.
#[derive(Args, Debug)]
pub(crate) struct CkptArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Show what a checkpoint holds: model, tables, files, where the training stood.
    Inspect(Target),
    /// Compare every file of a checkpoint with its checksum.
    Verify(Target),
}

#[derive(Args, Debug)]
struct Target {
    /// A checkpoint, or a run's folder: then its latest checkpoint.
    path: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Makes the text that an action prints.
type Show = fn(&Checkpoint, bool) -> Result<String, ModelError>;

/// Does it.
pub(crate) fn run(args: &CkptArgs) -> Result<Exit, Failure> {
    let (target, text) = match &args.action {
        Action::Inspect(target) => (target, inspect as Show),
        Action::Verify(target) => (target, verify as Show),
    };
    let path = Checkpoint::find(&target.path).unwrap_or_else(|| target.path.clone());
    let checkpoint = Checkpoint::open(&path).map_err(Failure::failed)?;
    print(&text(&checkpoint, target.json).map_err(Failure::failed)?)?;
    Ok(Exit::Ok)
}

#[expect(clippy::unnecessary_wraps, reason = "of the type `Show`")]
fn inspect(checkpoint: &Checkpoint, json: bool) -> Result<String, ModelError> {
    let manifest = checkpoint.manifest();
    if json {
        let text = serde_json::to_string_pretty(manifest).expect("the manifest is plain data");
        return Ok(text + "\n");
    }
    let state = &manifest.state;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let mut lines = vec![checkpoint.path().display().to_string()];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}  {value}"));
    line("written by", format!("{}, format {}", manifest.written_by, manifest.version));
    line("ranks", manifest.ranks.to_string());
    line("training", format!("step {}, {} samples", state.steps, state.samples));
    line("next batch", format!("epoch {}, step {}", state.reader.epoch, state.reader.step));
    if let Some(best) = &state.best {
        line("best", format!("step {}, valid {}", best.step, best.evaluation.summary()));
    }
    line("files", format!("{}, {:.1} MB", manifest.files.len(), bytes as f64 / 1e6));
    line("tables", format!("{:<20} {:>12} {:>5} {:>6}", "name", "rows", "D", "state"));
    for table in &manifest.tables {
        let TableEntry { name, dim, state_width, rows, .. } = table;
        line("", format!("{name:<20} {rows:>12} {dim:>5} {state_width:>6}"));
    }
    if !manifest.plugins.is_empty() {
        line("plugins", format!("{:<20} {:<10} {:<10} {}", "name", "kind", "version", "sha256"));
    }
    for PluginEntry { name, version, sha256, kind, .. } in &manifest.plugins {
        line("", format!("{name:<20} {kind:<10} {version:<10} {sha256}"));
    }
    Ok(lines.join("\n") + "\n")
}

fn verify(checkpoint: &Checkpoint, json: bool) -> Result<String, ModelError> {
    checkpoint.verify()?;
    let files = checkpoint.manifest().files.len();
    if json {
        return Ok(format!("{}\n", serde_json::json!({ "ok": true, "files": files })));
    }
    Ok(format!("ok: {files} files of {}\n", checkpoint.path().display()))
}
