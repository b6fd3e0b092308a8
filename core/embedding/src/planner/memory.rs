//! The memory limit of a rank, and what to do where it is too tight.

use std::fmt::Write as _;

use rectool_base::{bytes_text, grouped};

use super::cost::Resources;
use super::load::{RowsFrom, TableLoad};
use super::wish::Wish;
use crate::{Backing, EmbeddingError, Storage};

/// Tables that an error names.
const NAMED_TABLES: usize = 3;

/// What an alternative lacks.
pub(super) fn missing(excess_bytes: f64) -> String {
    format!("{} too little memory", bytes_text(excess_bytes as u64))
}

/// Refuses a plan whose ranks hold `bytes`, \[R\], if one of them may not.
pub(super) fn check_memory(
    resources: &Resources,
    loads: &[TableLoad],
    wishes: &[Wish],
    bytes: &[f64],
) -> Result<(), EmbeddingError> {
    let Some(available) = resources.memory_bytes_max else { return Ok(()) };
    let fullest = bytes.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let Some((rank, tables)) = fullest else { return Ok(()) };
    let required = (*tables as u64).saturating_add(resources.reserved_bytes);
    if required <= available {
        return Ok(());
    }
    let mut order: Vec<&TableLoad> = loads.iter().collect();
    order.sort_by_key(|load| std::cmp::Reverse(load.bytes()));
    Err(EmbeddingError::PlanMemory {
        rank,
        required,
        available,
        reserved: resources.reserved_bytes,
        largest: largest(&order),
        remedies: remedies(resources, (&order, wishes), (required, available)),
    })
}

/// `user: 1.2 GB of 10,000,000 rows, …`.
fn largest(order: &[&TableLoad]) -> String {
    let mut text = String::new();
    for load in order.iter().take(NAMED_TABLES) {
        let (name, bytes, rows) = (&load.options.name, load.bytes(), grouped(load.rows));
        let from = match load.rows_from {
            RowsFrom::Sample => ", estimated from a sample",
            RowsFrom::Bound => ", at most",
            RowsFrom::Index | RowsFrom::Recipe => "",
        };
        let counts = match load.options.admission.bytes() {
            0 => String::new(),
            sketch => format!(", and {} to count ids that have none", bytes_text(sketch)),
        };
        let comma = if text.is_empty() { "" } else { "; " };
        // A string takes any text.
        let _ = write!(text, "{comma}`{name}` {} ({rows} rows{from}{counts})", bytes_text(bytes));
    }
    if order.len() > NAMED_TABLES {
        let _ = write!(text, "; {} more", order.len() - NAMED_TABLES);
    }
    text
}

/// What helps, the least intrusive first.
fn remedies(
    resources: &Resources,
    (order, wishes): (&[&TableLoad], &[Wish]),
    (required, available): (u64, u64),
) -> String {
    let mut remedies = vec![format!("raise `memory_per_rank` to {}", size_above(required))];
    let room = available.saturating_sub(resources.reserved_bytes);
    if room == 0 {
        // Tables can shrink as they will.
        remedies.push("lower `batch_size`".to_owned());
        remedies.push("make the layers smaller".to_owned());
        return any_of(&remedies);
    }
    let total: f64 = order.iter().map(|load| load.bytes() as f64).sum();
    let ranks = (total / room as f64).ceil() as usize;
    if ranks > resources.ranks {
        remedies.push(format!("start {ranks} ranks"));
    } else if wishes.iter().any(|wish| *wish != Wish::Any) {
        remedies.push("let the planner choose (`auto`): spread by rows the tables fit".to_owned());
    }
    let guessed = |load: &&&TableLoad| matches!(load.rows_from, RowsFrom::Sample | RowsFrom::Bound);
    if let Some(load) = order.iter().take(NAMED_TABLES).find(guessed) {
        let name = &load.options.name;
        remedies.push(format!("give `rows_expected` for '{name}' if it will have fewer rows"));
    }
    if let Some(load) = order.first() {
        let options = &load.options;
        let name = &options.name;
        if options.admission.bytes() > load.bytes() / 2 {
            remedies.push(format!("lower the `cells` of '{name}'"));
        }
        if options.backing == Backing::Memory {
            remedies.push(format!("keep '{name}' in a file (`folder`)"));
        }
        if options.optimizer.state_width(options.dim) > 1 {
            let row_wise = "use an optimizer with one number per row, such as `rowwise_adagrad`";
            remedies.push(row_wise.to_owned());
        }
        if options.storage == Storage::F32 {
            remedies.push(format!("store '{name}' in 16 bits (`storage: \"bf16\"`)"));
        }
        remedies.push("use a smaller `embedding_dim`".to_owned());
    }
    any_of(&remedies)
}

/// `158.8MiB`, rounded up, so that it suffices as it stands.
fn size_above(bytes: u64) -> String {
    let (unit, name) = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")]
        .into_iter()
        .find(|(unit, _)| bytes >= *unit)
        .unwrap_or((1, "B"));
    let tenths = (bytes as f64 / unit as f64 * 10.0).ceil();
    format!("{}{name}", tenths / 10.0)
}

/// `this, that, or the other`.
fn any_of(remedies: &[String]) -> String {
    match remedies {
        [first @ .., last] if !first.is_empty() => format!("{}, or {last}", first.join(", ")),
        _ => remedies.concat(),
    }
}
