//! What ranks the catalogue for a user.

use rayon::prelude::*;

use super::Interactions;
use super::top_k::{Best, Candidates, Recommended};

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
    /// # Determinism
    /// The same for any number of threads.
    fn top_k(&self, users: &[u32], k: usize, seen: &Interactions) -> Recommended {
        let (items, k) = (self.items(), k.min(self.items()));
        if k == 0 {
            return vec![Vec::new(); users.len()];
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
        blocks.collect::<Vec<_>>().into_iter().flatten().collect()
    }
}

/// Dot products of a model's user and item vectors.
#[derive(Debug)]
pub struct VectorScorer<'a> {
    users: &'a [f32],
    items: &'a [f32],
    width: usize,
    candidates: Candidates,
}

impl<'a> VectorScorer<'a> {
    /// Shapes: `users` [U, E], `items` [V, E], E = `width`.
    ///
    /// # Panics
    /// If `width` is 0 or a slice is no whole number of rows.
    pub fn new(users: &'a [f32], items: &'a [f32], width: usize) -> Self {
        assert!(width > 0 && users.len().is_multiple_of(width), "user vectors of {width} values");
        Self { users, items, width, candidates: Candidates::new(items, width) }
    }

    fn vector(&self, user: u32) -> &[f32] {
        &self.users[user as usize * self.width..][..self.width]
    }
}

impl Scorer for VectorScorer<'_> {
    fn items(&self) -> usize {
        self.candidates.len()
    }

    fn score(&self, users: &[u32], scores: &mut [f32]) {
        for (user, scores) in users.iter().zip(scores.chunks_exact_mut(self.items().max(1))) {
            let query = self.vector(*user);
            for (score, item) in scores.iter_mut().zip(self.items.chunks_exact(self.width)) {
                *score = query.iter().zip(item).map(|(a, b)| a * b).sum();
            }
        }
    }

    fn top_k(&self, users: &[u32], k: usize, seen: &Interactions) -> Recommended {
        let queries: Vec<f32> = users.iter().flat_map(|user| self.vector(*user)).copied().collect();
        self.candidates.top_k(&queries, k, |query| seen.items_of(users[query] as usize))
    }
}
