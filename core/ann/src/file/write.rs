//! Writing a part: section after section, then the table, then the header, then its name.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytemuck::Zeroable;
use rectool_base::WholeFile;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::layout::{ALIGNMENT, Entry, Header, Kind, MAGIC, VERSION};
use super::meta::Meta;
use super::read::Sections;
use crate::error::AnnError;

/// Writes a part file. Until [`Self::publish`] nothing is seen under its name.
pub(crate) struct PartWriter {
    path: PathBuf,
    file: BufWriter<File>,
    whole: WholeFile,
    offset: u64,
    entries: Vec<Entry>,
    hash: Option<Box<Xxh3>>,
}

impl PartWriter {
    /// Starts a file that will be called `path`.
    pub(crate) fn create(path: &Path) -> Result<Self, AnnError> {
        let whole = WholeFile::at(path);
        let file =
            File::create(whole.partial()).map_err(AnnError::io("create", whole.partial()))?;
        let mut writer = Self {
            path: path.to_owned(),
            file: BufWriter::with_capacity(1 << 20, file),
            whole,
            offset: 0,
            entries: Vec::new(),
            hash: None,
        };
        writer.put(bytemuck::bytes_of(&Header::zeroed()))?;
        Ok(writer)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), AnnError> {
        self.file.write_all(bytes).map_err(AnnError::io("write", &self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Begins a section, and ends the one before.
    pub(crate) fn begin(&mut self, kind: Kind, index: usize) -> Result<(), AnnError> {
        self.begin_raw(kind as u32, index as u32)
    }

    fn begin_raw(&mut self, kind: u32, index: u32) -> Result<(), AnnError> {
        self.end();
        let filling = self.offset.next_multiple_of(ALIGNMENT) - self.offset;
        self.put(&[0; ALIGNMENT as usize][..filling as usize])?;
        self.entries.push(Entry { kind, index, offset: self.offset, bytes: 0, checksum: 0 });
        self.hash = Some(Box::new(Xxh3::new()));
        Ok(())
    }

    /// Adds to the section.
    pub(crate) fn add<T: bytemuck::NoUninit>(&mut self, values: &[T]) -> Result<(), AnnError> {
        let bytes = bytemuck::cast_slice(values);
        if let Some(hash) = &mut self.hash {
            hash.update(bytes);
        }
        self.put(bytes)
    }

    /// A whole section.
    pub(crate) fn section<T: bytemuck::NoUninit>(
        &mut self,
        kind: Kind,
        index: usize,
        values: &[T],
    ) -> Result<(), AnnError> {
        self.begin(kind, index)?;
        self.add(values)
    }

    fn end(&mut self) {
        if let (Some(hash), Some(entry)) = (self.hash.take(), self.entries.last_mut()) {
            entry.bytes = self.offset - entry.offset;
            entry.checksum = hash.digest();
        }
    }

    /// Where the file is until it has its name.
    pub(crate) fn unnamed(&self) -> &Path {
        self.whole.partial()
    }

    /// Writes meta, table and header: the file can be opened where it is. May be called again, with
    /// another meta, once nobody has the file open. Returns the file's bytes.
    pub(crate) fn seal(&mut self, meta: &Meta) -> Result<u64, AnnError> {
        let text = serde_json::to_vec(meta).expect("meta is plain data");
        self.end();
        if self.entries.last().is_some_and(|entry| entry.kind == Kind::Meta as u32) {
            let offset = self.entries.pop().map_or(0, |entry| entry.offset);
            self.seek(offset)?;
            let cut = self.file.get_ref().set_len(offset);
            cut.map_err(AnnError::io("cut", &self.path))?;
            self.offset = offset;
        }
        self.section(Kind::Meta, 0, &text)?;
        self.end();
        let filling = self.offset.next_multiple_of(ALIGNMENT) - self.offset;
        self.put(&[0; ALIGNMENT as usize][..filling as usize])?;
        let entries = self.entries.clone();
        let table: &[u8] = bytemuck::cast_slice(&entries);
        let mut header = Header {
            magic: MAGIC,
            version: VERSION,
            sections: entries.len() as u32,
            table_offset: self.offset,
            file_bytes: self.offset + table.len() as u64,
            table_checksum: xxh3_64(table),
            reserved: [0; 2],
            checksum: 0,
        };
        header.checksum = xxh3_64(&bytemuck::bytes_of(&header)[..56]);
        self.put(table)?;
        self.seek(0)?;
        let written = self.file.write_all(bytemuck::bytes_of(&header));
        written.and_then(|()| self.file.flush()).map_err(AnnError::io("write", &self.path))?;
        Ok(header.file_bytes)
    }

    fn seek(&mut self, offset: u64) -> Result<(), AnnError> {
        let sought = self.file.seek(SeekFrom::Start(offset));
        sought.map(|_| ()).map_err(AnnError::io("write", &self.path))
    }

    /// Flushes a sealed file to disk and gives it its name.
    pub(crate) fn publish(self) -> Result<(), AnnError> {
        let Self { path, file, whole, .. } = self;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error);
        drop(file.map_err(AnnError::io("write", &path))?);
        whole.publish().map_err(AnnError::io("publish", &path))
    }

    /// A copy of an open part that waits for another meta.
    pub(crate) fn copy_of(part: &Sections) -> Result<Self, AnnError> {
        let mut writer = Self::create(part.path())?;
        for (entry, bytes) in part.iter().filter(|(entry, _)| entry.kind != Kind::Meta as u32) {
            writer.begin_raw(entry.kind, entry.index)?;
            writer.add(bytes)?;
        }
        Ok(writer)
    }
}
