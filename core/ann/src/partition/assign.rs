//! Assignment of vectors to leaves: the nearest one, and further ones that see them from elsewhere.

use rayon::prelude::*;

use super::group::Groups;
use super::lloyd::{Centers, POINTS, largest, nearest_of_all};
use super::spill::{Chooser, LEAVES_PER_VECTOR, LISTED, NO_LEAF, Spilling, list, nearest_listed};
use super::train::one_level;
use crate::kernel::{dot, floor_of, square};
use crate::source::Source;
use rectool_base::Stream;

/// Up to so many leaves every vector is compared with all of them.
const FLAT_MAX: usize = 256;
/// Groups of leaves, of those nearest to a vector's own group, whose leaves it is compared with.
const GROUPS_SEEN: usize = 6;
/// Leaves in a neighbourhood, among which the final ones are chosen.
const NEIGHBORS: usize = 96;
/// Vectors assigned at a time.
const CHUNK: usize = 1 << 15;

/// Where vectors lie.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Assigned {
    /// The nearest leaf of each vector.
    pub(crate) nearest: Vec<u32>,
    /// Second leaves, third leaves, … of each vector, [`NO_LEAF`] where it has none; empty without
    /// `spilling`.
    pub(crate) further: Vec<Vec<u32>>,
    /// What was found of how many leaves a vector lies in.
    pub(crate) spilling: Option<Spilling>,
}

/// Finds the leaves of vectors.
///
/// Every vector is first compared with the leaves around its group (an inverted file over centroids),
/// then with the neighbourhood of the leaf found. Those that still lie far off are compared with all:
/// their leaves are not among the neighbours of the leaf found.
pub(crate) struct Assigner {
    dim: usize,
    centroids: Vec<f32>,
    groups: Option<Coarse>,
    neighbors: Vec<Vec<u32>>,
}

/// The leaves of one vector, found in a neighbourhood.
#[derive(Clone, Copy, Debug, Default)]
struct Settled {
    nearest: u32,
    second: u32,
    /// |x − c|² of the nearest.
    square: f32,
}

/// Buffers of [`Assigner::assign_far`].
#[derive(Default)]
struct Far {
    nearness: Vec<f32>,
    list: Vec<(u32, f32)>,
    chooser: Chooser,
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

    /// Assigns every row of `source`; to further leaves too if `lambda` is given and there are some.
    /// `done` hears how many more rows are assigned.
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
        let found: Vec<Vec<Settled>> = (0..self.leaves())
            .into_par_iter()
            .map(|leaf| {
                let members = by_leaf.members(leaf);
                let points = source.gather(members.iter().map(|row| *row as usize));
                let found = self.settle(leaf, &points, lambda);
                done(members.len().div_ceil(2));
                found
            })
            .collect();
        let mut settled = vec![Settled::default(); rows];
        for (leaf, found) in found.into_iter().enumerate() {
            for (row, found) in by_leaf.members(leaf).iter().zip(found) {
                settled[*row as usize] = found;
            }
        }
        let squares: Vec<f32> = settled.iter().map(|settled| settled.square).collect();
        let spilling = Spilling::fit(lambda.unwrap_or(0.0), &squares);
        let rungs = if lambda.is_some() { LEAVES_PER_VECTOR - 1 } else { 0 };
        let mut assigned = Assigned {
            nearest: settled.iter().map(|settled| settled.nearest).collect(),
            further: vec![vec![NO_LEAF; rows]; rungs],
            spilling: lambda.map(|_| spilling.clone()),
        };
        if let Some(second) = assigned.further.first_mut() {
            for (second, settled) in second.iter_mut().zip(&settled) {
                if spilling.further(settled.square) > 0 {
                    *second = settled.second;
                }
            }
        }
        self.assign_far(source, &spilling, &squares, &mut assigned);
        assigned
    }

    /// Compares the vectors that lie far from their leaf with all leaves.
    fn assign_far(
        &self,
        source: &Source<'_>,
        spilling: &Spilling,
        squares: &[f32],
        assigned: &mut Assigned,
    ) {
        let far = |row: &usize| squares[*row] >= spilling.far();
        let far: Vec<usize> = (0..squares.len()).filter(far).collect();
        let centers = Centers::new(self.dim, self.centroids.chunks_exact(self.dim));
        let rungs = assigned.further.len();
        let mut found = vec![NO_LEAF; far.len() * (1 + rungs)];
        let work = far.par_chunks(POINTS).zip(found.par_chunks_mut(POINTS * (1 + rungs)));
        work.for_each_init(Far::default, |scratch, (rows, found)| {
            let Far { nearness, list, chooser } = scratch;
            let points = source.gather(rows.iter().copied());
            centers.nearness(&points, nearness);
            let points = points.chunks_exact(self.dim);
            let points = points.zip(nearness.chunks_exact(centers.biases.len()));
            let found = found.chunks_exact_mut(1 + rungs);
            for ((row, (point, nearness)), found) in rows.iter().zip(points).zip(found) {
                nearest_listed(nearness, dot(point, point), list);
                found[0] = list.first().map_or(assigned.nearest[*row], |(leaf, _)| *leaf);
                let further = spilling.further(squares[*row]).min(rungs);
                let out = &mut found[1..=further];
                chooser.choose((point, &self.centroids), list, spilling.weight, out);
            }
        });
        for (row, found) in far.iter().zip(found.chunks_exact(1 + rungs)) {
            assigned.nearest[*row] = found[0];
            for (further, leaf) in assigned.further.iter_mut().zip(&found[1..]) {
                further[*row] = *leaf;
            }
        }
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
    fn settle(&self, leaf: usize, points: &[f32], lambda: Option<f32>) -> Vec<Settled> {
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
            let square = dot(point, point) - 2.0 * nearness[first];
            Settled { nearest: list[first], second: list[other], square }
        })
        .collect()
    }
}

/// Leaves of one vector among `centroids` [L, D], the nearest first, and the squared distance of that.
/// `nearness` \[L\] is x·c − |c|²/2 or about that: only the leaves that are near by it are compared.
/// `most` is the largest nearness of groups of leaves; it is left in another order.
pub(crate) fn assign_one(
    centroids: &[f32],
    (nearness, most): (&[f32], &mut [f32]),
    vector: &[f32],
    spilling: Option<&Spilling>,
) -> (Vec<u32>, f32) {
    let mut near = Vec::new();
    list(nearness, floor_of(most, LISTED), &mut near);
    for (leaf, distance) in &mut near {
        let centroid = &centroids[*leaf as usize * vector.len()..][..vector.len()];
        *distance = square(vector, centroid);
    }
    let by_distance = |a: &&(u32, f32), b: &&(u32, f32)| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0));
    let first = near.iter().min_by(by_distance).copied();
    if let Some(at) = first.and_then(|first| near.iter().position(|leaf| *leaf == first)) {
        near.swap(0, at);
    }
    let (first, square) = first.unwrap_or_default();
    let mut leaves = vec![first];
    if let Some(spilling) = spilling {
        let mut further = vec![NO_LEAF; spilling.further(square)];
        let chooser = &mut Chooser::default();
        chooser.choose((vector, centroids), &near, spilling.weight, &mut further);
        leaves.extend(further.into_iter().filter(|leaf| *leaf != NO_LEAF));
    }
    (leaves, square)
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
