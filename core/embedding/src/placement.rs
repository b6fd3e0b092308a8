//! Which rank owns which row and column of a table.

use std::ops::Range;

use rectool_base::bucket_of;

use crate::{IndexKind, Sharding};

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

/// Who holds what of one table.
#[derive(Clone, Debug)]
pub(crate) struct Placement {
    /// Width D of the table.
    dim: usize,
    /// Number of ranks R.
    ranks: usize,
    cut: Cut,
}

#[derive(Clone, Debug)]
enum Cut {
    /// Whole rows: the rank of each bucket, never falling.
    Buckets(Vec<u32>),
    /// All rows of some columns: the rank of each part.
    Columns(Vec<(usize, Range<usize>)>),
    /// Everything on every rank. The rank of each bucket is the one that speaks for its rows.
    Replicas(Vec<u32>),
}

impl Placement {
    /// What `sharding`, which fits, means for a table of width `dim` on `ranks` ranks.
    pub(crate) fn new(sharding: &Sharding, dim: usize, ranks: usize) -> Self {
        let cut = match sharding {
            Sharding::DataParallel => Cut::Replicas(spread(0, ranks)),
            Sharding::RowWise => Cut::Buckets(spread(0, ranks)),
            Sharding::TableWise { rank } => Cut::Buckets(spread(*rank, 1)),
            Sharding::TableRowWise { first, ranks } => Cut::Buckets(spread(*first, *ranks)),
            Sharding::ColumnWise { ranks } => {
                let parts = Sharding::column_parts(dim, ranks.len());
                Cut::Columns(ranks.iter().copied().zip(parts).collect())
            }
        };
        Self { dim, ranks, cut }
    }

    /// Number of ranks R.
    pub(crate) fn ranks(&self) -> usize {
        self.ranks
    }

    /// Width D of the table.
    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// The rank of each bucket, where rows have one owner each.
    pub(crate) fn owners(&self) -> Option<&[u32]> {
        match &self.cut {
            Cut::Buckets(owners) => Some(owners),
            Cut::Columns(_) | Cut::Replicas(_) => None,
        }
    }

    pub(crate) fn is_replicated(&self) -> bool {
        matches!(self.cut, Cut::Replicas(_))
    }

    /// The buckets of which `rank` holds rows; there may be none.
    pub(crate) fn buckets(&self, rank: usize) -> Range<u32> {
        let own = |owner: &u32| *owner as usize;
        match &self.cut {
            Cut::Buckets(owners) => {
                let first = owners.partition_point(|owner| own(owner) < rank);
                let end = owners.partition_point(|owner| own(owner) <= rank);
                first as u32..end as u32
            }
            Cut::Columns(_) if self.columns(rank).is_empty() => 0..0,
            Cut::Columns(_) | Cut::Replicas(_) => 0..BUCKETS,
        }
    }

    /// The columns of which `rank` holds rows: all, or those of its part, of which there may be none.
    pub(crate) fn columns(&self, rank: usize) -> Range<usize> {
        match &self.cut {
            Cut::Buckets(_) | Cut::Replicas(_) => 0..self.dim,
            Cut::Columns(parts) => {
                let part = parts.iter().find(|(owner, _)| *owner == rank);
                part.map_or(0..0, |(_, columns)| columns.clone())
            }
        }
    }

    /// Whether `rank` holds the row of `key`, or columns of it.
    pub(crate) fn holds(&self, rank: usize, index: &IndexKind, key: u64) -> bool {
        match &self.cut {
            Cut::Buckets(owners) => owners[bucket(index, key) as usize] as usize == rank,
            Cut::Columns(_) => !self.columns(rank).is_empty(),
            Cut::Replicas(_) => true,
        }
    }

    /// Whether `rank` is the one that writes its columns of the row of `key`, which it holds, to a
    /// checkpoint.
    pub(crate) fn exports(&self, rank: usize, index: &IndexKind, key: u64) -> bool {
        match &self.cut {
            Cut::Buckets(_) | Cut::Columns(_) => true,
            Cut::Replicas(speakers) => speakers[bucket(index, key) as usize] as usize == rank,
        }
    }

    /// Whether `rank` is the one that counts the rows that it holds.
    pub(crate) fn counts(&self, rank: usize) -> bool {
        match &self.cut {
            Cut::Buckets(_) => true,
            Cut::Columns(parts) => parts[0].0 == rank,
            Cut::Replicas(_) => rank == 0,
        }
    }
}

/// The owner of each bucket, dealt out over `ranks` ranks from `first` on in contiguous ranges.
fn spread(first: usize, ranks: usize) -> Vec<u32> {
    let mut owners = Vec::with_capacity(BUCKETS as usize);
    for rank in 0..ranks {
        owners.resize((BUCKETS as usize * (rank + 1)) / ranks, (first + rank) as u32);
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_has_one_owner_and_shares_are_even() {
        for ranks in [1, 2, 3, 7, 4096, 5000] {
            let placement = Placement::new(&Sharding::RowWise, 4, ranks);
            let mut next = 0;
            for rank in 0..ranks {
                let buckets = placement.buckets(rank);
                assert_eq!(buckets.start, next, "rank {rank} of {ranks}");
                let share = BUCKETS as usize / ranks;
                assert!((share..=share + 1).contains(&buckets.len()), "rank {rank} of {ranks}");
                next = buckets.end;
                for bucket in buckets {
                    let dense = IndexKind::Dense { rows: u64::MAX };
                    assert!(placement.holds(rank, &dense, u64::from(bucket)));
                    assert_eq!(placement.owners().unwrap()[bucket as usize] as usize, rank);
                }
            }
            assert_eq!(next, BUCKETS);
        }
    }

    #[test]
    fn every_float_is_exported_once() {
        let places = [
            Sharding::DataParallel,
            Sharding::TableWise { rank: 2 },
            Sharding::RowWise,
            Sharding::TableRowWise { first: 1, ranks: 3 },
            Sharding::ColumnWise { ranks: vec![3, 0, 4] },
        ];
        for place in places {
            let placement = Placement::new(&place, 20, 5);
            for key in 0..500 {
                let mut times = [0; 20];
                for rank in 0..5 {
                    if placement.holds(rank, &IndexKind::Hash, key)
                        && placement.exports(rank, &IndexKind::Hash, key)
                    {
                        times[placement.columns(rank)].iter_mut().for_each(|times| *times += 1);
                    }
                }
                assert_eq!(times, [1; 20], "{place:?}, key {key}");
            }
            assert_eq!((0..5).filter(|rank| placement.counts(*rank)).count() > 1, {
                placement.owners().is_some()
            });
        }
    }
}
