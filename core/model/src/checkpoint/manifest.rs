//! `manifest.json` of a checkpoint.

use rectool_base::Schema;
use serde::{Deserialize, Serialize};

use crate::{DlrmSpec, TrainingState};

/// The value of [`CheckpointManifest::format`].
pub(super) const FORMAT_NAME: &str = "rectool-checkpoint";
/// The format that is written, and the newest that is read.
pub(super) const FORMAT_VERSION: u32 = 1;
/// The manifest's file name.
pub(super) const MANIFEST_FILE: &str = "manifest.json";
/// The dense weights' file name.
pub(super) const DENSE_FILE: &str = "dense.safetensors";

/// What a checkpoint folder says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckpointManifest {
    /// `rectool-checkpoint`.
    pub format: String,
    /// Format version, from 1.
    pub version: u32,
    /// Options of the model, its feature chain among them.
    pub model: DlrmSpec,
    /// Dataset columns that the model reads.
    pub schema: Schema,
    /// Number of ranks that wrote it.
    pub ranks: usize,
    /// Where the training stood.
    pub state: TrainingState,
    /// Steps of the dense optimizer.
    pub dense_optimizer_steps: u64,
    /// Tables.
    pub tables: Vec<TableEntry>,
    /// Plugins that are part of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginEntry>,
    /// Every other file of the folder.
    pub files: Vec<FileEntry>,
    /// `rectool 0.1.0`.
    pub written_by: String,
}

/// One table of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Name and folder.
    pub name: String,
    /// Width D.
    pub dim: usize,
    /// Floats of optimizer state per row.
    pub state_width: usize,
    /// Rows in all parts: those that training touched.
    pub rows: u64,
}

/// One plugin of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginEntry {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the component, 64 hex digits.
    pub sha256: String,
    /// `transform` or `loss`.
    pub kind: String,
    /// The component within the folder; `None` for a plugin that is not WebAssembly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
}

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path below the folder, with `/`.
    pub file: String,
    /// Size.
    pub bytes: u64,
    /// XXH3-64 of the content, 16 hex digits.
    pub xxh3: String,
    /// Rows of a table part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
}
