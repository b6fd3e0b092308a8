//! Columns of every kind: made empty, appended to, measured.

use std::ops::Range;

use rectool_base::{Column, ColumnKind, Jagged, Texts};

/// A column of no rows.
pub(crate) fn empty(kind: ColumnKind) -> Column {
    match kind {
        ColumnKind::F32 { width } => Column::F32 { width, values: Vec::new() },
        ColumnKind::I64 { width } => Column::I64 { width, values: Vec::new() },
        ColumnKind::Text { width } => Column::Text { width, values: Texts::new() },
        ColumnKind::F32List => Column::F32List(Jagged::new()),
        ColumnKind::I64List => Column::I64List(Jagged::new()),
        ColumnKind::TextList => Column::TextList { offsets: vec![0], values: Texts::new() },
        other => unreachable!("no column of kind {other} can be made"),
    }
}

/// Appends the rows `rows` of `more`, which is of the same kind.
///
/// # Panics
/// If it is not, there are not that many, or a list or text column passes 2^32 values or bytes.
pub fn append_rows(held: &mut Column, more: &Column, rows: Range<usize>) {
    match (held, more) {
        (Column::F32 { width, values }, Column::F32 { values: more, .. }) => {
            values.extend_from_slice(&more[rows.start * *width..rows.end * *width]);
        }
        (Column::I64 { width, values }, Column::I64 { values: more, .. }) => {
            values.extend_from_slice(&more[rows.start * *width..rows.end * *width]);
        }
        (Column::Text { width, values }, Column::Text { values: more, .. }) => {
            values.append(more, rows.start * *width..rows.end * *width);
        }
        (Column::F32List(held), Column::F32List(more)) => append_lists(held, more, rows),
        (Column::I64List(held), Column::I64List(more)) => append_lists(held, more, rows),
        (
            Column::TextList { offsets, values },
            Column::TextList { offsets: more_offsets, values: more },
        ) => {
            let range = append_offsets(offsets, more_offsets, rows);
            values.append(more, range);
        }
        (held, more) => panic!("rows of {} appended to {}", more.kind(), held.kind()),
    }
}

fn append_lists<T: Copy>(held: &mut Jagged<T>, more: &Jagged<T>, rows: Range<usize>) {
    let range = append_offsets(&mut held.offsets, &more.offsets, rows);
    held.values.extend_from_slice(&more.values[range]);
}

/// Appends the ends of the lists `rows`, and returns where their values lie.
fn append_offsets(held: &mut Vec<u32>, more: &[u32], rows: Range<usize>) -> Range<usize> {
    let (first, last) = (more[rows.start], more[rows.end]);
    let shift = *held.last().expect("offsets begin with 0");
    assert!(shift.checked_add(last - first).is_some(), "lists of fewer than 2^32 values");
    held.extend(more[rows.start + 1..=rows.end].iter().map(|end| end - first + shift));
    first as usize..last as usize
}

/// Bytes that the first `rows` rows take: what limits a shard.
pub(crate) fn bytes_of(column: &Column, rows: usize) -> usize {
    let text_bytes = |values: &Texts, texts: usize| values.offsets()[texts] as usize + 4 * texts;
    match column {
        Column::F32 { width, .. } => 4 * width * rows,
        Column::I64 { width, .. } => 8 * width * rows,
        Column::Text { width, values } => text_bytes(values, width * rows),
        Column::F32List(jagged) => 4 * jagged.offsets[rows] as usize,
        Column::I64List(jagged) => 8 * jagged.offsets[rows] as usize,
        Column::TextList { offsets, values } => text_bytes(values, offsets[rows] as usize),
        other => unreachable!("no column of kind {} is made", other.kind()),
    }
}

/// Takes back all but the first `rows` rows, also where a row has only been begun.
pub(crate) fn truncate(column: &mut Column, rows: usize) {
    fn lists<T>(jagged: &mut Jagged<T>, rows: usize) {
        jagged.offsets.truncate(rows + 1);
        jagged.values.truncate(jagged.offsets[rows] as usize);
    }
    match column {
        Column::F32 { width, values } => values.truncate(rows * *width),
        Column::I64 { width, values } => values.truncate(rows * *width),
        Column::Text { width, values } => values.truncate(rows * *width),
        Column::F32List(jagged) => lists(jagged, rows),
        Column::I64List(jagged) => lists(jagged, rows),
        Column::TextList { offsets, values } => {
            offsets.truncate(rows + 1);
            values.truncate(offsets[rows] as usize);
        }
        other => unreachable!("no column of kind {} is made", other.kind()),
    }
}
