use std::collections::BTreeSet;

use super::world::{exact, part, score, shares, vectors};
use crate::{
    BuildInput, BuildOptions, Crowding, Effort, Filter, Hit, Index, IndexKind, Item, Maintenance,
    Metric, Part, Rebuild, SearchOptions, Tuning, Vectors, build,
};

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

fn options(metric: Metric) -> BuildOptions {
    BuildOptions { metric, kind: Some(IndexKind::Graph), ..BuildOptions::default() }
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

fn asked(effort: Effort) -> SearchOptions {
    SearchOptions { effort, ..SearchOptions::new(10) }
}

/// Share of the exact results among those found.
fn recall(metric: Metric, base: &[f32], queries: &[f32], found: &[Vec<Hit>], dim: usize) -> f64 {
    let mut hits = 0;
    for (query, found) in queries.chunks_exact(dim).zip(found) {
        let truth = exact(metric, query, base, 10);
        hits += truth.iter().filter(|(id, _)| found.iter().any(|hit| hit.id == *id)).count();
    }
    hits as f64 / (10 * found.len()) as f64
}

#[test]
fn a_wide_beam_finds_nearly_all_with_the_scores_of_the_definition() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (12_000, 16);
    let (base, queries) = (vectors(rows, dim, 1), vectors(100, dim, 2));
    for metric in METRICS {
        let part = part(folder.path(), dim, &base, &options(metric));
        let options = asked(Effort::Fixed { leaves: 48, candidates: 240 });
        let found = part.search_batch(&queries, &options).unwrap();
        let share = recall(metric, &base, &queries, &found, dim);
        assert!(share > 0.99, "{metric:?}: {share}");
        for (query, found) in queries.chunks_exact(dim).zip(&found) {
            assert_eq!(found.len(), 10);
            for hit in found {
                let vector = &base[hit.id as usize * dim..][..dim];
                let error = (f64::from(hit.score) - score(metric, query, vector)).abs();
                assert!(error < 1e-3 * (1.0 + hit.score.abs() as f64), "{metric:?} {hit:?}");
            }
        }
        let exactly = part.search_batch(&queries, &asked(Effort::Exact)).unwrap();
        assert!(recall(metric, &base, &queries, &exactly, dim) > 0.99);
    }
}

#[test]
fn small_and_equal_vectors_are_all_found() {
    let folder = tempfile::tempdir().unwrap();
    let equal: Vec<f32> = (0..6000).flat_map(|row| [(row % 3) as f32, 1.0]).collect();
    let zeros = vec![0.0; 3000];
    let some = [vectors(1, 2, 1), vectors(2, 2, 1), vectors(40, 2, 1)].into_iter();
    for base in some.chain([equal, zeros]) {
        for metric in METRICS {
            let part = part(folder.path(), 2, &base, &options(metric));
            let count = base.len() / 2;
            for effort in [Effort::default(), Effort::Fixed { leaves: 1, candidates: 30 }] {
                for k in [1, 25] {
                    let options = SearchOptions { effort, ..SearchOptions::new(k) };
                    let found = part.search(&[1.0, 0.5], &options).unwrap();
                    let ids: BTreeSet<u64> = found.iter().map(|hit| hit.id).collect();
                    assert_eq!((found.len(), ids.len()), (k.min(count), k.min(count)));
                }
            }
        }
    }
}

#[test]
fn recall_reaches_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (20_000, 24);
    let (base, queries) = (vectors(rows, dim, 1), vectors(200, dim, 2));
    let (all, sample) = (Vectors::new(dim, &base).unwrap(), Vectors::new(dim, &queries).unwrap());
    for metric in METRICS {
        let input = BuildInput { queries: Some(&sample), ..(&all).into() };
        let path = folder.path().join("part");
        build(&path, &input, &options(metric), &()).unwrap();
        let part = Part::open(&path).unwrap();
        assert!(!part.curve().is_empty());
        assert!(part.curve().windows(2).all(|pair| pair[0].recall < pair[1].recall));
        for target in [0.8, 0.95, 0.99] {
            let found = part.search_batch(&queries, &asked(Effort::Recall(target))).unwrap();
            let share = recall(metric, &base, &queries, &found, dim);
            assert!(share > target - 0.02, "{metric:?} {target}: {share}");
        }
    }
}

#[test]
fn builds_and_searches_are_the_same_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors(6000, 16, 1);
    let queries = vectors(50, 16, 3);
    let run = |threads: usize| {
        let part =
            in_pool(threads, || part(folder.path(), 16, &base, &options(Metric::InnerProduct)));
        let options = asked(Effort::Fixed { leaves: 8, candidates: 20 });
        let found = in_pool(threads, || part.search_batch(&queries, &options)).unwrap();
        (std::fs::read(part.path()).unwrap(), found)
    };
    let (one, four) = (run(1), run(4));
    assert!(one.0 == four.0);
    assert_eq!(one.1, four.1);
}

/// An index of vectors with [`shares`].
fn index(folder: &std::path::Path, base: &[f32], dim: usize, metric: Metric) -> Index {
    let attributes = shares(base.len() / dim);
    let vectors = Vectors::new(dim, base).unwrap();
    let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    Index::create(folder, &input, &options(metric), &()).unwrap();
    Index::open_for_changes(folder, Maintenance::Manual).unwrap()
}

#[test]
fn filters_let_only_theirs_through_and_find_them() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (20_000, 16);
    let base = vectors(rows, dim, 1);
    let index = index(folder.path(), &base, dim, Metric::InnerProduct);
    for (token, every) in [("one", 0..1), ("ten", 1..11), ("rest", 11..100)] {
        let filter: Filter = format!("share={token}").parse().unwrap();
        let options = SearchOptions { filter: Some(filter), ..SearchOptions::new(10) };
        let exactly = SearchOptions { effort: Effort::Exact, ..options.clone() };
        let mut hits = 0;
        for query in vectors(100, dim, 2).chunks_exact(dim) {
            let found = index.search(query, &options).unwrap();
            assert_eq!(found.len(), 10);
            assert!(found.iter().all(|hit| every.contains(&(hit.id as usize % 100))));
            let truth = index.search(query, &exactly).unwrap();
            hits += truth.iter().filter(|hit| found.iter().any(|f| f.id == hit.id)).count();
        }
        assert!(hits > 900, "{token}: {hits} of 1000");
    }
    let crowded = Crowding { namespace: "share".to_owned(), results_max: 4 };
    let options = SearchOptions { crowding: Some(crowded), ..SearchOptions::new(12) };
    let found = index.search(&base[..dim], &options).unwrap();
    assert_eq!(found.len(), 12);
}

#[test]
fn changes_are_found_among_what_a_beam_finds_and_built_in() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (6000, 16);
    let base = vectors(rows, dim, 1);
    let index = index(folder.path(), &base, dim, Metric::Cosine);
    let effort = Effort::Fixed { leaves: 8, candidates: 40 };
    let queries = vectors(20, dim, 5);
    let nearest = |index: &Index, query: &[f32]| index.search(query, &asked(effort)).unwrap();
    for (at, query) in queries.chunks_exact(dim).enumerate() {
        // What was best of the build goes; what takes its place points where the query does.
        let found = nearest(&index, query);
        let best = found.iter().find(|hit| hit.id < 100_000).unwrap().id;
        index.delete(&[best]).unwrap();
        assert!(nearest(&index, query).iter().all(|hit| hit.id != best));
        let id = 100_000 + at as u64;
        index.upsert(&[Item::new(id, query.to_vec())]).unwrap();
        assert_eq!(nearest(&index, query)[0].id, id);
    }
    let before = index.stats();
    assert_eq!((before.parts[0].kind, before.parts[0].changed_rows), ("graph", 20));
    assert_eq!(index.rebuild(Rebuild::All, &()).unwrap(), 1);
    assert_eq!((index.stats().parts[0].changed_rows, index.stats().vectors), (0, before.vectors));
    for (at, query) in queries.chunks_exact(dim).enumerate() {
        assert_eq!(nearest(&index, query)[0].id, 100_000 + at as u64);
    }
    index.verify().unwrap();
}

#[test]
fn many_changes_are_found_as_well_as_what_was_built() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (20_000, 16);
    let index = index(folder.path(), &vectors(rows, dim, 1), dim, Metric::InnerProduct);
    let changed = vectors(6000, dim, 4);
    let items = changed.chunks_exact(dim).enumerate();
    let items: Vec<Item> =
        items.map(|(at, vector)| Item::new(3 * at as u64, vector.to_vec())).collect();
    index.upsert(&items).unwrap();
    let queries = vectors(200, dim, 2);
    let found = index.search_batch(&queries, &asked(Effort::Recall(0.95))).unwrap();
    let truth = index.search_batch(&queries, &asked(Effort::Exact)).unwrap();
    let (mut hits, mut of_changes, mut wanted) = (0, 0, 0);
    for (found, truth) in found.iter().zip(&truth) {
        let has = |hit: &&crate::Hit| found.iter().any(|other| other.id == hit.id);
        let is_changed = |hit: &&crate::Hit| hit.id < 18_000 && hit.id.is_multiple_of(3);
        hits += truth.iter().filter(has).count();
        wanted += truth.iter().filter(is_changed).count();
        of_changes += truth.iter().filter(is_changed).filter(has).count();
    }
    assert!(hits >= 1880, "{hits} of 2000");
    assert!(wanted > 300 && of_changes * 100 >= wanted * 94, "{of_changes} of {wanted} changes");
    // Drift is seen as over a tree.
    assert!(index.stats().parts[0].drift < 1.3, "{}", index.stats().parts[0].drift);
    let far: Vec<Item> = items
        .iter()
        .map(|item| Item { vector: item.vector.iter().map(|v| 4.0 * v).collect(), ..item.clone() })
        .collect();
    index.upsert(&far).unwrap();
    assert!(index.stats().parts[0].drift > 1.5);
}

#[test]
fn a_graph_that_was_not_tuned_compares_with_all() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (6000, 16);
    let (base, queries) = (vectors(rows, dim, 1), vectors(20, dim, 2));
    let options = BuildOptions { tuning: Tuning::Off, ..options(Metric::L2) };
    let part = part(folder.path(), dim, &base, &options);
    let found = part.search_batch(&queries, &SearchOptions::new(10)).unwrap();
    assert!(recall(Metric::L2, &base, &queries, &found, dim) > 0.99);
    assert!(part.curve().is_empty());
}
