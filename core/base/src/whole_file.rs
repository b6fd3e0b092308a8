//! Files that are there whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// A file that is written under another name beside its own, and gets its own once it is whole. Dropped
/// before, it is removed.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("report.html");
/// use rectool_base::WholeFile;
/// let file = WholeFile::at(&path);
/// std::fs::write(file.partial(), "all of it")?;
/// assert!(!path.exists());
/// file.publish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "all of it");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    partial: PathBuf,
}

impl WholeFile {
    /// That will be `path`; nothing is made yet. Processes that write the same file do not disturb each
    /// other: the last one wins.
    pub fn at(path: &Path) -> Self {
        let mut name = OsString::from(".writing-");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!("-{}", std::process::id()));
        Self { path: path.to_owned(), partial: path.with_file_name(name) }
    }

    /// Where it is to be written until then.
    pub fn partial(&self) -> &Path {
        &self.partial
    }

    /// Flushes what was written to disk, and gives it its name; a file that had it is replaced.
    ///
    /// # Errors
    /// If nothing was written, the disk fails, or the name is a folder's.
    pub fn publish(self) -> io::Result<()> {
        File::open(&self.partial)?.sync_all()?;
        fs::rename(&self.partial, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }
}

impl Drop for WholeFile {
    fn drop(&mut self) {
        // Gone already if all went well; if not, the error that came before is what matters.
        let _ = fs::remove_file(&self.partial);
    }
}

/// Writes `content` as the whole file `path`; see [`WholeFile`].
///
/// # Errors
/// If the folder is missing or the disk fails; what was at `path` is then still there.
pub fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let file = WholeFile::at(path);
    fs::write(file.partial(), content)?;
    file.publish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_whole_or_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let names = || {
            let entries = fs::read_dir(folder.path()).unwrap();
            entries.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>()
        };
        write_whole(&path, b"first").unwrap();
        let file = WholeFile::at(&path);
        fs::write(file.partial(), "half").unwrap();
        assert_eq!((names().len(), fs::read(&path).unwrap()), (2, b"first".to_vec()));
        drop(file);
        assert_eq!((names(), fs::read(&path).unwrap()), (vec!["a".into()], b"first".to_vec()));
        write_whole(&path, b"second").unwrap();
        assert_eq!((names(), fs::read(&path).unwrap()), (vec!["a".into()], b"second".to_vec()));

        assert!(WholeFile::at(&path).publish().is_err(), "nothing was written");
        assert!(write_whole(&folder.path().join("none/a"), b"x").is_err());
        fs::create_dir(folder.path().join("b")).unwrap();
        assert!(write_whole(&folder.path().join("b"), b"x").is_err(), "a folder has the name");
        assert_eq!(names().len(), 2);
    }
}
