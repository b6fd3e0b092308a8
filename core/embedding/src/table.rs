//! The rows of one table that this rank holds, or its columns of them.

use std::collections::BTreeSet;
use std::ops::Range;

use rectool_base::hash_text;

use crate::admission::Filter;
use crate::expiry::Usage;
use crate::index::{ABSENT, Index};
use crate::initial::Initial;
use crate::placement::bucket;
use crate::prepare::Lookups;
use crate::row::{self, Header, RowContent, RowLayout, RowMut};
use crate::slab::Slab;
use crate::storage::{Bf16, Element, F16, Rounding, RowBits};
use crate::{Backing, EmbeddingError, Storage, TableOptions, Unadmitted};

/// Keys ahead of the one in hand for which the index asks the memory.
const KEYS_AHEAD: usize = 8;

pub(crate) struct Table {
    pub(crate) options: TableOptions,
    /// Those that are here, of the `options.dim` of the table.
    pub(crate) columns: Range<usize>,
    /// Of what is here of a row.
    pub(crate) layout: RowLayout,
    pub(crate) index: Index,
    pub(crate) slab: Slab,
    /// Keys whose rows were removed since someone asked; `None` until someone does.
    removed: Option<BTreeSet<u64>>,
    pub(crate) filter: Filter,
    initial: Initial,
}

impl Table {
    /// An empty table for `columns` of the keys of `buckets`.
    pub(crate) fn new(
        options: TableOptions,
        columns: Range<usize>,
        buckets: Range<u32>,
        seed: u64,
    ) -> Result<Self, EmbeddingError> {
        let dim = columns.len();
        let state = options.optimizer.state_width(dim);
        let layout = RowLayout { dim, state, storage: options.storage };
        let name = hash_text(&options.name) as u64;
        let filter = Filter::new(&options.admission, buckets.clone(), (seed, name));
        let filter = filter.map_err(|_| EmbeddingError::SketchMemory {
            table: options.name.clone(),
            bytes: options.admission.bytes(),
        })?;
        let index = Index::new(&options.index, buckets, seed ^ name).ok_or_else(|| {
            let rows = options.index.keys_below().unwrap_or(0);
            EmbeddingError::Full { table: options.name.clone(), rows }
        })?;
        let slab = Slab::new(layout, index.rows_max(), options.backing.clone());
        let initial = Initial::new(&options, columns.start, seed);
        Ok(Self { options, columns, layout, index, slab, removed: None, filter, initial })
    }

    /// Gives rows with initial values to the admitted ones of the keys whose row is [`ABSENT`], in
    /// order.
    pub(crate) fn insert_absent(
        &mut self,
        keys: &[u64],
        rows: &mut [u32],
    ) -> Result<(), EmbeddingError> {
        let mut values = vec![0.0; self.layout.dim];
        let mut state = vec![0.0; self.layout.state];
        let admitted = self.admit(keys, rows);
        for (nth, at) in admitted.iter().enumerate() {
            if let Some(ahead) = admitted.get(nth + KEYS_AHEAD) {
                self.index.prefetch(keys[*ahead as usize]);
            }
            let (key, row) = (keys[*at as usize], &mut rows[*at as usize]);
            *row = self.insert(key)?;
            self.initial_row(key, &mut values, &mut state);
            let header = Header::default();
            self.write(key, *row, RowContent { header, values: &values, state: &state });
        }
        Ok(())
    }

    /// What a new row holds.
    fn initial_row(&self, key: u64, values: &mut [f32], state: &mut [f32]) {
        self.initial.values(key, values);
        self.options.optimizer.initial_state(values, state);
    }

    /// The positions of those keys whose row is [`ABSENT`] that get one now. All are judged by what was counted before
    /// this batch: cells that become free would let the order of the keys decide.
    fn admit(&mut self, keys: &[u64], rows: &[u32]) -> Vec<u32> {
        let index = &self.options.index;
        let absent = (0..keys.len() as u32).filter(|at| rows[*at as usize] == ABSENT);
        let key = |at: &u32| (bucket(index, keys[*at as usize]), keys[*at as usize]);
        let mut admitted: Vec<u32> = absent.collect();
        admitted.retain(|at| {
            let (bucket, key) = key(at);
            self.filter.admits(bucket, key)
        });
        for (bucket, key) in admitted.iter().map(key) {
            self.filter.forget(bucket, key);
        }
        admitted
    }

    /// Counts the keys of a batch that were trained on without a row; it was step number `steps`.
    pub(crate) fn end_step(&mut self, lookups: &Lookups, steps: u64) {
        let kind = &self.options.index;
        let mut rejected = Vec::new();
        if !self.filter.admits_all() {
            let keys = lookups.distinct.keys.iter().zip(&lookups.rows);
            let keys = keys.filter(|(_, row)| **row == ABSENT);
            rejected.extend(keys.map(|(key, _)| (bucket(kind, *key), *key)));
        }
        self.filter.end_step(rejected, steps);
    }

    /// Sets what is here of the row of `key`, of which `columns` are given; there is a row then.
    ///
    /// Shapes: values \[columns\], state as wide as the optimizer has it for that many columns.
    pub(crate) fn set(
        &mut self,
        key: u64,
        columns: &Range<usize>,
        content: RowContent<'_>,
    ) -> Result<(), EmbeddingError> {
        let mut found = [ABSENT];
        self.index.find(&[key], &mut found);
        let is_new = found[0] == ABSENT;
        let row = if is_new { self.insert(key)? } else { found[0] };
        if *columns == self.columns {
            self.write(key, row, content);
            return Ok(());
        }
        let (mut values, mut state) = (Vec::new(), Vec::new());
        if is_new {
            values.resize(self.layout.dim, 0.0);
            state.resize(self.layout.state, 0.0);
            self.initial_row(key, &mut values, &mut state);
        } else {
            self.read(row, &mut values, &mut state);
        }
        let first = columns.start.max(self.columns.start);
        let count = columns.end.min(self.columns.end).saturating_sub(first);
        // Columns are cut only where the optimizer treats each alone: its state is then blocks that
        // are as wide as the values.
        let blocks = state.chunks_mut(self.layout.dim).zip(content.state.chunks(columns.len()));
        let values_too = [(values.as_mut_slice(), content.values)];
        for (own, given) in blocks.chain(values_too).filter(|_| count > 0) {
            let (to, from) = (first - self.columns.start, first - columns.start);
            own[to..to + count].copy_from_slice(&given[from..from + count]);
        }
        let header = content.header;
        self.write(key, row, RowContent { header, values: &values, state: &state });
        Ok(())
    }

    fn write(&mut self, key: u64, row: u32, content: RowContent<'_>) {
        let words = self.slab.row_mut(row);
        let bits = self.initial.rounding.row(key, u64::from(content.header.last_seen));
        match self.layout.storage {
            Storage::F32 => fill::<f32>(words, content, bits),
            Storage::Bf16 => fill::<Bf16>(words, content, bits),
            Storage::F16 => fill::<F16>(words, content, bits),
        }
    }

    /// The header of a row; its values and state are appended to the buffers.
    pub(crate) fn read(&self, row: u32, values: &mut Vec<f32>, state: &mut Vec<f32>) -> Header {
        let words = self.slab.row(row);
        let dim = self.layout.dim;
        match self.layout.storage {
            Storage::F32 => values.extend_from_slice(row::values::<f32>(words, dim)),
            Storage::Bf16 => values.extend(row::values::<Bf16>(words, dim).iter().map(widen)),
            Storage::F16 => values.extend(row::values::<F16>(words, dim).iter().map(widen)),
        }
        state.extend_from_slice(row::state(words, self.layout));
        row::header(words)
    }

    /// Gives a row to a key that has none, once there is memory for it; its content is to come.
    fn insert(&mut self, key: u64) -> Result<u32, EmbeddingError> {
        let row = self.index.row_for(key).ok_or_else(|| EmbeddingError::Full {
            table: self.options.name.clone(),
            rows: u64::from(u32::MAX) + 1,
        })?;
        self.slab.open(row).map_err(|source| self.memory(source))?;
        self.index.insert(key, row).map_err(|source| self.memory(source))?;
        if let Some(removed) = &mut self.removed {
            removed.remove(&key);
        }
        Ok(row)
    }

    /// Takes a row away, if there is one: its key has its initial values again.
    pub(crate) fn remove(&mut self, key: u64) -> bool {
        let had_row = self.index.remove(key).is_some();
        if had_row && let Some(removed) = &mut self.removed {
            removed.insert(key);
        }
        had_row
    }

    /// Gives memory back after removals, once half of the slab's chunks hold all rows. Rows move together where their
    /// numbers are free to choose: whoever found them before must find them again.
    ///
    /// # Errors
    /// If the system has no memory left.
    pub(crate) fn shrink(&mut self) -> Result<(), EmbeddingError> {
        let count = self.index.len();
        if !self.slab.is_half_empty(count) {
            return Ok(());
        }
        if self.index.rows_are_free() {
            let mut far = self.index.entries();
            far.retain(|(_, row)| *row as usize >= count);
            for (key, from) in far {
                self.index.remove(key);
                let to = self.index.row_for(key).expect("one was given back");
                self.index.insert(key, to).map_err(|source| self.memory(source))?;
                self.slab.copy(from, to);
            }
        }
        let rows = self.index.entries().into_iter().map(|(_, row)| row);
        self.slab.keep(rows);
        Ok(())
    }

    /// The rows that were ever updated.
    pub(crate) fn used(&self) -> Vec<Usage> {
        let entries = self.index.entries();
        let usage = |(key, row): &(u64, u32)| {
            let Header { last_seen, count } = row::header(self.slab.row(*row));
            Usage { count, last_seen, key: *key }
        };
        entries.iter().map(usage).filter(|usage| usage.count > 0).collect()
    }

    /// The keys that were removed since the last call and did not come back, in order; the first call gives none.
    pub(crate) fn take_removed(&mut self) -> Vec<u64> {
        self.removed.replace(BTreeSet::new()).unwrap_or_default().into_iter().collect()
    }

    fn memory(&self, source: std::io::Error) -> EmbeddingError {
        if let Backing::File { folder } = &self.options.backing {
            let (table, folder) = (self.options.name.clone(), folder.clone());
            return EmbeddingError::File { table, folder, rows: self.index.len(), source };
        }
        EmbeddingError::Memory {
            table: self.options.name.clone(),
            rows: self.index.len(),
            bytes: self.bytes(),
            source,
        }
    }

    /// The source of the random bits that round this table's values.
    pub(crate) fn rounding(&self) -> Rounding {
        self.initial.rounding
    }

    /// What a key without a row reads.
    pub(crate) fn absent_values(&self, key: u64, values: &mut [f32]) {
        match self.options.unadmitted {
            Unadmitted::Initial => self.initial.values(key, values),
            Unadmitted::Zero => values.fill(0.0),
            Unadmitted::Constant { value } => values.fill(value),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.index.clear();
        if let Some(removed) = &mut self.removed {
            removed.clear();
        }
        self.filter.clear();
        self.slab.clear();
    }

    /// Memory of the rows in use and of the index.
    pub(crate) fn bytes(&self) -> usize {
        self.index.len() * self.layout.bytes() + self.index.bytes() + self.filter.bytes()
    }
}

fn widen<E: Element>(value: &E) -> f32 {
    value.widen()
}

fn fill<E: Element>(words: &mut [u32], content: RowContent<'_>, bits: RowBits) {
    let row = RowMut::<E>::new(words, content.values.len());
    *row.header = content.header;
    for (column, (to, from)) in row.values.iter_mut().zip(content.values).enumerate() {
        *to = E::narrow(*from, bits.column(column as u32));
    }
    row.state[..content.state.len()].copy_from_slice(content.state);
}
