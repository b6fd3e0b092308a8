//! Faults of plugins in words: what a trap means, what a guest says, where it happened.

use std::fmt::Write;

use rectool_base::{BatchPlace, PluginFault};
use wasmtime::{Trap, WasmBacktrace};

use crate::abi;
use crate::contract::Kind;
use crate::limits::{Limits, TEXT_CHARS_MAX};
use crate::store::State;

/// Frames of a backtrace that are shown.
pub(crate) const FRAMES_MAX: usize = 10;

/// A guest's text as it may be shown: control characters escaped, cut where it gets long.
pub(crate) fn bounded(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(TEXT_CHARS_MAX));
    for (at, character) in text.trim_end().chars().enumerate() {
        if at == TEXT_CHARS_MAX {
            shown.push('…');
            break;
        }
        match character {
            '\n' | '\t' => shown.push(' '),
            character if character.is_control() => shown.extend(character.escape_default()),
            character => shown.push(character),
        }
    }
    shown
}

/// `268435456` as `256 MiB`.
pub(crate) fn bytes_text(bytes: usize) -> String {
    const UNITS: [(usize, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.into_iter().find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{} {name}", bytes / unit),
        None => format!("{bytes} bytes"),
    }
}

/// The deadline passed while the guest ran.
#[derive(Debug)]
pub(crate) struct Overran;

impl std::fmt::Display for Overran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("deadline passed")
    }
}

impl std::error::Error for Overran {}

/// How a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The guest said no, as the contract lets it.
    Refused(PluginFault),
    /// The guest broke the contract, or was stopped.
    Broken(PluginFault),
}

impl From<PluginFault> for Failure {
    fn from(fault: PluginFault) -> Self {
        Self::Broken(fault)
    }
}

impl Failure {
    pub(crate) fn into_fault(self) -> PluginFault {
        let (Self::Refused(fault) | Self::Broken(fault)) = self;
        fault
    }
}

/// Which plugin it is: what every fault starts with.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    /// Name and version.
    pub(crate) plugin: String,
}

/// What an instance was refused while it ran: the cause of a trap that follows.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Refusals {
    pub(crate) memory: bool,
    pub(crate) table: bool,
}

impl Identity {
    /// A fault with a message of the host.
    pub(crate) fn fault(&self, place: Option<BatchPlace>, message: String) -> PluginFault {
        let Self { kind, plugin } = self;
        PluginFault { kind: kind.name(), plugin: plugin.clone(), place, message, hint: None }
    }

    /// A fault that the guest reports.
    pub(crate) fn told(&self, place: Option<BatchPlace>, fault: &abi::Fault) -> PluginFault {
        let message = match bounded(&fault.message) {
            message if message.is_empty() => "failed without a message".to_owned(),
            message => message,
        };
        let message = match (fault.row, place) {
            (Some(row), Some(place)) => {
                format!("row {} of the batch: {message}", place.row_first + row as usize)
            }
            _ => message,
        };
        self.fault(place, message)
    }

    /// A fault that ended a call: a trap, the deadline, or results that cannot be read.
    pub(crate) fn ended(
        &self,
        place: Option<BatchPlace>,
        error: &wasmtime::Error,
        state: &State,
    ) -> PluginFault {
        let mut message = ending(error, state.refusals, &state.limits);
        if !state.said.is_empty() {
            let said = String::from_utf8_lossy(&state.said);
            write!(message, "; it wrote: {}", bounded(&said)).expect("a String takes everything");
        }
        let mut fault = self.fault(place, message);
        fault.hint = error.downcast_ref::<WasmBacktrace>().and_then(backtrace);
        fault
    }
}

fn ending(error: &wasmtime::Error, refusals: Refusals, limits: &Limits) -> String {
    if error.is::<Overran>() {
        return format!("ran longer than {:?}, stopped", limits.deadline);
    }
    if refusals.memory {
        let max = bytes_text(limits.memory_bytes_max);
        return format!("asked for more than {max} of memory");
    }
    if refusals.table {
        return format!("asked for more than {} table elements", crate::limits::TABLE_ELEMENTS_MAX);
    }
    let Some(trap) = error.downcast_ref::<Trap>() else {
        return unreadable(error, limits);
    };
    match trap {
        Trap::StackOverflow => {
            let max = bytes_text(limits.stack_bytes_max);
            format!("used more than {max} of stack: it recurses too deeply")
        }
        Trap::UnreachableCodeReached => "stopped itself: a panic, abort or failed assertion".into(),
        Trap::MemoryOutOfBounds => "read or wrote outside its memory".into(),
        Trap::IntegerDivisionByZero => "divided an integer by zero".into(),
        Trap::IntegerOverflow => "an integer operation overflowed".into(),
        Trap::BadConversionToInteger => {
            "converted a NaN or a number out of range to an integer".into()
        }
        Trap::TableOutOfBounds | Trap::IndirectCallToNull | Trap::BadSignature => {
            "called a function through a broken pointer".into()
        }
        trap => {
            let text = trap.to_string();
            text.strip_prefix("wasm trap: ").unwrap_or(&text).to_owned()
        }
    }
}

/// Results or arguments that could not cross the border.
fn unreadable(error: &wasmtime::Error, limits: &Limits) -> String {
    let cause = error.root_cause().to_string();
    // The engine has no type for this one.
    if cause.contains("fuel allocated for hostcalls") {
        return format!("returned more than {}", bytes_text(limits.output_bytes_max));
    }
    format!("returned what cannot be read: {}", bounded(&cause))
}

/// The functions that were running, innermost first.
fn backtrace(trace: &WasmBacktrace) -> Option<String> {
    let mut text = "Wasm backtrace, innermost first:".to_owned();
    for frame in trace.frames().iter().take(FRAMES_MAX) {
        let name = match frame.func_name() {
            Some(name) => bounded(&format!("{:#}", rustc_demangle::demangle(name))),
            None => format!("function {}", frame.func_index()),
        };
        let offset = frame.module_offset().map(|at| format!(" at {at:#x}")).unwrap_or_default();
        write!(text, "\n    {name}{offset}").expect("a String takes everything");
    }
    (!trace.frames().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_cannot_flood_or_paint_the_terminal() {
        assert_eq!(bounded("a\u{1b}[31m\nb\n"), "a\\u{1b}[31m b");
        let long = "x".repeat(1_000_000);
        assert_eq!(bounded(&long).chars().count(), TEXT_CHARS_MAX + 1);
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes_text(256 << 20), "256 MiB");
        assert_eq!(bytes_text(1_000), "1000 bytes");
    }
}
