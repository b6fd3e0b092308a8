//! A history weighted by how each of its vectors goes with that of the target.

use super::history::Sequence;
use super::history_fused::{
    FusedHistory, HistoryBlock, HistoryScratch, HistorySums, VectorRows, placed,
};
use super::mlp::MlpShape;
use super::mlp_fused::{BlockBackward, BlockPlace, FusedMlp, InputGradient};
use crate::kernel::{self, Level, Place, Write};
use crate::parameters::Parameters;

/// An MLP gives each vector h, given the target t, its weight; weights are no shares, so that a
/// history with much in common with the target makes a long vector.
#[derive(Debug)]
pub(super) struct FusedTarget {
    sequence: Sequence,
    weigher: FusedMlp,
    /// Where the target's vector begins.
    target: usize,
}

impl FusedTarget {
    pub(super) fn new(sequence: Sequence, weigher: MlpShape, target: usize) -> Self {
        Self { sequence, weigher: FusedMlp::new(weigher), target }
    }

    /// Writes [h, t, h · t, h - t] of each row.
    fn compare(&self, vectors: VectorRows<'_>, position: usize, rows: &mut [f32]) {
        let dim = self.sequence.dim;
        let pairs = rows.chunks_exact_mut(4 * dim).zip(vectors.values.chunks_exact(vectors.stride));
        for (out, row) in pairs {
            let (h, t) = (self.sequence.vector(row, position), &row[self.target..][..dim]);
            out[..dim].copy_from_slice(h);
            out[dim..2 * dim].copy_from_slice(t);
            let (products, differences) = out[2 * dim..].split_at_mut(dim);
            let wanted = products.iter_mut().zip(differences);
            for ((product, difference), (h, t)) in wanted.zip(h.iter().zip(t)) {
                *product = h * t;
                *difference = h - t;
            }
        }
    }

    /// Adds the gradients of h and t, given those of what the MLP reads.
    fn compare_back(
        &self,
        (place, stride): (BlockPlace, usize),
        position: usize,
        (vectors, gradients): (&[f32], &[f32]),
        into: &mut [f32],
    ) {
        let dim = self.sequence.dim;
        for row in 0..place.rows {
            let (vectors, into) =
                (&vectors[row * stride..][..stride], &mut into[row * stride..][..stride]);
            if !self.sequence.has(vectors, position) {
                continue;
            }
            let gradient = &gradients[row * 4 * dim..][..4 * dim];
            let history = self.sequence.from + position * dim;
            for at in 0..dim {
                let [d_h, d_t, d_product, d_difference] =
                    [0, 1, 2, 3].map(|part| gradient[part * dim + at]);
                let (h, t) = (vectors[history + at], vectors[self.target + at]);
                into[history + at] += d_h + d_product * t + d_difference;
                into[self.target + at] += d_t + d_product * h - d_difference;
            }
        }
    }
}

impl FusedHistory for FusedTarget {
    fn prepare_forward(&mut self, parameters: &Parameters) {
        self.weigher.pack_forward(parameters);
    }

    fn prepare_backward(&mut self, parameters: &Parameters) {
        self.weigher.pack_backward(parameters);
    }

    fn sums(&self) -> HistorySums {
        HistorySums { values: Vec::new(), layers: vec![self.weigher.gradients()] }
    }

    fn widths(&self) -> (usize, usize) {
        (self.weigher.width_max(), 4 * self.sequence.dim)
    }

    fn forward(
        &self,
        vectors: VectorRows<'_>,
        block: &mut HistoryBlock,
        (out, into): (&mut [f32], Place),
        scratch: &mut HistoryScratch,
    ) {
        let (level, place, dim) = (Level::best(), vectors.place, self.sequence.dim);
        let used = self.sequence.end_max(vectors.values, vectors.stride);
        while block.positions.len() < used {
            block.positions.push(self.weigher.activations());
        }
        (0..place.rows).for_each(|row| out[placed(row, into, dim)].fill(0.0));
        let rows = &mut scratch.rows[..place.rows * 4 * dim];
        for (position, activations) in block.positions[..used].iter_mut().enumerate() {
            self.compare(vectors, position, rows);
            activations[0].write_rows(rows, 4 * dim);
            self.weigher.forward(place, activations, None);
            let weights = activations[activations.len() - 1].column(0);
            let rows = vectors.values.chunks_exact(vectors.stride).zip(weights);
            for (at, (row, weight)) in rows.enumerate() {
                let h = self.sequence.vector(row, position);
                kernel::add_scaled(level, &mut out[placed(at, into, dim)], weight, h);
            }
        }
    }

    fn backward(
        &self,
        (vectors, block): (VectorRows<'_>, &HistoryBlock),
        (gradient, from): (&[f32], Place),
        (sums, vector_gradients): (&mut HistorySums, &mut [f32]),
        HistoryScratch { gradients, rows, .. }: &mut HistoryScratch,
    ) {
        let VectorRows { place, values, stride } = vectors;
        let (level, dim) = (Level::best(), self.sequence.dim);
        let used = self.sequence.end_max(values, stride);
        let how = BlockBackward {
            place,
            dropout: None,
            input_gradient: InputGradient::Wanted,
            write: Write::Add,
        };
        for (position, activations) in block.positions[..used].iter().enumerate() {
            let d_weights = &mut rows[..place.rows];
            let weights = activations[activations.len() - 1].column(0);
            for (at, (d_weight, weight)) in d_weights.iter_mut().zip(weights).enumerate() {
                let row = &values[at * stride..][..stride];
                let gradient = &gradient[placed(at, from, dim)];
                *d_weight = kernel::dot(level, gradient, self.sequence.vector(row, position));
                if self.sequence.has(row, position) {
                    let d_row = &mut vector_gradients[at * stride..][..stride];
                    let d_h = self.sequence.vector_mut(d_row, position);
                    kernel::add_scaled(level, d_h, weight, gradient);
                }
            }
            gradients[0].reshape(1);
            gradients[0].write_rows(d_weights, 1);
            self.weigher.backward(how, activations, gradients, &mut sums.layers[0]);
            let rows = &mut rows[..place.rows * 4 * dim];
            gradients[0].read_rows(rows, 4 * dim);
            self.compare_back((place, stride), position, (values, rows), vector_gradients);
        }
    }

    fn collect(&self, groups: &[&HistorySums], parameters: &mut Parameters) {
        let sums: Vec<_> = groups.iter().map(|group| &*group.layers[0]).collect();
        self.weigher.collect(&sums, parameters);
    }
}
