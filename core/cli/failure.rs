//! How a command fails: an exit code, what happened, and what to do about it.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use rectool_base::{Hint, PluginFault};
use rectool_comm::{CommError, Launched};

/// Exit codes of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Ok = 0,
    /// The run failed.
    Failed = 1,
    /// Wrong arguments or a wrong recipe.
    Usage = 2,
    /// A plugin broke its contract.
    Plugin = 3,
    /// A bug of rectool.
    Bug = 101,
    /// Ended by Ctrl-C, in good order.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Who has to say something about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// This rank.
    Here,
    /// The rank that failed first, which is another one.
    ByPeer,
    /// Nobody: there is nobody to tell.
    Nowhere,
}

/// A command that did not do what it was asked to.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Exit code of the job.
    pub(crate) exit: Exit,
    /// What happened, with its causes, in one line.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    told: Told,
}

impl Failure {
    /// The run failed.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
    pub(crate) fn failed(error: impl Hint + 'static) -> Self {
        Self::new(Exit::Failed, &error)
    }

    /// The user asked for something impossible.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
    pub(crate) fn usage(error: impl Hint + 'static) -> Self {
        Self::new(Exit::Usage, &error)
    }

    /// A plugin broke its contract.
    #[expect(clippy::needless_pass_by_value, reason = "so that it fits `map_err`")]
    pub(crate) fn plugin(error: impl Hint + 'static) -> Self {
        Self::new(Exit::Plugin, &error)
    }

    fn new(exit: Exit, error: &(impl Hint + 'static)) -> Self {
        let told = if is_peers(error) { Told::ByPeer } else { Told::Here };
        let exit = if is_plugins(error) { Exit::Plugin } else { exit };
        Self { exit, message: with_causes(error), hint: error.hint(), told }
    }

    /// The arguments cannot be understood.
    pub(crate) fn arguments(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let message = text.trim().strip_prefix("error: ").unwrap_or(text.trim()).to_owned();
        Self { exit: Exit::Usage, message, hint: None, told: Told::Here }
    }

    /// The user left out what the command needs, or gave what does not go together.
    pub(crate) fn asked(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None, told: Told::Here }
    }

    /// A plugin does not do what it should.
    pub(crate) fn broken(message: impl Into<String>) -> Self {
        Self { exit: Exit::Plugin, ..Self::asked(message) }
    }

    /// The same with what to do about it.
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Standard output takes nothing any more.
    pub(crate) fn output(error: &io::Error) -> Self {
        let message = format!("standard output: {error}");
        Self { exit: Exit::Failed, message, hint: None, told: Told::Here }
    }

    /// Whoever read standard output has seen enough.
    pub(crate) fn reader_gone() -> Self {
        let message = "standard output was closed".to_owned();
        Self { exit: Exit::Ok, message, hint: None, told: Told::Nowhere }
    }

    /// Says it on standard error and ends the job: under a launcher all ranks, with one message.
    pub(crate) fn end_job(self) -> ExitCode {
        if self.told == Told::Nowhere {
            rectool_comm::finish();
            return self.exit.into();
        }
        // Ranks that fail for the same reason do so at the same time. The lowest of them speaks first
        // and ends the others while they wait here: mpirun takes a second to end them.
        let rank = Launched::from_environment().map_or(0, |launched| launched.rank);
        let wait_ms = match self.told {
            Told::ByPeer => 10_000,
            _ => {
                if rank == 0 {
                    0
                } else {
                    3_000 + 100 * rank.min(20) as u64
                }
            }
        };
        std::thread::sleep(Duration::from_millis(wait_ms));
        // Nothing to do if standard error is closed.
        let _ = io::stderr().lock().write_all(self.text(&prefix()).as_bytes());
        rectool_comm::abort_job(i32::from(self.exit as u8));
        self.exit.into()
    }

    fn text(&self, prefix: &str) -> String {
        let hint = self.hint.as_ref().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default();
        format!("{prefix}{}\n{hint}", self.message)
    }
}

/// Whether the reason lies with another rank.
fn is_peers(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .any(|error| matches!(error.downcast_ref(), Some(CommError::PeerFailed { .. })))
}

/// Whether the reason lies with a plugin.
fn is_plugins(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source())
        .any(|error| error.downcast_ref::<PluginFault>().is_some())
}

/// The error and its causes, joined by `: `, without what an error already says of its cause.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |error| (*error).source()) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// `rectool: `, under a launcher with rank and machine.
pub(crate) fn prefix() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    prefix_of(Launched::from_environment(), host.trim())
}

fn prefix_of(launched: Option<Launched>, host: &str) -> String {
    let Some(Launched { rank, size, .. }) = launched else { return "rectool: ".to_owned() };
    let size = size.map(|size| format!("/{size}")).unwrap_or_default();
    let host = if host.is_empty() { String::new() } else { format!(" on {host}") };
    format!("rectool: rank {rank}{size}{host}: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An error with an optional cause, which it may or may not mention.
    #[derive(Debug)]
    struct Outer(&'static str, Option<Box<dyn Error + 'static>>);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref()
        }
    }

    impl Hint for Outer {
        fn hint(&self) -> Option<String> {
            Some("make room".into())
        }
    }

    #[test]
    fn causes_are_named_once() {
        let disk = || Some(Box::new(Outer("disk full", None)) as Box<dyn Error>);
        let quiet = Failure::failed(Outer("cannot write `a`", disk()));
        assert_eq!(
            quiet.text("rectool: "),
            "rectool: cannot write `a`: disk full\n  hint: make room\n"
        );
        let loud = Failure::usage(Outer("cannot write `a`: disk full", disk()));
        assert_eq!((loud.exit, &*loud.message), (Exit::Usage, "cannot write `a`: disk full"));
        assert_eq!(Failure::plugin(Outer("trap", None)).exit as u8, 3);
    }

    #[test]
    fn a_peers_failure_is_told_by_the_peer() {
        let peer = || CommError::PeerFailed { during: "all-reduce" };
        assert_eq!(Failure::failed(peer()).told, Told::ByPeer);
        let wrapped = Outer("step 7", Some(Box::new(peer())));
        assert_eq!(Failure::failed(wrapped).told, Told::ByPeer);
        assert_eq!(Failure::failed(Outer("step 7", None)).told, Told::Here);
    }

    #[test]
    fn a_plugins_fault_has_its_own_exit_code_however_deep_it_lies() {
        let fault = || PluginFault {
            kind: "loss",
            plugin: "focal-loss 1.0.0".into(),
            place: None,
            message: "trap".into(),
            hint: None,
        };
        let exit = |error| Failure::failed(Outer("step 7", Some(error))).exit;
        assert_eq!(exit(Box::new(fault())), Exit::Plugin);
        let transform = rectool_base::TransformError::from(fault());
        let data = rectool_data::DataError::from(transform);
        assert_eq!(exit(Box::new(rectool_model::ModelError::from(data))), Exit::Plugin);
        assert_eq!(exit(Box::new(rectool_model::ModelError::from(fault()))), Exit::Plugin);
        assert_eq!(exit(Box::new(Outer("disk full", None))), Exit::Failed);
    }

    #[test]
    fn ranks_say_who_and_where_they_are() {
        let launched = Launched { rank: 3, size: Some(8), by: "mpirun" };
        assert_eq!(prefix_of(Some(launched), "node7"), "rectool: rank 3/8 on node7: ");
        assert_eq!(prefix_of(None, "node7"), "rectool: ");
    }
}
