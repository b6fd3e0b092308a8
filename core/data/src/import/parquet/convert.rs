//! Arrow columns of any suitable type to rows of a dataset.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, Float32Array, Int64Array, ListArray, RecordBatch, StringArray};
use arrow_cast::cast;
use arrow_schema::{DataType, Field};
use rectool_base::MISSING_ID;

use super::super::columns::{LabelRule, Layout, Meaning, Target};
use super::super::csv::{check_label, push_list};
use super::super::parsed::Parsed;
use super::super::value::{self, Refused};

/// A column in the form in which its rows are pushed.
enum Values {
    Floats(Vec<f32>),
    Ids(Vec<i64>),
    /// Offsets and values.
    Lists(Vec<usize>, Vec<i64>),
    Texts(StringArray),
}

/// The first refused value of each bad row.
type Bad = BTreeMap<usize, String>;

/// The rows of `batch`.
///
/// # Errors
/// A text that says which column has a type that cannot be taken.
pub(super) fn rows_of(batch: &RecordBatch, layout: &Layout) -> Result<Parsed, String> {
    let mut bad = Bad::new();
    let mut columns = Vec::new();
    for target in &layout.targets {
        let array = batch
            .column_by_name(&target.source)
            .ok_or_else(|| format!("column `{}` is missing in a row group", target.source))?;
        columns.push(values(array, target, layout.labels, &mut bad).map_err(|expected| {
            let found = array.data_type();
            format!("column `{}`: expected {expected}, found type {found}", target.source)
        })?);
    }
    let mut parsed = Parsed::new(&layout.schema);
    parsed.lines = batch.num_rows() as u64;
    for row in 0..batch.num_rows() {
        if let Some(reason) = bad.remove(&row) {
            parsed.refuse(row as u64, reason, b"");
            continue;
        }
        for (values, target) in columns.iter().zip(&layout.targets) {
            let column = target.column;
            match values {
                Values::Floats(floats) => parsed.push_float(column, floats[row]),
                Values::Ids(ids) => parsed.push_id(column, ids[row]),
                Values::Lists(offsets, ids) => {
                    let ids = &ids[offsets[row]..offsets[row + 1]];
                    parsed.list(column).values.extend_from_slice(ids);
                    parsed.end_list(column);
                }
                Values::Texts(texts) => {
                    let text = if texts.is_null(row) { "" } else { texts.value(row) };
                    push_list(text, layout.list_separator, column, &mut parsed);
                }
            }
        }
        parsed.accept();
    }
    Ok(parsed)
}

fn values(
    array: &ArrayRef,
    target: &Target,
    labels: LabelRule,
    bad: &mut Bad,
) -> Result<Values, &'static str> {
    let array = &plain(array)?;
    let mut refuse = |row: usize, refused: Refused| {
        bad.entry(row).or_insert_with(|| refused.reason(&target.source));
    };
    match target.meaning {
        Meaning::Float => Ok(Values::Floats(floats(array, &mut refuse)?)),
        Meaning::Label => {
            let floats = floats(array, &mut refuse)?;
            for (row, &label) in floats.iter().enumerate() {
                if let Err(refused) = check_label(label, labels) {
                    refuse(row, refused);
                }
            }
            Ok(Values::Floats(floats))
        }
        Meaning::Id => Ok(Values::Ids(ids(array, &mut refuse)?)),
        Meaning::List => lists(array, &mut refuse),
    }
}

/// Dictionaries unpacked and the several string types made one.
fn plain(array: &ArrayRef) -> Result<ArrayRef, &'static str> {
    match array.data_type() {
        DataType::Dictionary(_, value) => {
            let unpacked = cast(array, value).map_err(|_| "a dictionary of numbers or texts")?;
            plain(&unpacked)
        }
        DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView => {
            let texts = cast(array, &DataType::Utf8).map_err(|_| "texts")?;
            // A cast makes bytes that are not UTF-8 null, and null would pass for missing.
            let same = texts.null_count() == array.null_count();
            if same { Ok(texts) } else { Err("texts in UTF-8") }
        }
        _ => Ok(array.clone()),
    }
}

fn floats(
    array: &ArrayRef,
    refuse: &mut impl FnMut(usize, Refused),
) -> Result<Vec<f32>, &'static str> {
    let expected = "numbers";
    if let Some(texts) = array.as_string_opt::<i32>() {
        let parse = |(row, text): (usize, Option<&str>)| {
            value::float(text.unwrap_or("").as_bytes()).unwrap_or_else(|refused| {
                refuse(row, refused);
                f32::NAN
            })
        };
        return Ok(texts.iter().enumerate().map(parse).collect());
    }
    let data_type = array.data_type();
    if !data_type.is_numeric() && *data_type != DataType::Boolean && *data_type != DataType::Null {
        return Err(expected);
    }
    let numbers = cast(array, &DataType::Float32).map_err(|_| expected)?;
    let numbers: &Float32Array = numbers.as_primitive::<Float32Type>();
    let take = |(row, number): (usize, Option<f32>)| {
        let lost = number.is_none() && array.is_valid(row);
        if lost || number.is_some_and(f32::is_infinite) {
            refuse(row, Refused::new("a number in the range of f32", "a greater one"));
        }
        number.unwrap_or(f32::NAN)
    };
    Ok(numbers.iter().enumerate().map(take).collect())
}

fn ids(
    array: &ArrayRef,
    refuse: &mut impl FnMut(usize, Refused),
) -> Result<Vec<i64>, &'static str> {
    let expected = "whole numbers or texts";
    if let Some(texts) = array.as_string_opt::<i32>() {
        let id = |text: Option<&str>| match text {
            None | Some("") => MISSING_ID,
            Some(text) => value::id_of_text(text),
        };
        return Ok(texts.iter().map(id).collect());
    }
    let data_type = array.data_type();
    if *data_type == DataType::UInt64 {
        let numbers = array.as_primitive::<UInt64Type>();
        return Ok(numbers.iter().map(|id| id.map_or(MISSING_ID, |id| id as i64)).collect());
    }
    if data_type.is_floating() {
        let numbers = cast(array, &DataType::Float64).map_err(|_| expected)?;
        let whole = |(row, number): (usize, Option<f64>)| match number {
            Some(number) if !number.is_nan() => {
                // 2^53: beyond it neighbouring whole numbers fall together.
                if number.fract() != 0.0 || number.abs() > 9_007_199_254_740_992.0 {
                    refuse(row, Refused::new("a whole number up to 2^53", format!("`{number}`")));
                }
                number as i64
            }
            _ => MISSING_ID,
        };
        let numbers = numbers.as_primitive::<Float64Type>();
        return Ok(numbers.iter().enumerate().map(whole).collect());
    }
    if !data_type.is_integer() && !data_type.is_temporal() && *data_type != DataType::Boolean {
        return Err(expected);
    }
    let numbers = cast(array, &DataType::Int64).map_err(|_| expected)?;
    let numbers: &Int64Array = numbers.as_primitive::<Int64Type>();
    Ok(numbers.iter().map(|id| id.unwrap_or(MISSING_ID)).collect())
}

fn lists(
    array: &ArrayRef,
    refuse: &mut impl FnMut(usize, Refused),
) -> Result<Values, &'static str> {
    let expected = "lists of whole numbers or texts, or texts with separators";
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Ok(Values::Texts(texts.clone()));
    }
    let (DataType::List(item)
    | DataType::LargeList(item)
    | DataType::ListView(item)
    | DataType::LargeListView(item)
    | DataType::FixedSizeList(item, _)) = array.data_type()
    else {
        return Err(expected);
    };
    let item = Field::new("item", item.data_type().clone(), true);
    let list = cast(array, &DataType::List(item.into())).map_err(|_| expected)?;
    let list: &ListArray = list.as_list::<i32>();
    let mut refused = Vec::new();
    let values = ids(&plain(list.values())?, &mut |at, why| refused.push((at, why)))?;
    let mut offsets = vec![0];
    let mut kept = Vec::with_capacity(values.len());
    for row in 0..list.len() {
        // A null list may still have values behind it.
        if list.is_valid(row) {
            let range = list.value_offsets()[row] as usize..list.value_offsets()[row + 1] as usize;
            kept.extend_from_slice(&values[range.clone()]);
            if let Some((_, why)) = refused.iter().find(|(at, _)| range.contains(at)) {
                refuse(row, why.clone());
            }
        }
        offsets.push(kept.len());
    }
    Ok(Values::Lists(offsets, kept))
}
