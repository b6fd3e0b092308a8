//! Rows of a column several times over, and other values in the copies.

use std::ops::Range;

use rectool_base::{Column, Jagged, Texts};

use crate::{DataError, column};

/// Puts each row `times` times, one after the other. Numbers stay in their allocation, which comes
/// back large enough with a spent batch.
pub(super) fn repeat(column: &mut Column, times: usize) -> Result<(), DataError> {
    match column {
        Column::F32 { width, values } => repeat_rows(values, *width, times),
        Column::I64 { width, values } => repeat_rows(values, *width, times),
        Column::Text { width, values } => {
            check_total(values.bytes().len() * times)?;
            *values = repeat_texts(values, (0..values.len() / *width).map(|at| at * *width), times);
        }
        Column::F32List(jagged) => repeat_lists(jagged, times)?,
        Column::I64List(jagged) => repeat_lists(jagged, times)?,
        Column::TextList { offsets, values } => {
            check_total(values.len().max(values.bytes().len()) * times)?;
            let starts = offsets.iter().map(|start| *start as usize);
            *values = repeat_texts(values, starts.take(offsets.len() - 1), times);
            *offsets = repeat_offsets(offsets, times);
        }
        other => unreachable!("no column of kind {} is read", other.kind()),
    }
    Ok(())
}

/// Offsets of batches are `u32`.
fn check_total(total: usize) -> Result<(), DataError> {
    if u32::try_from(total).is_ok() {
        return Ok(());
    }
    Err(DataError::Option {
        option: "batch_size",
        expected: "lists and texts of less than 2^32 values and bytes with negatives".to_owned(),
        found: total.to_string(),
    })
}

/// From the last row backwards: no copy then lies on a row that is still to be copied.
fn repeat_rows<T: Copy + Default>(values: &mut Vec<T>, width: usize, times: usize) {
    let rows = values.len() / width;
    values.resize(values.len() * times, T::default());
    for row in (0..rows).rev() {
        for copy in (0..times).rev() {
            values.copy_within(row * width..(row + 1) * width, (row * times + copy) * width);
        }
    }
}

fn repeat_lists<T: Copy + Default>(jagged: &mut Jagged<T>, times: usize) -> Result<(), DataError> {
    let values = &mut jagged.values;
    check_total(values.len() * times)?;
    values.resize(values.len() * times, T::default());
    for pair in jagged.offsets.windows(2).rev() {
        let (start, end) = (pair[0] as usize, pair[1] as usize);
        for copy in (0..times).rev() {
            values.copy_within(start..end, start * times + copy * (end - start));
        }
    }
    jagged.offsets = repeat_offsets(&jagged.offsets, times);
    Ok(())
}

fn repeat_offsets(offsets: &[u32], times: usize) -> Vec<u32> {
    let mut repeated = Vec::with_capacity((offsets.len() - 1) * times + 1);
    repeated.push(0);
    for pair in offsets.windows(2) {
        let length = pair[1] - pair[0];
        repeated.extend((1..=times as u32).map(|copy| pair[0] * times as u32 + copy * length));
    }
    repeated
}

/// `starts` are the first texts of the rows.
fn repeat_texts(texts: &Texts, starts: impl Iterator<Item = usize>, times: usize) -> Texts {
    let mut repeated = Texts::new();
    let mut starts = starts.peekable();
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(texts.len());
        (0..times).for_each(|_| repeated.append(texts, start..end));
    }
    repeated
}

/// In each group of one row and `per_row` copies of it, gives the copies the values `cells` of the
/// next rows of `from`, a column of the same type. A list is taken whole.
pub(super) fn overwrite(column: &mut Column, from: &Column, cells: &Range<usize>, per_row: usize) {
    match (column, from) {
        (Column::F32 { width, values }, Column::F32 { values: from, .. }) => {
            overwrite_rows(values, from, *width, cells, per_row);
        }
        (Column::I64 { width, values }, Column::I64 { values: from, .. }) => {
            overwrite_rows(values, from, *width, cells, per_row);
        }
        (Column::Text { width, values }, Column::Text { values: from, .. }) => {
            let width = *width;
            let text = |at: usize| match source(at / width, per_row) {
                Some(row) if cells.contains(&(at % width)) => from.get(row * width + at % width),
                _ => values.get(at),
            };
            *values = (0..values.len()).map(text).collect();
        }
        (column, from) => {
            let mut whole = column::empty(column.kind());
            for row in 0..column.rows() {
                match source(row, per_row) {
                    Some(other) => column::append_rows(&mut whole, from, other..other + 1),
                    None => column::append_rows(&mut whole, column, row..row + 1),
                }
            }
            *column = whole;
        }
    }
}

/// Which of the drawn rows stands at row `row` of all; `None` if that row was read.
pub(super) fn source(row: usize, per_row: usize) -> Option<usize> {
    let (group, at) = (row / (1 + per_row), row % (1 + per_row));
    at.checked_sub(1).map(|at| group * per_row + at)
}

fn overwrite_rows<T: Copy>(
    values: &mut [T],
    from: &[T],
    width: usize,
    cells: &Range<usize>,
    per_row: usize,
) {
    for (row, values) in values.chunks_exact_mut(width).enumerate() {
        if let Some(other) = source(row, per_row) {
            let from = &from[other * width..(other + 1) * width];
            values[cells.clone()].copy_from_slice(&from[cells.clone()]);
        }
    }
}
