//! The values of one column of one record batch, in place in the mapped file where possible.

use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Int64Array, LargeListArray, ListArray,
};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use rectool_base::{ColumnKind, MISSING_ID};

/// Values that are addressed by row. Nulls have been replaced by NaN and [`MISSING_ID`].
#[derive(Debug)]
pub(crate) enum Values {
    F32(ScalarBuffer<f32>),
    I64(ScalarBuffer<i64>),
    List { offsets: Offsets, values: ScalarBuffer<i64> },
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
        ColumnKind::I64List => list(array),
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
fn fill<T: arrow_buffer::ArrowNativeType>(
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

fn list(array: &ArrayRef) -> Option<Values> {
    let (offsets, child, nulls) = if let Some(lists) = array.as_any().downcast_ref::<ListArray>() {
        let offsets = Offsets::Small(lists.offsets().inner().clone());
        (offsets, lists.values(), lists.nulls())
    } else {
        let lists = array.as_any().downcast_ref::<LargeListArray>()?;
        (Offsets::Large(lists.offsets().inner().clone()), lists.values(), lists.nulls())
    };
    let ids = child.as_any().downcast_ref::<Int64Array>()?;
    let values = fill(ids.values().clone(), 1, None, ids.nulls(), MISSING_ID);
    Some(match nulls {
        None => Values::List { offsets, values },
        Some(nulls) => without_null_rows(&offsets, &values, nulls),
    })
}

/// A null list may still span values: copies all lists but those.
fn without_null_rows(offsets: &Offsets, values: &[i64], nulls: &NullBuffer) -> Values {
    let mut starts = vec![0_i64];
    let mut kept = Vec::new();
    for row in 0..nulls.len() {
        if nulls.is_valid(row) {
            kept.extend_from_slice(&values[offsets.at(row)..offsets.at(row + 1)]);
        }
        starts.push(kept.len() as i64);
    }
    Values::List { offsets: Offsets::Large(starts.into()), values: kept.into() }
}
