//! Columns as JSON: rows of values, `null` for what is missing.

use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, MISSING_ID, Texts};
use serde::Deserialize;
use serde_json::Value;

/// A 32-bit float: a number, `null` for NaN, `"inf"` or `"-inf"`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "Value")]
pub(super) struct Number(pub(super) f32);

impl TryFrom<Value> for Number {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        float(&value).map(Self)
    }
}

/// A column of a case.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnLine {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    members: Vec<String>,
    values: Vec<Value>,
}

impl ColumnLine {
    pub(super) fn parse(self) -> Result<(ColumnSchema, Column), String> {
        let column = kind(&self.kind).and_then(|kind| column(kind, &self.values));
        let column = column.map_err(|error| format!("column `{}`: {error}", self.name))?;
        let schema = ColumnSchema::packed(&self.name, column.kind(), self.members);
        Ok((schema, column))
    }
}

/// The inverse of a kind's `Display`.
fn kind(text: &str) -> Result<ColumnKind, String> {
    let unknown = || {
        let expected = "`f32[N]`, `i64[N]`, `text[N]`, `f32 list`, `i64 list` or `text list`";
        format!("type `{text}`, expected {expected}")
    };
    match text {
        "f32 list" => return Ok(ColumnKind::F32List),
        "i64 list" => return Ok(ColumnKind::I64List),
        "text list" => return Ok(ColumnKind::TextList),
        _ => {}
    }
    let (element, width) =
        text.strip_suffix(']').and_then(|text| text.split_once('[')).ok_or_else(unknown)?;
    let width = width.parse().ok().filter(|width| *width > 0).ok_or_else(unknown)?;
    match element {
        "f32" => Ok(ColumnKind::F32 { width }),
        "i64" => Ok(ColumnKind::I64 { width }),
        "text" => Ok(ColumnKind::Text { width }),
        _ => Err(unknown()),
    }
}

fn column(kind: ColumnKind, rows: &[Value]) -> Result<Column, String> {
    Ok(match kind {
        ColumnKind::F32 { width } => Column::F32 { width, values: fixed(width, rows, float)? },
        ColumnKind::I64 { width } => Column::I64 { width, values: fixed(width, rows, id)? },
        ColumnKind::Text { width } => {
            let values = fixed(width, rows, text)?;
            Column::Text { width, values: values.iter().map(Option::as_deref).collect() }
        }
        ColumnKind::F32List => Column::F32List(jagged(rows, float)?),
        ColumnKind::I64List => Column::I64List(jagged(rows, id)?),
        ColumnKind::TextList => {
            let Jagged { offsets, values } = jagged(rows, text)?;
            let values: Texts = values.iter().map(Option::as_deref).collect();
            Column::TextList { offsets, values }
        }
        kind => return Err(format!("type {kind}, which cases cannot hold")),
    })
}

/// The values of rows of one width; rows of one value need no brackets.
fn fixed<T>(
    width: usize,
    rows: &[Value],
    parse: impl Fn(&Value) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let mut values = Vec::with_capacity(rows.len() * width);
    for (at, row) in rows.iter().enumerate() {
        let row = match row {
            Value::Array(row) => row.as_slice(),
            value => std::slice::from_ref(value),
        };
        if row.len() != width {
            return Err(format!("row {at} has {} values, expected {width}", row.len()));
        }
        for value in row {
            values.push(parse(value).map_err(|error| format!("row {at}: {error}"))?);
        }
    }
    Ok(values)
}

fn jagged<T>(
    rows: &[Value],
    parse: impl Fn(&Value) -> Result<T, String>,
) -> Result<Jagged<T>, String> {
    let mut jagged = Jagged::new();
    for (at, row) in rows.iter().enumerate() {
        let Value::Array(row) = row else { return Err(format!("row {at} is no list")) };
        for value in row {
            jagged.values.push(parse(value).map_err(|error| format!("row {at}: {error}"))?);
        }
        jagged.offsets.push(jagged.values.len() as u32);
    }
    Ok(jagged)
}

fn float(value: &Value) -> Result<f32, String> {
    match value {
        Value::Null => Some(f32::NAN),
        Value::Number(number) => number.as_f64().map(|number| number as f32),
        Value::String(text) if text == "inf" => Some(f32::INFINITY),
        Value::String(text) if text == "-inf" => Some(f32::NEG_INFINITY),
        _ => None,
    }
    .ok_or_else(|| format!("`{value}`, expected a number, `null`, `\"inf\"` or `\"-inf\"`"))
}

fn id(value: &Value) -> Result<i64, String> {
    match value {
        Value::Null => Ok(MISSING_ID),
        value => {
            value.as_i64().ok_or_else(|| format!("`{value}`, expected a whole number or `null`"))
        }
    }
}

fn text(value: &Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        value => Err(format!("`{value}`, expected a text or `null`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_it_is_shown() {
        let fixed = |width| {
            [ColumnKind::F32 { width }, ColumnKind::I64 { width }, ColumnKind::Text { width }]
        };
        let lists = [ColumnKind::F32List, ColumnKind::I64List, ColumnKind::TextList];
        for shown in fixed(1).into_iter().chain(fixed(13)).chain(lists) {
            assert_eq!(kind(&shown.to_string()).unwrap(), shown);
        }
        for wrong in ["f32", "f32[0]", "f64[1]", "f32[-1]", "list"] {
            assert!(kind(wrong).unwrap_err().starts_with(&format!("type `{wrong}`")));
        }
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let parse = |text: &str| {
            let line: ColumnLine = serde_json::from_str(text).unwrap();
            line.parse().unwrap_err()
        };
        let width = parse(r#"{"name": "a", "type": "f32[2]", "values": [[1, 2], [3]]}"#);
        assert_eq!(width, "column `a`: row 1 has 1 values, expected 2");
        let value = parse(r#"{"name": "a", "type": "i64[1]", "values": [1, 2.5]}"#);
        assert_eq!(value, "column `a`: row 1: `2.5`, expected a whole number or `null`");
    }
}
