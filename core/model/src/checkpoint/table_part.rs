//! One rank's part of a table as an Arrow IPC file: `key` u64, `values` f32[D], `state` f32[S],
//! sorted by (bucket, key).

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, UInt64Type};
use arrow_array::{Array, ArrayRef, FixedSizeListArray, Float32Array, RecordBatch, UInt64Array};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use rectool_embedding::{EmbeddingCollection, Rows};

use crate::ModelError;

/// Rows of one record batch: a few MB.
const ROWS_PER_BATCH: usize = 1 << 16;

/// Floats per row.
struct TableShape {
    dim: usize,
    state_width: usize,
}

impl TableShape {
    fn of(tables: &EmbeddingCollection, table: usize) -> Self {
        let options = &tables.table_options()[table];
        let state_width = options.optimizer.state_width(options.dim);
        Self { dim: options.dim, state_width }
    }
}

fn list(width: usize) -> DataType {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    DataType::FixedSizeList(item, width as i32)
}

fn schema(dim: usize, state_width: usize) -> SchemaRef {
    let mut fields =
        vec![Field::new("key", DataType::UInt64, false), Field::new("values", list(dim), false)];
    if state_width > 0 {
        fields.push(Field::new("state", list(state_width), false));
    }
    Arc::new(Schema::new(fields))
}

fn column(width: usize, values: Vec<f32>) -> Result<ArrayRef, ArrowError> {
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let values = Arc::new(Float32Array::from(values));
    Ok(Arc::new(FixedSizeListArray::try_new(item, width as i32, values, None)?))
}

/// Writes this rank's rows of a table; gives their number.
pub(super) fn write(
    tables: &EmbeddingCollection,
    table: usize,
    out: &mut impl Write,
) -> Result<u64, ArrowError> {
    let TableShape { dim, state_width } = TableShape::of(tables, table);
    let schema = schema(dim, state_width);
    let mut writer = FileWriter::try_new(out, &schema)?;
    let mut rows = 0;
    let export = tables.export(table, ROWS_PER_BATCH);
    for chunk in export.map_err(|error| ArrowError::ExternalError(Box::new(error)))? {
        rows += chunk.keys.len() as u64;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(UInt64Array::from(chunk.keys)), column(dim, chunk.values)?];
        if state_width > 0 {
            columns.push(column(state_width, chunk.state)?);
        }
        writer.write(&RecordBatch::try_new(Arc::clone(&schema), columns)?)?;
    }
    writer.finish()?;
    Ok(rows)
}

/// Hands every row of a part to the tables, which keep those that this rank owns.
///
/// The file's checksum must have been compared before: a damaged file may make the Arrow reader
/// panic.
pub(super) fn read(
    tables: &mut EmbeddingCollection,
    table: usize,
    path: &Path,
) -> Result<(), ModelError> {
    let TableShape { dim, state_width } = TableShape::of(tables, table);
    let expected = schema(dim, state_width);
    let misfit = |what: &str, found: String, expected: String| ModelError::Checkpoint {
        path: path.to_owned(),
        what: what.to_owned(),
        found,
        expected,
    };
    let unreadable =
        |error: ArrowError| misfit("arrow file", error.to_string(), "a readable one".to_owned());
    let file = File::open(path).map_err(ModelError::io("reading", path))?;
    let reader = FileReader::try_new(file, None).map_err(unreadable)?;
    if reader.schema() != expected {
        let shown = |schema: &Schema| format!("{:?}", schema.fields());
        return Err(misfit("columns", shown(&reader.schema()), shown(&expected)));
    }
    for batch in reader {
        let batch = batch.map_err(unreadable)?;
        let keys = batch.column(0).as_primitive::<UInt64Type>().values().to_vec();
        let (last_seen, counts) = (vec![0; keys.len()], vec![0; keys.len()]);
        let values = floats(batch.column(1)).to_vec();
        let state = batch.columns().get(2).map(floats).unwrap_or_default().to_vec();
        let rows = Rows { columns: 0..dim, keys, values, state, last_seen, counts };
        tables.import(table, &rows)?;
    }
    Ok(())
}

fn floats(column: &ArrayRef) -> &[f32] {
    let list = column.as_fixed_size_list();
    let width = list.value_length() as usize;
    let values = list.values().as_primitive::<Float32Type>().values();
    &values[list.offset() * width..(list.offset() + list.len()) * width]
}
