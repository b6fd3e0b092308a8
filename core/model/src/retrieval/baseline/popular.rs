//! The same list for everybody.

use crate::retrieval::{Popularity, Scorer};

/// Scores an item by its number of users in training.
#[derive(Clone, Debug)]
pub struct MostPopular {
    scores: Vec<f32>,
}

impl MostPopular {
    /// Of a catalogue.
    pub fn new(popularity: &Popularity) -> Self {
        Self { scores: popularity.counts.iter().map(|count| *count as f32).collect() }
    }
}

impl Scorer for MostPopular {
    fn items(&self) -> usize {
        self.scores.len()
    }

    fn score(&self, users: &[u32], scores: &mut [f32]) {
        if !users.is_empty() && !self.scores.is_empty() {
            scores.chunks_exact_mut(self.items()).for_each(|row| row.copy_from_slice(&self.scores));
        }
    }
}
