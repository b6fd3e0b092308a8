//! The write-ahead log: a change is acknowledged when its record is on the disk.
//!
//! A log is a header of 16 bytes (`RECTWAL\n`, u32 version, u32 zero) and records: u32 length, u32
//! zero, u64 XXH3-64 of the payload, payload. A record holds all changes of one call, so that a call
//! counts whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_64;

use super::change::Change;
use crate::error::AnnError;

const HEADER: [u8; 16] = *b"RECTWAL\n\x01\0\0\0\0\0\0\0";
const RECORD_HEAD: usize = 16;

/// A log that is open for appending.
#[derive(Debug)]
pub(super) struct Wal {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// A write failed: what is on the disk is not known, so nothing more is acknowledged.
    broken: bool,
}

impl Wal {
    /// Makes a log with one record of `changes`, on the disk before it returns.
    pub(super) fn create(path: &Path, changes: &[Change]) -> Result<Self, AnnError> {
        let file = File::create(path).map_err(AnnError::io("create", path))?;
        let mut wal = Self { path: path.to_owned(), file, bytes: 0, broken: false };
        wal.write(&HEADER)?;
        wal.append(changes)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let opened = File::open(folder).and_then(|folder| folder.sync_all());
        opened.map_err(AnnError::io("flush", folder))?;
        Ok(wal)
    }

    /// Opens a log whose first `bytes` are whole, and cuts off what follows.
    pub(super) fn resume(path: &Path, bytes: u64) -> Result<Self, AnnError> {
        let opened = OpenOptions::new().write(true).open(path);
        let mut file = opened.map_err(AnnError::io("open", path))?;
        file.set_len(bytes)
            .and_then(|()| file.sync_all())
            .and_then(|()| file.seek(SeekFrom::End(0)))
            .map_err(AnnError::io("cut", path))?;
        Ok(Self { path: path.to_owned(), file, bytes, broken: false })
    }

    /// Appends a record of `changes` and waits until it is on the disk.
    pub(super) fn append(&mut self, changes: &[Change]) -> Result<(), AnnError> {
        let mut record = vec![0; RECORD_HEAD];
        for change in changes {
            change.write(&mut record);
        }
        let length = u32::try_from(record.len() - RECORD_HEAD);
        let length = length.map_err(|_| AnnError::Shape {
            what: "bytes of changes in one call",
            found: record.len(),
            expected: "below 4 GiB".to_owned(),
        })?;
        record[..4].copy_from_slice(&length.to_le_bytes());
        let checksum = xxh3_64(&record[RECORD_HEAD..]);
        record[8..16].copy_from_slice(&checksum.to_le_bytes());
        self.write(&record)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), AnnError> {
        if self.broken {
            let error = std::io::Error::other("an earlier write failed");
            return Err(AnnError::io("write", &self.path)(error));
        }
        let written = self.file.write_all(bytes).and_then(|()| self.file.sync_data());
        self.broken = written.is_err();
        self.bytes += bytes.len() as u64;
        written.map_err(AnnError::io("write", &self.path))
    }

    /// Bytes of the log.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What a log holds.
#[derive(Debug, PartialEq)]
pub(super) struct Replayed {
    pub(super) changes: Vec<Change>,
    /// Bytes up to the end of the last whole record.
    pub(super) bytes: u64,
}

/// Reads a log. A last record that was being written when the process died was never acknowledged
/// and is left out.
///
/// # Errors
/// If the file cannot be read, or a record in the middle of it is damaged.
pub(super) fn replay(path: &Path) -> Result<Replayed, AnnError> {
    let bytes = std::fs::read(path).map_err(AnnError::io("read", path))?;
    if !bytes.starts_with(&HEADER) {
        return Err(AnnError::corrupt(path, "first bytes", "others", "those of a log, version 1"));
    }
    let mut replayed = Replayed { changes: Vec::new(), bytes: HEADER.len() as u64 };
    loop {
        let rest = &bytes[replayed.bytes as usize..];
        let Some(record) = record(rest) else {
            return torn_or_damaged(path, rest, replayed);
        };
        let mut payload = record;
        while !payload.is_empty() {
            let Some(change) = Change::read(&mut payload) else {
                let at = format!("others at byte {}", replayed.bytes);
                return Err(AnnError::corrupt(path, "changes of a record", at, "changes"));
            };
            replayed.changes.push(change);
        }
        replayed.bytes += (RECORD_HEAD + record.len()) as u64;
    }
}

/// The payload of a whole record at the front.
fn record(bytes: &[u8]) -> Option<&[u8]> {
    let head = bytes.get(..RECORD_HEAD)?;
    let length = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let checksum = u64::from_le_bytes(head[8..].try_into().ok()?);
    let payload = bytes.get(RECORD_HEAD..RECORD_HEAD + length)?;
    (head[4..8] == [0; 4] && xxh3_64(payload) == checksum).then_some(payload)
}

/// A broken record is the mark of a crash if nothing whole comes after it; else it is damage.
fn torn_or_damaged(path: &Path, rest: &[u8], whole: Replayed) -> Result<Replayed, AnnError> {
    let follows = (1..rest.len()).any(|at| {
        // An empty payload is never written by a call; zeros after a crash must not pass for one.
        record(&rest[at..])
            .is_some_and(|payload| !payload.is_empty() && Change::read(&mut &*payload).is_some())
    });
    if follows {
        let at = format!("another at byte {}", whole.bytes);
        return Err(AnnError::corrupt(path, "checksum of a record", at, "the record's"));
    }
    Ok(whole)
}
