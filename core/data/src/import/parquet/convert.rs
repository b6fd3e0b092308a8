//! Arrow columns of any suitable type to rows of a dataset.

use std::collections::BTreeMap;
use std::ops::Range;

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
    Texts(StringArray),
    IdLists(Lists<Vec<i64>>),
    FloatLists(Lists<Vec<f32>>),
    TextLists(Lists<StringArray>),
    /// Lists as texts with separators.
    Joined(StringArray),
}

/// The values of row `row` are `rows[row]` of `values`.
struct Lists<T> {
    rows: Vec<Range<usize>>,
    values: T,
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
        // The one value that is only looked at while it is pushed is a number of a joined list.
        let pushed = columns
            .iter()
            .zip(&layout.targets)
            .try_for_each(|(values, target)| push(values, row, target, layout, &mut parsed));
        match pushed {
            Ok(()) => parsed.accept(),
            Err(reason) => parsed.refuse(row as u64, reason, b""),
        }
    }
    Ok(parsed)
}

fn push(
    values: &Values,
    row: usize,
    target: &Target,
    layout: &Layout,
    parsed: &mut Parsed,
) -> Result<(), String> {
    let column = target.column;
    match values {
        Values::Floats(floats) => parsed.push_float(column, floats[row]),
        Values::Ids(ids) => parsed.push_id(column, ids[row]),
        Values::Texts(texts) => parsed.push_text(column, text_at(texts, row)),
        Values::IdLists(lists) => {
            parsed.push_ids(column, lists.values[lists.rows[row].clone()].iter().copied());
        }
        Values::FloatLists(lists) => {
            parsed.push_floats(column, &lists.values[lists.rows[row].clone()]);
        }
        Values::TextLists(lists) => {
            let texts = lists.rows[row].clone().map(|at| text_at(&lists.values, at));
            parsed.push_texts(column, texts);
        }
        Values::Joined(texts) => {
            let text = text_at(texts, row).unwrap_or_default();
            push_list(text, target, layout.list_separator, parsed)
                .map_err(|refused| refused.reason(&target.source))?;
        }
    }
    Ok(())
}

fn text_at(texts: &StringArray, at: usize) -> Option<&str> {
    texts.is_valid(at).then(|| texts.value(at))
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
        Meaning::Text => Ok(Values::Texts(texts(array)?)),
        Meaning::IdList | Meaning::FloatList | Meaning::TextList => {
            lists(array, target.meaning, &mut refuse)
        }
    }
}

/// Texts as they are, numbers as they are written.
fn texts(array: &ArrayRef) -> Result<StringArray, &'static str> {
    let expected = "texts";
    let data_type = array.data_type();
    let written = data_type.is_integer() || *data_type == DataType::Null;
    if array.as_string_opt::<i32>().is_none() && !written {
        return Err(expected);
    }
    let texts = cast(array, &DataType::Utf8).map_err(|_| expected)?;
    Ok(texts.as_string::<i32>().clone())
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
    meaning: Meaning,
    refuse: &mut impl FnMut(usize, Refused),
) -> Result<Values, &'static str> {
    let expected = match meaning {
        Meaning::FloatList => "lists of numbers, or texts with separators",
        Meaning::TextList => "lists of texts, or texts with separators",
        _ => "lists of whole numbers or texts, or texts with separators",
    };
    if let Some(texts) = array.as_string_opt::<i32>() {
        return Ok(Values::Joined(texts.clone()));
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
    let row = |row: usize| {
        let ends = &list.value_offsets()[row..=row + 1];
        // A null list may still have values behind it.
        if list.is_valid(row) { ends[0] as usize..ends[1] as usize } else { 0..0 }
    };
    let rows: Vec<Range<usize>> = (0..list.len()).map(row).collect();
    let mut refused = Vec::new();
    let mut note = |at, why| refused.push((at, why));
    let items = plain(list.values())?;
    let values = match meaning {
        Meaning::FloatList => {
            let values = floats(&items, &mut note)?;
            Values::FloatLists(Lists { rows: rows.clone(), values })
        }
        Meaning::TextList => {
            Values::TextLists(Lists { rows: rows.clone(), values: texts(&items)? })
        }
        _ => Values::IdLists(Lists { rows: rows.clone(), values: ids(&items, &mut note)? }),
    };
    for (at, why) in refused {
        if let Some(row) = rows.iter().position(|row| row.contains(&at)) {
            refuse(row, why);
        }
    }
    Ok(values)
}
