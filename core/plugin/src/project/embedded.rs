//! The SDKs and templates that come inside the program.

use std::path::Path;

use include_dir::{Dir, DirEntry, include_dir};

use super::ProjectError;

/// `sdk/` of the repository.
pub(super) static SDK: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../sdk");

/// Writes every file below `folder`, whose path starts with `strip`, into `into`, after `edit` of its
/// path and, if it is text, its content.
pub(super) fn unpack(
    folder: &Dir<'_>,
    strip: &Path,
    into: &Path,
    edit: &dyn Fn(&str) -> String,
) -> Result<(), ProjectError> {
    for entry in folder.entries() {
        match entry {
            DirEntry::Dir(folder) => unpack(folder, strip, into, edit)?,
            DirEntry::File(file) => {
                let path = file.path().strip_prefix(strip).unwrap_or(file.path());
                let path = into.join(edit(&path.to_string_lossy()));
                let content = match file.contents_utf8() {
                    Some(text) => edit(text).into_bytes(),
                    None => file.contents().to_vec(),
                };
                write(&path, &content)?;
            }
        }
    }
    Ok(())
}

/// Writes a file, and the folders above it, unless it holds `content` already: build tools look at
/// times of change.
fn write(path: &Path, content: &[u8]) -> Result<(), ProjectError> {
    if std::fs::read(path).is_ok_and(|found| found == content) {
        return Ok(());
    }
    let failed = |source| ProjectError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, content).map_err(failed)
}
