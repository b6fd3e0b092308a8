use rectool_base::Stream;

use super::{Assigner, assign_one, train};
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
        let mut missed = 0;
        for (row, point) in points.chunks_exact(8).enumerate() {
            let own = square(point, &centroids[assigned.nearest[row] as usize * 8..][..8]);
            let best = centroids.chunks_exact(8).map(|c| square(point, c)).fold(9e9, f32::min);
            missed += usize::from(own > best * 1.001);
            assert_ne!(assigned.nearest[row], assigned.spill[row]);
            if row % 100 == 0 {
                let (found, _) = assign_one(&centroids, point, None);
                let found = square(point, &centroids[found as usize * 8..][..8]);
                assert!((found - best).abs() <= 1e-3 * best, "{found} {best}");
            }
        }
        assert!(missed <= 60, "{missed} of 6000 with {leaves} leaves");
    }
}

#[test]
fn the_second_leaf_minimises_its_loss() {
    let points = clustered(500, 6);
    let centroids = train(&points, 6, 30, 2);
    for point in points.chunks_exact(6).take(100) {
        let (first, second) = assign_one(&centroids, point, Some(1.5));
        let minus = |at: usize| -> Vec<f32> {
            point.iter().zip(&centroids[at * 6..]).map(|(a, b)| a - b).collect()
        };
        let r = minus(first as usize);
        let norm = r.iter().map(|v| v * v).sum::<f32>();
        let loss = |at: usize| {
            let e = minus(at);
            let along: f32 = e.iter().zip(&r).map(|(a, b)| a * b).sum();
            e.iter().map(|v| v * v).sum::<f32>() + 1.5 * along * along / norm
        };
        let best = (0..30).filter(|at| *at != first as usize).map(loss).fold(9e9, f32::min);
        assert!((loss(second.unwrap() as usize) - best).abs() <= 1e-3 * best);
    }
}
