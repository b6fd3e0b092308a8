//! Items like those that a user has seen.

use rayon::prelude::*;

use crate::retrieval::{Interactions, Scorer};

/// Settings of [`ItemKnn`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ItemKnnOptions {
    /// Most similar items kept for each.
    pub neighbours: usize,
    /// Added to the cosine's denominator, so that a few common users prove little.
    pub shrinkage: f32,
}

impl Default for ItemKnnOptions {
    fn default() -> Self {
        Self { neighbours: 100, shrinkage: 10.0 }
    }
}

/// Nearest neighbours of items by the users that they share: n(i, j) / (√(n(i) n(j)) + shrinkage)
/// (Sarwar et al. 2001, with the shrinkage that Ferrari Dacrema et al. 2019 use).
#[derive(Clone, Debug)]
pub struct ItemKnn {
    /// Of each item, with their similarity, most similar first \[V\].
    neighbours: Vec<Vec<(u32, f32)>>,
}

impl ItemKnn {
    /// Finds the neighbours in training pairs numbered by the catalogue.
    ///
    /// # Determinism
    /// The same for any number of threads.
    pub fn fit(train: &Interactions, options: ItemKnnOptions) -> Self {
        let by_item = train.transposed();
        let items = train.items().len();
        let degree = |item: usize| by_item[item].len() as f32;
        let near = |common: &mut Vec<u32>, item: usize| {
            common.clear();
            common.resize(items, 0);
            for user in &by_item[item] {
                for other in train.items_of(*user as usize) {
                    common[*other as usize] += 1;
                }
            }
            let alike = common.iter().enumerate().filter(|(other, n)| **n > 0 && *other != item);
            let mut alike: Vec<(u32, f32)> = alike
                .map(|(other, n)| {
                    let scale = (degree(item) * degree(other)).sqrt() + options.shrinkage;
                    (other as u32, *n as f32 / scale)
                })
                .collect();
            alike.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            alike.truncate(options.neighbours);
            alike
        };
        Self { neighbours: (0..items).into_par_iter().map_init(Vec::new, near).collect() }
    }

    /// The neighbours of an item with their similarity, most similar first.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn neighbours(&self, item: usize) -> &[(u32, f32)] {
        &self.neighbours[item]
    }

    /// Scores users by what they have in `seen`, which is numbered by the same catalogue: the sum of
    /// an item's similarities to those of its neighbours that the user has seen.
    pub fn scorer<'a>(&'a self, seen: &'a Interactions) -> ItemKnnScorer<'a> {
        ItemKnnScorer { neighbours: &self.neighbours, seen }
    }
}

/// An [`ItemKnn`] with the histories of its users.
#[derive(Clone, Copy, Debug)]
pub struct ItemKnnScorer<'a> {
    neighbours: &'a [Vec<(u32, f32)>],
    seen: &'a Interactions,
}

impl Scorer for ItemKnnScorer<'_> {
    fn items(&self) -> usize {
        self.neighbours.len()
    }

    fn score(&self, users: &[u32], scores: &mut [f32]) {
        let mut marked = vec![0.0f32; self.items()];
        for (user, scores) in users.iter().zip(scores.chunks_exact_mut(self.items().max(1))) {
            let seen = self.seen.items_of(*user as usize);
            for item in seen {
                marked[*item as usize] = 1.0;
            }
            for (score, near) in scores.iter_mut().zip(self.neighbours) {
                *score = near.iter().map(|(item, alike)| alike * marked[*item as usize]).sum();
            }
            for item in seen {
                marked[*item as usize] = 0.0;
            }
        }
    }
}
