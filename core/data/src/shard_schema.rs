//! Holds the schema inside a shard against the manifest's.

use std::path::Path;
use std::sync::Arc;

use arrow_ipc::{Field as FileField, Precision, Schema as FileSchema, Type};
use arrow_schema::{DataType, Field, Fields, Schema as ArrowSchema};
use rectool_base::{ColumnKind, ColumnSchema, Schema};

use crate::DataError;

/// True if the column is stored as a list even where a row holds one value.
pub(crate) fn is_packed(column: &ColumnSchema) -> bool {
    column.width() != Some(1) || !column.members.is_empty()
}

/// The Arrow schema that a shard of `schema` has, with `LargeList` and `LargeUtf8` where the shard
/// has them.
///
/// Reads the flatbuffer directly rather than through arrow's conversion, which panics on types that
/// make no sense.
pub(crate) fn check_schema(
    path: &Path,
    file: FileSchema<'_>,
    schema: &Schema,
) -> Result<Arc<ArrowSchema>, DataError> {
    let broken = |what: String, expected: String, found: String| DataError::Shard {
        path: path.to_owned(),
        what,
        expected,
        found,
    };
    if !file.endianness().equals_to_target_endianness() {
        return Err(broken("byte order".into(), "this machine's".into(), "the other".into()));
    }
    let columns = schema.columns();
    let found = file.fields().map_or(0, |fields| fields.len());
    if found != columns.len() {
        return Err(broken("columns".into(), columns.len().to_string(), found.to_string()));
    }
    let mut fields = Vec::with_capacity(columns.len());
    for (field, column) in file.fields().into_iter().flatten().zip(columns) {
        let name = field.name().unwrap_or_default();
        if name != column.name {
            let what = format!("column {}", fields.len());
            return Err(broken(what, format!("`{}`", column.name), format!("`{name}`")));
        }
        let mut accepted = accepted_types(column);
        let Some(at) = accepted.iter().position(|data_type| matches(field, data_type)) else {
            let what = format!("type of column `{name}`");
            return Err(broken(what, arrow_name(&accepted[0]), file_name(field)));
        };
        let data_type = accepted.swap_remove(at);
        fields.push(Field::new(name, data_type, true));
    }
    Ok(Arc::new(ArrowSchema::new(Fields::from(fields))))
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, true))
}

/// The types that a column may have in a file; the first one is that which rectool writes.
fn accepted_types(column: &ColumnSchema) -> Vec<DataType> {
    let values: &[DataType] = match column.kind {
        ColumnKind::F32 { .. } | ColumnKind::F32List => &[DataType::Float32],
        ColumnKind::Text { .. } | ColumnKind::TextList => &[DataType::Utf8, DataType::LargeUtf8],
        _ => &[DataType::Int64],
    };
    let values = || values.iter().cloned();
    match column.width() {
        Some(_) if !is_packed(column) => values().collect(),
        Some(width) => {
            values().map(|value| DataType::FixedSizeList(item(value), width as i32)).collect()
        }
        None => {
            let lists = values().map(|value| DataType::List(item(value)));
            lists.chain(values().map(|value| DataType::LargeList(item(value)))).collect()
        }
    }
}

/// True if a field of the file is of exactly this type.
fn matches(field: FileField<'_>, expected: &DataType) -> bool {
    if field.dictionary().is_some() {
        return false;
    }
    let only_child = || {
        let children = field.children().filter(|children| children.len() == 1)?;
        Some(children.get(0))
    };
    let child_is =
        |item: &Field| only_child().is_some_and(|child| matches(child, item.data_type()));
    match expected {
        DataType::Float32 => field
            .type_as_floating_point()
            .is_some_and(|float| float.precision() == Precision::SINGLE),
        DataType::Int64 => {
            field.type_as_int().is_some_and(|int| int.bitWidth() == 64 && int.is_signed())
        }
        DataType::Utf8 => field.type_type() == Type::Utf8,
        DataType::LargeUtf8 => field.type_type() == Type::LargeUtf8,
        DataType::FixedSizeList(item, width) => {
            let list = field.type_as_fixed_size_list();
            list.is_some_and(|list| list.listSize() == *width) && child_is(item)
        }
        DataType::List(item) => field.type_type() == Type::List && child_is(item),
        DataType::LargeList(item) => field.type_type() == Type::LargeList && child_is(item),
        _ => false,
    }
}

fn arrow_name(data_type: &DataType) -> String {
    match data_type {
        DataType::FixedSizeList(item, width) => {
            format!("FixedSizeList<{}, {width}>", item.data_type())
        }
        DataType::List(item) => format!("List<{}>", item.data_type()),
        other => other.to_string(),
    }
}

/// The type of a field of the file as a person would write it.
fn file_name(field: FileField<'_>) -> String {
    if field.dictionary().is_some() {
        return "a dictionary".to_owned();
    }
    let child = || {
        let children = field.children().filter(|children| children.len() == 1);
        // Two levels are all that is ever expected, and the file decides how deep it nests.
        children.map_or_else(String::new, |children| plain_name(children.get(0)))
    };
    match field.type_type() {
        Type::FixedSizeList => {
            let width = field.type_as_fixed_size_list().map_or(0, |list| list.listSize());
            format!("FixedSizeList<{}, {width}>", child())
        }
        Type::List => format!("List<{}>", child()),
        Type::LargeList => format!("LargeList<{}>", child()),
        _ => plain_name(field),
    }
}

fn plain_name(field: FileField<'_>) -> String {
    if let Some(int) = field.type_as_int() {
        let prefix = if int.is_signed() { "Int" } else { "UInt" };
        return format!("{prefix}{}", int.bitWidth());
    }
    if let Some(float) = field.type_as_floating_point() {
        return match float.precision() {
            Precision::HALF => "Float16",
            Precision::SINGLE => "Float32",
            Precision::DOUBLE => "Float64",
            _ => "a float of unknown precision",
        }
        .to_owned();
    }
    field.type_type().variant_name().unwrap_or("an unknown type").to_owned()
}
