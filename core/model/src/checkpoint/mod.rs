//! Checkpoints: folders that any number of ranks can load.
//!
//! ```text
//! step-00001200/
//!   manifest.json              written last; without it the folder is not a checkpoint
//!   dense.safetensors          MLP weights, and the optimizer's state beside each
//!   tables/<name>/part-00000.arrow   keys, values, optimizer state; one part per rank
//!   plugins/<sha256>.wasm      components of the model's transforms and loss; .wat if they are text
//! ```
//!
//! Everything is written into a temporary sibling folder, flushed to disk, and renamed: a crash at
//! any moment leaves the earlier checkpoints as they were, and no half one under a final name.

mod dense;
mod files;
mod manifest;
mod plugins;
mod read;
mod table_part;
mod write;

pub use manifest::{CheckpointManifest, FileEntry, PluginEntry, TableEntry};
pub(crate) use read::load_weights;
pub use read::{Checkpoint, latest};
pub(crate) use write::CheckpointFolder;
