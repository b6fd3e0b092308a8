//! `rectool plugin inspect`.

use std::fmt::Write as _;

use clap::Args;
use rectool_base::ParameterValue;
use rectool_plugin::{ParameterType, Plugin};

use super::target::Target;
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    #[command(flatten)]
    target: Target,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl InspectArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let plugin = self.target.load()?.plugin;
        print(&if self.json { json(&plugin) } else { text(&plugin) })?;
        Ok(Exit::Ok)
    }
}

fn json(plugin: &Plugin) -> String {
    let value = serde_json::json!({
        "kind": plugin.kind().name(),
        "description": plugin.description(),
        "sha256": plugin.sha256(),
        "bytes": plugin.bytes().len(),
    });
    format!("{}\n", serde_json::to_string_pretty(&value).expect("plain data"))
}

fn text(plugin: &Plugin) -> String {
    let about = plugin.description();
    let kib = plugin.bytes().len() as f64 / 1024.0;
    let mut text = format!("{}: {}\n", plugin.title(), about.summary);
    let mut line = |name: &str, value: &str| {
        writeln!(text, "  {name:<8}  {value}").expect("a string takes any text");
    };
    line("kind", plugin.kind().name());
    line("sha256", plugin.sha256());
    line("size", &format!("{kib:.1} KiB"));
    if about.parameters.is_empty() {
        line("takes", "no parameters");
    }
    for parameter in &about.parameters {
        let type_name = parameter.value_type.to_string();
        let _ = writeln!(text, "  {}: {type_name}{}", parameter.name, range(parameter));
        let _ = writeln!(text, "      {}", parameter.help);
    }
    text
}

/// ` in buckets, 1 to 100, default 10`.
fn range(parameter: &ParameterType) -> String {
    let mut text = String::new();
    if !parameter.unit.is_empty() {
        let _ = write!(text, " ({})", parameter.unit);
    }
    match (parameter.min, parameter.max) {
        (Some(min), Some(max)) => {
            let _ = write!(text, ", {min} to {max}");
        }
        (Some(min), None) => {
            let _ = write!(text, ", {min} or more");
        }
        (None, Some(max)) => {
            let _ = write!(text, ", {max} or less");
        }
        (None, None) => {}
    }
    if !parameter.choices.is_empty() {
        let _ = write!(text, ", one of {}", parameter.choices.join(", "));
    }
    match &parameter.default {
        Some(value) => {
            let _ = write!(text, ", default {}", shown(value));
        }
        None => text.push_str(", must be given"),
    }
    text
}

/// As a recipe would write it.
fn shown(value: &ParameterValue) -> String {
    serde_json::to_string(value).expect("plain data")
}
