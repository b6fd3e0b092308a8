//! Assignment of vectors to leaves: the nearest one, and a second one that sees them from elsewhere.

use rayon::prelude::*;

use super::group::Groups;
use super::lloyd::{Centers, largest, nearest_of_all};
use super::train::one_level;
use crate::kernel::{dot, dots};
use crate::source::Source;
use rectool_base::Stream;

/// Up to so many leaves every vector is compared with all of them.
const FLAT_MAX: usize = 256;
/// Groups of leaves, of those nearest to a vector's own group, whose leaves it is compared with.
const GROUPS_SEEN: usize = 6;
/// Leaves in a neighbourhood, among which the final ones are chosen.
const NEIGHBORS: usize = 64;
/// Vectors assigned at a time.
const CHUNK: usize = 1 << 15;

/// Where vectors lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// The nearest leaf of each vector.
    pub(crate) nearest: Vec<u32>,
    /// A second leaf of each vector; empty if there is none.
    pub(crate) spill: Vec<u32>,
}

/// Finds the leaves of vectors.
///
/// Every vector is first compared with the leaves around its group (an inverted file over centroids),
/// then with the neighbourhood of the leaf found.
///
/// The second leaf is chosen as in SOAR (Sun, Guo, Chern, Kumar, 2024): a leaf whose residual points
/// another way than the first residual r, so that a query for which the first leaf misjudges the
/// vector does not misjudge it here too. It minimises |x − c|² + λ·((x − c)·r / |r|)².
pub(crate) struct Assigner {
    dim: usize,
    centroids: Vec<f32>,
    groups: Option<Coarse>,
    neighbors: Vec<Vec<u32>>,
}

/// Groups of leaves, and the leaves that a vector of each group is compared with.
struct Coarse {
    centers: Centers,
    candidates: Vec<Vec<u32>>,
}

impl Assigner {
    /// For `centroids` [L, D].
    pub(crate) fn new(centroids: &[f32], dim: usize, seed: u64) -> Self {
        let leaves = centroids.len() / dim;
        Self {
            dim,
            centroids: centroids.to_vec(),
            groups: (leaves > FLAT_MAX).then(|| Coarse::new(centroids, dim, seed)),
            neighbors: neighbors(centroids, dim, NEIGHBORS.min(leaves)),
        }
    }

    fn leaves(&self) -> usize {
        self.neighbors.len()
    }

    fn centers(&self, leaves: &[u32]) -> Centers {
        let leaf = |at: &u32| &self.centroids[*at as usize * self.dim..][..self.dim];
        Centers::new(self.dim, leaves.iter().map(leaf))
    }

    /// Assigns every row of `source`; to two leaves if `lambda` is given and there are two. `done`
    /// hears how many more rows are assigned.
    pub(crate) fn assign(
        &self,
        source: &Source<'_>,
        lambda: Option<f32>,
        done: &(dyn Fn(usize) + Sync),
    ) -> Assigned {
        let rows = source.rows();
        let mut nearest = vec![0u32; rows];
        nearest.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, out)| {
            self.assign_chunk(source, chunk * CHUNK, out);
            done(out.len() / 2);
        });
        let lambda = lambda.filter(|_| self.leaves() > 1);
        let by_leaf = Groups::new(self.leaves(), &nearest);
        let found: Vec<Vec<[u32; 2]>> = (0..self.leaves())
            .into_par_iter()
            .map(|leaf| {
                let members = by_leaf.members(leaf);
                let points = source.gather(members.iter().map(|row| *row as usize));
                let found = self.settle(leaf, &points, lambda);
                done(members.len().div_ceil(2));
                found
            })
            .collect();
        let mut spill = vec![0u32; if lambda.is_some() { rows } else { 0 }];
        for (leaf, found) in found.into_iter().enumerate() {
            for (row, [first, second]) in by_leaf.members(leaf).iter().zip(found) {
                nearest[*row as usize] = first;
                if let Some(spill) = spill.get_mut(*row as usize) {
                    *spill = second;
                }
            }
        }
        Assigned { nearest, spill }
    }

    fn assign_chunk(&self, source: &Source<'_>, from: usize, out: &mut [u32]) {
        let points = source.gather(from..from + out.len());
        self.coarse(&points, out);
    }

    /// A near leaf for each point.
    fn coarse(&self, points: &[f32], out: &mut [u32]) {
        let Some(coarse) = &self.groups else {
            let all: Vec<u32> = (0..self.leaves() as u32).collect();
            return self.centers(&all).nearest_in_pieces(points, out);
        };
        let mut of = vec![0; out.len()];
        coarse.centers.nearest_in_pieces(points, &mut of);
        let groups = Groups::new(coarse.candidates.len(), &of);
        for group in 0..groups.count() {
            let members = groups.members(group);
            if members.is_empty() {
                continue;
            }
            let own: Vec<f32> = members
                .iter()
                .flat_map(|at| &points[*at as usize * self.dim..][..self.dim])
                .copied()
                .collect();
            let candidates = &coarse.candidates[group];
            let mut near = vec![0; members.len()];
            self.centers(candidates).nearest_in_pieces(&own, &mut near);
            for (member, near) in members.iter().zip(near) {
                out[*member as usize] = candidates[near as usize];
            }
        }
    }

    /// Nearest and second leaf of points of `leaf`, from its neighbourhood.
    fn settle(&self, leaf: usize, points: &[f32], lambda: Option<f32>) -> Vec<[u32; 2]> {
        let list = &self.neighbors[leaf];
        let centers = self.centers(list);
        let width = centers.biases.len();
        let mut nearness = Vec::new();
        centers.nearness(points, &mut nearness);
        let own: Vec<f32> = list
            .iter()
            .flat_map(|at| &self.centroids[*at as usize * self.dim..][..self.dim])
            .copied()
            .collect();
        let mut gram = vec![0.0; list.len() * width];
        centers.panels.view().products(&own, &mut gram);
        let mut second = Second { biases: &centers.biases, gram: &gram, costs: Vec::new() };
        let rows = points.chunks_exact(self.dim).zip(nearness.chunks_exact(width));
        rows.map(|(point, nearness)| {
            let first = largest(nearness);
            let other = lambda.map_or(first, |lambda| second.find(point, nearness, first, lambda));
            [list[first], list[other]]
        })
        .collect()
    }
}

/// Leaves of one vector among `centroids` [L, D]: the nearest, and a second one if `lambda` is given
/// and there are two.
pub(crate) fn assign_one(
    centroids: &[f32],
    vector: &[f32],
    lambda: Option<f32>,
) -> (u32, Option<u32>) {
    let dim = vector.len();
    let every: Vec<u32> = (0..(centroids.len() / dim) as u32).collect();
    let mut products = Vec::new();
    dots(centroids, vector, &every, &mut products);
    let squares = centroids.chunks_exact(dim).map(|c| dot(c, c));
    let near: Vec<f32> = products.iter().zip(squares).map(|(p, square)| p - 0.5 * square).collect();
    let first = (0..near.len()).max_by(|a, b| near[*a].total_cmp(&near[*b]).then(b.cmp(a)));
    let first = first.unwrap_or(0);
    let centroid = &centroids[first * dim..][..dim];
    let residual: Vec<f32> = vector.iter().zip(centroid).map(|(x, c)| x - c).collect();
    let scale = lambda.unwrap_or(0.0) / dot(&residual, &residual).max(f32::MIN_POSITIVE);
    let (square, own) = (dot(vector, vector), dot(vector, &residual));
    let cost = |at: &usize| {
        let along = own - dot(&centroids[at * dim..][..dim], &residual);
        square - 2.0 * near[*at] + scale * along * along
    };
    let second = lambda.and_then(|_| {
        let others = (0..near.len()).filter(|at| *at != first).map(|at| (at, cost(&at)));
        others.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(at, _)| at as u32)
    });
    (first as u32, second)
}

/// Finds second leaves among the centroids of a neighbourhood.
struct Second<'a> {
    biases: &'a [f32],
    gram: &'a [f32],
    costs: Vec<f32>,
}

impl Second<'_> {
    fn find(&mut self, point: &[f32], nearness: &[f32], first: usize, lambda: f32) -> usize {
        let square = dot(point, point);
        let width = self.biases.len();
        let gram = &self.gram[first * width..][..width];
        let residual = (square - 2.0 * nearness[first]).max(f32::MIN_POSITIVE);
        let base = square - (nearness[first] - self.biases[first]);
        let scale = lambda / residual;
        self.costs.clear();
        for ((near, bias), between) in nearness.iter().zip(self.biases).zip(gram) {
            let product = near - bias;
            let along = base - product + between;
            // The filling of the last panel has nearness −∞, so infinite or no cost.
            self.costs.push(square - 2.0 * near + scale * along * along);
        }
        self.costs[first] = f32::INFINITY;
        let best = self.costs.iter().enumerate().filter(|(_, cost)| cost.is_finite());
        best.min_by(|a, b| a.1.total_cmp(b.1)).map_or(first, |(at, _)| at)
    }
}

impl Coarse {
    fn new(centroids: &[f32], dim: usize, seed: u64) -> Self {
        let groups = (centroids.len() as f64 / dim as f64).sqrt().round() as usize;
        let middle = one_level(centroids, dim, groups, &mut Stream::new(seed, &[2]));
        let centers = Centers::new(dim, middle.chunks_exact(dim));
        let of = nearest_of_all(centroids, dim, &centers);
        let members = Groups::new(groups, &of);
        let near = neighbors(&middle, dim, GROUPS_SEEN.min(groups));
        let candidates = near.into_iter().map(|near| {
            near.iter().flat_map(|group| members.members(*group as usize)).copied().collect()
        });
        Self { candidates: candidates.collect(), centers }
    }
}

/// The `count` nearest centroids of each centroid, itself first.
pub(super) fn neighbors(centroids: &[f32], dim: usize, count: usize) -> Vec<Vec<u32>> {
    let centers = Centers::new(dim, centroids.chunks_exact(dim));
    let leaves = centroids.len() / dim;
    let count = count.min(leaves);
    (0..leaves)
        .into_par_iter()
        .map_init(Vec::new, |nearness, leaf| {
            centers.nearness(&centroids[leaf * dim..][..dim], nearness);
            // Centroids that coincide must not push the leaf itself out of its list.
            nearness[leaf] = f32::INFINITY;
            let mut order: Vec<u32> = (0..leaves as u32).collect();
            let by_nearness = |a: &u32, b: &u32| {
                nearness[*b as usize].total_cmp(&nearness[*a as usize]).then(a.cmp(b))
            };
            if count < leaves {
                order.select_nth_unstable_by(count, by_nearness);
                order.truncate(count);
            }
            order.sort_unstable_by(by_nearness);
            order
        })
        .collect()
}
