//! `rectool plugin list`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rectool_plugin::{Location, Plugins};

use super::target::{host, search_path};
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Folder of plugins to search before the usual ones
    #[arg(long, value_name = "DIR")]
    plugin_path: Vec<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let plugins = Plugins::new(host()?, search_path(&self.plugin_path));
        let mut rows = Vec::new();
        for (name, found) in plugins.list() {
            rows.push(match plugins.find(&name) {
                Ok(plugin) => Row {
                    name,
                    kind: plugin.kind().name().to_owned(),
                    version: plugin.description().version.clone(),
                    what: plugin.description().summary.clone(),
                    found,
                },
                Err(error) => Row {
                    name,
                    kind: "broken".to_owned(),
                    version: "-".to_owned(),
                    what: error.to_string(),
                    found,
                },
            });
        }
        print(&if self.json { json(&rows) } else { table(&rows) })?;
        Ok(Exit::Ok)
    }
}

struct Row {
    name: String,
    kind: String,
    version: String,
    what: String,
    found: Location,
}

fn table(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or(0).max(4);
    let mut text = format!("{:<width$}  {:<9}  {:<7}  what\n", "name", "kind", "version");
    for Row { name, kind, version, what, found } in rows {
        let _ = write!(text, "{name:<width$}  {kind:<9}  {version:<7}  {what}");
        // Where most come from goes without saying.
        if *found != Location::Builtin {
            let _ = write!(text, " ({found})");
        }
        text.push('\n');
    }
    text
}

fn json(rows: &[Row]) -> String {
    let rows = rows.iter().map(|row| {
        let Row { name, kind, version, what, found } = row;
        let found = found.to_string();
        serde_json::json!({ "name": name, "kind": kind, "version": version, "summary": what, "found": found })
    });
    let rows: Vec<_> = rows.collect();
    format!("{}\n", serde_json::to_string_pretty(&rows).expect("plain data"))
}
