//! From a key to the number of its row.

use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;

use hashbrown::HashMap;
use rectool_base::mix64;

use crate::IndexKind;
use crate::placement::{BUCKETS, bucket};

/// The row number of a key that has no row.
pub(crate) const ABSENT: u32 = u32::MAX;

/// The keys of a table that this rank owns, each with its row.
pub(crate) enum Index {
    Dense(DenseIndex),
    Hash(HashIndex),
}

impl Index {
    /// An empty index over the keys of `buckets`; `None` if it could need more rows than there are
    /// row numbers.
    pub(crate) fn new(kind: &IndexKind, buckets: Range<u32>) -> Option<Self> {
        match *kind {
            IndexKind::Dense { rows } => DenseIndex::new(rows, buckets).map(Self::Dense),
            IndexKind::Hash => Some(Self::Hash(HashIndex::default())),
        }
    }

    /// Rows that can ever be used, if that is known beforehand.
    pub(crate) fn rows_max(&self) -> Option<usize> {
        match self {
            Self::Dense(dense) => Some(dense.rows_local as usize),
            Self::Hash(_) => None,
        }
    }

    /// Writes the row of each key, or [`ABSENT`].
    pub(crate) fn find(&self, keys: &[u64], rows: &mut [u32]) {
        match self {
            Self::Dense(dense) => {
                for (key, row) in keys.iter().zip(rows) {
                    let local = dense.local(*key);
                    *row = if dense.holds(local) { local } else { ABSENT };
                }
            }
            Self::Hash(hash) => {
                for (key, row) in keys.iter().zip(rows) {
                    *row = hash.rows.get(key).copied().unwrap_or(ABSENT);
                }
            }
        }
    }

    /// The row that a key without one would get, or `None` if no row number is left.
    pub(crate) fn row_for(&self, key: u64) -> Option<u32> {
        match self {
            Self::Dense(dense) => Some(dense.local(key)),
            Self::Hash(hash) => u32::try_from(hash.rows.len()).ok().filter(|row| *row != ABSENT),
        }
    }

    /// Gives a key that has no row the one that [`Index::row_for`] named.
    pub(crate) fn insert(&mut self, key: u64, row: u32) {
        match self {
            Self::Dense(dense) => dense.insert(row),
            Self::Hash(hash) => {
                hash.rows.insert(key, row);
            }
        }
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Dense(dense) => dense.count,
            Self::Hash(hash) => hash.rows.len(),
        }
    }

    /// Memory of the index itself.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Dense(dense) => size_of_val(dense.present.as_slice()),
            Self::Hash(hash) => hash.rows.allocation_size(),
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Dense(dense) => {
                // Not `fill`, which would claim the whole bitmap.
                dense.present = vec![0; dense.present.len()];
                dense.count = 0;
            }
            Self::Hash(hash) => hash.rows = HashMap::default(),
        }
    }

    /// Every key with its row, by (bucket, key).
    pub(crate) fn sorted(&self, kind: &IndexKind) -> Vec<(u64, u32)> {
        let mut entries: Vec<(u64, u32)> = match self {
            Self::Dense(dense) => dense.entries(),
            Self::Hash(hash) => hash.rows.iter().map(|(key, row)| (*key, *row)).collect(),
        };
        entries.sort_unstable_by_key(|(key, _)| (bucket(kind, *key), *key));
        entries
    }
}

/// Keys 0..V, of which this rank owns those of a range of buckets. The row follows from the key;
/// a bit tells whether it was ever used.
pub(crate) struct DenseIndex {
    bucket_first: u32,
    buckets: u32,
    rows_local: u32,
    present: Vec<u64>,
    count: usize,
}

impl DenseIndex {
    fn new(rows: u64, buckets: Range<u32>) -> Option<Self> {
        let owned = buckets.len() as u64;
        let rows_local = rows.div_ceil(u64::from(BUCKETS)).checked_mul(owned)?;
        let rows_local = u32::try_from(rows_local).ok().filter(|rows| *rows != ABSENT)?;
        Some(Self {
            bucket_first: buckets.start,
            buckets: buckets.len() as u32,
            rows_local,
            present: vec![0; (rows_local as usize).div_ceil(64)],
            count: 0,
        })
    }

    /// Row by row across the owned buckets, so that the frequent low ids lie together.
    #[inline(always)]
    fn local(&self, key: u64) -> u32 {
        let bucket = (key % u64::from(BUCKETS)) as u32;
        (key / u64::from(BUCKETS)) as u32 * self.buckets + (bucket - self.bucket_first)
    }

    #[inline(always)]
    fn holds(&self, row: u32) -> bool {
        self.present[row as usize / 64] >> (row % 64) & 1 == 1
    }

    fn insert(&mut self, row: u32) {
        self.present[row as usize / 64] |= 1 << (row % 64);
        self.count += 1;
    }

    fn entries(&self) -> Vec<(u64, u32)> {
        let mut entries = Vec::with_capacity(self.count);
        for (at, word) in self.present.iter().enumerate() {
            let mut bits = *word;
            while bits != 0 {
                let row = at as u32 * 64 + bits.trailing_zeros();
                let bucket = self.bucket_first + row % self.buckets;
                let key = u64::from(row / self.buckets) * u64::from(BUCKETS) + u64::from(bucket);
                entries.push((key, row));
                bits &= bits - 1;
            }
        }
        entries
    }
}

/// Any keys; rows are numbered in the order in which their keys came.
#[derive(Default)]
pub(crate) struct HashIndex {
    rows: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
}

/// The fixed mix of one 64-bit key.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, key: u64) {
        self.0 = mix64(key);
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = mix64(self.0 ^ u64::from(*byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_rows_are_distinct_and_lead_back_to_their_keys() {
        let kind = IndexKind::Dense { rows: 10_000 };
        for buckets in [0..BUCKETS, 100..1_000, 4_095..BUCKETS] {
            let mut index = Index::new(&kind, buckets.clone()).unwrap();
            let keys: Vec<u64> =
                (0..10_000).filter(|key| buckets.contains(&bucket(&kind, *key))).collect();
            for key in keys.iter().rev() {
                let row = index.row_for(*key).unwrap();
                assert!((row as usize) < index.rows_max().unwrap());
                index.insert(*key, row);
            }
            let mut expected = keys.clone();
            expected.sort_by_key(|key| (key % u64::from(BUCKETS), *key));
            let sorted = index.sorted(&kind);
            assert_eq!(sorted.iter().map(|(key, _)| *key).collect::<Vec<_>>(), expected);
            let mut rows: Vec<u32> = sorted.iter().map(|(_, row)| *row).collect();
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), keys.len());
        }
    }

    #[test]
    fn more_rows_than_numbers_are_refused() {
        let rows = u64::from(u32::MAX);
        assert!(Index::new(&IndexKind::Dense { rows }, 0..BUCKETS).is_none());
        assert!(Index::new(&IndexKind::Dense { rows: u64::MAX }, 0..BUCKETS).is_none());
        assert!(Index::new(&IndexKind::Dense { rows: 1 << 32 }, 0..1).is_some());
    }
}
