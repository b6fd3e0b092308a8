//! Attention over a history with a learned query.

use super::history::Sequence;
use super::history_fused::{
    FusedHistory, HistoryBlock, HistoryScratch, HistorySums, VectorRows, placed,
};
use crate::kernel::{self, Level, Place};
use crate::parameters::Parameters;

/// Scores positions by a vector and by their distance from the last one.
#[derive(Debug)]
pub(super) struct FusedAttention {
    sequence: Sequence,
    /// Entries of both.
    entries: [usize; 2],
    /// \[D\].
    query: Vec<f32>,
    /// \[L\].
    distances: Vec<f32>,
}

impl FusedAttention {
    pub(super) fn new(sequence: Sequence, query: usize, distances: usize) -> Self {
        let (entries, Sequence { length, dim, .. }) = ([query, distances], sequence);
        Self { sequence, entries, query: vec![0.0; dim], distances: vec![0.0; length] }
    }

    /// Writes the weights of a row \[L\]: those of positions without a vector are 0.
    fn weigh(&self, level: Level, row: &[f32], weights: &mut [f32]) {
        let end = self.sequence.end(row);
        weights.fill(0.0);
        let mut greatest = f32::NEG_INFINITY;
        for (at, weight) in weights[..end].iter_mut().enumerate() {
            let score = kernel::dot(level, &self.query, self.sequence.vector(row, at));
            *weight = score + self.distances[end - 1 - at];
            if self.sequence.has(row, at) {
                greatest = greatest.max(*weight);
            }
        }
        let mut sum = 0.0;
        for (at, weight) in weights[..end].iter_mut().enumerate() {
            let has = self.sequence.has(row, at);
            *weight = if has { (*weight - greatest).exp() } else { 0.0 };
            sum += *weight;
        }
        weights[..end].iter_mut().for_each(|weight| *weight /= sum);
    }
}

impl FusedHistory for FusedAttention {
    fn prepare_forward(&mut self, parameters: &Parameters) {
        self.query.copy_from_slice(parameters.value(self.entries[0]));
        self.distances.copy_from_slice(parameters.value(self.entries[1]));
    }

    fn prepare_backward(&mut self, _parameters: &Parameters) {}

    fn sums(&self) -> HistorySums {
        let values = vec![0.0; self.query.len() + self.distances.len()];
        HistorySums { values, layers: Vec::new() }
    }

    fn widths(&self) -> (usize, usize) {
        (0, self.sequence.length.div_ceil(super::mlp_fused::BLOCK_ROWS))
    }

    fn forward(
        &self,
        vectors: VectorRows<'_>,
        block: &mut HistoryBlock,
        (out, place): (&mut [f32], Place),
        _scratch: &mut HistoryScratch,
    ) {
        let (level, Sequence { length, dim, .. }) = (Level::best(), self.sequence);
        block.weights.resize(vectors.place.rows * length, 0.0);
        let rows = vectors.values.chunks_exact(vectors.stride);
        for (at, (row, weights)) in rows.zip(block.weights.chunks_exact_mut(length)).enumerate() {
            self.weigh(level, row, weights);
            let out = &mut out[placed(at, place, dim)];
            out.fill(0.0);
            for (position, weight) in weights.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                kernel::add_scaled(level, out, *weight, self.sequence.vector(row, position));
            }
        }
    }

    fn backward(
        &self,
        (vectors, block): (VectorRows<'_>, &HistoryBlock),
        (gradient, place): (&[f32], Place),
        (sums, vector_gradients): (&mut HistorySums, &mut [f32]),
        scratch: &mut HistoryScratch,
    ) {
        let (level, Sequence { length, dim, .. }) = (Level::best(), self.sequence);
        let (d_query, d_distances) = sums.values.split_at_mut(dim);
        let slopes = &mut scratch.rows[..length];
        let rows = vectors.values.chunks_exact(vectors.stride);
        let rows = rows.zip(vector_gradients.chunks_exact_mut(vectors.stride));
        for (at, ((row, d_row), weights)) in
            rows.zip(block.weights.chunks_exact(length)).enumerate()
        {
            let gradient = &gradient[placed(at, place, dim)];
            let end = self.sequence.end(row);
            let mut mean = 0.0;
            for (position, slope) in slopes[..end].iter_mut().enumerate() {
                *slope = kernel::dot(level, gradient, self.sequence.vector(row, position));
                mean += weights[position] * *slope;
            }
            for (position, weight) in weights[..end].iter().enumerate() {
                if *weight == 0.0 {
                    continue;
                }
                let d_score = weight * (slopes[position] - mean);
                let d_vector = self.sequence.vector_mut(d_row, position);
                kernel::add_scaled(level, d_vector, *weight, gradient);
                kernel::add_scaled(level, d_vector, d_score, &self.query);
                let vector = self.sequence.vector(row, position);
                kernel::add_scaled(level, d_query, d_score, vector);
                d_distances[end - 1 - position] += d_score;
            }
        }
    }

    fn collect(&self, groups: &[&HistorySums], parameters: &mut Parameters) {
        let level = Level::best();
        let dim = self.query.len();
        for (entry, range) in
            [(self.entries[0], 0..dim), (self.entries[1], dim..dim + self.distances.len())]
        {
            let into = parameters.gradient_mut(entry);
            into.fill(0.0);
            for group in groups {
                kernel::add(level, into, &group.values[range.clone()]);
            }
        }
    }
}
