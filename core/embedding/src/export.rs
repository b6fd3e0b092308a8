//! Rows out of and into the tables, for checkpoints.

use std::ops::Range;

use crate::row::{self, Header, RowContent};
use crate::table::Table;
use crate::{EmbeddingCollection, EmbeddingError, TableOptions};

/// Some rows of a table, or some columns of them. Values are `f32` whatever the table's storage, which
/// loses nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// The columns that `values` and `state` are about: 0..D, except from a rank that holds only some
    /// of them.
    pub columns: Range<usize>,
    /// \[n\].
    pub keys: Vec<u64>,
    /// [n, columns].
    pub values: Vec<f32>,
    /// [n, S], the optimizer's state for that many columns.
    pub state: Vec<f32>,
    /// \[n\]: the step of each row's last update, at most `u32::MAX`; 0 before the first.
    pub last_seen: Vec<u32>,
    /// \[n\]: how many batches updated each row, at most `u32::MAX`.
    pub counts: Vec<u32>,
}

/// The rows of a table that this rank holds and that were ever trained on, by (bucket, key), some at
/// a time. Of a table that every rank holds, each exports some rows; over all ranks every float comes
/// once. Made by [`EmbeddingCollection::export`].
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

    /// [`Rows::columns`] of all of them.
    pub fn columns(&self) -> Range<usize> {
        self.table.columns.clone()
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
            columns: self.columns(),
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
    /// The rows of table `table` (by position) that this rank holds, in parts of up to `rows_max`
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
        let (at, tables) = (table, self.tables.len());
        let table = self.tables.get(at).ok_or(EmbeddingError::NoTable { found: at, tables })?;
        let index = &table.options.index;
        let mut entries = table.index.sorted(index);
        let placement = &self.plan.placements[at];
        entries.retain(|(key, row)| {
            placement.exports(self.plan.rank, index, *key)
                && keep(row::header(table.slab.row(*row)))
        });
        Ok(Export { table, entries: entries.into_iter(), rows_max: rows_max.max(1) })
    }

    /// Sets `rows` of table `table`. What other ranks hold is skipped, so every rank can be given all
    /// rows, of whatever plan and number of ranks they come from.
    ///
    /// # Errors
    /// If there is no such table, a shape does not fit, a key is outside of a dense table, or the
    /// table is full. Rows before a key that is refused stay set.
    pub fn import(&mut self, table: usize, rows: &Rows) -> Result<(), EmbeddingError> {
        let (at, tables) = (table, self.tables.len());
        let rank = self.plan.rank;
        let table = self.tables.get_mut(at).ok_or(EmbeddingError::NoTable { found: at, tables })?;
        let Rows { columns, keys, values, state, last_seen, counts } = rows;
        let TableOptions { name, dim, optimizer, .. } = &table.options;
        let width = columns.len();
        let whole = *columns == (0..*dim);
        if !whole && (width == 0 || columns.end > *dim || optimizer.is_row_wise()) {
            let (found, expected) = (columns.end as u64, *dim as u64);
            let what = "columns up to";
            return Err(EmbeddingError::Import { table: name.clone(), what, found, expected });
        }
        let state_width = optimizer.state_width(width);
        check_length(name, "values", values.len(), (keys.len(), width))?;
        check_length(name, "state", state.len(), (keys.len(), state_width))?;
        check_length(name, "last_seen", last_seen.len(), (keys.len(), 1))?;
        check_length(name, "counts", counts.len(), (keys.len(), 1))?;
        if let Some(rows_max) = table.options.index.keys_below()
            && let Some(key) = keys.iter().find(|key| **key >= rows_max)
        {
            return Err(EmbeddingError::Key { table: name.clone(), key: *key, rows: rows_max });
        }
        for (n, key) in keys.iter().enumerate() {
            if !self.plan.placements[at].holds(rank, &table.options.index, *key) {
                continue;
            }
            let header = Header { last_seen: last_seen[n], count: counts[n] };
            let values = &values[n * width..][..width];
            let state = &state[n * state_width..][..state_width];
            table.set(*key, columns, RowContent { header, values, state })?;
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
