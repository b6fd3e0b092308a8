//! One shard: columns to an Arrow IPC file, hashed while it is written.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_ipc::{CompressionType, MetadataVersion};
use arrow_schema::{ArrowError, DataType, Field, FieldRef, SchemaRef};
use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Schema, Texts};
use xxhash_rust::xxh3::Xxh3Default;

use super::Compression;
use crate::{DataError, arrow_io_error, manifest::ShardManifest, shard_schema::is_packed};

/// Buffers start at multiples of this within the file, so that a mapped shard can be used in place
/// by code with the widest vector registers.
const ALIGNMENT_BYTES: usize = 64;

#[derive(Debug)]
pub(super) struct ShardEncoder {
    schema: SchemaRef,
    options: IpcWriteOptions,
}

impl ShardEncoder {
    pub(super) fn new(schema: &Schema, compression: Compression) -> Self {
        let fields: Vec<Field> = schema
            .columns()
            .iter()
            .map(|column| Field::new(&column.name, data_type(column), has_nulls(column.kind)))
            .collect();
        let codec = match compression {
            Compression::None => None,
            Compression::Lz4 => Some(CompressionType::LZ4_FRAME),
            Compression::Zstd => Some(CompressionType::ZSTD),
        };
        let options = IpcWriteOptions::try_new(ALIGNMENT_BYTES, false, MetadataVersion::V5)
            .and_then(|options| options.try_with_compression(codec))
            .expect("64 is an alignment and both codecs are built in");
        Self { schema: Arc::new(arrow_schema::Schema::new(fields)), options }
    }

    /// Writes `columns` as the file `file` (with `/`) below `folder`, down to the disk.
    pub(super) fn write(
        &self,
        folder: &Path,
        file: String,
        columns: Vec<Column>,
    ) -> Result<ShardManifest, DataError> {
        let path = folder.join(&file);
        let rows = columns.first().map_or(0, Column::rows) as u64;
        let arrays = columns
            .into_iter()
            .zip(self.schema.fields())
            .map(|(column, field)| array(column, field.data_type()))
            .collect();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .expect("the columns were checked against the schema");
        let write = || -> Result<HashingFile, ArrowError> {
            let sink = HashingFile::create(&path)?;
            let mut writer =
                FileWriter::try_new_with_options(sink, &self.schema, self.options.clone())?;
            writer.write(&batch)?;
            writer.finish()?;
            writer.into_inner()
        };
        let sink = write().map_err(arrow_io_error).map_err(DataError::io(&path))?;
        let (bytes, hash) = sink.finish().map_err(DataError::io(&path))?;
        Ok(ShardManifest { file, rows, bytes, xxh3: format!("{hash:016x}") })
    }
}

/// Only a missing text is null: floats and ids have values of their own for what is missing, and
/// no list is missing.
fn has_nulls(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::Text { .. })
}

fn item(data_type: DataType) -> FieldRef {
    let nulls = data_type == DataType::Utf8;
    Arc::new(Field::new("item", data_type, nulls))
}

fn data_type(column: &ColumnSchema) -> DataType {
    let value = match column.kind {
        ColumnKind::F32 { .. } | ColumnKind::F32List => DataType::Float32,
        ColumnKind::Text { .. } | ColumnKind::TextList => DataType::Utf8,
        _ => DataType::Int64,
    };
    match column.width() {
        None => DataType::List(item(value)),
        Some(_) if !is_packed(column) => value,
        Some(width) => DataType::FixedSizeList(item(value), width as i32),
    }
}

fn array(column: Column, data_type: &DataType) -> ArrayRef {
    let (offsets, values): (Option<Vec<u32>>, ArrayRef) = match column {
        Column::F32 { values, .. } => (None, Arc::new(Float32Array::new(values.into(), None))),
        Column::I64 { values, .. } => (None, Arc::new(Int64Array::new(values.into(), None))),
        Column::Text { values, .. } => (None, Arc::new(texts(values))),
        Column::F32List(Jagged { offsets, values }) => {
            (Some(offsets), Arc::new(Float32Array::new(values.into(), None)))
        }
        Column::I64List(Jagged { offsets, values }) => {
            (Some(offsets), Arc::new(Int64Array::new(values.into(), None)))
        }
        Column::TextList { offsets, values } => (Some(offsets), Arc::new(texts(values))),
        _ => unreachable!("the columns were checked against the schema"),
    };
    match (data_type, offsets) {
        (DataType::FixedSizeList(field, width), _) => {
            Arc::new(FixedSizeListArray::new(Arc::clone(field), *width, values, None))
        }
        (DataType::List(field), Some(offsets)) => {
            Arc::new(ListArray::new(Arc::clone(field), arrow_offsets(&offsets), values, None))
        }
        _ => values,
    }
}

/// A shard is cut long before 2^31 values or bytes (see `pending`).
fn arrow_offsets(offsets: &[u32]) -> OffsetBuffer<i32> {
    let offsets: Vec<i32> = offsets.iter().map(|&offset| offset as i32).collect();
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

fn texts(values: Texts) -> StringArray {
    let count = values.len();
    let (offsets, bytes, validity) = values.into_parts();
    let bits = |validity| BooleanBuffer::new(Buffer::from_vec(validity), 0, count);
    let nulls = (!validity.is_empty()).then(|| NullBuffer::new(bits(validity)));
    let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
    StringArray::new(arrow_offsets(&offsets), Buffer::from_vec(bytes), nulls)
}

/// A new file whose bytes are hashed and counted on their way.
struct HashingFile {
    file: BufWriter<File>,
    hash: Xxh3Default,
    bytes: u64,
}

impl HashingFile {
    fn create(path: &Path) -> io::Result<Self> {
        let file = BufWriter::with_capacity(1 << 20, File::create_new(path)?);
        Ok(Self { file, hash: Xxh3Default::new(), bytes: 0 })
    }

    /// Bytes and checksum, once all of it is on the disk.
    fn finish(self) -> io::Result<(u64, u64)> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.bytes, self.hash.digest()))
    }
}

impl Write for HashingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
