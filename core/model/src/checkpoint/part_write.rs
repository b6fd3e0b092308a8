//! Writing a part.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, UInt32Array, UInt64Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, SchemaRef};
use rectool_data::arrow_io_error;
use rectool_embedding::Rows;

use super::files::HashedFile;
use super::manifest::FileEntry;
use super::part::{PartLayout, float_item};
use crate::ModelError;

/// A part that is being written.
pub(super) struct PartWriter {
    path: PathBuf,
    layout: PartLayout,
    schema: SchemaRef,
    writer: FileWriter<HashedFile>,
    rows: u64,
}

impl PartWriter {
    pub(super) fn create(path: &Path, layout: PartLayout) -> Result<Self, ModelError> {
        let schema = layout.schema();
        let writer = HashedFile::create(path).map_err(ModelError::io("writing", path))?;
        let writer = FileWriter::try_new(writer, &schema).map_err(failed(path))?;
        Ok(Self { path: path.to_owned(), layout, schema, writer, rows: 0 })
    }

    /// Appends rows, as one record batch.
    pub(super) fn write(&mut self, rows: Rows) -> Result<(), ModelError> {
        self.rows += rows.keys.len() as u64;
        let batch = record_batch(self.layout, &self.schema, rows);
        let written = batch.and_then(|batch| self.writer.write(&batch));
        written.map_err(failed(&self.path))
    }

    /// Flushes to disk; `file` is the path below the checkpoint.
    pub(super) fn finish(self, file: String) -> Result<FileEntry, ModelError> {
        let inner = self.writer.into_inner().map_err(failed(&self.path))?;
        let (bytes, xxh3) = inner.finish().map_err(ModelError::io("writing", &self.path))?;
        Ok(FileEntry { file, bytes, xxh3, rows: Some(self.rows), columns: None })
    }
}

/// The rows as the columns of `layout`.
pub(super) fn record_batch(
    layout: PartLayout,
    schema: &SchemaRef,
    rows: Rows,
) -> Result<RecordBatch, ArrowError> {
    let floats = |width: usize, values: Vec<f32>| -> Result<ArrayRef, ArrowError> {
        let values = Arc::new(Float32Array::from(values));
        Ok(Arc::new(FixedSizeListArray::try_new(float_item(), width as i32, values, None)?))
    };
    let mut columns: Vec<ArrayRef> = vec![Arc::new(UInt64Array::from(rows.keys))];
    for (width, values) in [(layout.dim, rows.values), (layout.state, rows.state)] {
        if width > 0 {
            columns.push(floats(width, values)?);
        }
    }
    if layout.dated {
        columns.push(Arc::new(UInt32Array::from(rows.last_seen)));
        columns.push(Arc::new(UInt32Array::from(rows.counts)));
    }
    RecordBatch::try_new(Arc::clone(schema), columns)
}

pub(super) fn failed(path: &Path) -> impl FnOnce(ArrowError) -> ModelError {
    let path = path.to_owned();
    move |error| ModelError::io("writing", path)(arrow_io_error(error))
}
