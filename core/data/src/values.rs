//! The values of one column of one record batch, in place in the mapped file where possible.

use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, LargeListArray,
    LargeStringArray, ListArray, StringArray,
};
use arrow_buffer::{ArrowNativeType, NullBuffer, ScalarBuffer};
use rectool_base::{ColumnKind, MISSING_ID};

/// Values that are addressed by row. Nulls of numbers have been replaced by NaN and
/// [`MISSING_ID`].
#[derive(Debug)]
pub(crate) enum Values {
    F32(ScalarBuffer<f32>),
    I64(ScalarBuffer<i64>),
    Text(TextValues),
    F32List(Offsets, ScalarBuffer<f32>),
    I64List(Offsets, ScalarBuffer<i64>),
    TextList(Offsets, TextValues),
}

/// Texts, as `Utf8` or `LargeUtf8` store them: arrow has checked that they are UTF-8.
#[derive(Debug)]
pub(crate) struct TextValues {
    texts: TextArray,
    /// Texts of rows that are null as a whole are null too.
    nulls: Option<NullBuffer>,
}

#[derive(Debug)]
enum TextArray {
    Small(StringArray),
    Large(LargeStringArray),
}

impl TextValues {
    fn new(
        array: &ArrayRef,
        length: usize,
        width: usize,
        outer: Option<&NullBuffer>,
    ) -> Option<Self> {
        // Values beyond the last row are allowed, and belong to none.
        let array = array.slice(0, length);
        let outer = outer.map(|nulls| nulls.expand(width));
        let nulls = NullBuffer::union(outer.as_ref(), array.nulls());
        let texts = match array.as_any().downcast_ref::<StringArray>() {
            Some(texts) => TextArray::Small(texts.clone()),
            None => TextArray::Large(array.as_any().downcast_ref::<LargeStringArray>()?.clone()),
        };
        Some(Self { texts, nulls })
    }

    /// Text `at`; `None` if it is missing.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&str> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(at)) {
            return None;
        }
        Some(match &self.texts {
            TextArray::Small(texts) => texts.value(at),
            TextArray::Large(texts) => texts.value(at),
        })
    }

    /// Bytes of the texts `from..to`, with what lies behind missing ones.
    pub(crate) fn bytes(&self, from: usize, to: usize) -> usize {
        match &self.texts {
            TextArray::Small(texts) => {
                (texts.value_offsets()[to] - texts.value_offsets()[from]) as usize
            }
            TextArray::Large(texts) => {
                (texts.value_offsets()[to] - texts.value_offsets()[from]) as usize
            }
        }
    }
}

/// Where each list starts, as `List` or `LargeList` store it.
#[derive(Debug)]
pub(crate) enum Offsets {
    Small(ScalarBuffer<i32>),
    Large(ScalarBuffer<i64>),
}

impl Offsets {
    /// The start of list `row`, or the end of the list before it.
    #[inline]
    pub(crate) fn at(&self, row: usize) -> usize {
        match self {
            Self::Small(offsets) => offsets[row] as usize,
            Self::Large(offsets) => offsets[row] as usize,
        }
    }
}

/// One row in which every value is missing.
pub(crate) fn missing(kind: ColumnKind) -> Values {
    let texts = |count| TextValues {
        texts: TextArray::Small(StringArray::new_null(count)),
        nulls: Some(NullBuffer::new_null(count)),
    };
    let empty = || Offsets::Small(vec![0, 0].into());
    match kind {
        ColumnKind::F32 { width } => Values::F32(vec![f32::NAN; width].into()),
        ColumnKind::I64 { width } => Values::I64(vec![MISSING_ID; width].into()),
        ColumnKind::Text { width } => Values::Text(texts(width)),
        ColumnKind::F32List => Values::F32List(empty(), Vec::new().into()),
        ColumnKind::I64List => Values::I64List(empty(), Vec::new().into()),
        ColumnKind::TextList => Values::TextList(empty(), texts(0)),
        other => unreachable!("no column of kind {other} is read"),
    }
}

/// Takes the values out of `array`, which must hold exactly what `kind` and `packed` ask for;
/// `None` where it does not.
pub(crate) fn values_of(array: &ArrayRef, kind: ColumnKind, packed: bool) -> Option<Values> {
    match kind {
        ColumnKind::F32 { width } => {
            let (child, outer) = fixed(array, width, packed)?;
            let floats = child.as_any().downcast_ref::<Float32Array>()?;
            let values = floats.values().slice(0, array.len() * width);
            Some(Values::F32(fill(values, width, outer, floats.nulls(), f32::NAN)))
        }
        ColumnKind::I64 { width } => {
            let (child, outer) = fixed(array, width, packed)?;
            let ids = child.as_any().downcast_ref::<Int64Array>()?;
            let values = ids.values().slice(0, array.len() * width);
            Some(Values::I64(fill(values, width, outer, ids.nulls(), MISSING_ID)))
        }
        ColumnKind::Text { width } => {
            let (child, outer) = fixed(array, width, packed)?;
            Some(Values::Text(TextValues::new(child, array.len() * width, width, outer)?))
        }
        ColumnKind::F32List => {
            let (offsets, child, nulls) = lists(array)?;
            let floats = child.as_any().downcast_ref::<Float32Array>()?;
            let values = fill(floats.values().clone(), 1, None, floats.nulls(), f32::NAN);
            let (offsets, values) = without_null_rows(offsets, values, nulls);
            Some(Values::F32List(offsets, values))
        }
        ColumnKind::I64List => {
            let (offsets, child, nulls) = lists(array)?;
            let ids = child.as_any().downcast_ref::<Int64Array>()?;
            let values = fill(ids.values().clone(), 1, None, ids.nulls(), MISSING_ID);
            let (offsets, values) = without_null_rows(offsets, values, nulls);
            Some(Values::I64List(offsets, values))
        }
        ColumnKind::TextList => text_lists(array),
        _ => None,
    }
}

/// The array of single values and the validity of whole rows.
fn fixed(array: &ArrayRef, width: usize, packed: bool) -> Option<(&ArrayRef, Option<&NullBuffer>)> {
    if !packed {
        return Some((array, None));
    }
    let lists = array.as_any().downcast_ref::<FixedSizeListArray>()?;
    let whole = lists.values().len() >= array.len().checked_mul(width)?;
    (whole && lists.value_length() as usize == width).then(|| (lists.values(), lists.nulls()))
}

/// `values` with `missing` in place of every null; copies only if there is one.
fn fill<T: ArrowNativeType>(
    values: ScalarBuffer<T>,
    width: usize,
    outer: Option<&NullBuffer>,
    inner: Option<&NullBuffer>,
    missing: T,
) -> ScalarBuffer<T> {
    if outer.is_none() && inner.is_none() {
        return values;
    }
    let is_null = |at: usize| {
        outer.is_some_and(|nulls| nulls.is_null(at / width))
            || inner.is_some_and(|nulls| nulls.is_null(at))
    };
    values
        .iter()
        .enumerate()
        .map(|(at, value)| if is_null(at) { missing } else { *value })
        .collect()
}

/// Offsets, values and nulls of lists.
fn lists(array: &ArrayRef) -> Option<(Offsets, &ArrayRef, Option<&NullBuffer>)> {
    if let Some(lists) = array.as_any().downcast_ref::<ListArray>() {
        let offsets = Offsets::Small(lists.offsets().inner().clone());
        return Some((offsets, lists.values(), lists.nulls()));
    }
    let lists = array.as_any().downcast_ref::<LargeListArray>()?;
    Some((Offsets::Large(lists.offsets().inner().clone()), lists.values(), lists.nulls()))
}

/// A null list may still span values: copies all lists but those.
fn without_null_rows<T: ArrowNativeType>(
    offsets: Offsets,
    values: ScalarBuffer<T>,
    nulls: Option<&NullBuffer>,
) -> (Offsets, ScalarBuffer<T>) {
    let Some(nulls) = nulls else { return (offsets, values) };
    let mut starts = vec![0_i64];
    let mut kept = Vec::new();
    for row in 0..nulls.len() {
        if nulls.is_valid(row) {
            kept.extend_from_slice(&values[offsets.at(row)..offsets.at(row + 1)]);
        }
        starts.push(kept.len() as i64);
    }
    (Offsets::Large(starts.into()), kept.into())
}

fn text_lists(array: &ArrayRef) -> Option<Values> {
    let (offsets, child, nulls) = lists(array)?;
    let values = TextValues::new(child, child.len(), 1, None)?;
    let Some(nulls) = nulls else { return Some(Values::TextList(offsets, values)) };
    let (mut starts, mut kept) = (vec![0_i64], Vec::new());
    for row in 0..nulls.len() {
        if nulls.is_valid(row) {
            kept.extend((offsets.at(row)..offsets.at(row + 1)).map(|at| values.get(at)));
        }
        starts.push(kept.len() as i64);
    }
    let kept: ArrayRef = Arc::new(LargeStringArray::from_iter(kept));
    let values = TextValues::new(&kept, kept.len(), 1, None)?;
    Some(Values::TextList(Offsets::Large(starts.into()), values))
}
