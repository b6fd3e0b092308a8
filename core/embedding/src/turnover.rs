//! Rows that come and go.

use rectool_comm::{Reduce, Values};
use serde::{Deserialize, Serialize};

use crate::{EmbeddingCollection, EmbeddingError, Expiry, FilterState, RowCounts, TableOptions};

/// Numbers of a table that ranks add up.
const SUMS: usize = 9;

/// A table over all ranks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableTotals {
    /// Its name.
    pub name: String,
    /// Rows in use; those that several ranks hold count once.
    pub rows: u64,
    /// Memory of the rows in use with their optimizer state, of the index and of the sketch, in bytes; what several
    /// ranks hold counts for each of them.
    pub bytes: u64,
    /// What became of its keys.
    pub counts: RowCounts,
    /// Share of the cells of the admission sketch that are in use, in the fuller half of each rank's, if sightings are
    /// counted: where all are, new keys cannot be counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sketch_used: Option<f64>,
}

impl TableTotals {
    /// Whether keys were turned away or rows given up.
    pub fn has_turnover(&self) -> bool {
        let RowCounts { rejected, saturated, expired_by_age, expired_by_use, .. } = self.counts;
        rejected + saturated + expired_by_age + expired_by_use > 0
    }
}

impl EmbeddingCollection {
    /// Takes the rows of `keys` in table `table` away: they have their initial values again. Keys
    /// that only other ranks hold, or that have no row, are skipped. Returns how many rows there were.
    /// Batches on their way cannot go on to `backward`.
    ///
    /// # Errors
    /// If there is no such table, or a key is outside of a dense table; nothing is removed then. If the system has no
    /// memory left to move rows together.
    ///
    /// # Collective
    /// Every rank must call it, also without keys; of a table that all hold, with the same keys.
    pub fn remove(&mut self, table: usize, keys: &[u64]) -> Result<usize, EmbeddingError> {
        let (at, tables) = (table, self.tables.len());
        let rank = self.plan.rank;
        let table = self.tables.get_mut(at).ok_or(EmbeddingError::NoTable { found: at, tables })?;
        let index = table.options.index.clone();
        if let Some(rows) = index.keys_below()
            && let Some(key) = keys.iter().find(|key| **key >= rows)
        {
            let table = table.options.name.clone();
            return Err(EmbeddingError::Key { table, key: *key, rows });
        }
        self.generation += 1;
        let placement = &self.plan.placements[at];
        let own = keys.iter().filter(|key| placement.holds(rank, &index, **key));
        let removed = own.filter(|key| table.remove(**key)).count();
        if removed > 0 {
            table.shrink()?;
        }
        Ok(removed)
    }

    /// The keys of table `table` whose rows this rank removed since it was last asked, without those
    /// that have a row again, in order: what a delta checkpoint must say is gone. They are remembered from the first
    /// call on, which gives none: before it there is nothing that a delta could build on, and memory for keys that
    /// nobody asks for would grow without end.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn take_removed(&mut self, table: usize) -> Result<Vec<u64>, EmbeddingError> {
        let (at, tables) = (table, self.tables.len());
        let table = self.tables.get_mut(at).ok_or(EmbeddingError::NoTable { found: at, tables })?;
        let mut removed = table.take_removed();
        let (placement, index) = (&self.plan.placements[at], &table.options.index);
        removed.retain(|key| placement.exports(self.plan.rank, index, *key));
        Ok(removed)
    }

    /// Gives rows up as each table's [`Expiry`] says, though their time has not come; returns how many
    /// of this rank's. Batches on their way cannot go on to `backward`.
    ///
    /// # Errors
    /// If the exchange failed, or the system has no memory left to move rows together.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn expire(&mut self) -> Result<usize, EmbeddingError> {
        self.expire_where(Expiry::is_on)
    }

    /// As [`EmbeddingCollection::expire`], in the tables for which `is_due` holds.
    pub(crate) fn expire_where(
        &mut self,
        is_due: impl Fn(&Expiry) -> bool,
    ) -> Result<usize, EmbeddingError> {
        let now = u32::try_from(self.steps).unwrap_or(u32::MAX);
        let mut count = 0;
        let rank = self.plan.rank;
        let tables = self.tables.iter_mut().zip(&self.plan.placements);
        for (table, placement) in tables.filter(|(table, _)| is_due(&table.options.expiry)) {
            // On every rank alike, whether or not it gives up rows itself.
            self.generation += 1;
            let expiry = &table.options.expiry;
            let expired = expiry.choose(
                &*self.comm,
                table.used(),
                table.index.len(),
                (now, placement.counts(rank)),
            )?;
            table.filter.counts.expired_by_age += expired.by_age.len() as u64;
            table.filter.counts.expired_by_use += expired.by_use.len() as u64;
            let keys = expired.by_age.iter().chain(&expired.by_use);
            let removed = keys.filter(|key| table.remove(**key)).count();
            if removed > 0 {
                table.shrink()?;
            }
            count += removed;
        }
        Ok(count)
    }

    /// What each table holds and what became of its keys, over all ranks.
    ///
    /// # Errors
    /// If the exchange failed.
    ///
    /// # Collective
    /// Every rank must call it.
    pub fn totals(&self) -> Result<Vec<TableTotals>, EmbeddingError> {
        let mut sums: Vec<u64> = Vec::with_capacity(self.tables.len() * SUMS);
        for (table, placement) in self.tables.iter().zip(&self.plan.placements) {
            let (used, cells) = table.filter.cells();
            let RowCounts { admitted, rejected, saturated, expired_by_age, expired_by_use } =
                table.filter.counts;
            let rows = table.index.len() as u64;
            let once = [
                [rows, used, cells, admitted],
                [rejected, saturated, expired_by_age, expired_by_use],
            ];
            let speaks = u64::from(placement.counts(self.plan.rank));
            sums.extend(once.as_flattened().iter().map(|sum| sum * speaks));
            sums.push(table.bytes() as u64);
        }
        self.comm.all_reduce(Values::U64(&mut sums), Reduce::Sum)?;
        let total = |(options, sums): (&TableOptions, &[u64; SUMS])| {
            let [rows, used, cells, admitted, rejected, saturated, by_age, by_use, bytes] = *sums;
            let (expired_by_age, expired_by_use) = (by_age, by_use);
            TableTotals {
                name: options.name.clone(),
                rows,
                bytes,
                counts: RowCounts { admitted, rejected, saturated, expired_by_age, expired_by_use },
                sketch_used: (cells > 0).then(|| used as f64 / cells as f64),
            }
        };
        Ok(self.plan.tables.iter().zip(sums.as_chunks::<SUMS>().0).map(total).collect())
    }

    /// What admission to table `table` knows of the keys of this rank; nothing, if another rank that
    /// knows the same says it.
    ///
    /// # Errors
    /// If there is no such table.
    pub fn filter_state(&self, table: usize) -> Result<FilterState, EmbeddingError> {
        let (at, tables) = (table, self.tables.len());
        let table = self.tables.get(at).ok_or(EmbeddingError::NoTable { found: at, tables })?;
        let speaks = self.plan.placements[at].counts(self.plan.rank);
        Ok(if speaks { table.filter.state() } else { FilterState::default() })
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
