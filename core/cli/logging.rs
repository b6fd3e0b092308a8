//! Progress and warnings on standard error.

use std::io::{self, IsTerminal};

use rectool_comm::Launched;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::uptime;

/// Starts it: `info` on rank 0, `warn` on the others; `RUST_LOG` overrides both.
pub(crate) fn start() {
    let rank = Launched::from_environment().map_or(0, |launched| launched.rank);
    // Other crates' `info` is about themselves.
    let default = if rank == 0 { "warn,rectool=info" } else { "warn" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_timer(uptime())
        .with_target(false)
        .init();
}
