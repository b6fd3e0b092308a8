//! `rectool doctor`: what this machine has, what is wrong with it, and how to mend it.

mod probe_cuda;
mod probe_libraries;
mod probe_machine;
mod probe_plugins;
mod program;
mod report;

use rectool_comm::{Launched, connect_with, self_test, threads_per_rank};

use crate::failure::{Exit, Failure};
use crate::output;
use report::Report;

/// Cuts the collectives' test data into many messages, as 2^30 does with hundreds of gigabytes.
const SHORT_MESSAGE_BYTES: usize = 4_096;

/// Options of `rectool doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,

    /// Under mpirun: run every collective and compare the results, instead of looking around
    #[arg(long, hide = true, conflicts_with = "json")]
    collectives: bool,
}

/// Prints the findings. Fails only if something is broken that every run needs.
pub(crate) fn run(args: &DoctorArgs) -> Result<Exit, Failure> {
    if args.collectives {
        return collectives();
    }
    if Launched::from_environment().is_some_and(|launched| launched.rank > 0) {
        return Ok(Exit::Ok);
    }
    let report = look_around();
    let text = if args.json { report.json() } else { report.text(output::colored()) };
    output::print(&text)?;
    Ok(if report.broken().is_empty() { Exit::Ok } else { Exit::Failed })
}

fn look_around() -> Report {
    let libtorch = probe_libraries::libtorch();
    let mut libraries = vec![libtorch.finding];
    libraries.extend(probe_libraries::mpi());
    Report {
        version: env!("CARGO_PKG_VERSION"),
        sections: vec![
            ("build", probe_libraries::build()),
            ("libraries", libraries),
            ("gpu", probe_cuda::probe(libtorch.folder.as_deref())),
            ("machine", probe_machine::probe()),
            ("plugin languages", probe_plugins::probe()),
        ],
    }
}

fn collectives() -> Result<Exit, Failure> {
    let comm = connect_with(SHORT_MESSAGE_BYTES).map_err(Failure::failed)?;
    self_test(&*comm).map_err(Failure::failed)?;
    let threads = threads_per_rank(&*comm).map_err(Failure::failed)?;
    if comm.rank() == 0 {
        let (ranks, local) = (comm.size(), comm.local_size());
        output::print(&format!(
            "OK: all collectives, {ranks} ranks, {local} on this machine, {threads} threads each\n"
        ))?;
    }
    Ok(Exit::Ok)
}
