//! What a split says about the items in it.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rayon::prelude::*;
use rectool_base::{ColumnKind, ItemStatistics, MISSING_ID, mix64};

use crate::cells::Cells;
use crate::values::Values;
use crate::{DataError, Split};

/// What is known of one item.
#[derive(Clone, Copy, Default)]
struct Item {
    count: u64,
    row_last: u64,
    score: f32,
}

type Items = HashMap<i64, Item, IdHashing>;

/// How ids are hashed within the process.
pub(crate) type IdHashing = BuildHasherDefault<IdHasher>;

/// Ids need no protection against chosen keys as keen as the standard library's, and there are as
/// many as rows.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write_i64(&mut self, id: i64) {
        self.0 = mix64(id as u64);
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only ids are hashed")
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl Split {
    /// How often each item occurs, in which row last, and which value `score` has there.
    ///
    /// `item` names an id column of width 1 or a member of a packed one, `score` the same of floats.
    /// A missing id is no item. Reads the split once, on all threads of the current rayon pool; memory
    /// grows with the number of items and of threads.
    ///
    /// # Errors
    /// [`DataError::Schema`] for a name that does not exist, [`DataError::Option`] for one of another
    /// type or of a side table; or if a shard cannot be read or fails its verification.
    ///
    /// # Determinism
    /// The same for any number of threads.
    pub fn item_statistics(
        &self,
        item: &str,
        score: Option<&str>,
    ) -> Result<ItemStatistics, DataError> {
        let (ids, floats) = (ColumnKind::I64 { width: 1 }, ColumnKind::F32 { width: 1 });
        let find = |option, name: &str, kind| {
            self.own_cells(Cells::find_one(self.schema(), name, kind, option)?, (option, name))
        };
        let item = find("item", item, ids)?;
        let score = score.map(|name| find("score", name, floats)).transpose()?;
        let found = (0..self.shards())
            .into_par_iter()
            .try_fold(Items::default, |mut items, shard| {
                self.add_items(shard, &item, score.as_ref(), &mut items).map(|()| items)
            })
            .try_reduce(Items::default, |a, b| Ok(merge(a, b)))?;
        let mut items: Vec<(i64, Item)> = found.into_iter().collect();
        items.par_sort_unstable_by_key(|(id, _)| *id);
        Ok(ItemStatistics {
            ids: items.iter().map(|(id, _)| *id).collect(),
            counts: items.iter().map(|(_, item)| item.count).collect(),
            last_rows: items.iter().map(|(_, item)| item.row_last).collect(),
            scores: match score {
                Some(_) => items.iter().map(|(_, item)| item.score).collect(),
                None => Vec::new(),
            },
        })
    }

    fn add_items(
        &self,
        shard: usize,
        item: &Cells,
        score: Option<&Cells>,
        items: &mut Items,
    ) -> Result<(), DataError> {
        let (start, blocks) = self.blocks_of(shard)?;
        for block in blocks {
            let Values::I64(ids) = &block.columns[item.column] else {
                unreachable!("blocks were decoded by the schema")
            };
            let score_at = |row: usize| match score.map(|at| (at, &block.columns[at.column])) {
                Some((cells, Values::F32(scores))) => scores[cells.at(row)],
                _ => 0.0,
            };
            for row in 0..block.rows as usize {
                let id = ids[item.at(row)];
                if id == MISSING_ID {
                    continue;
                }
                let row_last = start + block.first + row as u64;
                let seen = Item { count: 1, row_last, score: score_at(row) };
                add(items, id, seen);
            }
        }
        Ok(())
    }
}

fn add(items: &mut Items, id: i64, seen: Item) {
    let item = items.entry(id).or_default();
    let count = item.count + seen.count;
    if item.count == 0 || seen.row_last >= item.row_last {
        *item = seen;
    }
    item.count = count;
}

/// In whatever order they come: sums and maxima do not show it.
fn merge(a: Items, b: Items) -> Items {
    let (into, from) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    from.into_iter().fold(into, |mut into, (id, item)| {
        add(&mut into, id, item);
        into
    })
}

#[cfg(test)]
mod tests {
    use rectool_base::{Column, ColumnSchema, Hint, Schema};

    use crate::{Dataset, DatasetWriter, WriterOptions};

    use super::*;

    #[test]
    fn items_are_counted_once_and_their_last_row_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let members = vec!["user".to_owned(), "movie".to_owned()];
        let schema = Schema::new(vec![
            ColumnSchema::packed("ids", ColumnKind::I64 { width: 2 }, members),
            ColumnSchema::plain("price", ColumnKind::F32 { width: 1 }),
        ]);
        let movie = |row: i64| if row % 7 == 3 { MISSING_ID } else { row * row % 11 - 5 };
        let rows = 0..500_i64;
        let ids: Vec<i64> = rows.clone().flat_map(|row| [row, movie(row)]).collect();
        let price = rows.clone().map(|row| row as f32 / 2.0).collect();
        let columns =
            vec![Column::I64 { width: 2, values: ids }, Column::F32 { width: 1, values: price }];
        let options = WriterOptions { shard_rows: 70, ..WriterOptions::default() };
        let out = folder.path().join("data");
        let mut writer = DatasetWriter::create(&out, schema.unwrap(), options).unwrap();
        writer.write("train", columns).unwrap();
        writer.finish().unwrap();

        let mut wanted = std::collections::BTreeMap::<i64, (u64, u64)>::new();
        for row in rows.filter(|row| movie(*row) != MISSING_ID) {
            let (count, last) = wanted.entry(movie(row)).or_default();
            (*count, *last) = (*count + 1, row as u64);
        }
        let split = Dataset::open(&out).unwrap().split("train").unwrap();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let found = pool.install(|| split.item_statistics("movie", Some("price")));
            let found = found.unwrap();
            assert!(found.ids.iter().eq(wanted.keys()), "{:?}", found.ids);
            let counts = found.counts.iter().copied().zip(found.last_rows.iter().copied());
            assert!(counts.eq(wanted.values().copied()), "{found:?}");
            let scores = found.last_rows.iter().map(|row| *row as f32 / 2.0);
            assert!(found.scores.iter().copied().eq(scores), "{:?}", found.scores);
        }
        assert!(split.item_statistics("movie", None).unwrap().scores.is_empty());

        let error = split.item_statistics("moive", None).unwrap_err();
        assert_eq!(error.hint().as_deref(), Some("did you mean `movie`?"));
        for (item, score) in [("ids", None), ("price", None), ("movie", Some("user"))] {
            let error = split.item_statistics(item, score).unwrap_err();
            assert!(matches!(error, DataError::Option { .. }), "{error}");
        }
    }
}
