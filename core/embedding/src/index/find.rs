//! Many lookups at a time, so that the memory is never waited for.

use rectool_base::mix64;

use super::ABSENT;
use super::bucket::Bucket;
use super::buckets::View;
use super::cuckoo::Places;
use super::probe::{Probe, Probing};
use crate::simd::prefetch_line;

/// Keys whose lines are on their way at the same time.
const GROUP: usize = 32;

/// Finds the row of each key.
pub(super) struct Find<'a> {
    pub(super) view: View<'a>,
    pub(super) places: Places,
    pub(super) seed: u64,
    pub(super) keys: &'a [u64],
    pub(super) rows: &'a mut [u32],
}

/// What is known of the keys of a group.
#[derive(Clone, Copy)]
struct Group<'a> {
    hashes: [u64; GROUP],
    /// The buckets asked for: of all keys their first one, then of missing keys their second one.
    buckets: [&'a Bucket; GROUP],
    /// The keys that are not in their first bucket.
    missing: [u8; GROUP],
    missing_count: usize,
}

impl Probing for Find<'_> {
    /// Three stages, each of which leaves the lines that it asked for a whole round to arrive: ask
    /// for first buckets, read them and ask for second ones, read these.
    #[inline(always)]
    fn run<P: Probe>(mut self, probe: P) {
        let buckets = [self.view.get(0); GROUP];
        let empty = Group { hashes: [0; GROUP], buckets, missing: [0; GROUP], missing_count: 0 };
        let mut groups = [empty; 3];
        let rounds = self.keys.len().div_ceil(GROUP);
        for round in 0..rounds + 2 {
            if round < rounds {
                self.ask(&mut groups[round % 3], round * GROUP);
            }
            if (1..=rounds).contains(&round) {
                self.read_first(&mut groups[(round - 1) % 3], (round - 1) * GROUP, probe);
            }
            if round > 1 {
                self.read_second(&groups[(round - 2) % 3], (round - 2) * GROUP, probe);
            }
        }
    }
}

impl<'a> Find<'a> {
    #[inline(always)]
    fn ask(&self, group: &mut Group<'a>, start: usize) {
        let places = group.hashes.iter_mut().zip(&mut group.buckets);
        for (key, (hash, bucket)) in self.keys[start..].iter().zip(places) {
            *hash = mix64(*key ^ self.seed);
            *bucket = self.view.get(self.places.first(*hash));
            prefetch_line(*bucket);
        }
    }

    #[inline(always)]
    fn read_first<P: Probe>(&mut self, group: &mut Group<'a>, start: usize, probe: P) {
        let rows = self.rows[start..].iter_mut().zip(&group.buckets);
        let mut count = 0;
        for (i, (key, (row, bucket))) in self.keys[start..].iter().zip(rows).enumerate() {
            *row = bucket.row(probe.slots(bucket, *key));
            // No branch on whether the key was there, which nobody could predict.
            group.missing[count % GROUP] = i as u8;
            count += usize::from(*row == ABSENT);
        }
        group.missing_count = count;
        for i in &group.missing[..count] {
            let i = *i as usize % GROUP;
            group.buckets[i] = self.view.get(self.places.second(group.hashes[i]));
            prefetch_line(group.buckets[i]);
        }
    }

    #[inline(always)]
    fn read_second<P: Probe>(&mut self, group: &Group<'a>, start: usize, probe: P) {
        for i in &group.missing[..group.missing_count] {
            let i = *i as usize % GROUP;
            let bucket = group.buckets[i];
            self.rows[start + i] = bucket.row(probe.slots(bucket, self.keys[start + i]));
        }
    }
}
