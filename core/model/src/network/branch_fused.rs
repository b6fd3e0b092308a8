//! A branch in host memory, one block of rows at a time.

use super::fused::{Backward, Forward, Given};
use super::history_fused::{
    FusedHistory, HistoryBlock, HistoryScratch, HistorySums, VectorRows, fused_history,
};
use super::mlp_fused::{
    BLOCK_ROWS, BlockBackward, BlockPlace, FusedMlp, InputGradient, LayerGradient,
};
use super::towers::{BranchShape, Segment};
use crate::kernel::{self, Level, Panels, Place};
use crate::parameters::Parameters;

/// Rows of a branch's input are padded to a multiple of this many floats (64 bytes), so that they
/// start on cache lines.
pub(super) const ROW_ALIGNMENT: usize = 16;

/// What the squared length of a vector is taken to be at least when it is scaled to 1: less than that
/// of any that was trained, and enough that one of zeros has a gradient of a sane size.
pub(super) const LENGTH_SQUARED_MIN: f32 = 1e-8;

#[derive(Debug)]
pub(super) struct FusedBranch {
    shape: BranchShape,
    cross: Vec<FusedMlp>,
    mlp: Option<FusedMlp>,
    histories: Vec<Box<dyn FusedHistory>>,
}

/// What a block keeps of a branch.
#[derive(Debug)]
pub(super) struct BranchBlock {
    /// Input and product of each cross layer.
    cross: Vec<Vec<Panels>>,
    mlp: Vec<Panels>,
    histories: Vec<HistoryBlock>,
    /// One over each vector's length, \[rows\].
    scales: Vec<f32>,
}

/// Gradients of a branch's parameters.
#[derive(Debug)]
pub(super) struct BranchSums {
    cross: Vec<Vec<LayerGradient>>,
    mlp: Vec<LayerGradient>,
    histories: Vec<HistorySums>,
}

/// Buffers of one thread.
pub(super) struct BranchScratch {
    /// The input or its gradient, row by row.
    rows: Vec<f32>,
    /// The result or its gradient, row by row.
    results: Vec<f32>,
    inner: HistoryScratch,
}

impl BranchScratch {
    /// Enough for any of `branches`.
    pub(super) fn new(branches: &[FusedBranch]) -> Self {
        let most = |of: &dyn Fn(&FusedBranch) -> usize| branches.iter().map(of).max().unwrap_or(0);
        let histories = |of: &dyn Fn(&dyn FusedHistory) -> usize| {
            most(&|branch| branch.histories.iter().map(|it| of(&**it)).max().unwrap_or(0))
        };
        let layers = most(&|branch| {
            let mlps = branch.cross.iter().chain(&branch.mlp).map(FusedMlp::width_max);
            mlps.chain([branch.shape.inputs]).max().unwrap_or(0)
        });
        let panels = layers.max(histories(&|history| history.widths().0));
        Self {
            rows: vec![0.0; BLOCK_ROWS * most(&FusedBranch::stride)],
            results: vec![0.0; BLOCK_ROWS * most(&|branch| branch.shape.outputs)],
            inner: HistoryScratch::new(panels, histories(&|history| history.widths().1)),
        }
    }
}

impl FusedBranch {
    pub(super) fn new(shape: BranchShape) -> Self {
        let cross = shape.cross.iter().cloned().map(FusedMlp::new).collect();
        let mlp = shape.mlp.clone().map(FusedMlp::new);
        let histories = shape.histories.iter().map(fused_history).collect();
        Self { shape, cross, mlp, histories }
    }

    /// Floats from one row of the input to the next.
    fn stride(&self) -> usize {
        self.shape.inputs.next_multiple_of(ROW_ALIGNMENT)
    }

    pub(super) fn block(&self) -> BranchBlock {
        BranchBlock {
            cross: self.cross.iter().map(FusedMlp::activations).collect(),
            mlp: self.mlp.as_ref().map_or_else(Vec::new, FusedMlp::activations),
            histories: self.histories.iter().map(|_| HistoryBlock::default()).collect(),
            scales: Vec::new(),
        }
    }

    pub(super) fn sums(&self) -> BranchSums {
        BranchSums {
            cross: self.cross.iter().map(FusedMlp::gradients).collect(),
            mlp: self.mlp.as_ref().map_or_else(Vec::new, FusedMlp::gradients),
            histories: self.histories.iter().map(|history| history.sums()).collect(),
        }
    }

    pub(super) fn prepare_forward(&mut self, parameters: &Parameters) {
        for mlp in self.cross.iter_mut().chain(&mut self.mlp) {
            mlp.pack_forward(parameters);
        }
        self.histories.iter_mut().for_each(|history| history.prepare_forward(parameters));
    }

    pub(super) fn prepare_backward(&mut self, parameters: &Parameters) {
        for mlp in self.cross.iter_mut().chain(&mut self.mlp) {
            mlp.pack_backward(parameters);
        }
        self.histories.iter_mut().for_each(|history| history.prepare_backward(parameters));
    }

    pub(super) fn collect(&self, groups: &[&BranchSums], parameters: &mut Parameters) {
        for (at, mlp) in self.cross.iter().enumerate() {
            let sums: Vec<_> = groups.iter().map(|group| &*group.cross[at]).collect();
            mlp.collect(&sums, parameters);
        }
        if let Some(mlp) = &self.mlp {
            let sums: Vec<_> = groups.iter().map(|group| &*group.mlp).collect();
            mlp.collect(&sums, parameters);
        }
        for (at, history) in self.histories.iter().enumerate() {
            let sums: Vec<_> = groups.iter().map(|group| &group.histories[at]).collect();
            history.collect(&sums, parameters);
        }
    }

    /// Adds the result of a block to `outputs`, rows of `width`.
    pub(super) fn forward(
        &self,
        (Forward { place, dropout }, block): (Forward, &mut BranchBlock),
        (dense, vectors): ((&[f32], usize), VectorRows<'_>),
        (outputs, width): (&mut [f32], usize),
        scratch: &mut BranchScratch,
    ) {
        self.gather(block, dense, vectors, scratch);
        let (stride, count) = (self.stride(), self.shape.outputs);
        let BranchScratch { rows, results, inner } = scratch;
        let results = &mut results[..place.rows * count];
        let rows = &rows[..place.rows * stride];
        // What the MLP reads, or the result where there is none.
        let last = block.mlp.first_mut().unwrap_or(&mut inner.spare[0]);
        last.reshape(self.shape.inputs);
        if self.cross.is_empty() {
            last.write_rows(rows, stride);
        } else {
            block.cross[0][0].write_rows(rows, stride);
            cross_forward(&self.cross, place, &mut block.cross, last);
        }
        if let Some(mlp) = &self.mlp {
            mlp.forward(place, &mut block.mlp, dropout);
            block.mlp[block.mlp.len() - 1].read_rows(results, count);
        } else {
            last.read_rows(results, count);
        }
        if self.shape.normalize {
            block.scales.resize(place.rows, 0.0);
            normalize(results, &mut block.scales);
        }
        for (output, result) in outputs.chunks_exact_mut(width).zip(results.chunks_exact(count)) {
            kernel::add(Level::best(), &mut output[self.shape.output..][..count], result);
        }
    }

    /// Writes the branch's input, row by row.
    fn gather(
        &self,
        block: &mut BranchBlock,
        (dense, dense_width): (&[f32], usize),
        vectors: VectorRows<'_>,
        BranchScratch { rows, inner, .. }: &mut BranchScratch,
    ) {
        let stride = self.stride();
        for (at, row) in rows.chunks_exact_mut(stride).take(vectors.place.rows).enumerate() {
            for Segment { from, into, width } in &self.shape.dense {
                let from = at * dense_width + from;
                row[*into..][..*width].copy_from_slice(&dense[from..][..*width]);
            }
            for Segment { from, into, width } in &self.shape.vectors {
                let from = at * vectors.stride + from;
                row[*into..][..*width].copy_from_slice(&vectors.values[from..][..*width]);
            }
        }
        let given = self.histories.iter().zip(&mut block.histories).zip(&self.shape.histories);
        for ((history, block), shape) in given {
            let place = Place { stride, offset: shape.sequence.into };
            history.forward(vectors, block, (rows, place), inner);
        }
    }

    /// Adds to the sums and to the gradients of the vectors.
    pub(super) fn backward(
        &self,
        (Backward { place, dropout, write }, block): (Backward, &BranchBlock),
        (Given { vectors, outputs, output_gradient }, width): (Given<'_>, usize),
        (sums, vector_gradients): (&mut BranchSums, (&mut [f32], usize)),
        BranchScratch { rows, results, inner }: &mut BranchScratch,
    ) {
        let (stride, count) = (self.stride(), self.shape.outputs);
        let results = &mut results[..place.rows * count];
        let own =
            |row: usize| row * width + self.shape.output..row * width + self.shape.output + count;
        for (row, result) in results.chunks_exact_mut(count).enumerate() {
            result.copy_from_slice(&output_gradient[own(row)]);
            if self.shape.normalize {
                normalize_back(result, &outputs[own(row)], block.scales[row]);
            }
        }
        let gradients = &mut inner.gradients;
        gradients[0].reshape(count);
        gradients[0].write_rows(results, count);
        let input_gradient = InputGradient::Wanted;
        let how = BlockBackward { place, dropout, input_gradient, write };
        if let Some(mlp) = &self.mlp {
            mlp.backward(how, &block.mlp, gradients, &mut sums.mlp);
        }
        if !self.cross.is_empty() {
            let how = BlockBackward { dropout: None, ..how };
            let given = (&*block.cross, &mut inner.spare);
            cross_backward(&self.cross, how, given, gradients, &mut sums.cross);
        }
        let rows = &mut rows[..place.rows * stride];
        gradients[0].read_rows(rows, stride);
        let (vector_gradients, vector_stride) = vector_gradients;
        for (row, into) in
            rows.chunks_exact(stride).zip(vector_gradients.chunks_exact_mut(vector_stride))
        {
            for Segment { from, into: at, width } in &self.shape.vectors {
                kernel::add(Level::best(), &mut into[*from..][..*width], &row[*at..][..*width]);
            }
        }
        for (at, history) in self.histories.iter().enumerate() {
            let offset = self.shape.histories[at].sequence.into;
            let vectors = VectorRows { place, values: vectors, stride: vector_stride };
            if write == kernel::Write::Replace {
                sums.histories[at].clear();
            }
            let wanted = (&mut sums.histories[at], &mut *vector_gradients);
            let given = (&*rows, Place { stride, offset });
            history.backward((vectors, &block.histories[at]), given, wanted, inner);
        }
    }
}

/// Scales vectors to length 1 and notes the factors.
fn normalize(vectors: &mut [f32], scales: &mut [f32]) {
    let level = Level::best();
    let width = vectors.len() / scales.len().max(1);
    for (vector, scale) in vectors.chunks_exact_mut(width.max(1)).zip(scales) {
        let squared = kernel::dot(level, vector, vector);
        *scale = (squared + LENGTH_SQUARED_MIN).sqrt().recip();
        for value in vector {
            *value *= *scale;
        }
    }
}

/// From the gradient of a scaled vector to that of the vector as it was.
fn normalize_back(gradient: &mut [f32], scaled: &[f32], scale: f32) {
    let along = kernel::dot(Level::best(), gradient, scaled);
    for (gradient, scaled) in gradient.iter_mut().zip(scaled) {
        *gradient = scale * (*gradient - along * scaled);
    }
}

/// Runs cross layers over a block: `kept[0][0]` is the input, and `out` what the last one makes.
fn cross_forward(
    layers: &[FusedMlp],
    place: BlockPlace,
    kept: &mut [Vec<Panels>],
    out: &mut Panels,
) {
    let (level, lines) = (Level::best(), place.padded());
    for (at, layer) in layers.iter().enumerate() {
        layer.forward(place, &mut kept[at], None);
        let (before, after) = kept.split_at_mut(at + 1);
        let out = after.first_mut().map_or(&mut *out, |next| &mut next[0]);
        let (first, input) = (&before[0][0], &before[at][0]);
        let product = &before[at][before[at].len() - 1];
        let given = first.lines(lines).zip(product.lines(lines)).zip(input.lines(lines));
        for (((first, product), input), out) in given.zip(out.lines_mut(lines)) {
            kernel::cross(level, first, product, input, out);
        }
    }
}

/// Goes back through cross layers: `gradients[0]` holds the gradient of what the last one made and, at
/// the end, that of the input.
fn cross_backward(
    layers: &[FusedMlp],
    how: BlockBackward,
    (kept, spare): (&[Vec<Panels>], &mut [Panels; 3]),
    gradients: &mut [Panels; 2],
    sums: &mut [Vec<LayerGradient>],
) {
    let (level, lines) = (Level::best(), how.place.padded());
    let [gradient, d_first, _] = spare;
    let first = &kept[0][0];
    std::mem::swap(gradient, &mut gradients[0]);
    d_first.reshape(first.columns());
    d_first.values_mut().fill(0.0);
    for (at, layer) in layers.iter().enumerate().rev() {
        let product = &kept[at][kept[at].len() - 1];
        gradients[0].reshape(first.columns());
        let given = gradient.lines(lines).zip(first.lines(lines)).zip(product.lines(lines));
        let wanted = gradients[0].lines_mut(lines).zip(d_first.lines_mut(lines));
        for (((gradient, first), product), (d_product, d_first)) in given.zip(wanted) {
            kernel::cross_back(level, gradient, [first, product], d_product, d_first);
        }
        layer.backward(how, &kept[at], gradients, &mut sums[at]);
        for (into, from) in gradient.lines_mut(lines).zip(gradients[0].lines(lines)) {
            kernel::add(level, into, from);
        }
    }
    for (into, from) in gradient.lines_mut(lines).zip(d_first.lines(lines)) {
        kernel::add(level, into, from);
    }
    std::mem::swap(gradient, &mut gradients[0]);
}
