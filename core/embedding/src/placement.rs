//! Which rank owns which row.

use std::ops::Range;

use rectool_base::bucket_of;

use crate::IndexKind;

/// Logical buckets of every table. A row belongs to a bucket for ever; ranks own contiguous ranges
/// of buckets. Part of the checkpoint format.
pub const BUCKETS: u32 = 4096;

/// The bucket of `key`, below [`BUCKETS`]. Dense ids are dealt out in turn, which spreads the frequent low ids evenly;
/// hashed ones by hash.
#[inline(always)]
pub fn bucket(index: &IndexKind, key: u64) -> u32 {
    match index {
        IndexKind::Dense { .. } | IndexKind::Modulo { .. } => (key % u64::from(BUCKETS)) as u32,
        IndexKind::Hash => bucket_of(key, BUCKETS),
    }
}

/// The owner of each bucket of a table: row-wise over all ranks.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    owners: Vec<u32>,
    ranks: usize,
}

impl Placement {
    pub(crate) fn row_wise(ranks: usize) -> Self {
        let mut owners = Vec::with_capacity(BUCKETS as usize);
        for rank in 0..ranks {
            owners.resize((BUCKETS as usize * (rank + 1)) / ranks, rank as u32);
        }
        Self { owners, ranks }
    }

    /// Number of ranks R.
    pub(crate) fn ranks(&self) -> usize {
        self.ranks
    }

    #[inline]
    pub(crate) fn owner(&self, index: &IndexKind, key: u64) -> usize {
        self.owners[bucket(index, key) as usize] as usize
    }

    /// The buckets of `rank`; empty if there are more ranks than buckets.
    pub(crate) fn buckets(&self, rank: usize) -> Range<u32> {
        let first = self.owners.partition_point(|owner| (*owner as usize) < rank);
        let end = self.owners.partition_point(|owner| (*owner as usize) <= rank);
        first as u32..end as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_one_owner_and_shares_are_even() {
        for ranks in [1, 2, 3, 7, 4096, 5000] {
            let placement = Placement::row_wise(ranks);
            let mut next = 0;
            for rank in 0..ranks {
                let buckets = placement.buckets(rank);
                assert_eq!(buckets.start, next, "rank {rank} of {ranks}");
                let share = BUCKETS as usize / ranks;
                assert!((share..=share + 1).contains(&buckets.len()), "rank {rank} of {ranks}");
                next = buckets.end;
                for bucket in buckets {
                    let dense = IndexKind::Dense { rows: u64::MAX };
                    assert_eq!(placement.owner(&dense, u64::from(bucket)), rank);
                }
            }
            assert_eq!(next, BUCKETS);
        }
    }
}
