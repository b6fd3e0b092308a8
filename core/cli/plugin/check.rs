//! `rectool plugin check`.

use std::path::PathBuf;

use clap::Args;
use rectool_plugin::check::{Outcome, Verdict, check};

use super::target::Target;
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    target: Target,

    /// Golden cases; by default `cases.jsonl` beside the plugin
    #[arg(long, value_name = "FILE")]
    cases: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl CheckArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let found = self.target.load()?;
        let cases = found.cases(self.cases.as_deref())?;
        let verdicts = check(&found.plugin, &cases);
        let failed = verdicts.iter().filter(|verdict| is_failure(verdict)).count();
        if self.json {
            print(&json(found.plugin.title(), &verdicts))?;
        } else {
            print(&table(&verdicts))?;
        }
        let title = found.plugin.title();
        if failed > 0 {
            let (all, s) = (verdicts.len(), if failed == 1 { "" } else { "s" });
            return Err(Failure::broken(format!("`{title}`: {failed} check{s} of {all} failed")));
        }
        if !self.json {
            print(&format!("ok: {title}\n"))?;
        }
        Ok(Exit::Ok)
    }
}

fn is_failure(verdict: &Verdict) -> bool {
    matches!(verdict.outcome, Outcome::Failed(_))
}

/// The word of an outcome, and what is said about it.
fn said(outcome: &Outcome) -> (&'static str, &str) {
    match outcome {
        Outcome::Passed => ("pass", ""),
        Outcome::Failed(what) => ("FAIL", what),
        Outcome::Skipped(why) => ("skip", why),
    }
}

fn table(verdicts: &[Verdict]) -> String {
    let width = verdicts.iter().map(|verdict| verdict.name.len()).max().unwrap_or(0);
    let line = |verdict: &Verdict| {
        let (word, what) = said(&verdict.outcome);
        let Verdict { name, millis, .. } = verdict;
        let line = format!("{word}  {name:<width$}  {millis:>6} ms  {what}");
        format!("{}\n", line.trim_end())
    };
    verdicts.iter().map(line).collect()
}

fn json(title: &str, verdicts: &[Verdict]) -> String {
    let verdict = |verdict: &Verdict| {
        let (word, what) = said(&verdict.outcome);
        let outcome = word.to_lowercase();
        serde_json::json!({
            "check": verdict.name, "outcome": outcome, "message": what, "ms": verdict.millis,
        })
    };
    let passed = !verdicts.iter().any(is_failure);
    let verdicts: Vec<_> = verdicts.iter().map(verdict).collect();
    let value = serde_json::json!({ "plugin": title, "ok": passed, "checks": verdicts });
    format!("{}\n", serde_json::to_string_pretty(&value).expect("plain data"))
}
