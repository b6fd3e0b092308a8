//! Writing a dataset folder: shards first, `dataset.json` last, the final name at the very end.

mod encode;
mod pending;
mod staging;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use rectool_base::{Column, Schema};

use crate::manifest::{
    FORMAT_NAME, IdStatistics, Manifest, ShardManifest, SplitManifest, version_of,
};
use crate::{DataError, writer::encode::ShardEncoder, writer::pending::Pending};
use staging::Staging;
pub(crate) use staging::sibling;

/// Rows of a shard unless told otherwise: about 70 MB of Criteo columns, large enough to read at
/// full disk speed and small enough to shuffle whole shards.
pub const SHARD_ROWS: usize = 262_144;
/// Finished shards that are held to be encoded side by side. Two keep two cores busy; each one
/// held costs a shard of memory, which is what bounds an import.
const ENCODE_TOGETHER: usize = 2;

/// How the buffers of a shard are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are: mapped and used in place.
    #[default]
    None,
    /// LZ4 frames: about half the size, decompressed when read.
    Lz4,
    /// Zstandard: smaller and slower than LZ4.
    Zstd,
}

/// Choices of [`DatasetWriter::create`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterOptions {
    /// Rows per shard, 1 or more; the last shard of a split is shorter, and so are shards whose rows
    /// are so wide that they would pass 256 MiB.
    pub shard_rows: usize,
    /// How buffers are stored.
    pub compression: Compression,
    /// Replace a dataset that is already there, at the very end; otherwise it is refused at once.
    /// A folder that is not a dataset is never replaced.
    pub overwrite: bool,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self { shard_rows: SHARD_ROWS, compression: Compression::None, overwrite: false }
    }
}

/// Writes a dataset into a temporary folder beside `out` and renames it into place at the end.
///
/// Dropped before [`DatasetWriter::finish`], it removes what it wrote. Memory: up to three shards
/// and one more per further split that is being written.
///
/// ```
/// use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};
/// use rectool_data::{DatasetWriter, WriterOptions};
///
/// let folder = tempfile::tempdir()?;
/// let label = ColumnSchema::plain("label", ColumnKind::F32 { width: 1 });
/// let out = folder.path().join("clicks");
/// let mut writer =
///     DatasetWriter::create(&out, Schema::new(vec![label])?, WriterOptions::default())?;
/// writer.write("train", vec![Column::F32 { width: 1, values: vec![0.0, 1.0] }])?;
/// let manifest = writer.finish()?;
/// assert_eq!(manifest.rows(), 2);
/// assert!(out.join("dataset.json").is_file());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct DatasetWriter {
    staging: Staging,
    schema: Schema,
    encoder: ShardEncoder,
    shard_rows: usize,
    splits: Vec<SplitWriter>,
    /// Full shards not yet encoded: split, shard number, rows.
    ready: Vec<(usize, usize, Vec<Column>)>,
}

#[derive(Debug)]
struct SplitWriter {
    name: String,
    pending: Pending,
    /// Shards handed out so far, some of them still in `ready`.
    shards_cut: usize,
    shards: Vec<ShardManifest>,
}

impl DatasetWriter {
    /// Starts a dataset that will stand at `out`; missing parent folders are made.
    ///
    /// # Errors
    /// [`DataError::OutputExists`] if something is at `out` and `overwrite` is off;
    /// [`DataError::Option`] if `shard_rows` or the schema's columns are 0 or `out` is not a dataset that may be replaced;
    /// [`DataError::Schema`] for a schema that cannot be; [`DataError::Io`].
    pub fn create(out: &Path, schema: Schema, options: WriterOptions) -> Result<Self, DataError> {
        schema.check()?;
        let counts = [("schema", schema.columns().len()), ("shard_rows", options.shard_rows)];
        if let Some((option, _)) = counts.into_iter().find(|(_, count)| *count == 0) {
            let (expected, found) = ("1 or more".to_owned(), "0".to_owned());
            return Err(DataError::Option { option, expected, found });
        }
        let staging = Staging::create(out, options.overwrite)?;
        Ok(Self {
            encoder: ShardEncoder::new(&schema, options.compression),
            shard_rows: pending::rows_per_shard(&schema, options.shard_rows),
            staging,
            schema,
            splits: Vec::new(),
            ready: Vec::new(),
        })
    }

    /// Appends rows to a split, which begins with its first rows. The cuts between calls leave no
    /// trace in the shards.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::Option`] for a split name that is no folder name.
    ///
    /// # Panics
    /// If the columns are not those of the schema, in its order, with equal numbers of rows.
    #[expect(clippy::needless_pass_by_value, reason = "the rows are given away; a copy may go")]
    pub fn write(&mut self, split: &str, columns: Vec<Column>) -> Result<(), DataError> {
        let rows = columns.first().map_or(0, Column::rows);
        self.write_rows(split, &columns, 0..rows)
    }

    /// [`DatasetWriter::write`] for some of the rows.
    pub(crate) fn write_rows(
        &mut self,
        split: &str,
        columns: &[Column],
        rows: Range<usize>,
    ) -> Result<(), DataError> {
        self.assert_columns(columns);
        if rows.is_empty() {
            return Ok(());
        }
        let at = self.split_position(split)?;
        let mut from = rows.start;
        while from < rows.end {
            let pending = &mut self.splits[at].pending;
            let taken = pending.append(columns, from..rows.end);
            from += taken;
            if pending.is_full() {
                self.cut(at)?;
            }
        }
        Ok(())
    }

    /// Writes what is left and the manifest, and gives the folder its final name.
    ///
    /// # Errors
    /// [`DataError::Io`]; [`DataError::OutputExists`] if `out` has come into being meanwhile.
    pub fn finish(mut self) -> Result<Manifest, DataError> {
        for at in 0..self.splits.len() {
            if !self.splits[at].pending.is_empty() {
                self.cut(at)?;
            }
        }
        self.encode_ready()?;
        let manifest = Manifest {
            format: FORMAT_NAME.to_owned(),
            version: version_of(&self.schema),
            ids: self.id_statistics(),
            splits: self
                .splits
                .into_iter()
                .map(|split| SplitManifest {
                    name: split.name,
                    rows: split.shards.iter().map(|shard| shard.rows).sum(),
                    shards: split.shards,
                })
                .collect(),
            schema: self.schema,
            written_by: concat!("rectool ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        self.staging.commit(&manifest)?;
        Ok(manifest)
    }

    /// The temporary folder, for files that shall stand beside the manifest.
    pub(crate) fn folder(&self) -> &Path {
        self.staging.folder()
    }

    fn assert_columns(&self, columns: &[Column]) {
        let expected = self.schema.columns();
        assert_eq!(columns.len(), expected.len(), "number of columns");
        let rows = columns.first().map_or(0, Column::rows);
        for (column, schema) in columns.iter().zip(expected) {
            let (name, found) = (&schema.name, column.kind());
            assert!(found == schema.kind, "column `{name}` is {found}, not {}", schema.kind);
            assert_eq!(column.rows(), rows, "rows of column `{name}`");
        }
    }

    fn split_position(&mut self, name: &str) -> Result<usize, DataError> {
        if let Some(at) = self.splits.iter().position(|split| split.name == name) {
            return Ok(at);
        }
        check_split_name(name)?;
        let folder = self.staging.folder().join(name);
        std::fs::create_dir(&folder).map_err(DataError::io(&folder))?;
        self.splits.push(SplitWriter {
            name: name.to_owned(),
            pending: Pending::new(&self.schema, self.shard_rows),
            shards_cut: 0,
            shards: Vec::new(),
        });
        Ok(self.splits.len() - 1)
    }

    /// Moves the pending rows of a split to the full shards.
    fn cut(&mut self, at: usize) -> Result<(), DataError> {
        let split = &mut self.splits[at];
        self.ready.push((at, split.shards_cut, split.pending.take()));
        split.shards_cut += 1;
        if self.ready.len() >= ENCODE_TOGETHER.min(rayon::current_num_threads()) {
            self.encode_ready()?;
        }
        Ok(())
    }

    fn encode_ready(&mut self) -> Result<(), DataError> {
        let (encoder, splits, folder) = (&self.encoder, &self.splits, self.staging.folder());
        let written = std::mem::take(&mut self.ready)
            .into_par_iter()
            .map(|(at, number, columns)| {
                let file = format!("{}/{number:05}.arrow", splits[at].name);
                Ok((at, encoder.write(folder, file, columns)?))
            })
            .collect::<Result<Vec<_>, DataError>>()?;
        for (at, shard) in written {
            self.splits[at].shards.push(shard);
        }
        Ok(())
    }

    fn id_statistics(&self) -> BTreeMap<String, IdStatistics> {
        let mut merged = BTreeMap::new();
        for (at, column) in self.schema.columns().iter().enumerate() {
            let mut parts = self.splits.iter().filter_map(|split| split.pending.statistics(at));
            if let Some(first) = parts.next() {
                let all = parts.fold(first.clone(), pending::merge_statistics);
                merged.insert(column.name.clone(), all);
            }
        }
        merged
    }
}

/// A split's name becomes a folder and stands in paths with `/`.
fn check_split_name(name: &str) -> Result<(), DataError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if !name.is_empty() && name.len() <= 64 && !name.starts_with('.') && name.bytes().all(good) {
        return Ok(());
    }
    Err(DataError::Option {
        option: "split",
        expected: "a name of 1 to 64 letters, digits, `_`, `-` or `.`, not starting with `.`"
            .into(),
        found: format!("`{name}`"),
    })
}

#[cfg(test)]
mod tests;
