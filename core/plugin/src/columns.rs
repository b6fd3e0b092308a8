//! Columns and their types on the way to a guest and back.

use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Schema, Texts};

use crate::abi::{self, ColumnIn, ColumnOut, ColumnType, Element, Shape};
use crate::fault::bounded;
use crate::limits::{NAME_CHARS_MAX, OUTPUTS_MAX};

/// The type of a column as a guest sees it.
pub(crate) fn lowered_type(schema: &ColumnSchema) -> ColumnType {
    let (element, shape) = match schema.kind {
        ColumnKind::F32 { width } => (Element::Float32, Shape::Fixed(width as u32)),
        ColumnKind::I64 { width } => (Element::Int64, Shape::Fixed(width as u32)),
        ColumnKind::Text { width } => (Element::Text, Shape::Fixed(width as u32)),
        ColumnKind::F32List => (Element::Float32, Shape::Jagged),
        ColumnKind::I64List => (Element::Int64, Shape::Jagged),
        ColumnKind::TextList => (Element::Text, Shape::Jagged),
        kind => unreachable!("the contract has no columns of type {kind}"),
    };
    ColumnType { name: schema.name.clone(), element, shape, members: schema.members.clone() }
}

/// The columns that a guest announces, checked as a schema is.
pub(crate) fn lifted_types(types: Vec<ColumnType>) -> Result<Vec<ColumnSchema>, String> {
    if types.is_empty() || types.len() > OUTPUTS_MAX {
        return Err(format!("announced {} columns, expected 1 to {OUTPUTS_MAX}", types.len()));
    }
    let mut schemas = Vec::with_capacity(types.len());
    for ColumnType { name, element, shape, members } in types {
        for name in std::iter::once(&name).chain(&members) {
            check_name(name)?;
        }
        let kind = match (element, shape) {
            (Element::Float32, Shape::Fixed(width)) => ColumnKind::F32 { width: width as usize },
            (Element::Int64, Shape::Fixed(width)) => ColumnKind::I64 { width: width as usize },
            (Element::Text, Shape::Fixed(width)) => ColumnKind::Text { width: width as usize },
            (Element::Float32, Shape::Jagged) => ColumnKind::F32List,
            (Element::Int64, Shape::Jagged) => ColumnKind::I64List,
            (Element::Text, Shape::Jagged) => ColumnKind::TextList,
        };
        if kind.width().is_none() && !members.is_empty() {
            return Err(format!("announced names for the values of `{name}`, which is a {kind}"));
        }
        schemas.push(ColumnSchema { name, kind, members });
    }
    let schema =
        Schema::new(schemas).map_err(|error| format!("announced a broken schema: {error}"))?;
    Ok(schema.columns().to_vec())
}

fn check_name(name: &str) -> Result<(), String> {
    let characters = name.chars().count();
    if characters == 0 || characters > NAME_CHARS_MAX || name.chars().any(char::is_control) {
        let expected = format!("1 to {NAME_CHARS_MAX} printable characters");
        return Err(format!("announced the column name `{}`, expected {expected}", bounded(name)));
    }
    Ok(())
}

/// A column as a guest sees it. Nothing is copied yet.
pub(crate) fn lowered(column: &Column) -> ColumnIn<'_> {
    match column {
        Column::F32 { values, .. } => ColumnIn::Floats(values),
        Column::I64 { values, .. } => ColumnIn::Ints(values),
        Column::Text { values, .. } => ColumnIn::Texts(lowered_texts(values)),
        Column::F32List(Jagged { offsets, values }) => {
            ColumnIn::FloatLists(abi::FloatListsIn { offsets, values })
        }
        Column::I64List(Jagged { offsets, values }) => {
            ColumnIn::IntLists(abi::IntListsIn { offsets, values })
        }
        Column::TextList { offsets, values } => {
            ColumnIn::TextLists(abi::TextListsIn { offsets, values: lowered_texts(values) })
        }
        column => unreachable!("the contract has no columns of type {}", column.kind()),
    }
}

fn lowered_texts(texts: &Texts) -> abi::TextsIn<'_> {
    abi::TextsIn { offsets: texts.offsets(), bytes: texts.bytes(), validity: texts.validity() }
}

/// The columns that a guest returned, if they are those it announced.
pub(crate) fn lifted(
    rows: usize,
    schemas: &[ColumnSchema],
    columns: Vec<ColumnOut>,
) -> Result<Vec<Column>, String> {
    if columns.len() != schemas.len() {
        let (found, expected) = (columns.len(), schemas.len());
        return Err(format!("returned {found} columns, announced {expected}"));
    }
    let lifted = schemas.iter().zip(columns).map(|(schema, column)| {
        let found = shape_of(&column);
        let column = lifted_one(rows, schema, column);
        column.map_err(|wrong| match wrong {
            Wrong::Type => {
                let (name, kind) = (&schema.name, schema.kind);
                format!("column `{name}`: returned {found}, announced {kind}")
            }
            Wrong::Values(what) => format!("column `{}`: {what}", schema.name),
        })
    });
    lifted.collect()
}

enum Wrong {
    Type,
    Values(String),
}

fn lifted_one(rows: usize, schema: &ColumnSchema, column: ColumnOut) -> Result<Column, Wrong> {
    let length = |found: usize, width: usize| {
        let expected = rows * width;
        if found != expected {
            let what = format!("{found} values, expected {expected} ({rows} rows of {width})");
            return Err(Wrong::Values(what));
        }
        Ok(())
    };
    Ok(match (schema.kind, column) {
        (ColumnKind::F32 { width }, ColumnOut::Floats(values)) => {
            length(values.len(), width)?;
            Column::F32 { width, values: with_one_nan(values) }
        }
        (ColumnKind::I64 { width }, ColumnOut::Ints(values)) => {
            length(values.len(), width)?;
            Column::I64 { width, values }
        }
        (ColumnKind::Text { width }, ColumnOut::Texts(texts)) => {
            let values = lifted_texts(texts)?;
            length(values.len(), width)?;
            Column::Text { width, values }
        }
        (ColumnKind::F32List, ColumnOut::FloatLists(abi::FloatListsOut { offsets, values })) => {
            check_offsets(rows, &offsets, values.len())?;
            Column::F32List(Jagged { offsets, values: with_one_nan(values) })
        }
        (ColumnKind::I64List, ColumnOut::IntLists(abi::IntListsOut { offsets, values })) => {
            check_offsets(rows, &offsets, values.len())?;
            Column::I64List(Jagged { offsets, values })
        }
        (ColumnKind::TextList, ColumnOut::TextLists(abi::TextListsOut { offsets, values })) => {
            let values = lifted_texts(values)?;
            check_offsets(rows, &offsets, values.len())?;
            Column::TextList { offsets, values }
        }
        _ => return Err(Wrong::Type),
    })
}

/// NaNs of other signs and payloads, which differ between machines, become the usual one.
fn with_one_nan(mut values: Vec<f32>) -> Vec<f32> {
    for value in &mut values {
        *value = if value.is_nan() { f32::NAN } else { *value };
    }
    values
}

fn lifted_texts(texts: abi::TextsOut) -> Result<Texts, Wrong> {
    let abi::TextsOut { offsets, bytes, validity } = texts;
    Texts::from_parts(offsets, bytes, validity).map_err(|error| Wrong::Values(error.to_string()))
}

fn check_offsets(rows: usize, offsets: &[u32], values: usize) -> Result<(), Wrong> {
    let wrong = |what: String| Err(Wrong::Values(what));
    if offsets.len() != rows + 1 {
        return wrong(format!("{} offsets, expected {} for {rows} rows", offsets.len(), rows + 1));
    }
    if offsets[0] != 0 {
        return wrong(format!("the first offset is {}, expected 0", offsets[0]));
    }
    if let Some(row) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
        let (start, end) = (offsets[row], offsets[row + 1]);
        return wrong(format!("the offsets fall from {start} to {end} at row {row}"));
    }
    let last = offsets[rows] as usize;
    if last != values {
        return wrong(format!(
            "the last offset is {last}, expected {values}, the number of values"
        ));
    }
    Ok(())
}

fn shape_of(column: &ColumnOut) -> &'static str {
    match column {
        ColumnOut::Floats(_) => "f32 values",
        ColumnOut::Ints(_) => "i64 values",
        ColumnOut::Texts(_) => "texts",
        ColumnOut::FloatLists(_) => "an f32 list",
        ColumnOut::IntLists(_) => "an i64 list",
        ColumnOut::TextLists(_) => "a text list",
    }
}
