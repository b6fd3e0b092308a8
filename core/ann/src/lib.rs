//! Indexes over vectors of floats: exact scan, quantised tree search and graph search.

#![expect(
    clippy::inline_always,
    reason = "a kernel gets wide registers only where it is inlined into `kernel::dispatch`"
)]

mod build;
mod code;
mod error;
mod file;
mod filter;
mod graph;
mod idle;
mod import;
mod kernel;
pub mod limits;
mod live;
mod measure;
mod metric;
mod part;
mod partition;
mod rotation;
mod search;
mod source;
#[cfg(test)]
mod tests;
mod vectors;

pub use build::{
    BuildInput, BuildOptions, BuildReport, Progress, Spill, TuneOptions, Tuning, build, retune,
};
pub use error::AnnError;
pub use file::{IndexKind, OperatingPoint};
pub use filter::{Attributes, Comparison, Filter, ItemAttributes, NumberRule, TokenRule};
pub use import::{VectorFile, read_attributes, read_ids};
pub use live::{Index, IndexStats, Item, Maintenance, PartStats, Rebuild, build_part, publish};
pub use measure::{MeasureOptions, Measured, chart, chart_svg, measure};
pub use metric::Metric;
pub use part::Part;
pub use search::{Crowding, Effort, Hit, Scratch, SearchOptions};
pub use vectors::Vectors;
