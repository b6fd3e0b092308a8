//! Tables that say more of the users or items in a row, joined to it by key while it is read.

mod index;
#[cfg(test)]
mod tests;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rectool_base::{Column, ColumnKind, ColumnSchema, Schema, grouped};

use crate::cells::Cells;
use crate::split::{Inner, MISSING_ROW, Run};
use crate::{DataError, Dataset, IdStatistics};
use index::Index;
pub(crate) use view::{Origin, View};

/// What becomes of a row whose key the table lacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AbsentKey {
    /// The joined values are missing: NaN, −1, an empty list, no text. The first such row is told, and
    /// how many there were at the end.
    #[default]
    Missing,
    /// Reading fails.
    Error,
}

/// How a table is joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SideOptions {
    /// The id column of width 1 of the rows, or the member of a packed one, that holds the key. It may
    /// be missing (−1) like any id, and finds the table's row of that key, if there is one.
    pub key: String,
    /// The plain id column of the table with the keys, each at most once; `None`: called like the key.
    pub table_key: Option<String>,
    /// The table's columns that are joined; empty for all others than the key.
    pub columns: Vec<String>,
    /// Put before the names of the joined columns.
    pub prefix: String,
    /// What becomes of a row whose key the table lacks.
    pub absent: AbsentKey,
}

impl SideOptions {
    /// All columns by `key`, which is called the same in the table.
    pub fn by(key: &str) -> Self {
        Self { key: key.to_owned(), ..Self::default() }
    }
}

/// One split of a dataset with a column of keys, which can be found. Shared by all that read.
///
/// Memory: 4 bytes for each number between the least and the greatest key where these lie close
/// together, else some 20 bytes per row; the columns stay in the mapped files.
pub struct SideTable {
    /// Key and joined columns, called as in the rows that they are joined to.
    dataset: Dataset,
    rows: Arc<Inner>,
    key: String,
    index: Index,
    /// The joined columns, by their positions in the table.
    columns: Vec<(usize, ColumnSchema)>,
    absent: AbsentKey,
    looked_up: AtomicU64,
    not_found: AtomicU64,
}

impl SideTable {
    /// Reads the keys of the split called `split`.
    ///
    /// # Errors
    /// [`DataError::UnknownSplit`]; [`DataError::Schema`] for a column that does not exist or comes
    /// twice; [`DataError::Option`] for a key that is no plain id column, or a table of 2^32 rows or
    /// more; [`DataError::DuplicateKey`]; or if rows cannot be read.
    pub fn load(dataset: &Dataset, split: &str, options: &SideOptions) -> Result<Self, DataError> {
        let schema = &dataset.manifest().schema;
        let table_key = options.table_key.as_ref().unwrap_or(&options.key);
        let key_at = schema.position(table_key)?;
        let plain = ColumnSchema::plain(table_key, ColumnKind::I64 { width: 1 });
        if schema.columns()[key_at] != plain {
            return Err(DataError::Option {
                option: "table_key",
                expected: "a plain column of ids".to_owned(),
                found: format!("`{table_key}` of type {}", schema.columns()[key_at].kind),
            });
        }
        let chosen = match options.columns.as_slice() {
            [] => (0..schema.columns().len()).filter(|at| *at != key_at).collect(),
            names => {
                names.iter().map(|name| schema.position(name)).collect::<Result<Vec<_>, _>>()?
            }
        };
        let renamed = |at: usize| {
            let column = schema.columns()[at].clone();
            ColumnSchema { name: format!("{}{}", options.prefix, column.name), ..column }
        };
        let columns: Vec<_> = chosen.into_iter().map(|at| (at, renamed(at))).collect();
        let key_column = ColumnSchema { name: options.key.clone(), ..plain };
        let names = std::iter::once(&key_column).chain(columns.iter().map(|(_, column)| column));
        let names = Schema::new(names.cloned().collect())?;
        let origins = std::iter::once(key_at).chain(columns.iter().map(|(at, _)| *at));
        let view = View::new(names, origins.map(Origin::Own).collect(), Vec::new());
        let rows = dataset.split(split)?;
        let index = Index::read(dataset, &rows, (key_at, table_key))?;
        Ok(Self {
            dataset: dataset.seen_as(view),
            rows: rows.with_missing_row(),
            key: options.key.clone(),
            index,
            columns,
            absent: options.absent,
            looked_up: AtomicU64::new(0),
            not_found: AtomicU64::new(0),
        })
    }

    /// The table as a dataset: the key, then the joined columns, called as in the rows that they are
    /// joined to. So what reads these rows can read every user or item, with or without a row there.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// Name of the key in the rows that the table is joined to.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Rows so far that were looked up, and those of them whose key the table lacks.
    pub fn lookups(&self) -> (u64, u64) {
        (self.looked_up.load(Ordering::Relaxed), self.not_found.load(Ordering::Relaxed))
    }

    pub(crate) fn columns(&self) -> &[(usize, ColumnSchema)] {
        &self.columns
    }

    pub(crate) fn rows(&self) -> &Inner {
        &self.rows
    }

    /// Statistics of a joined column, by its place among them: an absent key counts as one missing id.
    pub(crate) fn id_statistics(&self, column: usize) -> Option<IdStatistics> {
        let mut ids = self.dataset.id_statistics(&self.columns[column].1.name)?;
        let listed = self.columns[column].1.kind == ColumnKind::I64List;
        if self.absent == AbsentKey::Missing && !listed {
            ids.missing.iter_mut().for_each(|missing| *missing += 1);
        }
        Some(ids)
    }

    /// Where the table's rows are for the rows `numbers` of the split `of`, whose keys are in `keys`.
    pub(crate) fn find(
        &self,
        of: &Inner,
        numbers: &[u64],
        (cells, keys): (&Cells, &Column),
    ) -> Result<Vec<Run<'_>>, DataError> {
        let Column::I64 { values, .. } = keys else {
            unreachable!("the key's column was found to be of ids")
        };
        let mut found = Vec::with_capacity(numbers.len());
        let mut absent = 0;
        for row in 0..numbers.len() {
            let key = values[cells.at(row)];
            let at = self.index.row(key);
            if at.is_none() {
                self.tell_absent(of, numbers[row], key, absent)?;
                absent += 1;
            }
            found.push(at.unwrap_or(MISSING_ROW));
        }
        self.looked_up.fetch_add(numbers.len() as u64, Ordering::Relaxed);
        self.not_found.fetch_add(absent, Ordering::Relaxed);
        self.rows.locate(&found)
    }

    #[cold]
    fn tell_absent(&self, of: &Inner, row: u64, key: i64, absent: u64) -> Result<(), DataError> {
        let (split, column, table) = (&of.name, &self.key, self.dataset.path().display());
        if self.absent == AbsentKey::Error {
            return Err(DataError::Row {
                split: split.clone(),
                row,
                column: column.clone(),
                expected: format!("a key of `{table}`"),
                found: key.to_string(),
            });
        }
        if absent == 0 && self.not_found.load(Ordering::Relaxed) == 0 {
            tracing::warn!(
                "`{table}` has no row of `{column}` {key}, as in row {row} of split `{split}`: what it \
                 would say is missing there"
            );
        }
        Ok(())
    }
}

impl Drop for SideTable {
    fn drop(&mut self) {
        let (looked_up, absent) = self.lookups();
        if absent > 0 {
            let (key, table) = (&self.key, self.dataset.path().display());
            let (absent, looked_up) = (grouped(absent), grouped(looked_up));
            tracing::warn!("{absent} of {looked_up} rows read had a `{key}` that `{table}` lacks");
        }
    }
}

impl std::fmt::Debug for SideTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SideTable")
            .field("path", &self.dataset.path())
            .field("key", &self.key)
            .field(
                "columns",
                &self.columns.iter().map(|(_, column)| &column.name).collect::<Vec<_>>(),
            )
            .finish_non_exhaustive()
    }
}

impl Dataset {
    /// The same rows with the columns of `table`, found by its key, behind their own. Nothing is read
    /// until a batch asks for one of them.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};
    /// use rectool_data::{Dataset, DatasetWriter, SideOptions, SideTable, WriterOptions};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let folder = tempfile::tempdir()?;
    /// # let (clicks, movies) = (folder.path().join("clicks"), folder.path().join("movies"));
    /// let ids = |name| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    /// let column = |values: [i64; 3]| Column::I64 { width: 1, values: values.to_vec() };
    /// let schema = Schema::new(vec![ids("item"), ids("year")])?;
    /// let mut writer = DatasetWriter::create(&movies, schema, WriterOptions::default())?;
    /// writer.write("train", vec![column([7, 8, 9]), column([1995, 1996, 1997])])?;
    /// writer.finish()?;
    /// let schema = Schema::new(vec![ids("item")])?;
    /// let mut writer = DatasetWriter::create(&clicks, schema, WriterOptions::default())?;
    /// writer.write("train", vec![column([9, 5, 7])])?;
    /// writer.finish()?;
    ///
    /// let movies = SideTable::load(&Dataset::open(&movies)?, "train", &SideOptions::by("item"))?;
    /// let clicks = Dataset::open(&clicks)?.join(Arc::new(movies))?;
    /// let years = clicks.split("train")?.gather(&[0, 1, 2], &[1])?;
    /// assert_eq!(years, [column([1997, -1, 1995])]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`DataError::Schema`] if the rows have no column of the key's name or one of a joined column's;
    /// [`DataError::Option`] if the key's is not of ids.
    pub fn join(&self, table: Arc<SideTable>) -> Result<Self, DataError> {
        let ids = ColumnKind::I64 { width: 1 };
        let key = Cells::find_one(&self.manifest().schema, &table.key, ids, "key")?;
        let view = match self.view() {
            Some(view) => view.joined(table, key)?,
            None => View::of(&self.manifest().schema).joined(table, key)?,
        };
        Ok(self.seen_as(view))
    }

    /// The tables that were joined, in order.
    pub fn side_tables(&self) -> impl Iterator<Item = &Arc<SideTable>> {
        self.view().into_iter().flat_map(View::tables)
    }
}
