//! From record batches to vectors, ids and attributes.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, ListArray, StringArray};
use arrow_buffer::ScalarBuffer;
use arrow_cast::cast;
use arrow_schema::{DataType, Field};

use super::{AttributeColumn, AttributeValues, VectorColumns, VectorTable};
use crate::decode::Broken;

/// What batches gave so far.
pub(super) struct Collector<'a> {
    columns: &'a VectorColumns,
    dim: Option<usize>,
    rows: usize,
    ids: Option<Vec<u64>>,
    pieces: Vec<ScalarBuffer<f32>>,
    attributes: Vec<AttributeColumn>,
}

impl<'a> Collector<'a> {
    pub(super) fn new(columns: &'a VectorColumns) -> Self {
        let ids = columns.id.as_ref().map(|_| Vec::new());
        Self { columns, dim: None, rows: 0, ids, pieces: Vec::new(), attributes: Vec::new() }
    }

    /// Takes the columns of one batch: ids if they were asked for, vectors, attributes.
    pub(super) fn add(&mut self, arrays: &[&ArrayRef]) -> Result<(), Broken> {
        let mut arrays = arrays.iter();
        let mut next = || {
            let array = arrays.next();
            array.copied().map_or_else(|| Err(Broken::new("batch", "all columns", "fewer")), plain)
        };
        if let (Some(ids), Some(name)) = (&mut self.ids, &self.columns.id) {
            add_ids(&next()?, name, ids)?;
        }
        let vectors = &next()?;
        self.add_vectors(vectors)?;
        for (at, name) in self.columns.attributes.iter().enumerate() {
            let values = attribute(&next()?, name)?;
            match (self.attributes.get_mut(at).map(|known| &mut known.values), values) {
                (None, values) => {
                    self.attributes.push(AttributeColumn { name: name.clone(), values });
                }
                (Some(AttributeValues::Tokens(all)), AttributeValues::Tokens(own)) => {
                    all.extend(own);
                }
                (Some(AttributeValues::Numbers(all)), AttributeValues::Numbers(own)) => {
                    all.extend(own);
                }
                _ => {
                    return Err(Broken::new(&column(name), "one type", "another in a later batch"));
                }
            }
        }
        self.rows += vectors.len();
        Ok(())
    }

    fn add_vectors(&mut self, array: &ArrayRef) -> Result<(), Broken> {
        let what = column(&self.columns.vector);
        let fixed = match array.data_type() {
            DataType::FixedSizeList(_, width) => Some(*width as usize),
            DataType::List(_) | DataType::LargeList(_) => None,
            _ => return Err(wrong_type(&what, VECTORS, array)),
        };
        if array.null_count() > 0 {
            let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or_default();
            let row = self.rows + row;
            return Err(Broken::new(&format!("{what}, row {row}"), "a vector", "null"));
        }
        let (dim, values) = if let Some(dim) = fixed {
            let values = array.as_fixed_size_list().values();
            if values.len() < array.len() * dim {
                return Err(Broken::new(&what, array.len() * dim, values.len()));
            }
            (Some(dim), values.slice(0, array.len() * dim))
        } else {
            let item = Field::new("item", DataType::Float32, true);
            let lists = cast(array, &DataType::List(item.into()));
            let lists = lists.map_err(|_| wrong_type(&what, VECTORS, array))?;
            let lists: &ListArray = lists.as_list();
            let dim = self.dim.or_else(|| (!lists.is_empty()).then(|| lists.value(0).len()));
            self.check_widths(lists, dim)?;
            let start = lists.value_offsets()[0] as usize;
            (dim, lists.values().slice(start, lists.len() * dim.unwrap_or_default()))
        };
        if let (Some(expected), Some(found)) = (self.dim, dim.filter(|dim| Some(*dim) != self.dim))
        {
            return Err(Broken::new(&format!("{what}: width"), expected, found));
        }
        self.dim = dim;
        if !values.data_type().is_floating() {
            return Err(wrong_type(&what, VECTORS, array));
        }
        if values.null_count() > 0 {
            let at = (0..values.len()).find(|at| values.is_null(*at)).unwrap_or_default();
            let row = self.rows + at / dim.unwrap_or(1).max(1);
            return Err(Broken::new(&format!("{what}, row {row}"), "a number", "null"));
        }
        let values = cast(&values, &DataType::Float32);
        let values = values.map_err(|_| wrong_type(&what, VECTORS, array))?;
        self.pieces.push(values.as_primitive::<Float32Type>().values().clone());
        Ok(())
    }

    fn check_widths(&self, lists: &ListArray, dim: Option<usize>) -> Result<(), Broken> {
        let widths = lists.value_offsets().windows(2).map(|pair| (pair[1] - pair[0]) as usize);
        match widths.enumerate().find(|(_, width)| Some(*width) != dim) {
            None => Ok(()),
            Some((row, width)) => {
                let what = format!("{}, row {}", column(&self.columns.vector), self.rows + row);
                let expected = format!("{} numbers as in the rows before", dim.unwrap_or_default());
                Err(Broken::new(&what, expected, width))
            }
        }
    }

    pub(super) fn finish(self) -> Result<VectorTable, Broken> {
        let Self { columns, dim, rows, ids, pieces, attributes } = self;
        let Some(dim) = dim.filter(|dim| *dim > 0) else {
            return Err(Broken::new(&column(&columns.vector), "a vector or more", "none"));
        };
        Ok(VectorTable { dim, rows, ids, pieces, attributes })
    }
}

const VECTORS: &str = "lists of floats, all of one width";

fn column(name: &str) -> String {
    format!("column `{name}`")
}

fn wrong_type(what: &str, expected: &str, array: &ArrayRef) -> Broken {
    Broken::new(what, expected, format!("type {}", array.data_type()))
}

/// Dictionaries unpacked, all else as it is.
fn plain(array: &ArrayRef) -> Result<ArrayRef, Broken> {
    let DataType::Dictionary(_, values) = array.data_type() else { return Ok(array.clone()) };
    cast(array, values).map_err(|error| Broken::new("dictionary", "numbers or texts", error))
}

/// Appends ids; a negative one is taken by its bits, as a `u64`.
fn add_ids(array: &ArrayRef, name: &str, ids: &mut Vec<u64>) -> Result<(), Broken> {
    let what = column(name);
    if !array.data_type().is_integer() {
        return Err(wrong_type(&what, "whole numbers", array));
    }
    if array.null_count() > 0 {
        let row = (0..array.len()).find(|row| array.is_null(*row)).unwrap_or_default();
        let row = ids.len() + row;
        return Err(Broken::new(&format!("{what}, row {row}"), "an id", "null"));
    }
    if *array.data_type() == DataType::UInt64 {
        ids.extend_from_slice(array.as_primitive::<UInt64Type>().values());
        return Ok(());
    }
    let wide = cast(array, &DataType::Int64).map_err(|_| wrong_type(&what, "ids", array))?;
    ids.extend(wide.as_primitive::<Int64Type>().values().iter().map(|id| *id as u64));
    Ok(())
}

fn attribute(array: &ArrayRef, name: &str) -> Result<AttributeValues, Broken> {
    let wrong = || wrong_type(&column(name), "numbers, texts or lists of texts", array);
    let data_type = array.data_type();
    if data_type.is_numeric() || *data_type == DataType::Boolean {
        let numbers = cast(array, &DataType::Float64).map_err(|_| wrong())?;
        let numbers = numbers.as_primitive::<Float64Type>();
        let value = |number: Option<f64>| number.unwrap_or(f64::NAN);
        return Ok(AttributeValues::Numbers(numbers.iter().map(value).collect()));
    }
    if let Some(texts) = texts(array) {
        let token = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
        return Ok(AttributeValues::Tokens(texts.iter().map(token).collect()));
    }
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _)) =
        data_type
    else {
        return Err(wrong());
    };
    let item = Field::new("item", item.data_type().clone(), true);
    let lists = cast(array, &DataType::List(item.into())).map_err(|_| wrong())?;
    let lists: &ListArray = lists.as_list();
    let values = texts(lists.values()).ok_or_else(wrong)?;
    let tokens = (0..lists.len()).map(|row| {
        let ends = &lists.value_offsets()[row..=row + 1];
        // A null list may still have values behind it.
        let range = if lists.is_valid(row) { ends[0] as usize..ends[1] as usize } else { 0..0 };
        let valid = range.filter(|at| values.is_valid(*at));
        valid.map(|at| values.value(at).to_owned()).collect()
    });
    Ok(AttributeValues::Tokens(tokens.collect()))
}

/// Texts of any string type or a dictionary of them; `None` for anything else.
fn texts(array: &ArrayRef) -> Option<StringArray> {
    let data_type = match array.data_type() {
        DataType::Dictionary(_, value) => value,
        other => other,
    };
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        .then(|| cast(array, &DataType::Utf8).ok())
        .flatten()
        .map(|texts| texts.as_string().clone())
}
