//! The indexes against a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;
use rectool_base::Stream;

use super::bucket::{Bucket, SLOTS};
use super::probe::{Probe, Probing, Scalar, dispatch};
use super::*;
use crate::placement::BUCKETS;

/// Interpreters are slow.
const SCALE: usize = if cfg!(miri) { 50 } else { 1 };

/// What an index should hold.
#[derive(Default)]
struct Model {
    rows: BTreeMap<u64, u32>,
    used: std::collections::BTreeSet<u32>,
}

impl Model {
    fn toggle(&mut self, index: &mut CuckooIndex, key: u64) {
        let expected = self.rows.remove(&key);
        if let Some(row) = expected {
            self.used.remove(&row);
            assert_eq!(index.remove(key), expected);
        } else {
            self.insert(index, key);
        }
    }

    fn insert(&mut self, index: &mut CuckooIndex, key: u64) {
        let row = index.next_row().unwrap();
        assert!(self.used.insert(row), "row {row} twice");
        index.insert(key, row).unwrap();
        assert!(self.rows.insert(key, row).is_none());
    }

    fn check(&self, index: &CuckooIndex, absent: &[u64]) {
        let keys: Vec<u64> = self.rows.keys().chain(absent).copied().collect();
        let mut rows = vec![7; keys.len()];
        index.find(&keys, &mut rows);
        for (key, row) in keys.iter().zip(rows) {
            assert_eq!(row, self.rows.get(key).copied().unwrap_or(ABSENT), "key {key}");
        }
        assert_eq!(index.len(), self.rows.len());
        let entries: BTreeMap<u64, u32> = index.entries().collect();
        assert_eq!(entries, self.rows);
        assert_eq!(index.entries().count(), self.rows.len());
        // Rows are the lowest that were free, so none lies beyond the largest number of keys.
        assert!(index.load() <= 0.91, "load {}", index.load());
        assert!(index.len() < 500 || index.load() >= 0.81, "load {}", index.load());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 300 }))]

    #[test]
    fn any_insertions_and_removals_match_a_map(
        phases in prop::collection::vec((any::<u64>(), 1..2_000u64, 0..3_000 / SCALE), 1..5),
        seed in any::<u64>(),
    ) {
        let mut index = CuckooIndex::new(seed);
        let mut model = Model::default();
        for (offset, universe, steps) in phases {
            let mut stream = Stream::new(offset, &[]);
            for _ in 0..steps {
                model.toggle(&mut index, offset.wrapping_add(stream.below(universe)));
            }
            let absent = [offset.wrapping_sub(1), offset.wrapping_add(universe)];
            let absent: Vec<u64> =
                absent.into_iter().filter(|key| !model.rows.contains_key(key)).collect();
            model.check(&index, &absent);
        }
    }

    #[test]
    fn plain_and_wide_probes_find_the_same_slots(
        keys in prop::array::uniform5(0..4u64),
        rows in prop::array::uniform5(0..4u32),
        used in 0..32u32,
    ) {
        struct Slots<'a>(&'a Bucket, u64, &'a mut u32);
        impl Probing for Slots<'_> {
            fn run<P: Probe>(self, probe: P) {
                *self.2 = probe.slots(self.0, self.1);
            }
        }
        let bucket = Bucket { keys, rows, used };
        // Words that are rows, not keys, must not be taken for keys.
        let words: &[u64] = bytemuck::cast_slice(std::slice::from_ref(&bucket));
        for key in (0..5).chain(words.iter().copied()) {
            let (plain, mut wide) = (Scalar.slots(&bucket, key), 0);
            dispatch(Slots(&bucket, key, &mut wide));
            prop_assert_eq!(plain, wide);
            let expected = (0..SLOTS).filter(|slot| used >> slot & 1 == 1 && keys[*slot] == key);
            prop_assert_eq!(plain, expected.map(|slot| 1 << slot).sum::<u32>());
        }
    }
}

#[test]
fn an_index_grows_shrinks_and_grows_again() {
    let count = (60_000 / SCALE) as u64;
    let mut index = CuckooIndex::new(3);
    let mut model = Model::default();
    for round in 0..2 {
        for key in 0..count {
            model.insert(&mut index, key << 32 | round);
        }
        model.check(&index, &[1 << 40 | 7]);
        let bytes = index.bytes();
        for key in 0..count - count / 10 {
            model.toggle(&mut index, key << 32 | round);
        }
        model.check(&index, &[round]);
        assert!(index.bytes() < bytes / 3, "{} of {bytes} bytes", index.bytes());
    }
    let keys: Vec<u64> = model.rows.keys().copied().collect();
    for key in keys {
        model.toggle(&mut index, key);
    }
    assert_eq!((index.bytes(), index.next_row()), (0, Some(0)));
}

#[test]
fn growth_waits_for_a_load_of_nine_tenths_and_keeps_sixteen_bytes_per_key() {
    let mut index = CuckooIndex::new(1);
    let mut stream = Stream::new(1, &[]);
    let mut loads = (1.0f64, 0.0f64);
    for count in 1..=200_000 / SCALE {
        let row = index.next_row().unwrap();
        assert_eq!(row as usize, count - 1);
        index.insert(stream.next_u64(), row).unwrap();
        if count >= 1_000 {
            loads = (loads.0.min(index.load()), loads.1.max(index.load()));
            assert!(index.bytes() <= 16 * count, "{count} keys: {} bytes", index.bytes());
        }
        // A few at the very start, and later one in 100,000 for a while.
        assert!(index.stashed() <= 2, "{count} keys: {} stashed", index.stashed());
    }
    assert!(loads.0 > 0.83 && loads.1 > 0.9, "loads {loads:?}");
}

/// The key that `mix64` makes `hash` of.
fn unmix(mut hash: u64) -> u64 {
    hash ^= hash >> 31 ^ hash >> 62;
    hash = hash.wrapping_mul(0x3196_42b2_d24d_8ec3);
    hash ^= hash >> 27 ^ hash >> 54;
    hash = hash.wrapping_mul(0x96de_1b17_3f11_9089);
    hash ^ hash >> 30 ^ hash >> 60
}

#[test]
fn keys_chosen_to_collide_cost_memory_of_their_own_only() {
    assert_eq!(unmix(rectool_base::mix64(12_345)), 12_345);
    let count = (20_000 / SCALE) as u64;
    let mut index = CuckooIndex::new(9);
    let mut model = Model::default();
    // All lead to the same two buckets, however large the table.
    let key = |n: u64| index_key(9, (n & 0xff) << 24 | (n >> 8) << 56 | 0x11_0000_0022);
    for n in 0..count {
        model.insert(&mut index, key(n));
    }
    model.check(&index, &[key(count)]);
    assert!(index.stashed() > index.len() / 2, "{} stashed", index.stashed());
    assert!(index.bytes() < 100 * index.len(), "{} bytes", index.bytes());
    for n in 0..count {
        model.toggle(&mut index, key(n));
    }
    assert!(index.is_empty() && index.stashed() == 0);
}

fn index_key(seed: u64, hash: u64) -> u64 {
    unmix(hash) ^ CuckooIndex::new(seed).seed()
}

#[test]
fn regular_keys_are_no_worse_than_random_ones() {
    let patterns: [fn(u64) -> u64; 5] =
        [|n| n, |n| n << 32, |n| n << 44, |n| n.wrapping_mul(BUCKETS as u64), |n| !n];
    for pattern in patterns {
        let mut index = CuckooIndex::new(0);
        for n in 0..(50_000 / SCALE) as u64 {
            index.insert(pattern(n), n as u32).unwrap();
        }
        assert!(index.stashed() <= 2, "{} stashed", index.stashed());
    }
}

#[test]
fn threads_look_up_together() {
    let mut index = CuckooIndex::new(5);
    let keys: Vec<u64> = (0..(100_000 / SCALE) as u64).map(|n| n * n).collect();
    for (row, key) in keys.iter().enumerate() {
        index.insert(*key, row as u32).unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut rows = vec![0; keys.len()];
                index.find(&keys, &mut rows);
                assert!(rows.iter().enumerate().all(|(n, row)| n as u32 == *row));
            });
        }
    });
}

#[test]
fn dense_rows_are_distinct_and_lead_back_to_their_keys() {
    let kind = IndexKind::Dense { rows: 10_000 };
    for buckets in [0..BUCKETS, 100..1_000, 4_095..BUCKETS] {
        let mut index = Index::new(&kind, buckets.clone(), 0).unwrap();
        let mut keys: Vec<u64> =
            (0..10_000).filter(|key| buckets.contains(&bucket(&kind, *key))).collect();
        for key in keys.iter().rev() {
            let row = index.row_for(*key).unwrap();
            assert!((row as usize) < index.rows_max().unwrap());
            index.insert(*key, row).unwrap();
        }
        keys.sort_by_key(|key| (key % u64::from(BUCKETS), *key));
        let sorted = index.sorted(&kind);
        assert_eq!(sorted.iter().map(|(key, _)| *key).collect::<Vec<_>>(), keys);
        let mut rows: Vec<u32> = sorted.iter().map(|(_, row)| *row).collect();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), keys.len());
        assert_eq!(index.remove(keys[0]), Some(sorted[0].1));
        assert_eq!(index.remove(keys[0]), None);
        assert_eq!(index.len(), keys.len() - 1);
        assert_eq!(index.sorted(&kind), sorted[1..]);
    }
}

#[test]
fn more_rows_than_numbers_are_refused() {
    let rows = u64::from(u32::MAX);
    let index = |rows, buckets| Index::new(&IndexKind::Dense { rows }, buckets, 0);
    assert!(index(rows, 0..BUCKETS).is_none());
    assert!(index(u64::MAX, 0..BUCKETS).is_none());
    assert!(index(1 << 32, 0..1).is_some());
}
