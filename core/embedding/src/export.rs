//! Rows out of and into the tables, for checkpoints.

use crate::row::{self, Header, RowContent, RowLayout};
use crate::table::Table;
use crate::{EmbeddingCollection, EmbeddingError};

/// Some rows of a table. Values are `f32` whatever the table's storage, which loses nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// \[n\].
    pub keys: Vec<u64>,
    /// [n, D].
    pub values: Vec<f32>,
    /// [n, S], the optimizer's state.
    pub state: Vec<f32>,
    /// \[n\]: the step of each row's last update, at most `u32::MAX`; 0 before the first.
    pub last_seen: Vec<u32>,
    /// \[n\]: how many batches updated each row, at most `u32::MAX`.
    pub counts: Vec<u32>,
}

/// The rows of a table that this rank owns and that were ever trained on, by (bucket, key), some at
/// a time. Made by [`EmbeddingCollection::export`].
pub struct Export<'a> {
    table: &'a Table,
    /// Keys and their rows, those still to come.
    entries: std::vec::IntoIter<(u64, u32)>,
    rows_max: usize,
}

impl Export<'_> {
    /// Rows still to come.
    pub fn rows(&self) -> usize {
        self.entries.len()
    }
}

impl Iterator for Export<'_> {
    type Item = Rows;

    fn next(&mut self) -> Option<Rows> {
        let count = self.rows_max.min(self.entries.len());
        if count == 0 {
            return None;
        }
        let layout = self.table.layout;
        let mut rows = Rows {
            keys: Vec::with_capacity(count),
            values: Vec::with_capacity(count * layout.dim),
            state: Vec::with_capacity(count * layout.state),
            last_seen: Vec::with_capacity(count),
            counts: Vec::with_capacity(count),
        };
        for (key, row) in self.entries.by_ref().take(count) {
            let header = self.table.read(row, &mut rows.values, &mut rows.state);
            rows.keys.push(key);
            rows.last_seen.push(header.last_seen);
            rows.counts.push(header.count);
        }
        Some(rows)
    }
}

impl EmbeddingCollection {
    /// The rows of table `table` (by position) that this rank owns, in parts of up to `rows_max`
    /// rows (at least 1). A row that was never trained on is not there: it follows from the seed.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn export(&self, table: usize, rows_max: usize) -> Result<Export<'_>, EmbeddingError> {
        self.export_where(table, rows_max, |_| true)
    }

    /// As [`EmbeddingCollection::export`], those rows that were updated after step `step`.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn export_since(
        &self,
        table: usize,
        step: u64,
        rows_max: usize,
    ) -> Result<Export<'_>, EmbeddingError> {
        self.export_where(table, rows_max, |header| u64::from(header.last_seen) > step)
    }

    fn export_where(
        &self,
        table: usize,
        rows_max: usize,
        keep: impl Fn(Header) -> bool,
    ) -> Result<Export<'_>, EmbeddingError> {
        let tables = self.tables.len();
        let table =
            self.tables.get(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        let mut entries = table.index.sorted(&table.options.index);
        entries.retain(|(_, row)| keep(row::header(table.slab.row(*row))));
        Ok(Export { table, entries: entries.into_iter(), rows_max: rows_max.max(1) })
    }

    /// Sets rows of table `table`; keys that other ranks own are skipped, so every rank can be given
    /// all rows.
    ///
    /// # Errors
    /// If there is no such table, a shape does not fit, a key is outside of a dense table, or the
    /// table is full. Rows before a key that is refused stay set.
    pub fn import(&mut self, table: usize, rows: &Rows) -> Result<(), EmbeddingError> {
        let tables = self.tables.len();
        let rank = self.comm.rank();
        let table =
            self.tables.get_mut(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        let RowLayout { dim, state, .. } = table.layout;
        let name = &table.options.name;
        let count = rows.keys.len();
        check_length(name, "values", rows.values.len(), (count, dim))?;
        check_length(name, "state", rows.state.len(), (count, state))?;
        check_length(name, "last_seen", rows.last_seen.len(), (count, 1))?;
        check_length(name, "counts", rows.counts.len(), (count, 1))?;
        if let Some(rows_max) = table.options.index.keys_below()
            && let Some(key) = rows.keys.iter().find(|key| **key >= rows_max)
        {
            return Err(EmbeddingError::Key { table: name.clone(), key: *key, rows: rows_max });
        }
        for (n, key) in rows.keys.iter().enumerate() {
            if self.plan.placement.owner(&table.options.index, *key) != rank {
                continue;
            }
            let header = Header { last_seen: rows.last_seen[n], count: rows.counts[n] };
            let values = &rows.values[n * dim..][..dim];
            let state = &rows.state[n * state..][..state];
            table.set(*key, RowContent { header, values, state })?;
        }
        Ok(())
    }

    /// Steps taken so far: the calls of `backward`. A row's `last_seen` and the bias correction of
    /// Adam count in these.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Goes on from `steps` steps, as after a load.
    pub fn set_steps(&mut self, steps: u64) {
        self.steps = steps;
        self.tables.iter_mut().for_each(|table| table.filter.set_step(steps));
    }
}

fn check_length(
    table: &str,
    what: &'static str,
    found: usize,
    (rows, width): (usize, usize),
) -> Result<(), EmbeddingError> {
    if rows.checked_mul(width) == Some(found) {
        return Ok(());
    }
    let expected = rows.saturating_mul(width) as u64;
    Err(EmbeddingError::Import { table: table.to_owned(), what, found: found as u64, expected })
}
