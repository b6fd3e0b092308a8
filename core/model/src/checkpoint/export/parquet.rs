//! Parquet files.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow_schema::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use rectool_data::parquet_io_error;
use rectool_embedding::Rows;

use super::super::part::PartLayout;
use super::super::part_write::{failed, record_batch};
use super::sync;
use crate::ModelError;

/// Bytes of a row group, about: the writer holds one in memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

pub(super) struct Sink {
    path: PathBuf,
    layout: PartLayout,
    schema: SchemaRef,
    writer: ArrowWriter<File>,
}

impl Sink {
    pub(super) fn create(path: &Path, layout: PartLayout) -> Result<Self, ModelError> {
        let file = File::create(path).map_err(ModelError::io("writing", path))?;
        let row_bytes = 16 + 4 * (layout.dim + layout.state);
        let rows = (ROW_GROUP_BYTES / row_bytes).max(1);
        // Trained floats hardly ever repeat: neither dictionaries nor compression would pay.
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_max_row_group_row_count(Some(rows))
            .build();
        let schema = layout.schema();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties));
        let writer = writer.map_err(unwritten(path))?;
        Ok(Self { path: path.to_owned(), layout, schema, writer })
    }
}

impl super::Sink for Sink {
    fn write(&mut self, rows: Rows) -> Result<(), ModelError> {
        let batch = record_batch(self.layout, &self.schema, rows).map_err(failed(&self.path))?;
        self.writer.write(&batch).map_err(unwritten(&self.path))
    }

    fn finish(self: Box<Self>) -> Result<(), ModelError> {
        let file = self.writer.into_inner().map_err(unwritten(&self.path))?;
        sync(&file, &self.path)
    }
}

fn unwritten(path: &Path) -> impl FnOnce(ParquetError) -> ModelError {
    let path = path.to_owned();
    move |error| ModelError::io("writing", path)(parquet_io_error(error))
}
