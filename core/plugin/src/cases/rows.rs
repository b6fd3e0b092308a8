//! Rows of columns: taken in any order, any number of times.

use rectool_base::{Column, Jagged, Texts};

use super::Columns;

/// The columns with these rows of theirs.
pub(crate) fn taken(columns: &Columns, rows: &[usize]) -> Columns {
    let schemas = columns.schemas.clone();
    Columns { schemas, columns: columns.columns.iter().map(|column| take(column, rows)).collect() }
}

/// `rows` rows, those of the columns over and over; none if there are none.
pub(crate) fn tiled(columns: &Columns, rows: usize) -> Columns {
    let order: Vec<usize> = (0..columns.rows()).cycle().take(rows).collect();
    taken(columns, &order)
}

/// As [`tiled`], with other ids in each repetition: an id that says which rows belong together keeps
/// its groups as small as they were.
pub(crate) fn tiled_apart(columns: &Columns, rows: usize) -> Columns {
    let have = columns.rows().max(1);
    let mut tiled = tiled(columns, rows);
    for column in &mut tiled.columns {
        let Column::I64 { width, values } = column else { continue };
        let ids = || values.iter().copied().filter(|id| *id >= 0);
        let step = ids().max().map_or(0, |max| max.saturating_add(1));
        for (at, id) in values.iter_mut().enumerate().filter(|(_, id)| **id >= 0) {
            *id = id.wrapping_add(step.wrapping_mul((at / *width / have) as i64));
        }
    }
    tiled
}

/// `rows` values, those given over and over; none if there are none.
pub(crate) fn tiled_values<T: Copy>(values: &[T], rows: usize) -> Vec<T> {
    values.iter().copied().cycle().take(if values.is_empty() { 0 } else { rows }).collect()
}

/// How many values the columns hold.
pub(crate) fn values(columns: &Columns) -> usize {
    let values = |column: &Column| match column {
        Column::F32 { values, .. } => values.len(),
        Column::I64 { values, .. } => values.len(),
        Column::F32List(jagged) => jagged.values.len(),
        Column::I64List(jagged) => jagged.values.len(),
        Column::Text { values, .. } | Column::TextList { values, .. } => values.len(),
        _ => 0,
    };
    columns.columns.iter().map(values).sum()
}

pub(crate) fn take(column: &Column, rows: &[usize]) -> Column {
    match column {
        Column::F32 { width, values } => {
            Column::F32 { width: *width, values: fixed(values, *width, rows) }
        }
        Column::I64 { width, values } => {
            Column::I64 { width: *width, values: fixed(values, *width, rows) }
        }
        Column::Text { width, values } => {
            let at = rows.iter().flat_map(|row| row * width..(row + 1) * width);
            Column::Text { width: *width, values: at.map(|at| values.get(at)).collect() }
        }
        Column::F32List(lists) => Column::F32List(jagged(lists, rows)),
        Column::I64List(lists) => Column::I64List(jagged(lists, rows)),
        Column::TextList { offsets, values } => text_lists(offsets, values, rows),
        column => unreachable!("cases hold no columns of type {}", column.kind()),
    }
}

fn fixed<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
}

fn jagged<T: Copy>(lists: &Jagged<T>, rows: &[usize]) -> Jagged<T> {
    let mut taken = Jagged::new();
    for row in rows {
        taken.push_row(lists.row(*row));
    }
    taken
}

fn text_lists(offsets: &[u32], values: &Texts, rows: &[usize]) -> Column {
    let mut taken = (vec![0], Texts::new());
    for row in rows {
        let range = offsets[*row] as usize..offsets[row + 1] as usize;
        range.for_each(|at| taken.1.push(values.get(at)));
        taken.0.push(taken.1.len() as u32);
    }
    Column::TextList { offsets: taken.0, values: taken.1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_groups_stay_apart() {
        let values = vec![3, 3, -1, 0];
        let kind = rectool_base::ColumnKind::I64 { width: 1 };
        let schemas = vec![rectool_base::ColumnSchema::plain("group", kind)];
        let columns = Columns { schemas, columns: vec![Column::I64 { width: 1, values }] };
        let Column::I64 { values, .. } = &tiled_apart(&columns, 9).columns[0] else { panic!() };
        assert_eq!(*values, [3, 3, -1, 0, 7, 7, -1, 4, 11]);
    }

    #[test]
    fn rows_of_every_type_are_taken() {
        let texts = |list: &[Option<&str>]| list.iter().copied().collect::<Texts>();
        let cases = [
            (
                Column::F32 { width: 2, values: vec![1.0, 2.0, 3.0, 4.0] },
                Column::F32 { width: 2, values: vec![3.0, 4.0, 1.0, 2.0, 3.0, 4.0] },
            ),
            (
                Column::Text { width: 1, values: texts(&[Some("a"), None]) },
                Column::Text { width: 1, values: texts(&[None, Some("a"), None]) },
            ),
            (
                Column::I64List(Jagged { offsets: vec![0, 2, 2], values: vec![5, 6] }),
                Column::I64List(Jagged { offsets: vec![0, 0, 2, 2], values: vec![5, 6] }),
            ),
            (
                Column::TextList {
                    offsets: vec![0, 1, 3],
                    values: texts(&[Some("a"), None, Some("")]),
                },
                Column::TextList {
                    offsets: vec![0, 2, 3, 5],
                    values: texts(&[None, Some(""), Some("a"), None, Some("")]),
                },
            ),
        ];
        for (column, expected) in cases {
            assert_eq!(take(&column, &[1, 0, 1]), expected);
        }
    }
}
