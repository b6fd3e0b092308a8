use super::world::{exact, part, vectors};
use crate::{BuildOptions, Effort, IndexKind, Metric, Part, SearchOptions, Spill, Vectors, build};

const METRICS: [Metric; 3] = [Metric::InnerProduct, Metric::Cosine, Metric::L2];

fn options(metric: Metric, kind: IndexKind) -> BuildOptions {
    BuildOptions { metric, kind: Some(kind), ..BuildOptions::default() }
}

fn options_for(target: f64) -> SearchOptions {
    SearchOptions { effort: Effort::Recall(target), ..SearchOptions::new(10) }
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn a_flat_part_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    for metric in METRICS {
        for (rows, dim, k) in [(1, 1, 3), (700, 24, 10), (333, 7, 333)] {
            let base = vectors(rows, dim, 1);
            let part = part(folder.path(), dim, &base, &options(metric, IndexKind::Flat));
            let queries = vectors(20, dim, 2);
            let batch = part.search_batch(&queries, &SearchOptions::new(k)).unwrap();
            for (query, batch) in queries.chunks_exact(dim).zip(batch) {
                let truth = exact(metric, query, &base, k);
                let found = part.search(query, &SearchOptions::new(k)).unwrap();
                assert_eq!(found, batch);
                assert_eq!(found.len(), truth.len());
                for (hit, (_, score)) in found.iter().zip(&truth) {
                    assert!(
                        (f64::from(hit.score) - score).abs() < 1e-3,
                        "{metric:?} {hit:?} {score}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_tree_scanned_whole_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let effort = Effort::Fixed { leaves: usize::MAX, candidates: 3000 };
    for metric in METRICS {
        for (rows, dim, k) in [(1, 3, 2), (5, 2, 5), (3000, 24, 10), (1000, 33, 200)] {
            let base = vectors(rows, dim, 1);
            let part = part(folder.path(), dim, &base, &options(metric, IndexKind::Ivf));
            for query in vectors(20, dim, 2).chunks_exact(dim) {
                let truth = exact(metric, query, &base, k);
                let found =
                    part.search(query, &SearchOptions { effort, ..SearchOptions::new(k) }).unwrap();
                assert_eq!(found.len(), truth.len());
                for (hit, (_, score)) in found.iter().zip(&truth) {
                    let error = (f64::from(hit.score) - score).abs();
                    assert!(error < 1e-3 * (1.0 + score.abs()), "{metric:?} {hit:?} {score}");
                }
            }
        }
    }
}

#[test]
fn vectors_of_any_size_are_indexed() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (3000, 20);
    for size in [1e13f32, 1e-18, 0.0] {
        let base: Vec<f32> = vectors(rows, dim, 1).iter().map(|v| v * size).collect();
        for metric in METRICS {
            let part = part(folder.path(), dim, &base, &options(metric, IndexKind::Ivf));
            let effort = Effort::Fixed { leaves: 12, candidates: 400 };
            let mut found = 0;
            for (row, query) in base.chunks_exact(dim).enumerate().step_by(100) {
                let asked = SearchOptions { effort, ..SearchOptions::new(5) };
                let hits = part.search(query, &asked).unwrap();
                assert_eq!(hits.len(), 5);
                assert!(hits.iter().all(|hit| hit.score.is_finite()));
                found += usize::from(hits.iter().any(|hit| hit.id == row as u64));
            }
            // Inner products need not find a vector by itself, nor L2 what differs by less than floats.
            let expected = if metric == Metric::Cosine && size > 0.0 { 28 } else { 0 };
            assert!(found >= expected, "{metric:?} {size}: {found} of 30");
        }
    }
}

#[test]
fn recall_reaches_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim) = (8_000, 24);
    let base = vectors(rows, dim, 1);
    let queries = vectors(200, dim, 2);
    let (all, asked) = (Vectors::new(dim, &base).unwrap(), Vectors::new(dim, &queries).unwrap());
    for metric in METRICS {
        let truth = queries.chunks_exact(dim).map(|query| exact(metric, query, &base, 10));
        let truth: Vec<Vec<(u64, f64)>> = truth.collect();
        for spill in [Spill::Off, Spill::On] {
            let options = BuildOptions { spill, ..options(metric, IndexKind::Ivf) };
            let input = crate::BuildInput { queries: Some(&asked), ..(&all).into() };
            let path = folder.path().join("part");
            build(&path, &input, &options, &()).unwrap();
            let part = Part::open(&path).unwrap();
            assert!(part.curve().windows(2).all(|pair| pair[0].recall < pair[1].recall));
            for target in [0.8, 0.95, 0.99] {
                let found = part.search_batch(&queries, &options_for(target)).unwrap();
                let pairs = found.iter().zip(&truth);
                let hits = pairs.map(|(found, truth)| {
                    found.iter().filter(|hit| truth.iter().any(|t| t.0 == hit.id)).count()
                });
                let recall = hits.sum::<usize>() as f64 / 2000.0;
                assert!(recall > target - 0.02, "{metric:?} {spill:?} {target}: {recall}");
            }
        }
    }
}

#[test]
fn builds_and_searches_are_the_same_for_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors(3000, 16, 1);
    let mut files = Vec::new();
    let mut results = Vec::new();
    for threads in [1, 4] {
        let options = options(Metric::InnerProduct, IndexKind::Ivf);
        let part = in_pool(threads, || part(folder.path(), 16, &base, &options));
        files.push(std::fs::read(part.path()).unwrap());
        let queries = vectors(50, 16, 3);
        results.push(
            in_pool(threads, || part.search_batch(&queries, &SearchOptions::new(7))).unwrap(),
        );
    }
    assert!(files[0] == files[1]);
    assert_eq!(results[0], results[1]);
}
