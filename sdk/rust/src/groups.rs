//! Rows that belong together, for losses that compare rows: those of a user, a session, a query.

use crate::{Column, ColumnType, Fault, MISSING_ID, hash_text};

/// Checks that a column can say which rows belong together: one id or text per row.
///
/// # Errors
/// If it holds something else.
pub fn check(column: &ColumnType) -> Result<(), Fault> {
    column.expect_ids_or_texts()?;
    if column.width() == Some(1) { Ok(()) } else { Err(column.fault("i64[1] or text[1]")) }
}

/// Calls `f` with the rows of each group, ascending; rows with a missing id or text belong to none.
///
/// ```
/// use rectool_plugin_sdk::{Column, groups};
/// let mut found = Vec::new();
/// groups::each(&Column::Ints(vec![7, -1, 5, 7]), |rows| found.push(rows.to_vec()));
/// assert_eq!(found, [vec![2], vec![0, 3]]);
/// ```
///
/// # Panics
/// If the column is of floats.
pub fn each(column: &Column, mut f: impl FnMut(&[u32])) {
    let mut rows: Vec<(i64, u32)> = match column {
        Column::Texts(texts) => {
            let keys = texts.iter_bytes().map(|text| text.map_or(MISSING_ID, hash_text));
            keys.zip(0..).collect()
        }
        _ => column.ids().iter().copied().zip(0..).collect(),
    };
    rows.retain(|(key, _)| *key != MISSING_ID);
    rows.sort_unstable();
    let mut members = Vec::new();
    for group in rows.chunk_by(|a, b| a.0 == b.0) {
        members.clear();
        members.extend(group.iter().map(|(_, row)| *row));
        f(&members);
    }
}
