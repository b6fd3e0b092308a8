//! The plugins of a model, kept with its weights.

use std::fs;

use rectool_base::PluginCall;

use super::Checkpoint;
use super::manifest::{FileEntry, PluginEntry};
use super::staging::Staging;
use crate::{ModelError, ModelSpec, Ranker};

/// The folder's name.
const FOLDER: &str = "plugins";

/// The file of a component, or of the WebAssembly text that stands for one.
fn file_of(call: &PluginCall, content: &[u8]) -> String {
    let extension = if content.starts_with(b"\0asm") { "wasm" } else { "wat" };
    format!("{FOLDER}/{}.{extension}", call.sha256)
}

fn content(ranker: &Ranker, call: &PluginCall) -> Option<std::sync::Arc<[u8]>> {
    ranker.plugins.content(&call.sha256)
}

/// Writes the components.
pub(super) fn write(ranker: &Ranker, staging: &Staging) -> Result<Vec<FileEntry>, ModelError> {
    let mut files = Vec::new();
    for (_, call) in ranker.spec.plugins() {
        let Some(bytes) = content(ranker, call) else { continue };
        files.push(staging.write(&file_of(call, &bytes), &bytes)?);
    }
    Ok(files)
}

/// What the manifest says of the plugins, some of which may have no component among `files`.
pub(super) fn entries(ranker: &Ranker, files: &[FileEntry]) -> Vec<PluginEntry> {
    let entry = |(kind, call): (&'static str, &PluginCall)| {
        let file = content(ranker, call).map(|bytes| file_of(call, &bytes));
        PluginEntry {
            name: call.name.clone(),
            version: call.version.clone(),
            sha256: call.sha256.clone(),
            kind: kind.to_owned(),
            file: file.filter(|file| files.iter().any(|entry| entry.file == *file)),
        }
    };
    ranker.spec.plugins().into_iter().map(entry).collect()
}

/// Fails if the checkpoint was made with other code under the name of one of `wanted`'s plugins:
/// weights that learnt from one function's output mean nothing to another's.
pub(super) fn expect_same(checkpoint: &Checkpoint, wanted: &ModelSpec) -> Result<(), ModelError> {
    let identity = |version: &str, sha256: &str| format!("{version} (sha256 {sha256})");
    for (_, call) in wanted.plugins() {
        let mut own = checkpoint.manifest().plugins.iter().filter(|own| own.name == call.name);
        let Some(first) = own.next() else { continue };
        if first.sha256 == call.sha256 || own.any(|own| own.sha256 == call.sha256) {
            continue;
        }
        return Err(ModelError::PluginDiffers {
            path: checkpoint.path().to_owned(),
            plugin: call.name.clone(),
            found: identity(&first.version, &first.sha256),
            expected: identity(&call.version, &call.sha256),
            kept: first.file.as_ref().map(|file| checkpoint.path().join(file)),
        });
    }
    Ok(())
}

impl Checkpoint {
    /// The component of the plugin with this SHA-256; `None` if the checkpoint does not hold it.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn plugin_bytes(&self, sha256: &str) -> Result<Option<Vec<u8>>, ModelError> {
        let entry = self.manifest().plugins.iter().find(|entry| entry.sha256 == sha256);
        let Some(file) = entry.and_then(|entry| entry.file.as_ref()) else { return Ok(None) };
        // Only files of the list were checked to lie below the folder.
        let Some(listed) = self.manifest().files.iter().find(|entry| entry.file == *file) else {
            return Ok(None);
        };
        let path = self.path().join(&listed.file);
        fs::read(&path).map(Some).map_err(ModelError::io("reading", path))
    }
}
