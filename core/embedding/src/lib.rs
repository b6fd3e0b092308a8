//! Row-addressed embedding tables, fused optimizers, sharded exchange.
//!
//! A batch goes through [`EmbeddingCollection`] in three steps: `prepare` finds the distinct keys of
//! its ids, `forward` fetches their rows from their owners and pools them, `backward` sums the
//! gradients of each key and updates its row where it lives.
//!
//! This crate knows ids, floats and ranks; it does not know tensors, batches of columns or files.
//!
//! Letters: B rows of a batch, D width of a row, F features, N occurrences of keys in a batch,
//! R ranks, S floats of optimizer state per row, T tables, U distinct keys, V rows of a table.

#![expect(
    clippy::inline_always,
    reason = "a kernel gets wide registers only where it is inlined into `simd::dispatch`"
)]

mod admission;
mod answer;
mod backing;
mod bags;
mod collection;
mod distinct;
mod error;
mod exchange;
mod expiry;
mod export;
mod feature;
mod floats;
mod ids;
mod index;
mod initial;
mod lookup;
mod occurrences;
mod optimizer;
mod options;
mod parallel;
mod placement;
mod plan;
mod planner;
mod pool;
mod prepare;
mod row;
mod rule;
mod sharding;
mod simd;
mod sketch;
mod slab;
mod step;
mod storage;
mod stream;
mod sums;
mod table;
#[cfg(test)]
mod tests;
mod turnover;
mod width;
mod wire;

pub use admission::{Admission, FilterState, RowCounts, Unadmitted};
pub use backing::{Backing, PageFaults};
pub use collection::{EmbeddingCollection, TableInfo};
pub use error::EmbeddingError;
pub use exchange::Exchanger;
pub use expiry::Expiry;
pub use export::{Export, Rows};
pub use feature::{FeatureOptions, Keep, Pooling};
pub use ids::{Ids, Layout, Mode};
pub use index::{ABSENT, CuckooIndex};
pub use optimizer::{Decay, OptimizerOptions};
pub use options::{IndexKind, Init, TABLE_NAME_BYTES_MAX, TableOptions};
pub use placement::{BUCKETS, bucket};
pub use planner::{
    Alternative, Calibration, CostedPlan, EmptyStep, KeyCurve, Link, Lookup, MessageTime,
    OccurrenceTime, PlacedTable, RankCost, Resources, RowTime, RowsFrom, ShardingKind, TableLoad,
    TablePlanner, Wish, calibrate,
};
pub use prepare::{Prepared, Preparer};
pub use sharding::{Sharding, ShardingPlan};
pub use sketch::SketchState;
pub use storage::Storage;
pub use turnover::TableTotals;
pub use wire::Wire;
