//! Reading a manifest, trusting none of it.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use rectool_base::limits::EMBEDDING_DIM_MAX;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::files::hex;
use super::manifest::{
    CheckpointManifest, FORMAT_NAME, FORMAT_VERSION, FileEntry, TableEntry, UNDATED_VERSION, seal,
};
use super::misfit;
use super::write::count_rows;
use crate::ModelError;

/// Floats of optimizer state per value: more than any optimizer has.
const STATE_PER_VALUE_MAX: usize = 16;

/// The manifest in `text`, with every rule checked that needs no other file, and the checkpoint's
/// identity.
pub(super) fn parse(file: &Path, text: &[u8]) -> Result<(CheckpointManifest, String), ModelError> {
    let unreadable = |error: serde_json::Error| {
        misfit(file, "manifest", error.to_string(), "a checkpoint's manifest")
    };
    let mut value: Value = serde_json::from_slice(text).map_err(unreadable)?;
    if value["format"] != FORMAT_NAME {
        return Err(misfit(file, "`format`", value["format"].to_string(), FORMAT_NAME));
    }
    let version = value["version"].as_u64();
    if version.is_none_or(|version| version == 0 || version > u64::from(FORMAT_VERSION)) {
        let (path, found) = (file.to_owned(), value["version"].to_string());
        return Err(ModelError::CheckpointVersion { path, found, newest: FORMAT_VERSION });
    }
    if version == Some(u64::from(UNDATED_VERSION)) && value.is_object() {
        // Each training step updated the tables once.
        value["table_steps"] = value.pointer("/state/steps").cloned().unwrap_or(json!(0));
    }
    let identity = identity(file, text, &value)?;
    let manifest: CheckpointManifest = serde_json::from_value(value).map_err(unreadable)?;
    check_files(file, &manifest.files)?;
    check_tables(file, &manifest)?;
    if let Some(delta) = &manifest.delta {
        for link in [&delta.parent, &delta.base] {
            if !is_plain(&link.name) || link.name.contains('/') {
                let expected = "the name of a folder beside this one";
                return Err(misfit(file, "`delta`", format!("`{}`", link.name), expected));
            }
        }
    }
    Ok((manifest, identity))
}

/// Compares the manifest's own checksum.
fn identity(file: &Path, text: &[u8], manifest: &Value) -> Result<String, ModelError> {
    if manifest["version"] == UNDATED_VERSION {
        return Ok(hex(xxh3_64(text)));
    }
    let found = manifest["manifest_xxh3"].as_str().unwrap_or("none");
    let text = std::str::from_utf8(text).expect("what JSON was read from is UTF-8");
    match seal(text) {
        Some((_, expected)) if expected == found => Ok(expected),
        seal => {
            let expected = seal.map_or("one".to_owned(), |(_, expected)| expected);
            Err(misfit(file, "`manifest_xxh3`", found, expected))
        }
    }
}

/// Whether the path stays below where it starts.
fn is_plain(path: &str) -> bool {
    let parts = || Path::new(path).components();
    parts().next().is_some() && parts().all(|part| matches!(part, Component::Normal(_)))
}

fn check_files(file: &Path, files: &[FileEntry]) -> Result<(), ModelError> {
    let mut seen = BTreeSet::new();
    for entry in files {
        if !is_plain(&entry.file) {
            let expected = "a path below the checkpoint";
            return Err(misfit(file, "file name", format!("`{}`", entry.file), expected));
        }
        if !seen.insert(&entry.file) {
            let found = format!("`{}` twice", entry.file);
            return Err(misfit(file, "`files`", found, "each file once"));
        }
    }
    Ok(())
}

fn check_tables(file: &Path, manifest: &CheckpointManifest) -> Result<(), ModelError> {
    let mut seen = BTreeSet::new();
    for table in &manifest.tables {
        let TableEntry { name, dim, state_width, rows, removed } = table;
        if !seen.insert(name) || !is_plain(name) {
            let found = format!("table `{name}`");
            return Err(misfit(file, "`tables`", found, "plain names, each once"));
        }
        let state_max = STATE_PER_VALUE_MAX * dim.min(&EMBEDDING_DIM_MAX);
        if !(1..=EMBEDDING_DIM_MAX).contains(dim) || *state_width > state_max {
            let found = format!("D {dim} and {state_width} floats of state");
            let expected = format!("D 1 to {EMBEDDING_DIM_MAX}, state at most {state_max}");
            return Err(misfit(file, &format!("table `{name}`"), found, expected));
        }
        let counted = count_rows(manifest, table.clone());
        let (in_parts, in_removed) = (counted.rows, counted.removed);
        if (in_parts, in_removed) != (*rows, *removed) {
            let found = format!("{in_parts} rows and {in_removed} removed in files");
            let expected = format!("{rows} and {removed}");
            return Err(misfit(file, &format!("table `{name}`"), found, expected));
        }
    }
    Ok(())
}
