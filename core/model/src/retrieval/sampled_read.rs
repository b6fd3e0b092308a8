//! Negatives that a test split lists itself.

use rectool_base::{Column, ColumnKind};
use rectool_data::Split;

use super::interactions::{column_of, id_column};
use super::{RetrievalError, RetrievalTask, SampledCase};

/// A case for each row of `split`: the user, the positive, and a list of negatives, in the columns of
/// these names, in this order.
///
/// # Errors
/// If a column is missing or holds something else, a user is no test user, an item is not in the
/// task's catalogue, or rows cannot be read.
pub fn read_cases(
    split: &Split,
    [user, item, negatives]: [&str; 3],
    task: &RetrievalTask,
) -> Result<Vec<SampledCase>, RetrievalError> {
    let lists = column_of(split, negatives, ColumnKind::I64List, "a list of ids")?;
    let columns = [id_column(split, user)?, id_column(split, item)?, lists];
    let unknown = |row, what, id, expected| {
        let split = split.name().to_owned();
        RetrievalError::Unknown { split, row, what, id, expected }
    };
    let index = |row, id: i64| {
        let found = task.positives.items().index(id);
        found.ok_or_else(|| unknown(row, "item", id, "the catalogue's items"))
    };
    let mut cases = Vec::new();
    split.scan(&columns, |rows, values| {
        let [
            Column::I64 { values: users, .. },
            Column::I64 { values: items, .. },
            Column::I64List(lists),
        ] = values
        else {
            unreachable!("the columns' types were checked");
        };
        for (at, (row, id)) in rows.zip(users).enumerate() {
            let user = task.users().index(*id);
            let negatives = lists.row(at).iter().map(|item| index(row, *item));
            cases.push(SampledCase {
                user: user.ok_or_else(|| unknown(row, "user", *id, "the test's users"))?,
                positive: index(row, items[at])?,
                negatives: negatives.collect::<Result<_, _>>()?,
            });
        }
        Ok::<_, RetrievalError>(())
    })?;
    Ok(cases)
}
