//! Durable files with checksums.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

/// Writes a file through a checksum and flushes it to disk.
pub(super) struct HashedFile {
    file: io::BufWriter<File>,
    hash: Xxh3,
    bytes: u64,
}

impl HashedFile {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = io::BufWriter::with_capacity(1 << 20, File::create(path)?);
        Ok(Self { file, hash: Xxh3::new(), bytes: 0 })
    }

    /// Flushes to disk; gives size and checksum.
    pub(super) fn finish(self) -> io::Result<(u64, String)> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.bytes, hex(self.hash.digest())))
    }
}

impl Write for HashedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Size and checksum of a file.
pub(super) fn measure(path: &Path) -> io::Result<(u64, String)> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3::new();
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((bytes, hex(hash.digest())));
        }
        hash.update(&buffer[..read]);
        bytes += read as u64;
    }
}

/// Makes a folder's entries durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A checksum as manifests hold it.
pub(super) fn hex(digest: u64) -> String {
    format!("{digest:016x}")
}
