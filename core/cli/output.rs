//! Results on standard output. Progress and errors go to standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::failure::Failure;

/// Writes `text` as it is. A reader that has seen enough (`| head`) ends the program quietly.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::reader_gone()),
        Err(error) => Err(Failure::output(&error)),
    }
}

/// Whether standard output is a terminal that should get colours.
pub(crate) fn colored() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !refused
}
