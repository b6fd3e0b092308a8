use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use rectool_base::Stream;

use super::change::Change;
use super::wal::{Wal, replay};
use super::{Index, Item, Maintenance, Rebuild, build_part, publish};
use crate::filter::ItemAttributes;
use crate::tests::world::{score, vectors};
use crate::{
    BuildInput, BuildOptions, Effort, IndexKind, Metric, SearchOptions, TuneOptions, Vectors,
};

const DIM: usize = 8;

fn options(kind: IndexKind, metric: Metric) -> BuildOptions {
    BuildOptions { kind: Some(kind), metric, leaves: Some(12), ..BuildOptions::default() }
}

/// An index of `rows` vectors in `parts` parts, and what it holds.
fn index(
    folder: &Path,
    rows: usize,
    parts: usize,
    options: &BuildOptions,
) -> (Index, BTreeMap<u64, Vec<f32>>) {
    let base = vectors(rows, DIM, 1);
    let all = Vectors::new(DIM, &base).unwrap();
    let input = BuildInput::from(&all);
    for part in 0..parts {
        build_part(folder, (part, parts), &input, options, &()).unwrap();
    }
    publish(folder, parts, options).unwrap();
    let held = base.chunks_exact(DIM).map(<[f32]>::to_vec).enumerate();
    let held = held.map(|(id, vector)| (id as u64, vector)).collect();
    (Index::open_for_changes(folder, Maintenance::Manual).unwrap(), held)
}

/// Compares a whole scan of the index with what it should hold.
fn check(index: &Index, held: &BTreeMap<u64, Vec<f32>>) {
    assert_eq!(index.stats().vectors, held.len());
    let effort = Effort::Fixed { leaves: usize::MAX, candidates: 4000 };
    let k = held.len() + 5;
    let options = SearchOptions { effort, ..SearchOptions::new(k) };
    for query in vectors(3, DIM, 9).chunks_exact(DIM) {
        let found = index.search(query, &options).unwrap();
        let mut ids: Vec<u64> = found.iter().map(|hit| hit.id).collect();
        ids.sort_unstable();
        assert!(ids.iter().eq(held.keys()), "{} of {}", ids.len(), held.len());
        for hit in &found {
            let expected = score(index.metric(), query, &held[&hit.id]);
            let error = (f64::from(hit.score) - expected).abs();
            assert!(error < 1e-3 * (1.0 + expected.abs()), "{hit:?} {expected}");
        }
        assert!(found.windows(2).all(|pair| pair[0].score >= pair[1].score));
    }
}

/// Random changes, applied to the index and to what it should hold.
fn change(index: &Index, held: &mut BTreeMap<u64, Vec<f32>>, stream: &mut Stream, calls: usize) {
    for _ in 0..calls {
        let mut items = Vec::new();
        for _ in 0..=stream.below(20) {
            let id = stream.below(900);
            let vector: Vec<f32> = (0..DIM).map(|_| stream.next_normal()).collect();
            held.insert(id, vector.clone());
            items.push(Item::new(id, vector));
        }
        index.upsert(&items).unwrap();
        let gone: Vec<u64> = (0..stream.below(15)).map(|_| stream.below(1000)).collect();
        for id in &gone {
            held.remove(id);
        }
        index.delete(&gone).unwrap();
    }
}

#[test]
fn changes_are_seen_survive_and_are_built_in() {
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        for (kind, parts) in [
            (IndexKind::Flat, 1),
            (IndexKind::Ivf, 1),
            (IndexKind::Ivf, 3),
            (IndexKind::Graph, 1),
            (IndexKind::Graph, 3),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let (index, mut held) = index(folder.path(), 500, parts, &options(kind, metric));
            check(&index, &held);
            let mut stream = Stream::new(4, &[parts as u64]);
            change(&index, &mut held, &mut stream, 12);
            check(&index, &held);
            drop(index);
            let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
            check(&index, &held);
            assert_eq!(index.rebuild(Rebuild::All, &()).unwrap(), parts);
            check(&index, &held);
            change(&index, &mut held, &mut stream, 3);
            drop(index);
            let index = Index::open(folder.path()).unwrap();
            check(&index, &held);
            index.verify().unwrap();
            assert!(index.upsert(&[Item::new(1, vec![0.0; DIM])]).is_err());
        }
    }
}

#[test]
fn only_one_may_change_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(IndexKind::Flat, Metric::L2);
    let (index, _) = index(folder.path(), 20, 1, &options);
    assert!(Index::open_for_changes(folder.path(), Maintenance::Manual).is_err());
    assert!(Index::open(folder.path()).is_ok());
    drop(index);
    assert!(Index::open_for_changes(folder.path(), Maintenance::Manual).is_ok());
}

#[test]
fn attributes_of_changes_are_filtered_and_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = index(folder.path(), 300, 1, &options(IndexKind::Ivf, Metric::InnerProduct));
    let red = ItemAttributes::default().with_token("color", "red").with_number("price", 3.0);
    let items: Vec<Item> = (1000..1010)
        .map(|id| Item { id, vector: vec![id as f32 / 1e3; DIM], attributes: red.clone() })
        .collect();
    index.upsert(&items).unwrap();
    let filter = Some("color=red, price<5".parse().unwrap());
    let options = SearchOptions { filter, ..SearchOptions::new(20) };
    for _ in 0..2 {
        let found = index.search(&[1.0; DIM], &options).unwrap();
        let mut ids: Vec<u64> = found.iter().map(|hit| hit.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1000..1010).collect::<Vec<u64>>());
        index.rebuild(Rebuild::All, &()).unwrap();
    }
}

#[test]
fn readers_see_whole_states_while_a_writer_and_a_rebuild_work() {
    let folder = tempfile::tempdir().unwrap();
    let (index, _) = index(folder.path(), 400, 1, &options(IndexKind::Ivf, Metric::InnerProduct));
    // A pair of vectors is always changed together: no reader may see half of a change.
    let pair = |value: f32| [0u64, 1].map(|side| Item::new(5000 + side, vec![value; DIM]));
    index.upsert(&pair(50.0)).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let found = index.search(&[1.0; DIM], &SearchOptions::new(2)).unwrap();
                    assert_eq!([found[0].id, found[1].id], [5000, 5001]);
                    assert_eq!(found[0].score, found[1].score);
                }
            });
        }
        scope.spawn(|| index.rebuild(Rebuild::All, &()).unwrap());
        for round in 0..60 {
            index.upsert(&pair(60.0 + round as f32)).unwrap();
        }
        index.rebuild(Rebuild::All, &()).unwrap();
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn many_changes_start_a_rebuild_in_the_background() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(IndexKind::Ivf, Metric::InnerProduct);
    drop(index(folder.path(), 400, 1, &options));
    let index = Index::open_for_changes(folder.path(), Maintenance::Background).unwrap();
    let items: Vec<Item> = (0..1500).map(|id| Item::new(id, vec![id as f32; DIM])).collect();
    index.upsert(&items).unwrap();
    while index.is_rebuilding() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let stats = index.stats();
    assert_eq!((stats.vectors, stats.parts[0].built_rows), (1500, 1500));
    assert!(!stats.parts[0].rebuild_due);
    // A rebuild that others overtook, on a busy machine, may be at work yet: its file goes when it ends.
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    for _ in 0..6000 {
        if files() == 4 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(files(), 4);
}

#[test]
fn a_rebuild_takes_over_the_efforts_while_the_part_is_about_as_large() {
    let folder = tempfile::tempdir().unwrap();
    let options = options(IndexKind::Ivf, Metric::InnerProduct);
    let (index, _) = index(folder.path(), 600, 1, &options);
    // Efforts that were measured with queries of the user's: a rebuild does not have them.
    let queries = vectors(200, DIM, 77);
    let tuning = TuneOptions { targets: vec![0.8, 0.97], ..TuneOptions::default() };
    index.retune(Some(&Vectors::new(DIM, &queries).unwrap()), &tuning, &()).unwrap();
    drop(index);
    let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
    let curve = index.curve();
    assert!(!curve.is_empty() && curve.len() <= 2);
    index.delete(&(0..100).collect::<Vec<u64>>()).unwrap();
    index.rebuild(Rebuild::All, &()).unwrap();
    assert_eq!(index.curve(), curve);
    index.delete(&(100..400).collect::<Vec<u64>>()).unwrap();
    index.rebuild(Rebuild::All, &()).unwrap();
    assert_ne!(index.curve(), curve);
}

fn item(id: u64) -> Change {
    Change::Upsert(Item::new(id, vec![id as f32; 3]))
}

#[test]
fn a_torn_log_loses_only_its_last_record() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut wal = Wal::create(&path, &[item(1)]).unwrap();
    let first = wal.bytes();
    wal.append(&[item(2), Change::Delete(1)]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for length in first as usize..bytes.len() {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let replayed = replay(&path).unwrap();
        assert_eq!((replayed.changes, replayed.bytes), (vec![item(1)], first));
    }
    std::fs::write(&path, [&bytes[..], &[0; 700]].concat()).unwrap();
    let replayed = replay(&path).unwrap();
    assert_eq!(replayed.changes, [item(1), item(2), Change::Delete(1)]);
    let mut wal = Wal::resume(&path, replayed.bytes).unwrap();
    wal.append(&[item(3)]).unwrap();
    assert_eq!(replay(&path).unwrap().changes.len(), 4);
}

#[test]
fn a_damaged_log_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut wal = Wal::create(&path, &[item(1)]).unwrap();
    let first = wal.bytes() as usize;
    wal.append(&[item(2)]).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    for at in 0..first {
        let mut changed = bytes.clone();
        changed[at] ^= 16;
        std::fs::write(&path, &changed).unwrap();
        assert!(replay(&path).is_err(), "byte {at}");
    }
}

/// Name of the variable that makes a process of the tests a writer that will be killed.
const VICTIM: &str = "RECTOOL_ANN_VICTIM";

/// Not a test of its own: what the killed process runs.
#[test]
fn victim() {
    let Ok(folder) = std::env::var(VICTIM) else { return };
    let index = Index::open_for_changes(Path::new(&folder), Maintenance::Manual).unwrap();
    let mut out = std::io::stdout().lock();
    for id in index.stats().vectors as u64.. {
        index.upsert(&[Item::new(id, vec![id as f32; DIM])]).unwrap();
        writeln!(out, "done {id}").unwrap();
    }
}

#[test]
fn no_acknowledged_change_is_lost_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    drop(index(folder.path(), 100, 1, &options(IndexKind::Ivf, Metric::InnerProduct)));
    let mut stream = Stream::new(6, &[]);
    let mut acknowledged = 99;
    for round in 0..50 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "live::tests::victim", "--nocapture"])
            .env(VICTIM, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut left = 1 + stream.below(12);
        while let Some(Ok(line)) = lines.next() {
            // The harness writes the test's name on the line of the first.
            if let Some((_, id)) = line.split_once("done ") {
                acknowledged = acknowledged.max(id.trim().parse().unwrap());
                left = left.saturating_sub(1);
            }
            if left == 0 {
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert_eq!(left, 0, "round {round}: the process ended by itself");
        let index = Index::open(folder.path()).unwrap();
        // Ids rise without gaps: the index holds all of them up to some that is not below the last
        // acknowledged one, whose writer may have got one further.
        let count = index.stats().vectors;
        assert!(count as u64 > acknowledged, "round {round}: {count} vectors, {acknowledged}");
        let effort = Effort::Fixed { leaves: usize::MAX, candidates: count };
        let options = SearchOptions { effort, ..SearchOptions::new(count) };
        let found = index.search(&[1.0; DIM], &options).unwrap();
        let mut ids: Vec<u64> = found.iter().map(|hit| hit.id).collect();
        ids.sort_unstable();
        assert!(ids.into_iter().eq(0..count as u64), "round {round}: {count} vectors");
    }
}
