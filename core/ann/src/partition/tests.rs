use rectool_base::Stream;

use super::{Assigner, NO_LEAF, Spilling, assign_one, train};
use crate::metric::Metric;
use crate::source::Source;
use crate::vectors::Vectors;

fn clustered(rows: usize, dim: usize) -> Vec<f32> {
    let mut stream = Stream::new(3, &[rows as u64]);
    let centers: Vec<f32> = (0..40 * dim).map(|_| stream.next_normal()).collect();
    let mut out = Vec::new();
    for _ in 0..rows {
        let center = stream.below(40) as usize * dim;
        out.extend(centers[center..center + dim].iter().map(|v| v + 0.3 * stream.next_normal()));
    }
    out
}

fn square(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum()
}

fn nearness(centroids: &[f32], point: &[f32]) -> Vec<f32> {
    let own = square(point, &vec![0.0; point.len()]);
    centroids.chunks_exact(point.len()).map(|c| 0.5 * (own - square(point, c))).collect()
}

fn in_pool<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work)
}

#[test]
fn training_is_the_same_for_any_number_of_threads() {
    let points = clustered(3000, 8);
    for leaves in [1, 7, 300] {
        let one = in_pool(1, || train(&points, 8, leaves, 5));
        let four = in_pool(4, || train(&points, 8, leaves, 5));
        assert_eq!(one, four);
        assert_eq!(one.len(), leaves * 8);
        assert!(one.iter().all(|value| value.is_finite()));
    }
}

#[test]
fn points_that_coincide_still_give_leaves() {
    let centroids = train(&[1.0; 600 * 4], 4, 200, 1);
    assert_eq!(centroids.len(), 200 * 4);
    assert!(centroids.iter().all(|value| (value - 1.0).abs() < 1e-6));
}

#[test]
fn nearly_every_vector_lies_in_its_nearest_leaf() {
    let points = clustered(6000, 8);
    let vectors = Vectors::new(8, &points).unwrap();
    let source = Source::new(&(&vectors).into(), Metric::InnerProduct);
    for leaves in [20, 600] {
        let centroids = train(&points, 8, leaves, 5);
        let assigner = Assigner::new(&centroids, 8, 5);
        let one = in_pool(1, || assigner.assign(&source, Some(1.0), &|_| ()));
        let assigned = in_pool(3, || assigner.assign(&source, Some(1.0), &|_| ()));
        assert_eq!(one, assigned);
        let (mut missed, mut lying) = (0, 0);
        for (row, point) in points.chunks_exact(8).enumerate() {
            let own = square(point, &centroids[assigned.nearest[row] as usize * 8..][..8]);
            let best = centroids.chunks_exact(8).map(|c| square(point, c)).fold(9e9, f32::min);
            missed += usize::from(own > best * 1.001);
            let mut leaves: Vec<u32> = assigned.further.iter().map(|of| of[row]).collect();
            leaves.retain(|leaf| *leaf != NO_LEAF);
            leaves.push(assigned.nearest[row]);
            let count = leaves.len();
            leaves.sort_unstable();
            leaves.dedup();
            assert_eq!(leaves.len(), count, "{leaves:?}");
            lying += count;
            if row % 100 == 0 {
                let near = nearness(&centroids, point);
                let most = &mut near.clone();
                let (found, distance) = assign_one(&centroids, (&near, most), point, None);
                let found = square(point, &centroids[found[0] as usize * 8..][..8]);
                assert!((found - distance).abs() <= 1e-3 * best, "{found} {distance}");
                assert!((found - best).abs() <= 1e-3 * best, "{found} {best}");
            }
        }
        assert!(missed <= 60, "{missed} of 6000 with {leaves} leaves");
        let further = lying as f64 / 6000.0 - 1.0;
        assert!((further - 0.87).abs() < 0.02, "{further}");
    }
}

#[test]
fn each_further_leaf_minimises_its_loss() {
    let points = clustered(500, 6);
    let centroids = train(&points, 6, 30, 2);
    let spilling = Spilling { weight: 1.5, squares: vec![0.0, 0.0, 0.0, 1e9] };
    for point in points.chunks_exact(6).take(100) {
        let near = nearness(&centroids, point);
        let most = &mut near.clone();
        let (leaves, _) = assign_one(&centroids, (&near, most), point, Some(&spilling));
        assert_eq!(leaves.len(), 4);
        let minus = |at: u32| -> Vec<f32> {
            point.iter().zip(&centroids[at as usize * 6..]).map(|(a, b)| a - b).collect()
        };
        for count in 1..leaves.len() {
            let (known, found) = (&leaves[..count], leaves[count]);
            let loss = |at: u32| {
                let e = minus(at);
                let along = |r: &[f32]| -> f32 { e.iter().zip(r).map(|(a, b)| a * b).sum() };
                let further = known.iter().map(|leaf| {
                    let r = minus(*leaf);
                    1.5 * along(&r).powi(2) / r.iter().map(|v| v * v).sum::<f32>()
                });
                along(&e) + further.sum::<f32>()
            };
            let others = (0..30).filter(|at| !known.contains(at));
            let best = others.map(loss).fold(9e9, f32::min);
            assert!((loss(found) - best).abs() <= 1e-3 * best);
        }
    }
}
