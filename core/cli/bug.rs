//! A panic is a bug: it is said so once, and ends the job.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;
use std::panic::PanicHookInfo;

use crate::failure::{Exit, prefix};

/// From here on a panic on any thread prints where it happened and exits with
/// [`Exit::Bug`]; under MPI it ends all ranks, which would otherwise wait for this one. A panic that becomes
/// an error is none of ours.
pub(crate) fn report_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if rectool_base::panic_is_caught() {
            return;
        }
        // Nothing to do if standard error is closed.
        let _ = std::io::stderr().lock().write_all(text(panic).as_bytes());
        rectool_comm::abort_job(Exit::Bug as i32);
        std::process::exit(Exit::Bug as i32);
    }));
}

fn text(panic: &PanicHookInfo<'_>) -> String {
    let message = panic.payload_as_str().unwrap_or("a panic without a message");
    let place = panic.location().map(|at| format!(" at {at}")).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => format!("{backtrace}"),
        _ => String::new(),
    };
    format!(
        "{}this is a bug{place}: {message}\n  hint: please report it, with the command line and the \
         output of `rectool doctor`\n{backtrace}",
        prefix()
    )
}
