//! Keys that number the rows themselves.

use std::ops::Range;

use super::ABSENT;
use crate::placement::BUCKETS;

/// Keys 0..V, of which this rank owns those of a range of buckets. The row follows from the key;
/// a bit tells whether it is in use.
pub(crate) struct DenseIndex {
    bucket_first: u32,
    buckets: u32,
    rows_local: u32,
    present: Vec<u64>,
    count: usize,
}

impl DenseIndex {
    /// `None` if this rank could come to need more rows than can be numbered.
    pub(super) fn new(rows: u64, buckets: Range<u32>) -> Option<Self> {
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

    pub(super) fn rows_max(&self) -> usize {
        self.rows_local as usize
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn bytes(&self) -> usize {
        size_of_val(self.present.as_slice())
    }

    /// Row by row across the owned buckets, so that the frequent low ids lie together.
    #[inline(always)]
    pub(super) fn row(&self, key: u64) -> u32 {
        let bucket = (key % u64::from(BUCKETS)) as u32;
        (key / u64::from(BUCKETS)) as u32 * self.buckets + (bucket - self.bucket_first)
    }

    #[inline(always)]
    fn holds(&self, row: u32) -> bool {
        self.present[row as usize / 64] >> (row % 64) & 1 == 1
    }

    pub(super) fn find(&self, keys: &[u64], rows: &mut [u32]) {
        for (key, found) in keys.iter().zip(rows) {
            let row = self.row(*key);
            *found = if self.holds(row) { row } else { ABSENT };
        }
    }

    pub(super) fn insert(&mut self, row: u32) {
        self.present[row as usize / 64] |= 1 << (row % 64);
        self.count += 1;
    }

    pub(super) fn remove(&mut self, key: u64) -> Option<u32> {
        let row = self.row(key);
        self.holds(row).then(|| {
            self.present[row as usize / 64] &= !(1 << (row % 64));
            self.count -= 1;
            row
        })
    }

    pub(super) fn clear(&mut self) {
        // Not `fill`, which would claim the whole bitmap.
        self.present = vec![0; self.present.len()];
        self.count = 0;
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.present.iter().zip(0..).flat_map(|(word, at)| {
            let rows =
                (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 64 + bit);
            rows.map(|row| (self.key(row), row))
        })
    }

    fn key(&self, row: u32) -> u64 {
        let bucket = self.bucket_first + row % self.buckets;
        u64::from(row / self.buckets) * u64::from(BUCKETS) + u64::from(bucket)
    }
}
