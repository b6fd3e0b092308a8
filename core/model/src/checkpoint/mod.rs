//! Checkpoints: folders that any number of ranks can load. `CHECKPOINT.md` is the format.
//!
//! Everything is written into a temporary sibling folder, flushed to disk, and renamed: a crash at
//! any moment leaves the earlier checkpoints as they were, and no half one under a final name.
//!
//! Files are trusted only as far as they are checked: the chain and every checksum before any
//! content, and the structure of what is read on top of that.

mod chain;
mod dense;
mod diff;
mod export;
mod files;
mod filter;
mod folder;
mod manifest;
mod manifest_check;
mod part;
mod part_read;
mod part_write;
mod plugins;
mod read;
mod reshard;
mod saved;
mod staging;
mod table_rows;
#[cfg(test)]
mod tests;
mod write;

use std::path::Path;

use crate::ModelError;

pub use chain::Chain;
pub use diff::{CheckpointDiff, ManifestDiff, TableDiff, TensorDiff};
pub use export::{ExportColumns, ExportFormat};
pub(crate) use folder::{CheckpointFolder, Form};
pub(crate) use manifest::MANIFEST_FILE;
pub use manifest::{
    CheckpointManifest, DeltaEntry, FileEntry, Link, PluginEntry, RecipeEntry, TableEntry,
};
pub(crate) use read::load_weights;
pub use read::{Checkpoint, latest};
pub(crate) use saved::Saved;
pub use staging::clean as clean_checkpoints;

fn misfit(
    path: &Path,
    what: &str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> ModelError {
    ModelError::Checkpoint {
        path: path.to_owned(),
        what: what.to_owned(),
        found: found.into(),
        expected: expected.into(),
    }
}
