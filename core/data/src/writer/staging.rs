//! The temporary folder that becomes the dataset.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rectool_base::write_whole;

use crate::DataError;
use crate::manifest::{MANIFEST_FILE, Manifest};

/// `<out>.tmp-<process>-<n>`, removed when dropped uncommitted.
#[derive(Debug)]
pub(super) struct Staging {
    out: PathBuf,
    folder: PathBuf,
    overwrite: bool,
    committed: bool,
}

impl Staging {
    pub(super) fn create(out: &Path, overwrite: bool) -> Result<Self, DataError> {
        if out.file_name().is_none() {
            return Err(DataError::Option {
                option: "out",
                expected: "the path of a new folder".into(),
                found: format!("`{}`", out.display()),
            });
        }
        check_free(out, overwrite)?;
        let parent = parent_of(out);
        fs::create_dir_all(parent).map_err(DataError::io(parent))?;
        let folder = create_sibling(out, "tmp", |path| fs::create_dir(path))?;
        Ok(Self { out: out.to_owned(), folder, overwrite, committed: false })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes the manifest and renames the folder to its final name. What stood there before is
    /// moved aside first and removed last, so that it comes back if the renaming fails.
    pub(super) fn commit(mut self, manifest: &Manifest) -> Result<(), DataError> {
        for split in &manifest.splits {
            sync_folder(&self.folder.join(&split.name))?;
        }
        self.write_manifest(manifest)?;
        sync_folder(&self.folder)?;
        check_free(&self.out, self.overwrite)?;
        let exists = fs::symlink_metadata(&self.out).is_ok();
        let old = if exists {
            let rename_to = |path: &Path| match fs::symlink_metadata(path) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(_) => fs::rename(&self.out, path),
            };
            Some(create_sibling(&self.out, "old", rename_to)?)
        } else {
            None
        };
        if let Err(source) = fs::rename(&self.folder, &self.out) {
            if let Some(old) = &old {
                fs::rename(old, &self.out).map_err(DataError::io(old))?;
            }
            return Err(DataError::Io { path: self.out.clone(), source });
        }
        self.committed = true;
        sync_folder(parent_of(&self.out))?;
        old.map_or(Ok(()), |old| fs::remove_dir_all(&old).map_err(DataError::io(&old)))
    }

    fn write_manifest(&self, manifest: &Manifest) -> Result<(), DataError> {
        let text = serde_json::to_string_pretty(manifest).expect("a manifest has only string keys");
        let path = self.folder.join(MANIFEST_FILE);
        write_whole(&path, (text + "\n").as_bytes()).map_err(DataError::io(&path))
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.committed {
            // Nothing is lost if this fails: the folder has no manifest under its final name.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

/// Refuses a place that is taken, or that may not be replaced: `--overwrite` on a home folder must
/// not remove it.
fn check_free(out: &Path, overwrite: bool) -> Result<(), DataError> {
    if fs::symlink_metadata(out).is_err() {
        return Ok(());
    }
    if !overwrite {
        return Err(DataError::OutputExists { path: out.to_owned() });
    }
    let is_empty = fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    if is_empty || out.join(MANIFEST_FILE).is_file() {
        return Ok(());
    }
    Err(DataError::Option {
        option: "overwrite",
        expected: "a dataset or an empty folder to replace".into(),
        found: format!("`{}` without `{MANIFEST_FILE}`", out.display()),
    })
}

/// The first free `<out>.<word>-<process>-<n>` that `make` can make.
fn create_sibling(
    out: &Path,
    word: &str,
    make: impl Fn(&Path) -> io::Result<()>,
) -> Result<PathBuf, DataError> {
    let mut number = 0;
    loop {
        let path = sibling(out, &format!("{word}-{}-{number}", std::process::id()));
        match make(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(source) => return Err(DataError::Io { path, source }),
        }
    }
}

/// `<out>.<suffix>`.
pub(crate) fn sibling(out: &Path, suffix: &str) -> PathBuf {
    // Not by appending to the path: it may end with `/`.
    let mut name = out.file_name().map(OsString::from).unwrap_or_default();
    name.push(".");
    name.push(suffix);
    out.with_file_name(name)
}

fn parent_of(out: &Path) -> &Path {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), DataError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(DataError::io(path))
}
