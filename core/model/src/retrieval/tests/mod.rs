//! Hand-worked examples, and comparison with what is plainly written.

mod baselines;
mod leaks;
mod metrics;
mod protocols;
mod published;
mod search;
