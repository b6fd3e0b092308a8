//! Shared vocabulary of rectool: schema and batches, the traits that plugins implement, seeded
//! random streams, file mapping, limits, and hints.
//!
//! This crate has no heavy dependency and knows no other rectool crate. Dimension letters: B batch
//! rows, D embedding width, F features, V table rows, R ranks.

mod batch;
mod caught;
mod hash;
mod hint;
pub mod limits;
mod mmap;
mod plugin;
mod rng;
mod schema;
mod text;
mod texts;
mod traits;
mod whole_file;

pub use batch::{Batch, BatchPlace, Column, Jagged};
pub use caught::{catch_panic, panic_is_caught};
pub use hash::{bucket_of, hash_text, mix64};
pub use hint::{Hint, nearest_name, quoted_list};
pub use mmap::MappedFile;
pub use plugin::{NoPlugins, ParameterValue, PluginCall, PluginFault, PluginSource};
pub use rng::Stream;
pub use schema::{ColumnKind, ColumnSchema, Schema, SchemaError};
pub use text::{bytes_text, grouped};
pub use texts::{BrokenTexts, Texts};
pub use traits::{
    ItemStatistics, Labels, Loss, LossDemands, LossInput, Prediction, Sampler, Samples, Transform,
    TransformError,
};
pub use whole_file::{WholeFile, write_whole};

/// The id that stands for an absent categorical value: empty in a CSV, null in Parquet.
///
/// It is an ordinary key of a hashed table ("missing" learns its own row); in an unhashed table it
/// is out of range unless a chain step maps it.
pub const MISSING_ID: i64 = -1;
