//! Heads of two towers in host memory, one block of rows at a time.

use super::branch_fused::ROW_ALIGNMENT;
use super::fused::{Backward, Forward};
use super::heads::HeadsShape;
use super::mlp_fused::{BLOCK_ROWS, BlockBackward, FusedMlp, InputGradient, LayerGradient};
use crate::kernel::Panels;
use crate::parameters::Parameters;

#[derive(Debug)]
pub(super) struct FusedHeads {
    shape: HeadsShape,
    mlps: Vec<FusedMlp>,
}

/// What a block keeps of each head: its input and the outputs of its layers.
pub(super) type HeadsBlock = Vec<Vec<Panels>>;

/// Gradients of the parameters of each head.
pub(super) type HeadsSums = Vec<Vec<LayerGradient>>;

/// Buffers of one thread.
pub(super) struct HeadsScratch {
    /// What heads read or its gradient, row by row.
    rows: Vec<f32>,
    /// The outputs of a head or their gradient, row by row.
    results: Vec<f32>,
    gradients: [Panels; 2],
    /// The gradient of all outputs, to which heads add that of the vectors: [rows, O].
    totals: Vec<f32>,
}

impl FusedHeads {
    pub(super) fn new(shape: HeadsShape) -> Self {
        let mlps = shape.mlps.iter().cloned().map(FusedMlp::new).collect();
        Self { shape, mlps }
    }

    /// Floats from one row of what heads read to the next.
    fn stride(&self) -> usize {
        (3 * self.shape.width).next_multiple_of(ROW_ALIGNMENT)
    }

    pub(super) fn block(&self) -> HeadsBlock {
        self.mlps.iter().map(FusedMlp::activations).collect()
    }

    pub(super) fn sums(&self) -> HeadsSums {
        self.mlps.iter().map(FusedMlp::gradients).collect()
    }

    pub(super) fn scratch(&self) -> HeadsScratch {
        let widest = self.mlps.iter().map(FusedMlp::width_max).max().unwrap_or(0);
        let panels = || Panels::zeros(BLOCK_ROWS, widest);
        HeadsScratch {
            rows: vec![0.0; BLOCK_ROWS * self.stride()],
            results: vec![0.0; BLOCK_ROWS * self.shape.outputs()],
            gradients: [panels(), panels()],
            totals: Vec::new(),
        }
    }

    pub(super) fn prepare_forward(&mut self, parameters: &Parameters) {
        self.mlps.iter_mut().for_each(|mlp| mlp.pack_forward(parameters));
    }

    pub(super) fn prepare_backward(&mut self, parameters: &Parameters) {
        self.mlps.iter_mut().for_each(|mlp| mlp.pack_backward(parameters));
    }

    pub(super) fn collect(&self, groups: &[&HeadsSums], parameters: &mut Parameters) {
        for (at, mlp) in self.mlps.iter().enumerate() {
            let sums: Vec<_> = groups.iter().map(|group| &*group[at]).collect();
            mlp.collect(&sums, parameters);
        }
    }

    /// Writes the heads' outputs behind the vectors that stand in `outputs`, rows of `width`.
    pub(super) fn forward(
        &self,
        Forward { place, dropout }: Forward,
        block: &mut HeadsBlock,
        (outputs, width): (&mut [f32], usize),
        HeadsScratch { rows, results, .. }: &mut HeadsScratch,
    ) {
        let stride = self.stride();
        let rows = &mut rows[..place.rows * stride];
        for (input, output) in rows.chunks_exact_mut(stride).zip(outputs.chunks_exact(width)) {
            let (vectors, products) = input.split_at_mut(2 * self.shape.width);
            let (query, candidate) = output[..vectors.len()].split_at(self.shape.width);
            vectors.copy_from_slice(&output[..vectors.len()]);
            let pairs = query.iter().zip(candidate);
            products.iter_mut().zip(pairs).for_each(|(into, (a, b))| *into = a * b);
        }
        for ((mlp, block), places) in self.mlps.iter().zip(block).zip(self.places()) {
            block[0].write_rows(rows, stride);
            mlp.forward(place, block, dropout);
            let results = &mut results[..place.rows * places.len()];
            block[block.len() - 1].read_rows(results, places.len());
            let results = results.chunks_exact(places.len());
            for (output, result) in outputs.chunks_exact_mut(width).zip(results) {
                output[places.clone()].copy_from_slice(result);
            }
        }
    }

    /// Adds to the sums; gives the gradient of the outputs, rows of `width`, with what the heads add to
    /// that of the vectors.
    pub(super) fn backward<'a>(
        &self,
        (Backward { place, dropout, write }, block): (Backward, &HeadsBlock),
        (outputs, output_gradient, width): (&[f32], &[f32], usize),
        sums: &mut HeadsSums,
        HeadsScratch { rows, results, gradients, totals }: &'a mut HeadsScratch,
    ) -> &'a [f32] {
        totals.clear();
        totals.extend_from_slice(output_gradient);
        let stride = self.stride();
        let rows = &mut rows[..place.rows * stride];
        let how = BlockBackward { place, dropout, input_gradient: InputGradient::Wanted, write };
        for (at, places) in self.places().enumerate() {
            let results = &mut results[..place.rows * places.len()];
            let own = output_gradient.chunks_exact(width);
            for (result, own) in results.chunks_exact_mut(places.len()).zip(own) {
                result.copy_from_slice(&own[places.clone()]);
            }
            gradients[0].reshape(places.len());
            gradients[0].write_rows(results, places.len());
            self.mlps[at].backward(how, &block[at], gradients, &mut sums[at]);
            gradients[0].read_rows(rows, stride);
            let given = rows.chunks_exact(stride).zip(outputs.chunks_exact(width));
            for (total, (row, output)) in totals.chunks_exact_mut(width).zip(given) {
                self.spread(row, output, total);
            }
        }
        totals
    }

    /// From the gradient of what a head reads of a row to that of the row's vectors.
    fn spread(&self, row: &[f32], output: &[f32], total: &mut [f32]) {
        let both = 2 * self.shape.width;
        let (query, candidate) = output[..both].split_at(self.shape.width);
        let (vectors, products) = row.split_at(both);
        // Of a product by one vector it is the other.
        let crosswise = candidate.iter().chain(query);
        let products = products[..self.shape.width].iter().cycle();
        let given = vectors.iter().zip(products.zip(crosswise));
        for (into, (own, (product, other))) in total[..both].iter_mut().zip(given) {
            *into += own + product * other;
        }
    }

    /// Where the outputs of each head stand in a row.
    fn places(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.shape.mlps.iter().scan(2 * self.shape.width, |next, mlp| {
            let first = *next;
            *next += mlp.outputs();
            Some(first..*next)
        })
    }
}
