//! Training of centroids on a sample, in two levels and then together.

use rayon::prelude::*;
use rectool_base::Stream;

use super::assign::neighbors;
use super::group::Groups;
use super::lloyd::{Centers, largest, move_to_means, nearest_of_all};
use super::seed::pick;

/// Up to so many centroids are trained at once; more of them in two levels.
const FLAT_MAX: usize = 128;
/// Points per centroid that the first level is trained on.
const FIRST_POINTS: usize = 256;
/// Rounds of k-means within a level.
const ROUNDS: usize = 8;
/// Rounds of k-means over all centroids, each point looking at the neighbourhood of its own.
const TOGETHER: usize = 5;
/// Centroids of a neighbourhood.
const NEIGHBORS: usize = 48;

/// Trains `leaves` centroids [L, D] on `points` [N, D], N ≥ L ≥ 1.
///
/// Many centroids are trained in two levels: √L groups, then the leaves of each group, as many as its
/// share of points demands. Rounds over all centroids then mend what the levels cut badly; a point
/// compares itself with the neighbours of its present centroid only, which is where it can go.
///
/// # Determinism
/// A function of points and seed, for any number of threads.
pub(crate) fn train(points: &[f32], dim: usize, leaves: usize, seed: u64) -> Vec<f32> {
    if leaves <= FLAT_MAX {
        return one_level(points, dim, leaves, &mut Stream::new(seed, &[0]));
    }
    let groups = (leaves as f64).sqrt().round() as usize;
    let rows = points.len() / dim;
    let step = (rows / (groups * FIRST_POINTS)).max(1);
    let some: Vec<f32> = points.chunks_exact(dim).step_by(step).flatten().copied().collect();
    let first = one_level(&some, dim, groups, &mut Stream::new(seed, &[0]));
    let members = nearest_of_all(points, dim, &Centers::new(dim, first.chunks_exact(dim)));
    let members = Groups::new(groups, &members);
    let shares = share(leaves, &members);
    let second: Vec<Vec<f32>> = (0..groups)
        .into_par_iter()
        .map(|group| {
            let own = gather(points, dim, members.members(group));
            let mut stream = Stream::new(seed, &[1, group as u64]);
            if shares[group] == 0 {
                return Vec::new();
            }
            one_level(&own, dim, shares[group], &mut stream)
        })
        .collect();
    let parents: Vec<u32> =
        (0..groups).flat_map(|group| std::iter::repeat_n(group as u32, shares[group])).collect();
    let mut centroids = second.concat();
    let mut at =
        first_assignment(points, dim, &centroids, &members, &Groups::new(groups, &parents));
    for _ in 0..TOGETHER {
        move_to_means(points, dim, &Groups::new(leaves, &at), &mut centroids);
        at = nearby(points, dim, &centroids, &at);
    }
    move_to_means(points, dim, &Groups::new(leaves, &at), &mut centroids);
    centroids
}

/// k-means over all centroids at once.
pub(super) fn one_level(points: &[f32], dim: usize, count: usize, stream: &mut Stream) -> Vec<f32> {
    let picked: Vec<u32> =
        pick(points, dim, count, stream).into_iter().map(|row| row as u32).collect();
    let mut centroids = gather(points, dim, &picked);
    for _ in 0..ROUNDS {
        let at = nearest_of_all(points, dim, &Centers::new(dim, centroids.chunks_exact(dim)));
        move_to_means(points, dim, &Groups::new(count, &at), &mut centroids);
    }
    centroids
}

/// Rows of `points`, copied.
fn gather(points: &[f32], dim: usize, rows: &[u32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len() * dim);
    for row in rows {
        out.extend_from_slice(&points[*row as usize * dim..][..dim]);
    }
    out
}

/// Splits `leaves` among groups by their number of members: largest remainders, no more leaves than
/// members.
fn share(leaves: usize, groups: &Groups) -> Vec<usize> {
    let sizes: Vec<usize> = (0..groups.count()).map(|group| groups.members(group).len()).collect();
    let total: usize = sizes.iter().sum();
    let mut shares: Vec<usize> = sizes.iter().map(|size| size * leaves / total.max(1)).collect();
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|group| std::cmp::Reverse((sizes[*group] * leaves % total.max(1), *group)));
    let mut left = leaves - shares.iter().sum::<usize>();
    while left > 0 {
        for group in &order {
            if left > 0 && shares[*group] < sizes[*group] {
                shares[*group] += 1;
                left -= 1;
            }
        }
    }
    shares
}

/// Each point to the nearest centroid of its own group.
fn first_assignment(
    points: &[f32],
    dim: usize,
    centroids: &[f32],
    members: &Groups,
    children: &Groups,
) -> Vec<u32> {
    let found: Vec<(usize, Vec<u32>)> = (0..members.count())
        .into_par_iter()
        .map(|group| {
            let own = gather(points, dim, members.members(group));
            let leaves = children.members(group);
            let leaf = |at: &u32| &centroids[*at as usize * dim..][..dim];
            let near = nearest_of_all(&own, dim, &Centers::new(dim, leaves.iter().map(leaf)));
            (group, near.into_iter().map(|at| leaves[at as usize]).collect())
        })
        .collect();
    let mut at = vec![0; points.len() / dim];
    for (group, near) in found {
        for (member, leaf) in members.members(group).iter().zip(near) {
            at[*member as usize] = leaf;
        }
    }
    at
}

/// Each point to the nearest centroid in the neighbourhood of its present one.
fn nearby(points: &[f32], dim: usize, centroids: &[f32], at: &[u32]) -> Vec<u32> {
    let leaves = centroids.len() / dim;
    let lists = neighbors(centroids, dim, NEIGHBORS);
    let groups = Groups::new(leaves, at);
    let found: Vec<Vec<u32>> = (0..leaves)
        .into_par_iter()
        .map_init(Vec::new, |scratch, leaf| {
            let own = gather(points, dim, groups.members(leaf));
            let near = |at: &u32| &centroids[*at as usize * dim..][..dim];
            let centers = Centers::new(dim, lists[leaf].iter().map(near));
            let width = centers.biases.len();
            centers.nearness(&own, scratch);
            scratch.chunks_exact(width).map(|row| lists[leaf][largest(row)]).collect()
        })
        .collect();
    let mut next = at.to_vec();
    for (leaf, near) in found.into_iter().enumerate() {
        for (member, near) in groups.members(leaf).iter().zip(near) {
            next[*member as usize] = near;
        }
    }
    next
}
