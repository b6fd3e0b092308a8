//! What an untouched row holds.

use rectool_base::{Stream, hash_text};

use crate::storage::{Bf16, Element, F16, Rounding};
use crate::{Init, Storage, TableOptions};

pub(crate) struct Initial {
    init: Init,
    storage: Storage,
    seed: u64,
    /// Hash of the table's name.
    table: u64,
    /// The table's column that is the first one here.
    column_first: usize,
    /// Of the table's values at any step; these are rounded as of step 0.
    pub(crate) rounding: Rounding,
}

impl Initial {
    pub(crate) fn new(options: &TableOptions, column_first: usize, seed: u64) -> Self {
        let table = hash_text(&options.name) as u64;
        Self {
            init: options.init.clone(),
            storage: options.storage,
            seed,
            table,
            column_first,
            rounding: Rounding::new(seed, table, column_first as u32),
        }
    }

    /// The value of column j is the j-th draw of the stream at [table, key], as the storage holds it.
    pub(crate) fn values(&self, key: u64, values: &mut [f32]) {
        let mut stream = Stream::new(self.seed, &[self.table, key]);
        let skipped = 0..self.column_first;
        match self.init {
            Init::Zero => values.fill(0.0),
            Init::Uniform { bound } => {
                skipped.for_each(|_| _ = stream.next_f32());
                values.fill_with(|| (2.0 * stream.next_f32() - 1.0) * bound);
            }
            Init::Normal { std } => {
                skipped.for_each(|_| _ = stream.next_normal());
                values.fill_with(|| stream.next_normal() * std);
            }
        }
        match self.storage {
            Storage::F32 => {}
            Storage::Bf16 => self.round::<Bf16>(key, values),
            Storage::F16 => self.round::<F16>(key, values),
        }
    }

    fn round<E: Element>(&self, key: u64, values: &mut [f32]) {
        let bits = self.rounding.row(key, 0);
        for (column, value) in values.iter_mut().enumerate() {
            *value = E::narrow(*value, bits.column(column as u32)).widen();
        }
    }
}
