//! Where tables should live: what this machine can do, what a plan costs on it, and a search.
//!
//! [`calibrate`] measures the machine and the communicator in a few seconds. A [`TableLoad`] says
//! what a training asks of a table. From both follows what a plan costs, and [`TablePlanner`] finds a cheap one.
//!
//! Letters as in the crate; also B rows of a global batch and L ids per row.

mod calibration;
mod cold;
mod cost;
mod costed;
mod curve;
mod keys;
mod link;
mod load;
mod machine;
mod memory;
mod search;
mod share;
#[cfg(test)]
mod tests;
mod trial;
mod wish;

pub use calibration::{Calibration, calibrate};
pub use cost::Resources;
pub use costed::{Alternative, CostedPlan, PlacedTable, RankCost, TablePlanner};
pub use keys::KeyCurve;
pub use link::{Link, MessageTime};
pub use load::{RowsFrom, TableLoad};
pub use machine::{EmptyStep, Lookup, OccurrenceTime, RowTime};
pub use wish::{ShardingKind, Wish};
