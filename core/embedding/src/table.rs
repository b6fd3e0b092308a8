//! The rows of one table that this rank owns.

use std::collections::BTreeSet;
use std::ops::Range;

use rectool_base::{Stream, hash_text};

use crate::index::{ABSENT, Index};
use crate::slab::{RowLayout, Slab};
use crate::{EmbeddingError, Init, TableOptions};

/// Keys ahead of the one in hand for which the index asks the memory.
const KEYS_AHEAD: usize = 8;

pub(crate) struct Table {
    pub(crate) options: TableOptions,
    pub(crate) layout: RowLayout,
    pub(crate) index: Index,
    pub(crate) slab: Slab,
    /// Keys whose rows were removed, until someone asks.
    removed: BTreeSet<u64>,
    initial: Initial,
}

impl Table {
    /// An empty table for the keys of `buckets`.
    pub(crate) fn new(
        options: TableOptions,
        buckets: Range<u32>,
        seed: u64,
    ) -> Result<Self, EmbeddingError> {
        let layout =
            RowLayout { dim: options.dim, state: options.optimizer.state_width(options.dim) };
        let name = hash_text(&options.name) as u64;
        let index = Index::new(&options.index, buckets, seed ^ name).ok_or_else(|| {
            let rows = options.index.keys_below().unwrap_or(0);
            EmbeddingError::Full { table: options.name.clone(), rows }
        })?;
        let slab = Slab::new(layout, index.rows_max());
        let initial = Initial {
            init: options.init.clone(),
            seed,
            table: name,
            state: options.optimizer.initial_state(),
        };
        Ok(Self { options, layout, index, slab, removed: BTreeSet::new(), initial })
    }

    /// Gives rows with initial values to the keys whose row is [`ABSENT`], in order.
    pub(crate) fn insert_absent(
        &mut self,
        keys: &[u64],
        rows: &mut [u32],
    ) -> Result<(), EmbeddingError> {
        let absent = |(row, key): (&u32, &u64)| (*row == ABSENT).then_some(*key);
        for at in 0..keys.len() {
            let ahead = at + KEYS_AHEAD;
            if let Some(key) = rows.get(ahead).zip(keys.get(ahead)).and_then(absent) {
                self.index.prefetch(key);
            }
            let (key, row) = (&keys[at], &mut rows[at]);
            if *row == ABSENT {
                *row = self.insert(*key)?;
                let content = self.slab.row_mut(*row);
                let (values, state) = content.split_at_mut(self.layout.dim);
                self.initial.values(*key, values);
                state.fill(self.initial.state);
            }
        }
        Ok(())
    }

    /// Sets the row of `key`, which gets one if it has none.
    pub(crate) fn set(
        &mut self,
        key: u64,
        values: &[f32],
        state: &[f32],
    ) -> Result<(), EmbeddingError> {
        let mut row = [ABSENT];
        self.index.find(&[key], &mut row);
        let row = if row[0] == ABSENT { self.insert(key)? } else { row[0] };
        let content = self.slab.row_mut(row);
        content[..values.len()].copy_from_slice(values);
        content[values.len()..].copy_from_slice(state);
        Ok(())
    }

    /// Gives a row to a key that has none, once there is memory for it; its content is to come.
    fn insert(&mut self, key: u64) -> Result<u32, EmbeddingError> {
        let row = self.index.row_for(key).ok_or_else(|| EmbeddingError::Full {
            table: self.options.name.clone(),
            rows: u64::from(u32::MAX) + 1,
        })?;
        self.slab.open(row).map_err(|source| self.memory(source))?;
        self.index.insert(key, row).map_err(|source| self.memory(source))?;
        self.removed.remove(&key);
        Ok(row)
    }

    /// Takes a row away, if there is one: its key has its initial values again.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let removed = self.index.remove(key).is_some();
        if removed {
            self.removed.insert(key);
        }
        removed
    }

    /// The keys that were removed since the last call and did not come back, in order.
    pub(crate) fn take_removed(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.removed).into_iter().collect()
    }

    fn memory(&self, source: std::io::Error) -> EmbeddingError {
        EmbeddingError::Memory {
            table: self.options.name.clone(),
            rows: self.index.len(),
            bytes: self.bytes(),
            source,
        }
    }

    /// The values of a row that was never updated.
    pub(crate) fn initial_values(&self, key: u64, values: &mut [f32]) {
        self.initial.values(key, values);
    }

    pub(crate) fn clear(&mut self) {
        self.index.clear();
        self.removed.clear();
        self.slab.clear();
    }

    /// Memory of the rows in use and of the index.
    pub(crate) fn bytes(&self) -> usize {
        self.index.len() * self.layout.width() * size_of::<f32>() + self.index.bytes()
    }
}

/// What an untouched row holds.
struct Initial {
    init: Init,
    seed: u64,
    /// Hash of the table's name.
    table: u64,
    state: f32,
}

impl Initial {
    /// The value of column j is the j-th draw of the stream at [table, key].
    fn values(&self, key: u64, values: &mut [f32]) {
        let mut stream = Stream::new(self.seed, &[self.table, key]);
        match self.init {
            Init::Zero => values.fill(0.0),
            Init::Uniform { bound } => {
                values.fill_with(|| (2.0 * stream.next_f32() - 1.0) * bound);
            }
            Init::Normal { std } => values.fill_with(|| stream.next_normal() * std),
        }
    }
}
