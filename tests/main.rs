//! All integration tests, in one binary: it links libtorch once.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking and say what they skip"
)]

mod harness;

mod checkpoints;
mod ckpt;
mod cli;
mod data;
mod failures;
mod heads;
mod index;
mod index_kill;
mod kill;
mod mpi;
mod planner;
mod plugin_command;
mod plugins;
mod quality;
mod readme;
mod recipes;
mod sdk;
mod tidy;
mod towers;
