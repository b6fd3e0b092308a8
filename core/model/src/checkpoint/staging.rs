//! A checkpoint folder on its way to its final name.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::files::{HashedFile, sync_folder};
use super::manifest::{CheckpointManifest, FileEntry, MANIFEST_FILE};
use crate::{Checkpoint, ModelError};

/// Name of a folder that is being written, before the final name.
const WRITING: &str = ".writing-";
/// Name of a folder whose final name goes to another one.
const REPLACED: &str = ".replaced-";
/// Name of a folder that is being removed.
const REMOVING: &str = ".removing-";

/// Where a checkpoint is written, and where it will lie.
#[derive(Clone, Debug)]
pub(super) struct Staging {
    work: PathBuf,
    path: PathBuf,
}

fn beside(path: &Path, prefix: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{prefix}{name}"))
}

impl Staging {
    pub(super) fn new(path: &Path) -> Self {
        Self { work: beside(path, WRITING), path: path.to_owned() }
    }

    /// Makes the folder, with one for every table.
    pub(super) fn prepare<'a>(
        &self,
        tables: impl Iterator<Item = &'a str>,
    ) -> Result<(), ModelError> {
        if self.work.exists() {
            fs::remove_dir_all(&self.work).map_err(ModelError::io("removing", &self.work))?;
        }
        let tables = tables.map(|table| self.work.join("tables").join(table));
        for folder in std::iter::once(self.work.clone()).chain(tables) {
            fs::create_dir_all(&folder).map_err(ModelError::io("creating", folder))?;
        }
        Ok(())
    }

    /// Where the file with this name below the checkpoint is written.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Writes a whole file.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<FileEntry, ModelError> {
        let path = self.file(name);
        let write = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut file = HashedFile::create(&path)?;
            file.write_all(content)?;
            file.finish()
        };
        let (bytes, xxh3) = write().map_err(ModelError::io("writing", &path))?;
        Ok(FileEntry { file: name.to_owned(), bytes, xxh3, rows: None, columns: None })
    }

    /// Writes the manifest and gives the folder its name; returns the checkpoint's identity.
    pub(super) fn finish(&self, manifest: &CheckpointManifest) -> Result<String, ModelError> {
        let (text, identity) = manifest.sealed();
        self.write(MANIFEST_FILE, text.as_bytes())?;
        self.publish(manifest)?;
        Ok(identity)
    }

    /// Makes the names of what was written durable, then gives the folder its own.
    fn publish(&self, manifest: &CheckpointManifest) -> Result<(), ModelError> {
        let folders: BTreeSet<&Path> = manifest
            .files
            .iter()
            .flat_map(|entry| Path::new(&entry.file).ancestors().skip(1))
            .collect();
        for folder in folders.into_iter().rev() {
            let folder = self.work.join(folder);
            sync_folder(&folder).map_err(ModelError::io("writing", folder))?;
        }
        self.rename().map_err(ModelError::io("renaming to", &self.path))
    }

    /// Copies the file with this name from another checkpoint.
    fn copy(&self, from: &Path, name: &str) -> Result<(), ModelError> {
        let path = self.file(name);
        let copy = || {
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::copy(from.join(name), &path)?;
            File::open(&path)?.sync_all()
        };
        copy().map_err(ModelError::io("copying to", &path))
    }

    /// An older folder of that name goes only once it is out of the way.
    fn rename(&self) -> io::Result<()> {
        let old = beside(&self.path, REPLACED);
        if self.path.exists() {
            fs::rename(&self.path, &old)?;
        }
        fs::rename(&self.work, &self.path)?;
        if let Some(parent) = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        if old.exists() {
            fs::remove_dir_all(&old)?;
        }
        Ok(())
    }

    /// Forgets what was written.
    pub(super) fn discard(&self) {
        // The error that led here is what matters; a leftover folder has no final name.
        let _ = fs::remove_dir_all(&self.work);
    }
}

/// Copies a checkpoint that stands alone.
pub(super) fn copy(from: &Checkpoint, path: &Path) -> Result<(), ModelError> {
    let staging = Staging::new(path);
    staging.prepare(std::iter::empty())?;
    let files = from.manifest().files.iter().map(|entry| entry.file.as_str());
    files.chain([MANIFEST_FILE]).try_for_each(|name| staging.copy(from.path(), name))?;
    staging.publish(from.manifest())
}

/// Removes a checkpoint. A crash leaves it whole or without its name.
pub(super) fn remove(path: &Path) -> Result<(), ModelError> {
    let removing = beside(path, REMOVING);
    let remove = || {
        fs::rename(path, &removing)?;
        fs::remove_dir_all(&removing)
    };
    remove().map_err(ModelError::io("removing", path))
}

/// Clears away what a process that was killed left in a folder of checkpoints; a checkpoint that had
/// lost its name to one that never came gets it back. No other process may write there.
///
/// # Errors
/// If something cannot be renamed or removed.
pub fn clean(folder: &Path) -> Result<(), ModelError> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(ModelError::io("reading", folder))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let lost = name.strip_prefix(REPLACED).map(|name| folder.join(name));
        let done = match lost {
            Some(lost) if !lost.exists() => fs::rename(&path, lost),
            Some(_) => fs::remove_dir_all(&path),
            None if name.starts_with(WRITING) || name.starts_with(REMOVING) => {
                fs::remove_dir_all(&path)
            }
            None => Ok(()),
        };
        done.map_err(ModelError::io("removing", &path))?;
    }
    Ok(())
}
