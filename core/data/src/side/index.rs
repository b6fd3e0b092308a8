//! From a key to the row that holds it.

use std::collections::HashMap;

use rectool_base::Column;

use crate::items::IdHashing;
use crate::{DataError, Dataset, Split};

/// The row of a number that is no key.
const NONE: u32 = u32::MAX;
/// Numbers from least to greatest key for each row, up to which a table of all of them pays: a hash map
/// takes some 20 bytes per key, and a look-up twice as long.
const SPREAD_MAX: u64 = 4;

pub(super) enum Index {
    /// Rows of the keys `first`, `first + 1` and so on.
    Dense {
        first: i64,
        rows: Vec<u32>,
    },
    Hashed(HashMap<i64, u32, IdHashing>),
}

impl Index {
    /// Of the keys in the column `key` of `split`, at its position and by its name.
    pub(super) fn read(
        dataset: &Dataset,
        split: &Split,
        key: (usize, &str),
    ) -> Result<Self, DataError> {
        let count = u32::try_from(split.rows()).ok().filter(|rows| *rows != NONE);
        let count = count.ok_or_else(|| DataError::Option {
            option: "table",
            expected: "fewer than 2^32 - 1 rows".to_owned(),
            found: split.rows().to_string(),
        })?;
        let keys = read_keys(split, key.0)?;
        let (first, last) = (keys.iter().min(), keys.iter().max());
        let spread = first.zip(last).map_or(0, |(first, last)| last.abs_diff(*first));
        let mut index = if spread < SPREAD_MAX * u64::from(count) + 1_024 {
            let first = first.copied().unwrap_or(0);
            Self::Dense { first, rows: vec![NONE; spread as usize + 1] }
        } else {
            Self::Hashed(HashMap::with_capacity_and_hasher(keys.len(), IdHashing::default()))
        };
        for (row, key_found) in keys.iter().enumerate() {
            let before = match &mut index {
                Self::Dense { first, rows } => {
                    let at = key_found.abs_diff(*first) as usize;
                    Some(std::mem::replace(&mut rows[at], row as u32)).filter(|row| *row != NONE)
                }
                Self::Hashed(rows) => rows.insert(*key_found, row as u32),
            };
            if let Some(before) = before {
                return Err(DataError::DuplicateKey {
                    path: dataset.path().to_owned(),
                    column: key.1.to_owned(),
                    key: *key_found,
                    rows: [u64::from(before), row as u64],
                });
            }
        }
        Ok(index)
    }

    #[inline]
    pub(super) fn row(&self, key: i64) -> Option<u64> {
        match self {
            Self::Dense { first, rows } => {
                let at = usize::try_from(key.checked_sub(*first)?).ok()?;
                rows.get(at).filter(|row| **row != NONE).map(|row| u64::from(*row))
            }
            Self::Hashed(rows) => rows.get(&key).map(|row| u64::from(*row)),
        }
    }
}

fn read_keys(split: &Split, column: usize) -> Result<Vec<i64>, DataError> {
    let mut keys = Vec::new();
    split.scan(&[column], |_, columns| {
        let [Column::I64 { values, .. }] = columns else {
            unreachable!("the column's type was checked")
        };
        keys.extend_from_slice(values);
        Ok::<_, DataError>(())
    })?;
    Ok(keys)
}
