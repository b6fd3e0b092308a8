//! Shard datasets: import, verified reading, deterministic order, prefetching loader.
//!
//! A dataset is a folder of Arrow files with a manifest (`FORMAT.md` has the rules). A [`Dataset`]
//! opens it, a [`Split`] gathers rows by number, an [`Order`] says which rows come when, and a
//! [`Loader`] makes batches ahead of time, with a [`FeatureChain`] applied to their columns. A
//! [`SideTable`] adds columns to rows while they are read.
//! [`import`] makes datasets of files of other formats, [`divide`] makes splits of interactions.

mod cells;
mod chain;
mod column;
mod dataset;
mod decode;
mod error;
#[cfg(test)]
mod fixture;
mod guarded;
mod io_error;
mod items;
mod loader;
mod manifest;
mod manifest_check;
mod order;
#[cfg(test)]
mod read_tests;
mod shard;
mod shard_schema;
mod side;
mod split;
mod values;
mod vectors;

pub use cells::Cells;
pub use chain::{ChainOp, ChainSpec, ChainStep, FeatureChain, Keep};
pub use column::append_rows;
pub use dataset::{Dataset, ShardFault, Verify};
pub use error::DataError;
pub use io_error::{arrow_io_error, parquet_io_error};
pub use loader::{LastBatch, Loader, LoaderOptions, Negatives, ReaderState};
pub use manifest::{
    FORMAT_NAME, FORMAT_VERSION, IdStatistics, MANIFEST_FILE, Manifest, ShardManifest,
    SplitManifest,
};
pub use order::{Order, OrderOptions, Shuffle};
pub use side::{AbsentKey, SideOptions, SideTable};
pub use split::Split;
pub use vectors::{
    AttributeColumn, AttributeValues, HitRow, VectorColumns, VectorTable, is_table, write_hits,
};

// Writing side.
pub mod divide;
pub mod import;
pub mod synth;
mod writer;

pub use writer::{Compression, DatasetWriter, SHARD_ROWS, WriterOptions};
