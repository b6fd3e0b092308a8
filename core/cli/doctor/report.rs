//! Findings and their two shapes: a table and JSON.

use std::fmt::Write;

use serde_json::{Value, json};

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There, and fit for use.
    Ok,
    /// Not there. Something optional that rectool does without.
    Missing,
    /// There, but in the way of something.
    Problem,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Problem => "problem",
        }
    }

    fn color(self) -> &'static str {
        match self {
            Self::Ok => "\x1b[32m",
            Self::Missing => "\x1b[33m",
            Self::Problem => "\x1b[31m",
        }
    }
}

/// Whether rectool can do anything without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// It can.
    Optional,
    /// No run works without it.
    Required,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) name: &'static str,
    pub(super) state: State,
    /// What was found; empty if nothing.
    pub(super) found: String,
    /// What that means for rectool.
    pub(super) meaning: String,
    /// How to mend it.
    pub(super) hint: Option<String>,
    pub(super) need: Need,
}

impl Finding {
    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            found: found.into(),
            meaning: String::new(),
            hint: None,
            need: Need::Optional,
        }
    }

    pub(super) fn missing(name: &'static str, meaning: impl Into<String>) -> Self {
        Self { state: State::Missing, ..Self::ok(name, "") }.meaning(meaning)
    }

    pub(super) fn problem(name: &'static str, found: impl Into<String>) -> Self {
        Self { state: State::Problem, ..Self::ok(name, found) }
    }

    pub(super) fn meaning(self, meaning: impl Into<String>) -> Self {
        Self { meaning: meaning.into(), ..self }
    }

    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(super) fn required(self) -> Self {
        Self { need: Need::Required, ..self }
    }

    fn line(&self) -> String {
        match (self.found.is_empty(), self.meaning.is_empty()) {
            (_, true) => self.found.clone(),
            (true, false) => self.meaning.clone(),
            (false, false) => format!("{}: {}", self.found, self.meaning),
        }
    }
}

/// All findings, in sections.
pub(super) struct Report {
    pub(super) version: &'static str,
    pub(super) sections: Vec<(&'static str, Vec<Finding>)>,
}

impl Report {
    fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.sections.iter().flat_map(|(_, findings)| findings)
    }

    /// Required things that are not ok.
    pub(super) fn broken(&self) -> Vec<&'static str> {
        self.findings()
            .filter(|finding| finding.need == Need::Required && finding.state != State::Ok)
            .map(|finding| finding.name)
            .collect()
    }

    fn verdict(&self) -> String {
        let broken = self.broken();
        if !broken.is_empty() {
            return format!("rectool does not work here: {}", broken.join(", "));
        }
        let problems: Vec<&str> =
            self.findings().filter(|f| f.state == State::Problem).map(|f| f.name).collect();
        if problems.is_empty() {
            return "rectool works here".to_owned();
        }
        format!("rectool works here, with limits: {}", problems.join(", "))
    }

    /// Aligned columns for people.
    pub(super) fn text(&self, colored: bool) -> String {
        let width = self.findings().map(|finding| finding.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for (title, findings) in &self.sections {
            let _ = writeln!(text, "{title}");
            for finding in findings {
                let (state, reset) =
                    if colored { (finding.state.color(), "\x1b[0m") } else { ("", "") };
                let (name, line) = (finding.name, finding.line());
                let _ = writeln!(
                    text,
                    "  {state}{:<7}{reset}  {name:<width$}  {line}",
                    finding.state.name()
                );
                if let Some(hint) = &finding.hint {
                    let _ = writeln!(text, "  {:<7}  {:<width$}  hint: {hint}", "", "");
                }
            }
            text.push('\n');
        }
        let _ = writeln!(text, "{}", self.verdict());
        text
    }

    /// The same for programs.
    pub(super) fn json(&self) -> String {
        let findings: Vec<Value> = self
            .sections
            .iter()
            .flat_map(|(section, findings)| {
                findings.iter().map(move |finding| {
                    json!({
                        "section": section,
                        "name": finding.name,
                        "state": finding.state.name(),
                        "found": finding.found,
                        "meaning": finding.meaning,
                        "hint": finding.hint,
                        "required": finding.need == Need::Required,
                    })
                })
            })
            .collect();
        let works = self.broken().is_empty();
        let report = json!({
            "version": self.version,
            "works": works,
            "verdict": self.verdict(),
            "findings": findings,
        });
        format!("{report:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(findings: Vec<Finding>) -> Report {
        Report { version: "0.1.0", sections: vec![("machine", findings)] }
    }

    #[test]
    fn columns_are_aligned() {
        let report = report(vec![
            Finding::ok("cores", "2 of 2"),
            Finding::missing("libtorch_cuda", "no GPU").hint("buy one"),
        ]);
        let expected = "machine\n  \
             ok       cores          2 of 2\n  \
             missing  libtorch_cuda  no GPU\n                          hint: buy one\n\n\
             rectool works here\n";
        assert_eq!(report.text(false), expected);
        assert!(report.text(true).contains("\x1b[33mmissing\x1b[0m"));
    }

    #[test]
    fn only_required_things_break_it() {
        let optional = Finding::problem("mpirun", "4.0").meaning("another MPI");
        let limited = report(vec![optional.clone()]);
        assert!(limited.broken().is_empty());
        assert_eq!(limited.verdict(), "rectool works here, with limits: mpirun");
        let broken = report(vec![optional, Finding::missing("libtorch", "not loaded").required()]);
        assert_eq!(broken.broken(), ["libtorch"]);
        let json: Value = serde_json::from_str(&broken.json()).unwrap();
        assert_eq!(json["works"], false);
        assert_eq!(json["findings"][0]["state"], "problem");
        assert_eq!(json["findings"][1]["required"], true);
    }
}
