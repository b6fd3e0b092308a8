//! What each code adds to a score, for one query.

use super::codebook::{CODES, Codebook};
use crate::kernel::{GROUP, Line};

/// Sums of entries stay below 16 bits.
const SUM_MAX: usize = 65_535;

/// The table of a query: score of a vector ≈ leaf's part + `offset` + sum / `steps`.
///
/// One table serves all leaves, because a residual's product does not depend on its leaf.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    pub(crate) lines: Vec<Line>,
    /// Entries' units per unit of score.
    pub(crate) steps: f32,
    /// Sum of the least values of all positions.
    pub(crate) offset: f32,
    /// The largest sum that a vector can reach.
    pub(crate) sum_max: i32,
    values: Vec<[f32; CODES]>,
}

impl Table {
    /// Fills the table for `query` [D].
    pub(crate) fn set(&mut self, codebook: Codebook<'_>, query: &[f32]) {
        self.values.clear();
        for (entries, pair) in codebook.columns().iter().zip(query.chunks(2)) {
            let second = pair.get(1).copied().unwrap_or(0.0);
            let mut values = [0.0; CODES];
            for (code, value) in values.iter_mut().enumerate() {
                *value = pair[0] * entries.x[code] + second * entries.y[code];
            }
            self.values.push(values);
        }
        self.values.extend(codebook.bias().iter().map(|entries| entries.x));
        let mut widest = 0.0f32;
        self.offset = 0.0;
        for values in &mut self.values {
            let least = values.iter().copied().fold(f32::INFINITY, f32::min);
            let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for value in values.iter_mut() {
                *value -= least;
            }
            self.offset += least;
            widest = widest.max(most - least);
        }
        let entry_max = (SUM_MAX / self.values.len().max(1)).min(255);
        let steps = entry_max as f32 / widest;
        self.steps = if steps.is_finite() { steps } else { 1.0 };
        self.lines.clear();
        self.lines.resize(self.values.len().div_ceil(GROUP), Line([0; 64]));
        self.sum_max = 0;
        for (position, values) in self.values.iter().enumerate() {
            let line = &mut self.lines[position / GROUP].0;
            let entries = &mut line[position % GROUP * CODES..][..CODES];
            let mut most = 0;
            for (entry, value) in entries.iter_mut().zip(values) {
                *entry = (value * self.steps).round_ties_even() as u8;
                most = most.max(*entry);
            }
            self.sum_max += i32::from(most);
        }
    }

    /// A part of a score in units of entries.
    pub(crate) fn in_steps(&self, score: f32) -> i32 {
        // Far from the ends of the range, so that a sum added to it cannot overflow.
        (score * self.steps).round().clamp(-1e9, 1e9) as i32
    }
}
