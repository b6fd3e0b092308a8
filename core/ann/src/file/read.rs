//! Reading a part: what opens is whole in structure; `verify` compares every byte.

use std::path::{Path, PathBuf};

use bytemuck::{AnyBitPattern, PodCastError};
use rectool_base::MappedFile;
use xxhash_rust::xxh3::xxh3_64;

use super::layout::{ALIGNMENT, Entry, Header, Kind, MAGIC, SECTIONS_MAX, VERSION};
use super::meta::Meta;
use crate::error::AnnError;
use crate::kernel::Line;

/// Where the bytes are.
#[derive(Debug)]
enum Bytes {
    Mapped(MappedFile),
    Owned { lines: Vec<Line>, bytes: usize },
}

/// The sections of a part file.
#[derive(Debug)]
pub(crate) struct Sections {
    path: PathBuf,
    bytes: Bytes,
    entries: Vec<Entry>,
}

impl Sections {
    /// Maps a file.
    pub(crate) fn open(path: &Path) -> Result<Self, AnnError> {
        let map = MappedFile::open(path).map_err(AnnError::io("open", path))?;
        Self::new(path, Bytes::Mapped(map))
    }

    /// Takes bytes in memory for a file called `path`.
    pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<Self, AnnError> {
        let mut lines = vec![Line([0; 64]); bytes.len().div_ceil(64)];
        bytemuck::cast_slice_mut::<Line, u8>(&mut lines)[..bytes.len()].copy_from_slice(bytes);
        Self::new(path, Bytes::Owned { lines, bytes: bytes.len() })
    }

    fn new(path: &Path, bytes: Bytes) -> Result<Self, AnnError> {
        let mut sections = Self { path: path.to_owned(), bytes, entries: Vec::new() };
        if cfg!(target_endian = "big") {
            return Err(sections.corrupt("byte order", "big-endian machine", "little-endian"));
        }
        let all = sections.all();
        let Some(head) = all.get(..size_of::<Header>()) else {
            return Err(sections.corrupt("bytes", all.len(), "at least 64"));
        };
        let header: Header = bytemuck::pod_read_unaligned(head);
        if header.magic != MAGIC {
            return Err(sections.corrupt("first bytes", "others", "those of an index part"));
        }
        if header.version != VERSION {
            return Err(sections.corrupt("format version", header.version, VERSION));
        }
        sections.check("checksum of the header", xxh3_64(&head[..56]), header.checksum)?;
        sections.check("bytes", all.len() as u64, header.file_bytes)?;
        let table = all.get(header.table_offset as usize..).unwrap_or_default();
        let expected = header.sections as usize * size_of::<Entry>();
        if header.sections > SECTIONS_MAX || table.len() != expected {
            return Err(sections.corrupt("bytes of the section table", table.len(), expected));
        }
        sections.check("checksum of the section table", xxh3_64(table), header.table_checksum)?;
        let entries: Vec<Entry> =
            table.chunks_exact(size_of::<Entry>()).map(bytemuck::pod_read_unaligned).collect();
        for entry in &entries {
            let end = entry.offset.checked_add(entry.bytes);
            if entry.offset % ALIGNMENT != 0 || end.is_none_or(|end| end > header.table_offset) {
                let found = format!("{} bytes at {}", entry.bytes, entry.offset);
                return Err(sections.corrupt("a section", found, "one within the file"));
            }
        }
        sections.entries = entries;
        Ok(sections)
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn all(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Mapped(map) => map.bytes(),
            Bytes::Owned { lines, bytes } => &bytemuck::cast_slice(lines)[..*bytes],
        }
    }

    /// Bytes of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.all().len() as u64
    }

    /// An error about this file.
    pub(crate) fn corrupt(
        &self,
        what: &'static str,
        found: impl ToString,
        expected: impl ToString,
    ) -> AnnError {
        AnnError::corrupt(&self.path, what, found, expected)
    }

    fn check(&self, what: &'static str, found: u64, expected: u64) -> Result<(), AnnError> {
        if found == expected { Ok(()) } else { Err(self.corrupt(what, found, expected)) }
    }

    /// Every section with its entry.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Entry, &[u8])> {
        self.entries.iter().map(|entry| (entry, self.bytes_of(entry)))
    }

    fn entry(&self, kind: Kind, index: usize) -> Option<&Entry> {
        let key = (kind as u32, index as u32);
        self.entries.iter().find(|entry| (entry.kind, entry.index) == key)
    }

    fn bytes_of(&self, entry: &Entry) -> &[u8] {
        &self.all()[entry.offset as usize..][..entry.bytes as usize]
    }

    fn verify_entry(&self, entry: &Entry) -> Result<(), AnnError> {
        let found = xxh3_64(self.bytes_of(entry));
        if found == entry.checksum {
            return Ok(());
        }
        let found = format!("{found:016x} in section {}.{}", entry.kind, entry.index);
        Err(self.corrupt("checksum", found, format!("{:016x}", entry.checksum)))
    }

    /// Compares every section with its checksum, and what lies between them with zeros.
    pub(crate) fn verify(&self) -> Result<(), AnnError> {
        let mut ends = vec![size_of::<Header>() as u64];
        for entry in &self.entries {
            self.verify_entry(entry)?;
            ends.push(entry.offset + entry.bytes);
        }
        let all = self.all();
        for end in ends {
            let filling = end as usize..end.next_multiple_of(ALIGNMENT) as usize;
            if all.get(filling).is_some_and(|filling| filling.iter().any(|byte| *byte != 0)) {
                return Err(self.corrupt("bytes between sections", "others", "zeros"));
            }
        }
        Ok(())
    }

    /// Compares one section with its checksum.
    pub(crate) fn verify_section(&self, kind: Kind) -> Result<(), AnnError> {
        self.entries
            .iter()
            .filter(|entry| entry.kind == kind as u32)
            .try_for_each(|entry| self.verify_entry(entry))
    }

    /// Reads and checks the meta section.
    pub(crate) fn meta(&self) -> Result<Meta, AnnError> {
        self.verify_section(Kind::Meta)?;
        let entry = self.entry(Kind::Meta, 0);
        let Some(entry) = entry else { return Err(self.corrupt("sections", "no meta", "meta")) };
        serde_json::from_slice(self.bytes_of(entry))
            .map_err(|error| self.corrupt("meta", error, "what this version writes"))
    }

    /// Checks that a section of `count` values of type T is there.
    pub(crate) fn expect<T: AnyBitPattern>(
        &self,
        kind: Kind,
        index: usize,
        count: usize,
    ) -> Result<(), AnnError> {
        let found = self.try_values::<T>(kind, index).map(<[T]>::len);
        if found == Some(count) {
            return Ok(());
        }
        let found = found.map_or("none".to_owned(), |found| found.to_string());
        Err(self.corrupt("values of a section", found, format!("{count} of {kind:?} {index}")))
    }

    fn try_values<T: AnyBitPattern>(&self, kind: Kind, index: usize) -> Option<&[T]> {
        let cast: Result<&[T], PodCastError> =
            bytemuck::try_cast_slice(self.bytes_of(self.entry(kind, index)?));
        cast.ok()
    }

    /// The values of a section; none if it is not there.
    pub(crate) fn values<T: AnyBitPattern>(&self, kind: Kind, index: usize) -> &[T] {
        self.try_values(kind, index).unwrap_or_default()
    }
}
