//! Input files: plain, gzip or Zstandard by what they begin with.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::DataError;

const READ_BYTES: usize = 256 << 10;

/// A file whose bytes are counted as they are read.
struct CountedFile {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for CountedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// The decompressed bytes of `path`; `bytes` counts those of the file.
pub(super) fn open(path: &Path, bytes: &Arc<AtomicU64>) -> Result<Box<dyn Read + Send>, DataError> {
    let file = File::open(path).map_err(DataError::io(path))?;
    let counted = CountedFile { file, bytes: Arc::clone(bytes) };
    let mut reader = BufReader::with_capacity(READ_BYTES, counted);
    let start = reader.fill_buf().map_err(DataError::io(path))?;
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        // A Zstandard frame, or the skippable one that parallel compressors begin with.
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
            let decoder = zstd::Decoder::with_buffer(reader).map_err(DataError::io(path))?;
            Box::new(decoder)
        }
        _ => Box::new(reader),
    })
}

/// The size of an input file, which must be there.
pub(super) fn size(path: &Path) -> Result<u64, DataError> {
    Ok(std::fs::metadata(path).map_err(DataError::io(path))?.len())
}
