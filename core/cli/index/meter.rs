//! Progress of a build on standard error: a bar on a terminal, a line now and then otherwise.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rectool_ann::Progress;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows stages and how far they are.
#[derive(Debug)]
pub(super) struct Meter {
    bar: Option<ProgressBar>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    stage: &'static str,
    done: usize,
    total: usize,
    last_line: Instant,
}

impl Meter {
    pub(super) fn new() -> Self {
        let style = ProgressStyle::with_template("{msg:>10} [{bar:30}] {percent:>3}%  {eta} left")
            .expect("the template is a good one")
            .progress_chars("=> ");
        let bar = || ProgressBar::new(0).with_style(style);
        let bar = io::stderr().is_terminal().then(bar);
        let state = State { stage: "", done: 0, total: 0, last_line: Instant::now() };
        Self { bar, state: Mutex::new(state) }
    }

    /// Changes the state and shows it.
    fn change(&self, change: impl FnOnce(&mut State)) {
        // A count is never half done.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        if state.last_line.elapsed() >= LINE_EVERY {
            state.last_line = Instant::now();
            let percent = 100.0 * state.done as f64 / state.total.max(1) as f64;
            // Nothing to do if standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{}: {percent:.0}%", state.stage);
        }
    }
}

impl Progress for Meter {
    fn stage(&self, name: &'static str, total: usize) {
        if let Some(bar) = &self.bar {
            bar.reset();
            bar.set_length(total as u64);
            bar.set_message(name);
            return;
        }
        self.change(|state| (state.stage, state.done, state.total) = (name, 0, total));
    }

    fn advance(&self, units: usize) {
        match &self.bar {
            Some(bar) => bar.inc(units as u64),
            None => self.change(|state| state.done += units),
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
