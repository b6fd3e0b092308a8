//! `manifest.json` of a checkpoint.

use std::path::Path;

use rectool_base::Schema;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::files::hex;
use crate::{ModelSpec, TrainingState};

/// The value of [`CheckpointManifest::format`].
pub(super) const FORMAT_NAME: &str = "rectool-checkpoint";
/// The format that is written, and the newest that is read.
pub(super) const FORMAT_VERSION: u32 = 2;
/// The last version whose parts have no `last_seen` and `count`.
pub(super) const UNDATED_VERSION: u32 = 1;
/// The manifest's file name.
pub(crate) const MANIFEST_FILE: &str = "manifest.json";
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
    pub model: ModelSpec,
    /// Dataset columns that the model reads.
    pub schema: Schema,
    /// Number of ranks that wrote it.
    pub ranks: usize,
    /// Where the training stood.
    pub state: TrainingState,
    /// Steps of the dense optimizer.
    pub dense_optimizer_steps: u64,
    /// Updates of the tables so far: what rows' `last_seen` counts.
    pub table_steps: u64,
    /// Tables.
    pub tables: Vec<TableEntry>,
    /// Plugins that are part of the model.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginEntry>,
    /// The recipe that trained it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<RecipeEntry>,
    /// What it builds on, if it holds only what changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta: Option<DeltaEntry>,
    /// Every other file of the folder.
    pub files: Vec<FileEntry>,
    /// `rectool 0.1.0`.
    pub written_by: String,
    /// The identity: a checksum of the manifest's own text. Of version 1 empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manifest_xxh3: String,
}

/// What stands in for the checksum while it is taken.
const UNSEALED: &str = "0000000000000000";
/// What comes before the checksum in the text.
const SEAL: &str = "\"manifest_xxh3\": \"";

impl CheckpointManifest {
    /// The text with the checksum in its place, and the checksum.
    pub(super) fn sealed(&self) -> (String, String) {
        let unsealed = Self { manifest_xxh3: UNSEALED.to_owned(), ..self.clone() };
        let text = serde_json::to_string_pretty(&unsealed).expect("the manifest is plain data");
        let (place, identity) = seal(&text).expect("the text holds the checksum's place");
        (text[..place].to_owned() + &identity + &text[place + UNSEALED.len()..], identity)
    }
}

/// Where the checksum of a manifest's text stands, and what it should be.
pub(super) fn seal(text: &str) -> Option<(usize, String)> {
    let place = text.rfind(SEAL)? + SEAL.len();
    let rest = text.get(place + UNSEALED.len()..)?;
    let mut hash = Xxh3::new();
    for part in [&text[..place], UNSEALED, rest] {
        hash.update(part.as_bytes());
    }
    Some((place, hex(hash.digest())))
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
    /// Rows in all parts: those that training touched, in a delta since its parent.
    pub rows: u64,
    /// Keys whose rows went since the parent of a delta.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub removed: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(number: &u64) -> bool {
    *number == 0
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

/// The recipe that a training followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecipeEntry {
    /// Its file's name.
    pub name: String,
    /// XXH3-64 of its text, 16 hex digits.
    pub xxh3: String,
}

impl RecipeEntry {
    /// Of a recipe's file and its text.
    pub fn of(path: &Path, text: &str) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { name, xxh3: hex(xxh3_64(text.as_bytes())) }
    }
}

/// What a delta builds on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeltaEntry {
    /// The checkpoint that this one changes.
    pub parent: Link,
    /// The first one of the chain, which stands alone.
    pub base: Link,
    /// Place in the chain: 1 on the base.
    pub sequence: u32,
    /// The parent's `table_steps`: later rows are in the delta.
    pub since_step: u64,
}

/// A checkpoint beside this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its folder's name.
    pub name: String,
    /// XXH3-64 of its manifest, 16 hex digits.
    pub identity: String,
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
    /// First column and end of a part that does not hold all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<[usize; 2]>,
}
