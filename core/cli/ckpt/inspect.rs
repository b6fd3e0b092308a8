//! What a checkpoint holds, for people.

use rectool_model::{Chain, Checkpoint, PluginEntry, TableEntry};

/// The text to print.
pub(super) fn text(checkpoint: &Checkpoint, json: bool) -> String {
    let manifest = checkpoint.manifest();
    if json {
        let text = serde_json::to_string_pretty(manifest).expect("the manifest is plain data");
        return text + "\n";
    }
    let state = &manifest.state;
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let mut lines = vec![checkpoint.path().display().to_string()];
    let mut line = |name: &str, value: String| lines.push(format!("  {name:<12}  {value}"));
    line("written by", format!("{}, format {}", manifest.written_by, manifest.version));
    line("identity", checkpoint.identity().to_owned());
    if let Some(recipe) = &manifest.recipe {
        line("recipe", format!("{} ({})", recipe.name, recipe.xxh3));
    }
    line("ranks", manifest.ranks.to_string());
    line("training", format!("step {}, {} samples", state.steps, state.samples));
    line("next batch", format!("epoch {}, step {}", state.reader.epoch, state.reader.step));
    if let Some(best) = &state.best {
        line("best", format!("step {}, valid {}", best.step, best.evaluation.summary()));
    }
    line("files", format!("{}, {:.1} MB", manifest.files.len(), bytes as f64 / 1e6));
    if manifest.delta.is_some() {
        match checkpoint.chain() {
            Ok(chain) => {
                for (at, link) in chain.links().iter().enumerate() {
                    line(if at == 0 { "builds on" } else { "" }, step_of(&chain, at, link));
                }
            }
            // What can be seen of it is still worth seeing.
            Err(error) => line("builds on", format!("what is not there: {error}")),
        }
    }
    line(
        "tables",
        format!("{:<20} {:>12} {:>9} {:>5} {:>6}", "name", "rows", "removed", "D", "state"),
    );
    for table in &manifest.tables {
        let TableEntry { name, dim, state_width, rows, removed } = table;
        line("", format!("{name:<20} {rows:>12} {removed:>9} {dim:>5} {state_width:>6}"));
    }
    if !manifest.plugins.is_empty() {
        line("plugins", format!("{:<20} {:<10} {:<10} {}", "name", "kind", "version", "sha256"));
    }
    for PluginEntry { name, version, sha256, kind, .. } in &manifest.plugins {
        line("", format!("{name:<20} {kind:<10} {version:<10} {sha256}"));
    }
    lines.join("\n") + "\n"
}

/// One checkpoint of a chain, with what it adds.
fn step_of(chain: &Chain, at: usize, link: &Checkpoint) -> String {
    let manifest = link.manifest();
    let rows: u64 = manifest.tables.iter().map(|table| table.rows).sum();
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    let what = match at {
        0 => "base",
        at if at + 1 == chain.links().len() => "this delta",
        _ => "delta",
    };
    let (name, megabytes) = (link.name(), bytes as f64 / 1e6);
    format!("{name:<20} {what:<10} {rows:>12} rows {megabytes:>9.1} MB")
}
