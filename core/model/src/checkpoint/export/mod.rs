//! A table as one file for other programs.

mod parquet;
mod safetensors;

use std::fs::File;
use std::path::Path;

use rectool_base::{WholeFile, nearest_name};
use rectool_embedding::Rows;

use super::chain::Chain;
use super::manifest::TableEntry;
use super::part::PartLayout;
use super::part_write::PartWriter;
use crate::ModelError;

/// What kind of file a table becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC file, also known as Feather version 2.
    Arrow,
    /// Safetensors: one tensor per column.
    Safetensors,
}

/// Which columns of a table are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportColumns {
    /// `key` and `values`: what serving needs.
    Values,
    /// Also `state`, `last_seen` and `count`: what training needs.
    All,
}

/// Takes the rows of a table.
trait Sink {
    fn write(&mut self, rows: Rows) -> Result<(), ModelError>;

    /// Flushes what is left.
    fn finish(self: Box<Self>) -> Result<(), ModelError>;
}

impl Sink for PartWriter {
    fn write(&mut self, rows: Rows) -> Result<(), ModelError> {
        PartWriter::write(self, rows)
    }

    fn finish(self: Box<Self>) -> Result<(), ModelError> {
        PartWriter::finish(*self, String::new()).map(drop)
    }
}

impl Chain {
    /// Writes the rows of a table to the file `out`, every value as it is, by (bucket, key); gives
    /// their number. A few record batches are in memory at a time.
    ///
    /// # Errors
    /// If there is no such table, a file is damaged, `out` is there already, or the disk is full;
    /// nothing of the name `out` is then left behind.
    pub fn export(
        &self,
        table: &str,
        format: ExportFormat,
        columns: ExportColumns,
        out: &Path,
    ) -> Result<u64, ModelError> {
        let tables = &self.head().manifest().tables;
        let entry = tables.iter().find(|entry| entry.name == table).ok_or_else(|| {
            let nearest = nearest_name(table, tables.iter().map(|entry| entry.name.as_str()));
            let (path, nearest) = (self.head().path().to_owned(), nearest.map(str::to_owned));
            ModelError::NoTable { path, table: table.to_owned(), nearest }
        })?;
        if out.exists() {
            return Err(ModelError::Exists { path: out.to_owned() });
        }
        self.verify()?;
        let whole = WholeFile::at(out);
        let rows = self.export_to(entry, format, columns, whole.partial())?;
        whole.publish().map_err(ModelError::io("writing", out))?;
        Ok(rows)
    }

    fn export_to(
        &self,
        entry: &TableEntry,
        format: ExportFormat,
        columns: ExportColumns,
        path: &Path,
    ) -> Result<u64, ModelError> {
        let dated = columns == ExportColumns::All;
        let state = if dated { entry.state_width } else { 0 };
        let layout = PartLayout { dim: entry.dim, state, dated };
        let rows_max = layout.batch_rows();
        let mut sink: Box<dyn Sink> = match format {
            ExportFormat::Arrow => Box::new(PartWriter::create(path, layout)?),
            ExportFormat::Parquet => Box::new(parquet::Sink::create(path, layout)?),
            ExportFormat::Safetensors => {
                let rows = self.count(entry)?;
                Box::new(safetensors::Sink::create(path, layout, rows, &entry.name)?)
            }
        };
        let mut count = 0;
        for rows in self.rows(entry, rows_max)? {
            let rows = rows?;
            count += rows.keys.len() as u64;
            sink.write(rows)?;
        }
        sink.finish()?;
        Ok(count)
    }

    /// Rows of a table; those of a delta have to be merged to be counted.
    fn count(&self, entry: &TableEntry) -> Result<u64, ModelError> {
        if self.links().len() == 1 {
            return Ok(entry.rows);
        }
        self.rows(entry, 1 << 12)?.try_fold(0, |count, rows| Ok(count + rows?.keys.len() as u64))
    }
}

/// Flushes a file to disk.
fn sync(file: &File, path: &Path) -> Result<(), ModelError> {
    file.sync_all().map_err(ModelError::io("writing", path))
}
