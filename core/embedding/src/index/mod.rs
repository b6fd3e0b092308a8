//! From a key to the number of its row.

mod bucket;
mod buckets;
mod cuckoo;
mod dense;
mod find;
mod probe;
mod rows;
mod search;
#[cfg(test)]
mod tests;

use std::io;
use std::ops::Range;

use dense::DenseIndex;

pub use self::cuckoo::CuckooIndex;
use crate::IndexKind;
use crate::placement::bucket;

/// The row number of a key that has no row.
pub const ABSENT: u32 = u32::MAX;

/// The keys of a table that this rank owns, each with its row.
pub(crate) enum Index {
    /// Also for [`IndexKind::Modulo`], whose ids are folded into such keys where they come in.
    Dense(DenseIndex),
    Cuckoo(CuckooIndex),
}

impl Index {
    /// An empty index over the keys of `buckets`; `None` if it could need more rows than there are
    /// row numbers.
    pub(crate) fn new(kind: &IndexKind, buckets: Range<u32>, seed: u64) -> Option<Self> {
        match *kind {
            IndexKind::Dense { rows } | IndexKind::Modulo { rows } => {
                DenseIndex::new(rows, buckets).map(Self::Dense)
            }
            IndexKind::Hash => Some(Self::Cuckoo(CuckooIndex::new(seed))),
        }
    }

    /// Rows that can ever be used, if that is known beforehand.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        match self {
            Self::Dense(dense) => Some(dense.rows_max()),
            Self::Cuckoo(_) => None,
        }
    }

    /// Writes the row of each key, or [`ABSENT`].
    pub(crate) fn find(&self, keys: &[u64], rows: &mut [u32]) {
        match self {
            Self::Dense(dense) => dense.find(keys, rows),
            Self::Cuckoo(cuckoo) => cuckoo.find(keys, rows),
        }
    }

    /// Asks the memory for what the insertion or removal of `key` will read.
    pub(crate) fn prefetch(&self, key: u64) {
        if let Self::Cuckoo(cuckoo) = self {
            cuckoo.prefetch(key);
        }
    }

    /// The row that a key without one would get, or `None` if no row number is left.
    pub(crate) fn row_for(&self, key: u64) -> Option<u32> {
        match self {
            Self::Dense(dense) => Some(dense.row(key)),
            Self::Cuckoo(cuckoo) => cuckoo.next_row(),
        }
    }

    /// Gives a key that has no row the one that [`Index::row_for`] named.
    ///
    /// # Errors
    /// If the system has no memory left; nothing has changed then.
    pub(crate) fn insert(&mut self, key: u64, row: u32) -> io::Result<()> {
        match self {
            Self::Dense(dense) => dense.insert(row),
            Self::Cuckoo(cuckoo) => cuckoo.insert(key, row)?,
        }
        Ok(())
    }

    /// Takes a key out; returns the row it had, which another key may get now.
    pub(crate) fn remove(&mut self, key: u64) -> Option<u32> {
        match self {
            Self::Dense(dense) => dense.remove(key),
            Self::Cuckoo(cuckoo) => cuckoo.remove(key),
        }
    }

    /// Whether a key may have any row; otherwise it follows from the key.
    pub(crate) fn rows_are_free(&self) -> bool {
        matches!(self, Self::Cuckoo(_))
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.len(),
            Self::Cuckoo(cuckoo) => cuckoo.len(),
        }
    }

    /// Memory of the index itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.bytes(),
            Self::Cuckoo(cuckoo) => cuckoo.bytes(),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Dense(dense) => dense.clear(),
            Self::Cuckoo(cuckoo) => cuckoo.clear(),
        }
    }

    /// Every key with its row, in no useful order.
    pub(crate) fn entries(&self) -> Vec<(u64, u32)> {
        match self {
            Self::Dense(dense) => dense.entries().collect(),
            Self::Cuckoo(cuckoo) => cuckoo.entries().collect(),
        }
    }

    /// Every key with its row, by (bucket, key).
    pub(crate) fn sorted(&self, kind: &IndexKind) -> Vec<(u64, u32)> {
        let mut entries = self.entries();
        entries.sort_unstable_by_key(|(key, _)| (bucket(kind, *key), *key));
        entries
    }
}
