//! Any 64-bit keys, each with a row of its own.

use std::collections::BTreeMap;
use std::io;

use rectool_base::mix64;

use super::bucket::SLOTS;
use super::buckets::Buckets;
use super::find::Find;
use super::probe::dispatch;
use super::rows::RowNumbers;
use super::{ABSENT, search};

/// From 64-bit keys to row numbers: a cuckoo hash table whose buckets are single cache lines.
///
/// A key lies in one of two buckets. The table grows by one bucket at a time, which takes over some
/// keys of two others (linear hashing), so no insertion ever waits for a rehash, and the load
/// stays between 82 % and 91 %: 14 to 16 bytes per key, but for tables of a few keys.
///
/// # Determinism
/// The same calls give the same row numbers: the lowest that is free.
///
/// ```
/// use rectool_embedding::{ABSENT, CuckooIndex};
/// # fn main() -> std::io::Result<()> {
/// let mut index = CuckooIndex::new(1);
/// for key in [70, 80, 90] {
///     let row = index.next_row().expect("there are billions");
///     index.insert(key, row)?;
/// }
/// assert_eq!(index.remove(80), Some(1));
/// let mut rows = [0; 3];
/// index.find(&[70, 80, 90], &mut rows);
/// assert_eq!(rows, [0, ABSENT, 2]);
/// assert_eq!(index.next_row(), Some(1));
/// # Ok(())
/// # }
/// ```
pub struct CuckooIndex {
    seed: u64,
    buckets: Buckets,
    places: Places,
    len: usize,
    /// Whether insertions add buckets.
    growing: bool,
    rows: RowNumbers,
    /// Keys for which no slot was found. Empty but for keys that were chosen to collide.
    stash: BTreeMap<u64, u32>,
    /// The stashed key that is tried next.
    stash_next: u64,
}

/// Where hashes lead, given the number of buckets n, 2^L ≤ n < 2^(L+1): L + 1 bits name a bucket if
/// it is there; otherwise L bits do. Bucket n + 1 thus takes over keys of one other bucket.
///
/// The buckets whose turn has not come yet are more crowded than the others. Second places take their
/// turn from the other end, so that few buckets are crowded by both; or else every fifth thousandth
/// key would find no slot at some sizes.
#[derive(Clone, Copy, Default)]
pub(super) struct Places {
    count: u32,
    /// 2^L − 1.
    low: u32,
}

impl Places {
    fn new(count: u32) -> Self {
        let low = count.checked_ilog2().map_or(0, |bits| (1 << bits) - 1);
        Self { count, low }
    }

    /// The bucket where a key is looked for first: the low bits of its hash.
    #[inline(always)]
    pub(super) fn first(self, hash: u64) -> u32 {
        let place = hash as u32 & (self.low << 1 | 1);
        if place < self.count { place } else { place & self.low }
    }

    /// The other one, which may be the same: high bits of the hash, mirrored if the bit above them
    /// is set, so that what leads beyond the last bucket is mirrored back to the lower half.
    #[inline(always)]
    pub(super) fn second(self, hash: u64) -> u32 {
        let bits = (hash >> 32) as u32;
        let all = self.low << 1 | 1;
        let mirrored = if bits & (all + 1) == 0 { bits } else { !bits };
        let place = mirrored & all;
        if place < self.count { place } else { !place & self.low }
    }

    /// The buckets that led to the last one before it was there.
    fn sources(self) -> [u32; 2] {
        let last = self.count - 1;
        let half = last.checked_ilog2().map_or(0, |bits| 1 << bits);
        [last - half, (2 * half).saturating_sub(1).saturating_sub(last)]
    }
}

/// The load above which buckets are added: so full that a new key must move one or two others.
const GROW_PERCENT: usize = 91;

/// The load down to which they are added, one with each key, so that most keys meet emptier buckets.
const GROWN_PERCENT: usize = 84;

/// The load below which buckets are taken away: there, the index takes 16 bytes per key.
const SHRINK_PERCENT: usize = 82;

/// Whether `len` keys in so many buckets are a load above so many percent.
fn load_above(percent: usize, len: usize, buckets: u32) -> bool {
    len * 100 > buckets as usize * SLOTS * percent
}

/// Stashed keys for which a slot is sought when the table grows.
const STASH_TRIES: usize = 2;

impl CuckooIndex {
    /// An empty index. Who does not know the seed cannot choose keys that collide.
    pub fn new(seed: u64) -> Self {
        Self {
            // Not the unseeded hash, by which keys were dealt out to ranks already.
            seed: mix64(seed ^ 0x6b79_c0de) | 1,
            buckets: Buckets::default(),
            places: Places::default(),
            len: 0,
            growing: false,
            rows: RowNumbers::default(),
            stash: BTreeMap::new(),
            stash_next: 0,
        }
    }

    #[inline(always)]
    fn hash(&self, key: u64) -> u64 {
        mix64(key ^ self.seed)
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Memory in use.
    pub fn bytes(&self) -> usize {
        let stash = self.stash.len() * 2 * size_of::<(u64, u32)>();
        self.buckets.count() as usize * size_of::<super::bucket::Bucket>()
            + self.rows.bytes()
            + stash
    }

    /// Keys over slots.
    pub fn load(&self) -> f64 {
        self.len as f64 / (SLOTS as f64 * f64::from(self.buckets.count()).max(1.0))
    }

    /// Keys that lie outside of the buckets.
    #[cfg(test)]
    pub(super) fn stashed(&self) -> usize {
        self.stash.len()
    }

    #[cfg(test)]
    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        let seed = self.seed;
        *self = Self { seed, ..Self::new(0) };
    }

    /// Writes the row of each key, or [`ABSENT`].
    ///
    /// Shapes: `keys` and `rows` \[n\].
    ///
    /// # Panics
    /// If they are not equally long.
    pub fn find(&self, keys: &[u64], rows: &mut [u32]) {
        assert_eq!(keys.len(), rows.len(), "one row for each key");
        if self.places.count == 0 {
            rows.fill(ABSENT);
            return;
        }
        let (seed, places) = (self.seed, self.places);
        dispatch(Find { view: self.buckets.view(), places, seed, keys, rows: &mut *rows });
        if !self.stash.is_empty() {
            for (key, row) in keys.iter().zip(rows).filter(|(_, row)| **row == ABSENT) {
                *row = self.stash.get(key).copied().unwrap_or(ABSENT);
            }
        }
    }

    /// The row that the next new key gets; `None` if all numbers are in use.
    pub fn next_row(&self) -> Option<u32> {
        self.rows.next()
    }

    /// Asks the memory for what an insertion or a removal of `key` will read.
    #[inline]
    pub fn prefetch(&self, key: u64) {
        if self.places.count != 0 {
            let hash = self.hash(key);
            self.buckets.prefetch(self.places.first(hash));
            self.buckets.prefetch(self.places.second(hash));
        }
    }

    /// Gives `key`, which must not be there, the row that [`CuckooIndex::next_row`] names.
    ///
    /// # Errors
    /// If the system has no memory left; nothing has changed then.
    pub fn insert(&mut self, key: u64, row: u32) -> io::Result<()> {
        self.growing |= load_above(GROW_PERCENT, self.len + 1, self.buckets.count());
        if self.growing {
            self.grow()?;
            self.growing = load_above(GROWN_PERCENT, self.len + 1, self.buckets.count());
        }
        self.rows.take(row);
        self.len += 1;
        self.put_or_stash((key, row));
        Ok(())
    }

    /// Takes `key` out; returns the row it had, which other keys may get now.
    pub fn remove(&mut self, key: u64) -> Option<u32> {
        let row = self.take(key)?;
        self.rows.give_back(row);
        self.len -= 1;
        self.shrink();
        Some(row)
    }

    /// Every key with its row, in no useful order.
    pub(super) fn entries(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        let stashed = self.stash.iter().map(|(key, row)| (*key, *row));
        self.buckets.iter().flat_map(super::bucket::Bucket::entries).chain(stashed)
    }

    fn take(&mut self, key: u64) -> Option<u32> {
        if self.places.count == 0 {
            return None;
        }
        let hash = self.hash(key);
        for at in [self.places.first(hash), self.places.second(hash)] {
            let bucket = self.buckets.get_mut(at);
            let slots = super::probe::Probe::slots(super::probe::Scalar, bucket, key);
            if slots != 0 {
                return Some(bucket.take(slots.trailing_zeros() as usize).1);
            }
        }
        self.stash.remove(&key)
    }

    /// The two buckets of a key.
    #[inline(always)]
    pub(super) fn homes(&self, key: u64) -> [u32; 2] {
        let hash = self.hash(key);
        [self.places.first(hash), self.places.second(hash)]
    }

    fn put_or_stash(&mut self, entry: (u64, u32)) {
        if !self.put(entry) {
            self.stash.insert(entry.0, entry.1);
        }
    }

    /// Finds a slot for a key, if there is one within reach.
    fn put(&mut self, entry: (u64, u32)) -> bool {
        let homes = self.homes(entry.0);
        let free = homes.iter().find_map(|at| Some((*at, self.buckets.get(*at).vacant()?)));
        let free = free.or_else(|| {
            search::make_room(&mut self.buckets, homes, |key| {
                let hash = mix64(key ^ self.seed);
                [self.places.first(hash), self.places.second(hash)]
            })
        });
        if let Some((at, slot)) = free {
            self.buckets.get_mut(at).put(slot, entry);
        }
        free.is_some()
    }

    /// Adds a bucket and moves there the keys of two others whose hashes now lead to it.
    fn grow(&mut self) -> io::Result<()> {
        self.buckets.push()?;
        self.places = Places::new(self.buckets.count());
        for source in self.places.sources() {
            for slot in 0..SLOTS {
                let bucket = self.buckets.get(source);
                let held = bucket.used >> slot & 1 == 1;
                if held && !self.homes(bucket.keys[slot]).contains(&source) {
                    let entry = self.buckets.get_mut(source).take(slot);
                    self.put_or_stash(entry);
                }
            }
        }
        for _ in 0..STASH_TRIES.min(self.stash.len()) {
            let next = self.stash.range(self.stash_next..).next().or(self.stash.iter().next());
            if let Some((key, row)) = next.map(|(key, row)| (*key, *row)) {
                self.stash.remove(&key);
                self.stash_next = key.wrapping_add(1);
                self.put_or_stash((key, row));
            }
        }
        Ok(())
    }

    /// Gives the last buckets up, as long as the others have room for their keys.
    fn shrink(&mut self) {
        if self.len == 0 {
            self.clear();
            return;
        }
        // One bucket at a time: what is left must have room for its keys in a small table, too.
        while !load_above(SHRINK_PERCENT, self.len, self.buckets.count())
            && !load_above(GROW_PERCENT, self.len, self.buckets.count() - 1)
        {
            self.growing = false;
            let last = self.buckets.pop();
            self.places = Places::new(self.buckets.count());
            for entry in last.entries() {
                self.put_or_stash(entry);
            }
        }
    }
}
