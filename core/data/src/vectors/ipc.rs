//! Arrow IPC files, mapped.

use std::path::Path;
use std::sync::Arc;

use arrow_ipc::{Field as FileField, Int, Precision, Schema as FileSchema, Type};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use rectool_base::MappedFile;

use super::{Collector, VectorColumns, VectorTable, broken_in, positions};
use crate::DataError;
use crate::decode::{Broken, FileColumns, each_batch, footer_bytes};
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
    let fields = schema.fields().into_iter().flatten();
    let names: Vec<String> = fields.map(|field| field.name().unwrap_or_default().into()).collect();
    let read = positions(path, columns, &names)?;
    let file_columns = columns_of(schema, read).map_err(&broken)?;
    let mut collector = Collector::new(columns);
    let mut take = |batch: arrow_array::RecordBatch| {
        collector.add(&batch.columns().iter().collect::<Vec<_>>())
    };
    each_batch(&bytes, footer, &file_columns, ROWS_MAX, &mut take).map_err(&broken)?;
    collector.finish().map_err(broken)
}

/// The columns of a file, of which those at the positions `read` are read. Their types are taken from the
/// flatbuffer because arrow's conversion panics on types that make no sense. Times and dates become the whole
/// numbers that they are stored as.
fn columns_of(file: FileSchema<'_>, read: Vec<usize>) -> Result<FileColumns, Broken> {
    if !file.endianness().equals_to_target_endianness() {
        return Err(Broken::new("byte order", "this machine's", "the other"));
    }
    let mut columns =
        FileColumns { schema: Arc::new(ArrowSchema::empty()), read, dictionaries: Vec::new() };
    let mut fields = Vec::new();
    for (at, field) in file.fields().into_iter().flatten().enumerate() {
        let name = field.name().unwrap_or_default();
        let (taken, expected) = if columns.read.contains(&at) {
            let expected = "numbers, texts, dictionaries or lists of them";
            (read_type(name, field, 0, &mut columns.dictionaries), expected)
        } else {
            let skipped = skipped_type(field).map(|skipped| Field::new(name, skipped, true));
            (skipped, "a type that can be passed over")
        };
        fields.push(taken.ok_or_else(|| {
            let found = match field.dictionary() {
                Some(_) => "a dictionary of others",
                None => field.type_type().variant_name().unwrap_or("an unknown one"),
            };
            Broken::new(&format!("type of column `{name}`"), expected, found)
        })?);
    }
    columns.schema = Arc::new(ArrowSchema::new(fields));
    Ok(columns)
}

/// `None` for a type that vectors, ids and attributes cannot have. `depth` counts lists around it.
fn read_type(
    name: &str,
    field: FileField<'_>,
    depth: usize,
    dictionaries: &mut Vec<(i64, DataType)>,
) -> Option<Field> {
    if let Some(dictionary) = field.dictionary() {
        let values = plain_type(field)?;
        let key = match dictionary.indexType() {
            Some(int) => int_type(int)?,
            None => DataType::Int32,
        };
        dictionaries.push((dictionary.id(), values.clone()));
        let data_type = DataType::Dictionary(key.into(), values.into());
        #[expect(
            deprecated,
            reason = "arrow's decoder goes from a dictionary to its field by this id"
        )]
        return Some(Field::new_dict(name, data_type, true, dictionary.id(), false));
    }
    let mut item = || {
        let children = field.children().filter(|children| children.len() == 1 && depth < 2)?;
        read_type("item", children.get(0), depth + 1, dictionaries).map(Arc::new)
    };
    let data_type = match field.type_type() {
        Type::List => DataType::List(item()?),
        Type::LargeList => DataType::LargeList(item()?),
        Type::FixedSizeList => {
            let width = field.type_as_fixed_size_list()?.listSize();
            DataType::FixedSizeList(item()?, (width > 0).then_some(width)?)
        }
        _ => plain_type(field)?,
    };
    Some(Field::new(name, data_type, true))
}

/// A number or text.
fn plain_type(field: FileField<'_>) -> Option<DataType> {
    Some(match field.type_type() {
        Type::Bool => DataType::Boolean,
        Type::Utf8 => DataType::Utf8,
        Type::LargeUtf8 => DataType::LargeUtf8,
        Type::Utf8View => DataType::Utf8View,
        Type::Timestamp => DataType::Int64,
        Type::FloatingPoint => match field.type_as_floating_point()?.precision() {
            Precision::HALF => DataType::Float16,
            Precision::SINGLE => DataType::Float32,
            Precision::DOUBLE => DataType::Float64,
            _ => return None,
        },
        Type::Int => int_type(field.type_as_int()?)?,
        _ => return None,
    })
}

fn int_type(int: Int<'_>) -> Option<DataType> {
    Some(match (int.bitWidth(), int.is_signed()) {
        (8, true) => DataType::Int8,
        (8, false) => DataType::UInt8,
        (16, true) => DataType::Int16,
        (16, false) => DataType::UInt16,
        (32, true) => DataType::Int32,
        (32, false) => DataType::UInt32,
        (64, true) => DataType::Int64,
        (64, false) => DataType::UInt64,
        _ => return None,
    })
}

/// A type with as many nodes and buffers as the field has, which is all that counts of a column that is not
/// read.
fn skipped_type(field: FileField<'_>) -> Option<DataType> {
    let fixed = DataType::Int8;
    if field.dictionary().is_some() {
        return Some(fixed);
    }
    let children = || -> Option<Vec<Arc<Field>>> {
        let children = field.children().into_iter().flatten();
        children
            .map(|child| Some(Arc::new(Field::new("item", skipped_type(child)?, true))))
            .collect()
    };
    let item = || children()?.into_iter().next();
    Some(match field.type_type() {
        Type::Null => DataType::Null,
        Type::Utf8 | Type::LargeUtf8 | Type::Binary | Type::LargeBinary => DataType::Utf8,
        Type::Utf8View | Type::BinaryView => DataType::Utf8View,
        Type::List | Type::LargeList | Type::Map => DataType::List(item()?),
        Type::ListView | Type::LargeListView => DataType::ListView(item()?),
        Type::FixedSizeList => DataType::FixedSizeList(item()?, 1),
        Type::Struct_ => DataType::Struct(children()?.into()),
        Type::RunEndEncoded => {
            let [ends, values] = children()?.try_into().ok()?;
            DataType::RunEndEncoded(ends, values)
        }
        // Where its types stand depends on the version of the format.
        Type::Union | Type::NONE => return None,
        _ => fixed,
    })
}
