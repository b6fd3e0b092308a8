//! The memory limit of a rank, and what to do where it is too tight.

use std::fmt::Write as _;

use rectool_base::{bytes_text, grouped};

use super::cost::Resources;
use super::load::{RowsFrom, TableLoad};
use super::wish::Wish;
use crate::EmbeddingError;

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
        remedies: remedies(resources, &order, wishes, required),
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
        let comma = if text.is_empty() { "" } else { "; " };
        // A string takes any text.
        let _ = write!(text, "{comma}`{name}` {} ({rows} rows{from})", bytes_text(bytes));
    }
    if order.len() > NAMED_TABLES {
        let _ = write!(text, "; {} more", order.len() - NAMED_TABLES);
    }
    text
}

fn remedies(resources: &Resources, order: &[&TableLoad], wishes: &[Wish], required: u64) -> String {
    let mut remedies = vec![format!("allow each rank {}", bytes_text(required))];
    let total: f64 = order.iter().map(|load| load.bytes() as f64).sum();
    if let Some(room) =
        resources.memory_bytes_max.map(|max| max.saturating_sub(resources.reserved_bytes))
        && room > 0
    {
        let ranks = (total / room as f64).ceil() as usize;
        if ranks > resources.ranks {
            remedies.push(format!("start {ranks} ranks"));
        } else if wishes.iter().any(|wish| *wish != Wish::Any) {
            remedies
                .push("let the planner choose (`auto`): spread by rows the tables fit".to_owned());
        }
    }
    let guessed = |load: &&&TableLoad| matches!(load.rows_from, RowsFrom::Sample | RowsFrom::Bound);
    if let Some(load) = order.iter().take(NAMED_TABLES).find(guessed) {
        let name = &load.options.name;
        remedies.push(format!("give `rows_expected` for '{name}' if it will have fewer rows"));
    }
    if let Some(load) = order.first() {
        let dim = load.options.dim;
        let state = load.options.optimizer.state_width(dim);
        if state > 1 {
            remedies.push("use an optimizer with one number per row (row-wise Adagrad)".to_owned());
        }
        remedies.push("use a smaller embedding width".to_owned());
    }
    remedies.join(", or ")
}
