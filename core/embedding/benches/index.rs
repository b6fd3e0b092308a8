//! The cuckoo index beside hashbrown's map with the fastest of three hashes: lookups in batches,
//! insertions, removals, memory.
//!
//!     cargo bench -p rectool-embedding --bench index -- --keys 10850000 --rounds 5
//!
//! Without cargo's `--bench` it runs small, as a test.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::hash::BuildHasher;
use std::hint::black_box;
use std::sync::LazyLock;
use std::time::Instant;

use hashbrown::HashMap;
use rectool_base::{Stream, mix64};
use rectool_embedding::{ABSENT, CuckooIndex};

/// Keys of one call, as many as a task of the training step has.
const BATCH: usize = 2048;

/// Keys ahead for which an insertion or removal asks the memory.
const AHEAD: usize = 8;

/// What is compared.
trait Map: Sync {
    fn find(&self, keys: &[u64], rows: &mut [u32]);
    fn insert(&mut self, keys: &[u64]);
    fn remove(&mut self, keys: &[u64]);
    fn bytes(&self) -> usize;
    fn load(&self) -> f64;
}

impl Map for CuckooIndex {
    fn find(&self, keys: &[u64], rows: &mut [u32]) {
        CuckooIndex::find(self, keys, rows);
    }

    fn insert(&mut self, keys: &[u64]) {
        for (at, key) in keys.iter().enumerate() {
            self.prefetch(keys[(at + AHEAD).min(keys.len() - 1)]);
            let row = self.next_row().expect("a row");
            CuckooIndex::insert(self, *key, row).expect("memory");
        }
    }

    fn remove(&mut self, keys: &[u64]) {
        for (at, key) in keys.iter().enumerate() {
            self.prefetch(keys[(at + AHEAD).min(keys.len() - 1)]);
            black_box(CuckooIndex::remove(self, *key));
        }
    }

    fn bytes(&self) -> usize {
        CuckooIndex::bytes(self)
    }

    fn load(&self) -> f64 {
        CuckooIndex::load(self)
    }
}

impl<H: BuildHasher + Sync> Map for HashMap<u64, u32, H> {
    fn find(&self, keys: &[u64], rows: &mut [u32]) {
        for (key, row) in keys.iter().zip(rows) {
            *row = self.get(key).copied().unwrap_or(ABSENT);
        }
    }

    fn insert(&mut self, keys: &[u64]) {
        for key in keys {
            let row = self.len() as u32;
            self.insert(*key, row);
        }
    }

    fn remove(&mut self, keys: &[u64]) {
        for key in keys {
            black_box(HashMap::remove(self, key));
        }
    }

    fn bytes(&self) -> usize {
        self.allocation_size()
    }

    /// Its capacity is seven eighths of its slots.
    fn load(&self) -> f64 {
        self.len() as f64 * 7.0 / 8.0 / self.capacity() as f64
    }
}

/// Nanoseconds per key of `threads` threads together, each of which looks up its share: of the median
/// batch, since a batch is short beside what other programs take a processor away for.
fn lookups(map: &dyn Map, keys: &[u64], threads: usize) -> f64 {
    let share = |keys: &[u64]| {
        let mut rows = [0; BATCH];
        let times = keys.chunks_exact(BATCH).map(|keys| {
            let started = Instant::now();
            map.find(keys, &mut rows);
            black_box(&rows);
            started.elapsed().as_secs_f64() * 1e9 / BATCH as f64
        });
        median(&times.collect::<Vec<_>>())
    };
    std::thread::scope(|scope| {
        let shares = keys.chunks(keys.len() / threads).take(threads);
        let running: Vec<_> = shares.map(|keys| scope.spawn(move || share(keys))).collect();
        let rates = running.into_iter().map(|thread| 1.0 / thread.join().expect("no panic"));
        1.0 / rates.sum::<f64>()
    })
}

/// Nanoseconds of processor time per key. Not the median batch: some take long because they grow the
/// map.
fn timed(keys: &[u64], work: impl FnMut(&[u64])) -> f64 {
    let started = processor_ns();
    keys.chunks(BATCH).for_each(work);
    (processor_ns() - started) / keys.len() as f64
}

/// What this thread has run for; real time where the system does not tell.
fn processor_ns() -> f64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = stat.and_then(|stat| stat.split(' ').next()?.parse().ok());
    ns.unwrap_or_else(|| START.elapsed().as_secs_f64() * 1e9)
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn number(name: &str, default: usize) -> usize {
    let mut flags = std::env::args().skip_while(|flag| flag != name);
    flags.nth(1).map_or(default, |text| text.parse().expect("a number"))
}

fn main() {
    let small = std::env::args().all(|flag| flag != "--bench");
    // With this many keys the index is at its fullest: at a load of 0.90.
    let count = number("--keys", if small { 20_000 } else { 10_850_000 });
    let rounds = number("--rounds", if small { 1 } else { 5 });
    let keys: Vec<u64> = (0..count as u64).map(|n| mix64(n ^ 0x5eed)).collect();
    let mut maps: [(&str, Box<dyn Map>); 4] = [
        ("cuckoo", Box::new(CuckooIndex::new(1))),
        ("hashbrown, foldhash", Box::new(HashMap::<_, _, foldhash::fast::RandomState>::default())),
        ("hashbrown, ahash", Box::new(HashMap::<_, _, ahash::RandomState>::default())),
        ("hashbrown, fxhash", Box::new(HashMap::<_, _, rustc_hash::FxBuildHasher>::default())),
    ];
    println!("{count} keys; ns per key, medians of {rounds} rounds in turn");
    for (name, map) in &mut maps {
        let ns = timed(&keys, |keys| map.insert(keys));
        let (load, bytes) = (map.load(), map.bytes() as f64 / count as f64);
        println!("{name:20} load {load:.3}, {bytes:.1} bytes per key, insertion {ns:.1}");
    }
    let mut stream = Stream::new(2, &[]);
    let asked = count.min(4_000_000);
    let present: Vec<u64> = (0..asked).map(|_| keys[stream.below(count as u64) as usize]).collect();
    // One key in five is new, as on a first day.
    let mixed: Vec<u64> = present.iter().map(|key| key ^ u64::from(key % 5 == 0)).collect();
    for (what, asked) in [("lookups, all present", &present), ("lookups, a fifth absent", &mixed)] {
        for threads in [1, 2] {
            let mut times = vec![Vec::new(); maps.len()];
            for _ in 0..rounds {
                for (times, (_, map)) in times.iter_mut().zip(&maps) {
                    times.push(lookups(&**map, asked, threads));
                }
            }
            report(
                &format!("{what}, {threads} threads"),
                &times,
                &maps.each_ref().map(|map| map.0),
            );
        }
    }
    let removed = &keys[..count / 5];
    let removal = |map: &mut dyn Map| vec![timed(removed, |keys| map.remove(keys))];
    let times: Vec<Vec<f64>> = maps.iter_mut().map(|(_, map)| removal(&mut **map)).collect();
    report("removal of a fifth", &times, &maps.each_ref().map(|map| map.0));
}

/// The first map's median, and that of the fastest other.
fn report(what: &str, times: &[Vec<f64>], names: &[&str]) {
    let medians: Vec<f64> = times.iter().map(|times| median(times)).collect();
    let all: Vec<String> =
        names.iter().zip(&medians).map(|(name, ns)| format!("{name} {ns:.1}")).collect();
    let best = medians[1..].iter().copied().fold(f64::INFINITY, f64::min);
    println!("{what}: {}; {:.2}x", all.join(", "), best / medians[0]);
}
