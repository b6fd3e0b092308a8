//! Rows of columns: taken in any order, any number of times.

use rectool_base::Column;

use super::Columns;

/// The columns with these rows of theirs.
pub(crate) fn taken(columns: &Columns, rows: &[usize]) -> Columns {
    let schemas = columns.schemas.clone();
    Columns { schemas, columns: columns.columns.iter().map(|column| column.picked(rows)).collect() }
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

#[cfg(test)]
mod tests {
    use rectool_base::{Jagged, Texts};

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
            assert_eq!(column.picked(&[1, 0, 1]), expected);
        }
    }
}
