//! One shard: mapped, verified and decoded by whoever touches it first.

use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arrow_buffer::Buffer;
use rectool_base::{MappedFile, Schema};
use xxhash_rust::xxh3::xxh3_64;

use crate::decode::{Block, decode_shard};
use crate::{DataError, ShardManifest, Verify};

/// A shard that may not have been opened yet.
pub(crate) struct Shard {
    path: PathBuf,
    manifest: ShardManifest,
    verify: Verify,
    blocks: OnceLock<Vec<Block>>,
    opening: Mutex<()>,
}

impl Shard {
    pub(crate) fn new(path: PathBuf, manifest: ShardManifest, verify: Verify) -> Self {
        let (blocks, opening) = (OnceLock::new(), Mutex::new(()));
        Self { path, manifest, verify, blocks, opening }
    }

    /// The record batches, none empty. The first call maps, verifies and decodes the file, and
    /// other threads wait for it; after an error the next call tries again.
    #[inline]
    pub(crate) fn blocks(&self, schema: &Schema) -> Result<&[Block], DataError> {
        match self.blocks.get() {
            Some(blocks) => Ok(blocks),
            None => self.open(schema),
        }
    }

    #[cold]
    fn open(&self, schema: &Schema) -> Result<&[Block], DataError> {
        // Nothing is changed under the lock before success, so a panic leaves nothing half done.
        let _opening = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks);
        }
        let blocks = read_shard(&self.path, &self.manifest, self.verify, schema)?;
        Ok(self.blocks.get_or_init(|| blocks))
    }

    /// Opens the file afresh with every check there is, and forgets it again.
    pub(crate) fn check(&self, schema: &Schema) -> Result<(), DataError> {
        read_shard(&self.path, &self.manifest, Verify::Checksum, schema).map(drop)
    }
}

fn read_shard(
    path: &Path,
    manifest: &ShardManifest,
    verify: Verify,
    schema: &Schema,
) -> Result<Vec<Block>, DataError> {
    check_size(path, manifest)?;
    let file = MappedFile::open(path).map_err(DataError::io(path))?;
    // Between the check and the mapping the file may have been replaced.
    same_size(path, manifest, file.bytes().len() as u64)?;
    if verify == Verify::Checksum {
        let found = format!("{:016x}", xxh3_64(file.bytes()));
        if found != manifest.xxh3 {
            let (path, expected) = (path.to_owned(), manifest.xxh3.clone());
            return Err(DataError::Checksum { path, expected, found });
        }
    }
    decode_shard(path, &mapped_buffer(file), schema, manifest.rows)
}

/// Checks that the file exists and has the size that the manifest says.
pub(crate) fn check_size(path: &Path, manifest: &ShardManifest) -> Result<(), DataError> {
    let metadata = std::fs::metadata(path).map_err(DataError::io(path))?;
    if !metadata.is_file() {
        return Err(DataError::Shard {
            path: path.to_owned(),
            what: "kind".into(),
            expected: "a file".into(),
            found: "a folder or device".into(),
        });
    }
    same_size(path, manifest, metadata.len())
}

fn same_size(path: &Path, manifest: &ShardManifest, found: u64) -> Result<(), DataError> {
    if found == manifest.bytes {
        return Ok(());
    }
    Err(DataError::Shard {
        path: path.to_owned(),
        what: "size".into(),
        expected: format!("{} bytes", manifest.bytes),
        found: format!("{found} bytes"),
    })
}

/// The mapped file as an arrow buffer, which keeps it mapped.
pub(crate) fn mapped_buffer(file: MappedFile) -> Buffer {
    let file = Arc::new(file);
    let start = NonNull::from(file.bytes()).cast::<u8>();
    let length = file.bytes().len();
    // SAFETY: `start` and `length` are those of the mapping, which is read-only, does not move, and
    // lives until the buffer drops its share of `file`.
    #[expect(unsafe_code, reason = "arrow has no safe way to borrow a mapping")]
    unsafe {
        Buffer::from_custom_allocation(start, length, file)
    }
}
