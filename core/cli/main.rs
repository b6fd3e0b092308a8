//! The command line: the only place that reads arguments, prints and exits.

mod args;
mod bug;
mod check;
mod ckpt;
mod data;
mod device;
mod doctor;
mod failure;
mod index;
mod infer;
mod logging;
mod output;
mod plugin;
mod progress;
mod run;

use std::process::ExitCode;

use failure::Exit;

fn main() -> ExitCode {
    bug::report_panics();
    logging::start();
    let outcome = args::parse().and_then(|command| match command {
        Some(command) => command.run(),
        None => Ok(Exit::Ok),
    });
    match outcome {
        Ok(exit) => {
            rectool_comm::finish();
            exit.into()
        }
        Err(failure) => failure.end_job(),
    }
}
