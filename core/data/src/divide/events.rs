//! Who chose what and when.

use rayon::prelude::*;
use rectool_base::{Column, ColumnKind, MISSING_ID};

use super::{DivideOptions, option_error};
use crate::cells::Cells;
use crate::{DataError, Dataset};

/// The rows of all splits, one after another.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) users: Vec<i64>,
    pub(super) items: Vec<i64>,
    pub(super) times: Option<Vec<i64>>,
    /// Rows by user, time and row.
    pub(super) order: Vec<u32>,
}

impl Events {
    pub(super) fn read(
        dataset: &Dataset,
        sources: &[String],
        options: &DivideOptions,
    ) -> Result<Self, DataError> {
        let names = [Some((&options.user, "user")), Some((&options.item, "item"))];
        let named = names.into_iter().chain([options.time.as_ref().map(|time| (time, "time"))]);
        let mut columns = Vec::new();
        for (name, option) in named.flatten() {
            columns.push(read_ids(dataset, sources, name, option)?);
        }
        let times = options.time.as_ref().and_then(|_| columns.pop());
        let (items, users) = (columns.pop(), columns.pop());
        let (users, items) = (users.unwrap_or_default(), items.unwrap_or_default());
        let rows = u32::try_from(users.len())
            .map_err(|_| option_error("rows", "fewer than 2^32", users.len().to_string()))?;
        let mut order: Vec<u32> = (0..rows).collect();
        let time = |row: usize| times.as_ref().map_or(0, |times| times[row]);
        order.par_sort_unstable_by_key(|row| (users[*row as usize], time(*row as usize), *row));
        Ok(Self { users, items, times, order })
    }

    pub(super) fn rows(&self) -> usize {
        self.users.len()
    }

    /// The rows of each user, in its order.
    pub(super) fn by_user(&self) -> impl Iterator<Item = &[u32]> {
        self.order.chunk_by(|a, b| self.users[*a as usize] == self.users[*b as usize])
    }
}

/// The ids that `name` stands for in all rows.
fn read_ids(
    dataset: &Dataset,
    sources: &[String],
    name: &str,
    option: &'static str,
) -> Result<Vec<i64>, DataError> {
    let ids = ColumnKind::I64 { width: 1 };
    let cells = Cells::find_one(dataset.schema(), name, ids, option)?;
    let mut ids = Vec::new();
    for source in sources {
        dataset.split(source)?.scan(&[cells.column], |rows, columns| {
            let [Column::I64 { values, .. }] = columns else {
                unreachable!("the column's type was checked")
            };
            for (at, row) in rows.enumerate() {
                let id = values[cells.at(at)];
                if id == MISSING_ID {
                    return Err(DataError::Row {
                        split: source.clone(),
                        row,
                        column: name.to_owned(),
                        expected: format!("a {option}"),
                        found: "a missing one".to_owned(),
                    });
                }
                ids.push(id);
            }
            Ok(())
        })?;
    }
    Ok(ids)
}
