//! The recurrent unit over a history whose gate looks at the input alone.

use super::history::Sequence;
use super::history_fused::{
    FusedHistory, HistoryBlock, HistoryScratch, HistorySums, VectorRows, placed,
};
use super::mlp::MlpShape;
use super::mlp_fused::{BLOCK_ROWS, BlockBackward, FusedMlp, InputGradient};
use crate::kernel::{self, Level, PANEL, Panels, Place, Write};
use crate::parameters::Parameters;
use crate::sigmoid;

/// A gate and a candidate state per position; a block keeps the gate, the candidate and the state
/// behind each. A gate of 0 passes over a position that has no vector.
#[derive(Debug)]
pub(super) struct FusedGru {
    sequence: Sequence,
    gate: FusedMlp,
    candidate: FusedMlp,
}

impl FusedGru {
    pub(super) fn new(sequence: Sequence, gate: MlpShape, candidate: MlpShape) -> Self {
        Self { sequence, gate: FusedMlp::new(gate), candidate: FusedMlp::new(candidate) }
    }

    /// Takes over the vectors at `position`.
    fn gather(&self, vectors: VectorRows<'_>, position: usize, into: &mut Panels) {
        let offset = self.sequence.from + position * self.sequence.dim;
        into.reshape(self.sequence.dim);
        into.write_rows_at(vectors.values, Place { stride: vectors.stride, offset });
    }

    /// Makes gates of sums; rows without a vector, and beyond the batch, get 0.
    fn close(&self, vectors: VectorRows<'_>, position: usize, gate: &mut Panels) {
        let VectorRows { place, values, stride } = vectors;
        let has = |row: usize| {
            row < place.rows && self.sequence.has(&values[row * stride..][..stride], position)
        };
        let open: Vec<bool> = (0..place.padded()).map(has).collect();
        for lines in gate.lines_mut(place.padded()) {
            for (line, open) in lines.chunks_exact_mut(PANEL).zip(&open) {
                match open {
                    true => line.iter_mut().for_each(|sum| *sum = sigmoid(*sum)),
                    false => line.fill(0.0),
                }
            }
        }
    }

    /// Adds the gradient of the vectors at `position` to those of the rows.
    fn scatter(
        &self,
        (VectorRows { place, stride, .. }, position): (VectorRows<'_>, usize),
        from: &Panels,
        rows: &mut [f32],
        into: &mut [f32],
    ) {
        let (level, dim) = (Level::best(), self.sequence.dim);
        let rows = &mut rows[..place.rows * dim];
        from.read_rows(rows, dim);
        for (row, into) in rows.chunks_exact(dim).zip(into.chunks_exact_mut(stride)) {
            kernel::add(level, self.sequence.vector_mut(into, position), row);
        }
    }
}

impl FusedHistory for FusedGru {
    fn prepare_forward(&mut self, parameters: &Parameters) {
        self.gate.pack_forward(parameters);
        self.candidate.pack_forward(parameters);
    }

    fn prepare_backward(&mut self, parameters: &Parameters) {
        self.gate.pack_backward(parameters);
        self.candidate.pack_backward(parameters);
    }

    fn sums(&self) -> HistorySums {
        let layers = vec![self.gate.gradients(), self.candidate.gradients()];
        HistorySums { values: Vec::new(), layers }
    }

    fn widths(&self) -> (usize, usize) {
        (self.sequence.dim, self.sequence.dim)
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
            block.positions.push(vec![Panels::zeros(BLOCK_ROWS, dim); 3]);
        }
        let input = &mut scratch.spare[0];
        for position in 0..used {
            self.gather(vectors, position, input);
            let (before, rest) = block.positions.split_at_mut(position);
            let [gate, candidate, state] = &mut *rest[0] else { unreachable!("three are kept") };
            self.gate.apply(place, input, gate);
            self.candidate.apply(place, input, candidate);
            self.close(vectors, position, gate);
            match before.last() {
                Some(before) => state.values_mut().copy_from_slice(before[2].values()),
                None => state.values_mut().fill(0.0),
            }
            let given = gate.lines(place.padded()).zip(candidate.lines(place.padded()));
            for ((gate, candidate), state) in given.zip(state.lines_mut(place.padded())) {
                kernel::gate(level, gate, candidate, state);
            }
        }
        let rows = &mut scratch.rows[..place.rows * dim];
        match used.checked_sub(1) {
            Some(last) => block.positions[last][2].read_rows(rows, dim),
            None => rows.fill(0.0),
        }
        for (at, row) in rows.chunks_exact(dim).enumerate() {
            out[placed(at, into, dim)].copy_from_slice(row);
        }
    }

    fn backward(
        &self,
        (vectors, block): (VectorRows<'_>, &HistoryBlock),
        (gradient, from): (&[f32], Place),
        (sums, vector_gradients): (&mut HistorySums, &mut [f32]),
        HistoryScratch { gradients, spare, rows }: &mut HistoryScratch,
    ) {
        let (level, place, dim) = (Level::best(), vectors.place, self.sequence.dim);
        let used = self.sequence.end_max(vectors.values, vectors.stride);
        let how = BlockBackward {
            place,
            dropout: None,
            input_gradient: InputGradient::Wanted,
            write: Write::Add,
        };
        let [input, d_state, d_candidate] = spare;
        d_state.reshape(dim);
        d_state.write_rows_at(gradient, from);
        let start = Panels::zeros(BLOCK_ROWS, dim);
        for position in (0..used).rev() {
            self.gather(vectors, position, input);
            let before = position.checked_sub(1).map_or(&start, |at| &block.positions[at][2]);
            let [gate, candidate, _] = &*block.positions[position] else {
                unreachable!("three are kept")
            };
            gradients[0].reshape(dim);
            d_candidate.reshape(dim);
            let lines = place.padded();
            let given = gate.lines(lines).zip(candidate.lines(lines)).zip(before.lines(lines));
            let wanted = gradients[0].lines_mut(lines).zip(d_candidate.lines_mut(lines));
            for (((gate, candidate), before), ((d_sum, d_candidate), d_state)) in
                given.zip(wanted.zip(d_state.lines_mut(lines)))
            {
                let given = [gate, candidate, before];
                kernel::gate_back(level, given, d_state, d_sum, d_candidate);
            }
            let input = std::slice::from_ref(&*input);
            for (at, mlp) in [&self.gate, &self.candidate].into_iter().enumerate() {
                if at == 1 {
                    std::mem::swap(&mut gradients[0], d_candidate);
                }
                mlp.backward(how, input, gradients, &mut sums.layers[at]);
                self.scatter((vectors, position), &gradients[0], rows, vector_gradients);
            }
        }
    }

    fn collect(&self, groups: &[&HistorySums], parameters: &mut Parameters) {
        for (at, mlp) in [&self.gate, &self.candidate].into_iter().enumerate() {
            let sums: Vec<_> = groups.iter().map(|group| &*group.layers[at]).collect();
            mlp.collect(&sums, parameters);
        }
    }
}
