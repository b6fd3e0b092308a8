//! Progress of long work on standard error: a bar on a terminal, a line now and then otherwise.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::values::grouped;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

pub(super) struct Meter {
    started: Instant,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

impl Meter {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}  {eta} left")
            .expect("the template is a good one");
        let bar = || ProgressBar::new(0).with_style(style);
        let now = Instant::now();
        let bar = io::stderr().is_terminal().then(bar);
        Self { started: now, bar, last_line: Mutex::new(now) }
    }

    /// Shows that `done` of `total` (any unit) are done, with `rows` rows so far.
    pub(super) fn show(&self, done: u64, total: u64, rows: u64, more: &str) {
        let text = || {
            let rate = rows as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
            format!("{} rows, {} rows/s{more}", grouped(rows), grouped(rate as u64))
        };
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done.min(total));
            bar.set_message(text());
            return;
        }
        let mut last = self.last_line.lock().expect("no thread panics while it holds this");
        if last.elapsed() >= LINE_EVERY {
            *last = Instant::now();
            let percent = 100.0 * done as f64 / total.max(1) as f64;
            // Nothing to do if standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{percent:3.0}%  {}", text());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
