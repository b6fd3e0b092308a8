//! Training as it goes on: a bar on a terminal, plain lines otherwise. On standard error.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rectool_model::{EvaluationReport, HeadLoss, StepReport};
use rectool_recipe::Progress;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows the progress of rank 0.
pub(crate) struct Shown {
    terminal: bool,
    bar: Option<ProgressBar>,
    started: Instant,
    /// Steps done before this process began, and the time of the last line.
    first_step: Option<u64>,
    line: Option<Instant>,
}

impl Shown {
    pub(crate) fn new() -> Self {
        Self {
            terminal: io::stderr().is_terminal(),
            bar: None,
            started: Instant::now(),
            first_step: None,
            line: None,
        }
    }

    /// Says something above the bar.
    fn say(&self, text: &str) {
        let say = || tracing::info!("{text}");
        self.bar.as_ref().map_or_else(say, |bar| bar.suspend(say));
    }

    /// Time until the last step, from the steps of this process.
    fn left(&self, report: &StepReport) -> Option<Duration> {
        let done = report.step.checked_sub(self.first_step?)?;
        let left = report.steps_total.saturating_sub(report.step);
        let seconds = self.started.elapsed().as_secs_f64() * left as f64 / done.max(1) as f64;
        (done > 0).then(|| Duration::from_secs_f64(seconds))
    }
}

impl Progress for Shown {
    fn started(&mut self, run_dir: &Path) {
        self.say(&format!("run folder: {}", run_dir.display()));
    }

    fn on_step(&mut self, report: &StepReport) {
        if self.first_step.is_none() {
            (self.first_step, self.started) = (Some(report.step), Instant::now());
        }
        let (loss, rate) = (losses(report), report.samples_per_s);
        if self.terminal {
            let bar = self.bar.get_or_insert_with(|| bar(report.steps_total));
            bar.set_position(report.step);
            bar.set_message(format!("loss {loss}  {rate:.0} samples/s"));
            return;
        }
        if self.line.is_some_and(|line| line.elapsed() < LINE_EVERY) {
            return;
        }
        self.line = Some(Instant::now());
        let left = self.left(report).map(|left| format!(", {} s left", left.as_secs()));
        let (step, total, left) = (report.step, report.steps_total, left.unwrap_or_default());
        self.say(&format!("step {step}/{total}: loss {loss}, {rate:.0} samples/s{left}"));
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        let best = if report.best { ", the best so far" } else { "" };
        let (step, split, found) = (report.step, &report.split, report.evaluation.summary());
        self.say(&format!("step {step}: {split} {found}{best}"));
    }

    fn on_checkpoint(&mut self, path: &Path, _step: u64) {
        self.say(&format!("checkpoint {}", path.display()));
    }

    fn trained(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        (self.first_step, self.line) = (None, None);
    }
}

/// `0.6931`, of heads with theirs: `1.1741 (click 0.6931, stars 1.6035)`, and of towers with heads that of
/// their objective before these.
fn losses(report: &StepReport) -> String {
    let of_head = |head: &HeadLoss| match head.loss {
        Some(loss) => format!("{} {loss:.4}", head.label),
        None => format!("{} none", head.label),
    };
    let objective = report.objective.map(|loss| format!("objective {loss:.4}"));
    let parts: Vec<String> =
        objective.into_iter().chain(report.heads.iter().map(of_head)).collect();
    let all = format!("{:.4}", report.loss);
    if parts.is_empty() { all } else { format!("{all} ({})", parts.join(", ")) }
}

fn bar(steps_total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{elapsed_precise} [{bar:30}] step {pos}/{len}  {msg}  {eta} left",
    );
    let style = style.expect("the template is well formed").progress_chars("=> ");
    ProgressBar::new(steps_total).with_style(style)
}
