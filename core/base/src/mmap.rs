//! The only file mapping of the workspace.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// A file mapped read-only into memory.
///
/// Datasets and checkpoints are written once and renamed into place, never changed afterwards; that
/// rule is what makes the mapping sound. A file that is cut while mapped makes the process fail
/// with a bus error, as in every program that maps files.
pub struct MappedFile {
    map: memmap2::Mmap,
    path: PathBuf,
}

impl MappedFile {
    /// Maps `path`.
    ///
    /// # Errors
    /// If the file cannot be opened, is empty, or cannot be mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if file.metadata()?.len() == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is empty"));
        }
        // SAFETY: the mapping is read-only, and files of rectool are immutable once they have their
        // final name (see the type's documentation).
        #[expect(unsafe_code, reason = "the only file mapping; see the type's documentation")]
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Self { map, path: path.to_owned() })
    }

    /// The bytes of the file.
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// The file's path as it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl std::fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MappedFile({}, {} bytes)", self.path.display(), self.map.len())
    }
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        &self.map
    }
}
