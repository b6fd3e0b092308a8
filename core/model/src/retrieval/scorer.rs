//! What ranks the catalogue for a user.

use rayon::prelude::*;

use super::top_k::{Best, Candidates, Recommended, rows_of};
use super::{Interactions, RetrievalError, TensorCandidates};
use crate::Compute;

/// Users that are scored at a time on one thread.
const BLOCK: usize = 16;

/// A method that scores every item of the catalogue for a user. Users are numbered as in
/// [`super::RetrievalTask::users`].
pub trait Scorer: Sync {
    /// Number of items V.
    fn items(&self) -> usize;

    /// Scores of all items for `users`; higher is better.
    ///
    /// Shapes: `users` \[B\], `scores` [B, V].
    fn score(&self, users: &[u32], scores: &mut [f32]);

    /// For each of `users` the k items that score highest among those that it has not in `seen`,
    /// highest first; ties go to the lower number.
    ///
    /// # Errors
    /// If the device that searches refuses, such as for want of memory.
    ///
    /// # Determinism
    /// The same for any number of threads.
    fn top_k(
        &self,
        users: &[u32],
        k: usize,
        seen: &Interactions,
    ) -> Result<Recommended, RetrievalError> {
        let (items, k) = (self.items(), k.min(self.items()));
        if k == 0 {
            return Ok(vec![Vec::new(); users.len()]);
        }
        let blocks = users.par_chunks(BLOCK).map_init(Vec::new, |scores, users| {
            scores.resize(users.len() * items, 0.0f32);
            self.score(users, scores);
            let ranked = users.iter().zip(scores.chunks_exact(items)).map(|(user, scores)| {
                let mut best = Best::new(k);
                best.add(scores, 0, seen.items_of(*user as usize));
                best.sorted()
            });
            ranked.collect::<Vec<_>>()
        });
        Ok(blocks.collect::<Vec<_>>().into_iter().flatten().collect())
    }
}

/// Dot products of a model's user and item vectors. The best are found where the model computes; all of
/// them are computed in host memory.
#[derive(Debug)]
pub struct VectorScorer<'a> {
    users: &'a [f32],
    items: &'a [f32],
    width: usize,
    candidates: Place,
}

/// The items, where they are searched.
#[derive(Debug)]
enum Place {
    Fused(Candidates),
    Tensor(TensorCandidates),
}

impl<'a> VectorScorer<'a> {
    /// Shapes: `users` [U, E], `items` [V, E], E = `width`.
    ///
    /// # Errors
    /// If the device has no memory for the items.
    ///
    /// # Panics
    /// If `width` is 0 or a slice is no whole number of rows.
    pub fn new(
        users: &'a [f32],
        items: &'a [f32],
        width: usize,
        compute: Compute,
    ) -> Result<Self, RetrievalError> {
        rows_of(users, width);
        let candidates = match compute {
            Compute::Fused => Place::Fused(Candidates::new(items, width)),
            Compute::Tensor(device) => Place::Tensor(TensorCandidates::new(items, width, device)?),
        };
        Ok(Self { users, items, width, candidates })
    }

    fn vector(&self, user: u32) -> &[f32] {
        &self.users[user as usize * self.width..][..self.width]
    }
}

impl Scorer for VectorScorer<'_> {
    fn items(&self) -> usize {
        self.items.len() / self.width
    }

    fn score(&self, users: &[u32], scores: &mut [f32]) {
        for (user, scores) in users.iter().zip(scores.chunks_exact_mut(self.items().max(1))) {
            let query = self.vector(*user);
            for (score, item) in scores.iter_mut().zip(self.items.chunks_exact(self.width)) {
                *score = query.iter().zip(item).map(|(a, b)| a * b).sum();
            }
        }
    }

    fn top_k(
        &self,
        users: &[u32],
        k: usize,
        seen: &Interactions,
    ) -> Result<Recommended, RetrievalError> {
        let queries: Vec<f32> = users.iter().flat_map(|user| self.vector(*user)).copied().collect();
        let seen = |query: usize| seen.items_of(users[query] as usize);
        match &self.candidates {
            Place::Fused(candidates) => Ok(candidates.top_k(&queries, k, seen)),
            Place::Tensor(candidates) => candidates.top_k(&queries, k, seen),
        }
    }
}
