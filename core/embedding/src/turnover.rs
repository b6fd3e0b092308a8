//! Rows that come and go.

use rectool_comm::CommExt;

use crate::{EmbeddingCollection, EmbeddingError, FilterState, RowCounts};

impl EmbeddingCollection {
    /// Takes the rows of `keys` in table `table` away: they have their initial values again. Keys
    /// that other ranks own, or that have no row, are skipped. Returns how many rows there were.
    /// Batches on their way cannot go on to `backward`.
    ///
    /// # Errors
    /// If there is no such table, or a key is outside of a dense table; nothing is removed then.
    pub fn remove(&mut self, table: usize, keys: &[u64]) -> Result<usize, EmbeddingError> {
        let tables = self.tables.len();
        let rank = self.comm.rank();
        let table =
            self.tables.get_mut(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        let index = table.options.index.clone();
        if let Some(rows) = index.keys_below()
            && let Some(key) = keys.iter().find(|key| **key >= rows)
        {
            let table = table.options.name.clone();
            return Err(EmbeddingError::Key { table, key: *key, rows });
        }
        self.generation += 1;
        let own = keys.iter().filter(|key| self.plan.placement.owner(&index, **key) == rank);
        Ok(own.filter(|key| table.remove(**key)).count())
    }

    /// The keys of table `table` whose rows this rank removed since it was last asked, without those
    /// that have a row again, in order: what a delta checkpoint must say is gone.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn take_removed(&mut self, table: usize) -> Result<Vec<u64>, EmbeddingError> {
        let tables = self.tables.len();
        let table =
            self.tables.get_mut(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        Ok(table.take_removed())
    }

    /// What became of the keys of each table, over all ranks.
    ///
    /// # Errors
    /// If the exchange failed.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn row_counts(&self) -> Result<Vec<RowCounts>, EmbeddingError> {
        let mut totals = Vec::with_capacity(self.tables.len());
        for table in &self.tables {
            let RowCounts { admitted, rejected, saturated } = table.filter.counts;
            totals.push(RowCounts {
                admitted: self.comm.sum_u64(admitted)?,
                rejected: self.comm.sum_u64(rejected)?,
                saturated: self.comm.sum_u64(saturated)?,
            });
        }
        Ok(totals)
    }

    /// What admission to table `table` knows of the keys of this rank.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn filter_state(&self, table: usize) -> Result<FilterState, EmbeddingError> {
        let tables = self.tables.len();
        let table =
            self.tables.get(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        Ok(table.filter.state())
    }

    /// Takes over what some rank knew of its keys of table `table`. Every rank can be given the states
    /// of all ranks that there were, whatever their number: each takes its part. To be called on a
    /// new or cleared collection, with [`EmbeddingCollection::set_steps`].
    ///
    /// # Errors
    /// If there is no such table, or its sketch has another number of cells.
    pub fn set_filter_state(
        &mut self,
        table: usize,
        state: &FilterState,
    ) -> Result<(), EmbeddingError> {
        let tables = self.tables.len();
        let table =
            self.tables.get_mut(table).ok_or(EmbeddingError::NoTable { found: table, tables })?;
        let name = &table.options.name;
        table.filter.load(state).map_err(|(found, expected)| EmbeddingError::Import {
            table: name.clone(),
            what: "cells of the sketch",
            found,
            expected,
        })
    }
}
