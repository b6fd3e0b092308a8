//! `rectool index upsert`, killed again and again: nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rectool::ann::Index;
use rectool::base::Stream;

use crate::harness::{Dir, wait_until};
use crate::index::{vectors, write_npy};

const KILLS: u64 = 50;
const PATIENCE: Duration = Duration::from_mins(1);
const DIM: usize = 8;
/// Ids that updates are about.
const IDS: u64 = 400;

/// The vector of an update: it tells which update it was.
fn vector(update: u64) -> Vec<f32> {
    let mut vector = vec![0.0; DIM];
    vector[0] = update as f32;
    vector
}

#[test]
fn no_acknowledged_update_is_lost() {
    let kills = std::env::var("RECTOOL_KILLS").ok().and_then(|count| count.parse().ok());
    let dir = Dir::new();
    write_npy(&dir.join("base.npy"), DIM, &vectors(IDS as usize, 3));
    dir.rectool(&["index", "build", "base.npy", "--out", "idx"]).expect_success();
    let mut draw = Stream::new(5, &[]);
    // Updates are numbered from 100 on; number n is about id n modulo IDS.
    let mut next = 100;
    for round in 0..kills.unwrap_or(KILLS) {
        let mut command = dir.command(&["index", "upsert", "idx", "-", "--batch", "7"]);
        let mut job = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, output) = (job.stdin.take().unwrap(), job.stdout.take().unwrap());
        let first = next;
        let writer = std::thread::spawn(move || {
            for update in first.. {
                let (id, vector) = (update % IDS, vector(update));
                // The pipe breaks when the process is killed.
                if writeln!(input, "{{\"id\": {id}, \"vector\": {vector:?}}}").is_err() {
                    return;
                }
            }
        });
        let acknowledged = Arc::new(AtomicU64::new(0));
        let told = acknowledged.clone();
        let reader = std::thread::spawn(move || {
            // A last line that was cut off tells of fewer changes, or of none.
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8(line).unwrap();
                let count = line.strip_prefix("acknowledged ").and_then(|count| count.parse().ok());
                told.fetch_max(count.unwrap_or(0), Ordering::AcqRel);
            }
        });
        let works = wait_until(PATIENCE, || acknowledged.load(Ordering::Acquire) > 0);
        assert!(works, "round {round}: nothing was acknowledged");
        std::thread::sleep(Duration::from_micros(draw.below(60_000)));
        job.kill().unwrap();
        job.wait().unwrap();
        writer.join().unwrap();
        reader.join().unwrap();
        let acknowledged = acknowledged.load(Ordering::Acquire);
        next = first + acknowledged;
        check(&dir, next, round);
        // Updates of the killed batch may be in: they are sent again.
    }
    println!("{} updates acknowledged", next - 100);
}

/// Every id has its latest acknowledged update, or a later one that was sent.
fn check(dir: &Dir, next: u64, round: u64) {
    let index = Index::open(&dir.join("idx")).unwrap();
    index.verify().unwrap();
    assert_eq!(index.stats().vectors, IDS as usize, "round {round}");
    // The score along the first axis is the number of the update.
    let mut axis = vec![0.0; DIM];
    axis[0] = 1.0;
    let hits = index.search(&axis, &index.search_options(IDS as usize)).unwrap();
    let found: BTreeMap<u64, f32> = hits.iter().map(|hit| (hit.id, hit.score)).collect();
    for update in next.saturating_sub(IDS).max(100)..next {
        let found = found[&(update % IDS)];
        assert!(found >= update as f32, "round {round}: update {update} is lost, found {found}");
    }
}
