//! Who interacted with what.

use rectool_base::{Column, ColumnKind};
use rectool_data::{Cells, Split};

use super::{Ids, RetrievalError};

/// Distinct pairs of users and items, user by user (CSR).
///
/// ```
/// use rectool_model::Interactions;
/// let pairs = vec![(9, 4), (7, 5), (9, 3), (9, 4)];
/// let interactions = Interactions::new(pairs).unwrap();
/// assert_eq!(interactions.users().as_slice(), [7, 9]);
/// assert_eq!(interactions.items().as_slice(), [3, 4, 5]);
/// assert_eq!(interactions.items_of(1), [0, 1]);
/// assert_eq!(interactions.pairs(), 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interactions {
    users: Ids,
    items: Ids,
    /// Where each user's items start; one more than users.
    offsets: Vec<usize>,
    /// Numbers of items, rising within a user.
    columns: Vec<u32>,
}

impl Interactions {
    /// From pairs (user id, item id) in any order; repeated ones count once.
    ///
    /// # Errors
    /// If there are 2^32 or more users or items.
    pub fn new(pairs: Vec<(i64, i64)>) -> Result<Self, RetrievalError> {
        let users = Ids::new(pairs.iter().map(|pair| pair.0).collect());
        let items = Ids::new(pairs.iter().map(|pair| pair.1).collect());
        for (what, ids) in [("users", &users), ("items", &items)] {
            let (found, max) = (ids.len(), u32::MAX as usize);
            if found > max {
                return Err(RetrievalError::TooMany { what, found, max });
            }
        }
        Ok(Self::within(users, items, pairs).0)
    }

    /// The columns, or members of packed ones, `user` and `item` of splits, each of one id per row. Of
    /// rows with a `label` only those above 0.
    ///
    /// # Errors
    /// If a column is missing or holds something else, or rows cannot be read.
    pub fn read(
        splits: &[&Split],
        (user, item): (&str, &str),
        label: Option<&str>,
    ) -> Result<Self, RetrievalError> {
        let mut pairs = Vec::new();
        for split in splits {
            read_pairs(split, (user, item), label, &mut pairs)?;
        }
        Self::new(pairs)
    }

    /// The pairs whose user is in `users` and whose item is in `items`, under their numbers; and
    /// for each user how many distinct items are not in `items`.
    fn within(users: Ids, items: Ids, pairs: Vec<(i64, i64)>) -> (Self, Vec<u32>) {
        let mut pairs = pairs;
        pairs.sort_unstable();
        pairs.dedup();
        let (mut offsets, mut columns) = (vec![0], Vec::with_capacity(pairs.len()));
        let mut beyond = vec![0u32; users.len()];
        let mut rest = pairs.as_slice();
        for (user, beyond) in users.as_slice().iter().zip(&mut beyond) {
            rest = &rest[rest.partition_point(|pair| pair.0 < *user)..];
            let end = rest.partition_point(|pair| pair.0 == *user);
            for (_, item) in &rest[..end] {
                match items.index(*item) {
                    Some(item) => columns.push(item),
                    None => *beyond += 1,
                }
            }
            rest = &rest[end..];
            offsets.push(columns.len());
        }
        (Self { users, items, offsets, columns }, beyond)
    }

    /// The same pairs numbered by `users` and `items`: those of other users are left out, and those
    /// with other items are counted per user, in the second result.
    pub fn renumbered(&self, users: &Ids, items: &Ids) -> (Self, Vec<u32>) {
        let wanted = |user: usize| users.index(self.users.as_slice()[user]).is_some();
        let pairs = (0..self.users.len()).filter(|user| wanted(*user)).flat_map(|user| {
            let id = self.users.as_slice()[user];
            self.items_of(user).iter().map(move |item| (id, self.items.as_slice()[*item as usize]))
        });
        Self::within(users.clone(), items.clone(), pairs.collect())
    }

    /// Users, by number.
    pub fn users(&self) -> &Ids {
        &self.users
    }

    /// Items, by number.
    pub fn items(&self) -> &Ids {
        &self.items
    }

    /// Number of distinct pairs.
    pub fn pairs(&self) -> usize {
        self.columns.len()
    }

    /// Numbers of the items of a user, rising.
    ///
    /// # Panics
    /// If there is no such user.
    pub fn items_of(&self, user: usize) -> &[u32] {
        &self.columns[self.offsets[user]..self.offsets[user + 1]]
    }

    /// The numbers of the users of each item, rising \[V\].
    pub(super) fn transposed(&self) -> Vec<Vec<u32>> {
        let mut users = vec![Vec::new(); self.items.len()];
        for user in 0..self.users.len() {
            for item in self.items_of(user) {
                users[*item as usize].push(user as u32);
            }
        }
        users
    }

    /// How many users each item has.
    pub fn item_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.items.len()];
        for item in &self.columns {
            counts[*item as usize] += 1;
        }
        counts
    }
}

/// Appends the pairs (user, item) of a split's rows.
fn read_pairs(
    split: &Split,
    (user, item): (&str, &str),
    label: Option<&str>,
    pairs: &mut Vec<(i64, i64)>,
) -> Result<(), RetrievalError> {
    let (ids, floats) = (ColumnKind::I64 { width: 1 }, ColumnKind::F32 { width: 1 });
    let find = |name, kind, option| Cells::find_one(split.schema(), name, kind, option);
    let mut cells = vec![find(user, ids, "user")?, find(item, ids, "item")?];
    if let Some(label) = label {
        cells.push(find(label, floats, "label")?);
    }
    let columns: Vec<usize> = cells.iter().map(|cells| cells.column).collect();
    split.scan(&columns, |rows, values| {
        let id = |of: usize, row: usize| match &values[of] {
            Column::I64 { values, .. } => values[cells[of].at(row)],
            _ => unreachable!("the columns' types were checked"),
        };
        let counts = |row: &usize| match values.get(2) {
            Some(Column::F32 { values, .. }) => values[cells[2].at(*row)] > 0.0,
            _ => true,
        };
        let rows = 0..(rows.end - rows.start) as usize;
        pairs.extend(rows.filter(counts).map(|row| (id(0, row), id(1, row))));
        Ok(())
    })
}

/// The position of a column of one id per row.
pub(super) fn id_column(split: &Split, name: &str) -> Result<usize, RetrievalError> {
    column_of(split, name, ColumnKind::I64 { width: 1 }, "one id per row")
}

/// The position of a column of type `wanted`, in words `expected`.
pub(super) fn column_of(
    split: &Split,
    name: &str,
    wanted: ColumnKind,
    expected: &'static str,
) -> Result<usize, RetrievalError> {
    let column = split.schema().position(name)?;
    let kind = split.schema().columns()[column].kind;
    if kind == wanted {
        return Ok(column);
    }
    let (split, column) = (split.name().to_owned(), name.to_owned());
    Err(RetrievalError::ColumnType { split, column, found: kind.to_string(), expected })
}
