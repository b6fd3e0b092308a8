use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;

use super::part::Snapshot;
use super::{Index, Item, Maintenance, Rebuild};
use crate::filter::ItemAttributes;
use crate::tests::world::vectors;
use crate::{BuildInput, BuildOptions, Effort, Hit, IndexKind, Metric, SearchOptions, Vectors};

const DIM: usize = 12;
const ROWS: usize = 4000;
const LEAVES: usize = 30;

fn options(metric: Metric) -> BuildOptions {
    let kind = Some(IndexKind::Ivf);
    BuildOptions { kind, metric, leaves: Some(LEAVES), ..BuildOptions::default() }
}

fn attributes(id: u64, round: u64) -> ItemAttributes {
    let item = ItemAttributes::default().with_number("price", (id % 50) as f64);
    if id.is_multiple_of(3) { item.with_token("round", &round.to_string()) } else { item }
}

fn items(ids: impl Iterator<Item = u64>, round: u64, factor: f32) -> Vec<Item> {
    let ids: Vec<u64> = ids.collect();
    let all = vectors(ids.len(), DIM, 50 + round);
    let item = |(id, vector): (&u64, &[f32])| Item {
        id: *id,
        vector: vector.iter().map(|value| factor * value).collect(),
        attributes: attributes(*id, round),
    };
    ids.iter().zip(all.chunks_exact(DIM)).map(item).collect()
}

fn index(folder: &Path, metric: Metric) -> Index {
    let base = vectors(ROWS, DIM, 1);
    let all = Vectors::new(DIM, &base).unwrap();
    Index::create(folder, &BuildInput::from(&all), &options(metric), &()).unwrap();
    Index::open_for_changes(folder, Maintenance::Manual).unwrap()
}

fn centroids(index: &Index) -> Vec<f32> {
    index.inner.parts[0].snapshot().part.tree().centroids.to_vec()
}

/// What searches of few leaves, of all, and with a filter find.
fn found(index: &Index) -> Vec<Vec<Hit>> {
    let queries = vectors(20, DIM, 9);
    let few = SearchOptions {
        effort: Effort::Fixed { leaves: 4, candidates: 2000 },
        ..SearchOptions::new(30)
    };
    let every = Effort::Fixed { leaves: usize::MAX, candidates: 2000 };
    let filter = Some("round=1|2, price<30".parse().unwrap());
    let filtered = SearchOptions { effort: every, filter, ..SearchOptions::new(2000) };
    [few, filtered]
        .iter()
        .flat_map(|options| index.search_batch(&queries, options).unwrap())
        .collect()
}

/// Ids are those of before, in an order of scores that rounding to 16 bits leaves.
fn same(before: &[Vec<Hit>], after: &[Vec<Hit>]) {
    for (before, after) in before.iter().zip(after) {
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(after) {
            let error = (before.score - after.score).abs();
            assert!(error < 1e-3 * (1.0 + before.score.abs()), "{before:?} {after:?}");
        }
        let ids: HashSet<u64> = before.iter().map(|hit| hit.id).collect();
        let kept = after.iter().filter(|hit| ids.contains(&hit.id)).count();
        // The last of as many as were asked for may change places with the next.
        assert!(kept + 1 >= before.len(), "{kept} of {}", before.len());
    }
}

#[test]
fn changes_laid_to_the_part_are_found_as_before() {
    for metric in [Metric::InnerProduct, Metric::Cosine, Metric::L2] {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path(), metric);
        let built = centroids(&index);
        for round in 1..=3 {
            let first = 700 * round;
            index.upsert(&items(first..first + 1200, round, 1.0)).unwrap();
            index.delete(&(first + 300..first + 600).collect::<Vec<u64>>()).unwrap();
            index
                .upsert(&items(ROWS as u64 + first..ROWS as u64 + first + 90, round, 1.0))
                .unwrap();
            let (before, count) = (found(&index), index.stats().vectors);
            assert!(before.iter().any(|hits| hits.len() > 100), "the filter finds some");
            assert_eq!(index.rebuild(Rebuild::Due, &()).unwrap(), 1);
            same(&before, &found(&index));
            let stats = index.stats();
            assert_eq!((stats.vectors, stats.parts[0].built_rows), (count, count));
            assert_eq!((stats.parts[0].changed_rows, stats.parts[0].dead_rows), (0, 0));
            assert_eq!(centroids(&index), built);
            index.verify().unwrap();
            assert_eq!(index.rebuild(Rebuild::Due, &()).unwrap(), 0);
        }
        let merged = found(&index);
        drop(index);
        let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
        assert_eq!(found(&index), merged);
        for row in 0..index.stats().vectors {
            let Snapshot { part, .. } = &*index.inner.parts[0].snapshot();
            assert_eq!(part.row_of(part.ids()[row]), Some(row));
        }
        // Tokens that no vector has any more are forgotten.
        index.upsert(&items(0..3000, 4, 1.0)).unwrap();
        index.delete(&(3000..9000).collect::<Vec<u64>>()).unwrap();
        index.rebuild(Rebuild::Due, &()).unwrap();
        let snapshot = index.inner.parts[0].snapshot();
        assert_eq!(snapshot.part.meta.namespaces[0].tokens, ["4"]);
    }
}

#[test]
fn a_merge_writes_the_same_bytes_with_any_number_of_threads() {
    let merged = |threads: usize| {
        let folder = tempfile::tempdir().unwrap();
        let index = index(folder.path(), Metric::InnerProduct);
        index.upsert(&items(100..1500, 1, 1.0)).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| index.rebuild(Rebuild::Due, &())).unwrap();
        std::fs::read(&index.part_paths()[0]).unwrap()
    };
    assert!(merged(1) == merged(3));
}

#[test]
fn a_partition_that_no_longer_suits_is_made_anew() {
    type Change = fn(&Index);
    let changes: [(&str, Change); 3] = [
        ("drift", |index| index.upsert(&items(0..1200, 1, 4.0)).unwrap()),
        ("one leaf holds most", |index| {
            let vector = vectors(1, DIM, 1);
            let all: Vec<Item> = (0..3500).map(|id| Item::new(id, vector.clone())).collect();
            index.upsert(&all).unwrap();
        }),
        ("a third is left", |index| index.delete(&(0..2700).collect::<Vec<u64>>()).unwrap()),
    ];
    for (what, change) in changes {
        let folder = tempfile::tempdir().unwrap();
        let base = vectors(ROWS, DIM, 1);
        let all = Vectors::new(DIM, &base).unwrap();
        let options = BuildOptions { leaves: None, ..options(Metric::InnerProduct) };
        Index::create(folder.path(), &BuildInput::from(&all), &options, &()).unwrap();
        let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
        let built = centroids(&index);
        change(&index);
        assert_eq!(index.rebuild(Rebuild::Due, &()).unwrap(), 1, "{what}");
        assert_ne!(centroids(&index), built, "{what}");
    }
}

#[test]
fn a_damaged_part_is_not_built_in() {
    for which in [Rebuild::Due, Rebuild::All] {
        let folder = tempfile::tempdir().unwrap();
        drop(index(folder.path(), Metric::InnerProduct));
        let path = Index::open(folder.path()).unwrap().part_paths().remove(0);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
        index.upsert(&items(0..1200, 1, 1.0)).unwrap();
        let error = index.rebuild(which, &()).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
        assert_eq!(index.stats().parts[0].changed_rows, 1200);
    }
}

#[test]
fn a_rebuild_whose_threads_never_run_is_overtaken() {
    let folder = tempfile::tempdir().unwrap();
    let index = index(folder.path(), Metric::InnerProduct);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let (release, held) = mpsc::channel::<()>();
    pool.spawn(move || held.recv().unwrap());
    std::thread::scope(|scope| {
        index.upsert(&items(0..500, 1, 1.0)).unwrap();
        let rebuild = scope.spawn(|| index.rebuild_on(Rebuild::Due, &(), Some(&pool)));
        assert_eq!(rebuild.join().unwrap().unwrap(), 0, "not due");
        index.upsert(&items(500..1200, 1, 1.0)).unwrap();
        index.upsert(&items(0..300, 2, 1.0)).unwrap();
        let rebuild = scope.spawn(|| index.rebuild_on(Rebuild::Due, &(), Some(&pool)));
        assert_eq!(rebuild.join().unwrap().unwrap(), 1);
    });
    assert_eq!((index.stats().vectors, index.stats().parts[0].changed_rows), (ROWS, 0));
    let made = index.part_paths();
    // The first one gets its turn now, and finds that it comes too late.
    index.upsert(&items(700..900, 3, 1.0)).unwrap();
    release.send(()).unwrap();
    let (done, finished) = mpsc::channel();
    pool.spawn(move || done.send(()).unwrap());
    finished.recv().unwrap();
    assert_eq!(index.part_paths(), made);
    assert_eq!((index.stats().vectors, index.stats().parts[0].changed_rows), (ROWS, 200));
    // The part, its log, the manifest and the lock.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    let found = found(&index);
    drop(index);
    let index = Index::open_for_changes(folder.path(), Maintenance::Manual).unwrap();
    assert_eq!(self::found(&index), found);
}
