//! Arrow IPC files, mapped.

use std::path::Path;
use std::sync::Arc;

use arrow_ipc::{Field as FileField, Precision, Schema as FileSchema, Type};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use rectool_base::MappedFile;

use super::{Collector, VectorColumns, VectorTable, broken_in, positions};
use crate::DataError;
use crate::decode::{Broken, each_batch, footer_bytes};
use crate::shard::mapped_buffer;

/// Far above any file.
const ROWS_MAX: u64 = 1 << 40;

pub(super) fn read(path: &Path, columns: &VectorColumns) -> Result<VectorTable, DataError> {
    let broken = broken_in(path);
    let file = MappedFile::open(path).map_err(DataError::io(path))?;
    let bytes = mapped_buffer(file);
    // A copy, because flatbuffers must be aligned and the footer need not be.
    let footer = footer_bytes(&bytes).map_err(&broken)?.to_vec();
    let footer = arrow_ipc::root_as_footer(&footer)
        .map_err(|error| broken(Broken::new("footer", "an Arrow footer", error)))?;
    let schema = footer.schema();
    let schema = schema.ok_or_else(|| broken(Broken::new("footer", "a schema", "none")))?;
    let schema = schema_of(schema).map_err(&broken)?;
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    let positions = positions(path, columns, &names)?;
    let mut collector = Collector::new(columns);
    let mut take = |batch: arrow_array::RecordBatch| {
        let arrays: Vec<_> = positions.iter().map(|at| batch.column(*at)).collect();
        collector.add(&arrays)
    };
    each_batch(&bytes, footer, &schema, ROWS_MAX, &mut take).map_err(&broken)?;
    collector.finish().map_err(broken)
}

/// The schema of a file, read from the flatbuffer because arrow's conversion panics on types that
/// make no sense. Times and dates become the whole numbers that they are stored as.
fn schema_of(file: FileSchema<'_>) -> Result<Arc<ArrowSchema>, Broken> {
    if !file.endianness().equals_to_target_endianness() {
        return Err(Broken::new("byte order", "this machine's", "the other"));
    }
    let mut fields = Vec::new();
    for field in file.fields().into_iter().flatten() {
        let name = field.name().unwrap_or_default();
        let data_type = data_type(field, 0).ok_or_else(|| {
            let what = format!("type of column `{name}`");
            let found = match field.dictionary() {
                Some(_) => "a dictionary",
                None => field.type_type().variant_name().unwrap_or("an unknown one"),
            };
            Broken::new(&what, "numbers, texts (Utf8 or LargeUtf8) or lists of them", found)
        })?;
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Arc::new(ArrowSchema::new(fields)))
}

/// `None` for a type that vectors, ids and attributes cannot have. `depth` counts lists around it.
fn data_type(field: FileField<'_>, depth: usize) -> Option<DataType> {
    if field.dictionary().is_some() || depth > 1 {
        return None;
    }
    let item = || {
        let children = field.children().filter(|children| children.len() == 1)?;
        let item = data_type(children.get(0), depth + 1)?;
        Some(Arc::new(Field::new("item", item, true)))
    };
    Some(match field.type_type() {
        Type::Bool => DataType::Boolean,
        Type::Utf8 => DataType::Utf8,
        Type::LargeUtf8 => DataType::LargeUtf8,
        Type::Timestamp => DataType::Int64,
        Type::List => DataType::List(item()?),
        Type::LargeList => DataType::LargeList(item()?),
        Type::FixedSizeList => {
            let width = field.type_as_fixed_size_list()?.listSize();
            DataType::FixedSizeList(item()?, (width > 0).then_some(width)?)
        }
        Type::FloatingPoint => match field.type_as_floating_point()?.precision() {
            Precision::HALF => DataType::Float16,
            Precision::SINGLE => DataType::Float32,
            Precision::DOUBLE => DataType::Float64,
            _ => return None,
        },
        Type::Int => {
            let int = field.type_as_int()?;
            match (int.bitWidth(), int.is_signed()) {
                (8, true) => DataType::Int8,
                (8, false) => DataType::UInt8,
                (16, true) => DataType::Int16,
                (16, false) => DataType::UInt16,
                (32, true) => DataType::Int32,
                (32, false) => DataType::UInt32,
                (64, true) => DataType::Int64,
                (64, false) => DataType::UInt64,
                _ => return None,
            }
        }
        _ => return None,
    })
}
