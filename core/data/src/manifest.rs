//! `dataset.json`: what a dataset folder says about itself. The rules are in `FORMAT.md`.

use std::collections::BTreeMap;

use rectool_base::{ColumnKind, ColumnSchema, Schema};
use serde::{Deserialize, Serialize};

/// The value of [`Manifest::format`].
pub const FORMAT_NAME: &str = "rectool-dataset";
/// The newest format this code writes, and the newest it reads. Version 2 has columns of texts, and
/// lists of floats and of texts; a dataset without them is written as version 1.
pub const FORMAT_VERSION: u32 = 2;
/// The file's name within the dataset folder.
pub const MANIFEST_FILE: &str = "dataset.json";

/// Everything in `dataset.json`. Written last and atomically: a folder without it is no dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT_NAME`].
    pub format: String,
    /// The lowest version that has what the schema needs: see [`FORMAT_VERSION`].
    pub version: u32,
    /// Columns of every shard of every split.
    pub schema: Schema,
    /// Least and greatest id of each id column.
    #[serde(default)]
    pub ids: BTreeMap<String, IdStatistics>,
    /// The splits, by name (`train`, `valid`, `test`), in the order of writing.
    pub splits: Vec<SplitManifest>,
    /// `rectool 0.1.0`.
    #[serde(default)]
    pub written_by: String,
}

/// Range of the ids of one column over all splits: one entry per packed value, one for a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdStatistics {
    /// Least id seen, [`rectool_base::MISSING_ID`] left out; `i64::MAX` if none was seen.
    pub min: Vec<i64>,
    /// Greatest id seen; `i64::MIN` if none was seen.
    pub max: Vec<i64>,
    /// Values that were missing.
    pub missing: Vec<u64>,
}

/// One split of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitManifest {
    /// Name and folder.
    pub name: String,
    /// Rows of all its shards.
    pub rows: u64,
    /// Shards in row order.
    pub shards: Vec<ShardManifest>,
}

/// One shard: an Arrow IPC file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardManifest {
    /// Path below the dataset folder, with `/`: `train/00000.arrow`.
    pub file: String,
    /// Rows.
    pub rows: u64,
    /// File size.
    pub bytes: u64,
    /// XXH3-64 (seed 0) of the file, 16 hex digits.
    pub xxh3: String,
}

/// The lowest format version with all kinds of columns in `schema`.
pub(crate) fn version_of(schema: &Schema) -> u32 {
    let first = |column: &ColumnSchema| match column.kind {
        ColumnKind::F32 { .. } | ColumnKind::I64 { .. } | ColumnKind::I64List => 1,
        _ => 2,
    };
    schema.columns().iter().map(first).max().unwrap_or(1)
}

impl Manifest {
    /// Total rows over all splits.
    pub fn rows(&self) -> u64 {
        self.splits.iter().map(|split| split.rows).sum()
    }
}
