//! What every network in host memory does alike: a block of rows goes through all of it at once, so
//! that what one stage writes is still in the cache when the next one reads it. Threads share out the
//! blocks; the embedding engine writes straight into what the blocks read.

use std::fmt::Debug;

use rayon::prelude::*;
use rectool_embedding::Layout;
use tch::Device;

use super::mlp::DropoutStep;
use super::mlp_fused::{BLOCK_ROWS, BlockPlace};
use super::{Network, Pass};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::kernel::Write;
use crate::parameters::Parameters;

/// Blocks whose parameter gradients are summed one after another, if there are more than
/// [`GROUPS_MIN`] such groups: the fewer, the more threads find work; the more, the fewer sums are
/// left to add up in the end.
const BLOCKS_PER_GROUP: usize = 8;

/// Fewest and most groups of a batch. Each has a copy of the parameters' gradients.
const GROUPS_MIN: usize = 4;
const GROUPS_MAX: usize = 32;

/// The widths of a network's rows.
#[derive(Clone, Copy, Debug)]
pub(super) struct RowWidths<'a> {
    /// Dense inputs N.
    pub(super) dense: usize,
    /// Where embeddings lie.
    pub(super) layout: &'a Layout,
    /// Outputs O.
    pub(super) outputs: usize,
}

/// A block going forward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Forward {
    pub(super) place: BlockPlace,
    pub(super) dropout: Option<DropoutStep>,
}

/// A block going backward.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backward {
    pub(super) place: BlockPlace,
    /// As it was going forward.
    pub(super) dropout: Option<DropoutStep>,
    /// Whether the block is the first of its sums.
    pub(super) write: Write,
}

/// What a block reads going backward; the block's rows only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    /// [rows, stride].
    pub(super) vectors: &'a [f32],
    /// What it computed, [rows, O].
    pub(super) outputs: &'a [f32],
    /// Their gradient.
    pub(super) output_gradient: &'a [f32],
}

/// A network, as blocks of rows see it. All functions on blocks run on the calling thread and depend
/// on the block's rows alone.
pub(super) trait Blocks: Debug + Send + Sync {
    /// What a block keeps from its forward to its backward pass.
    type Block: Debug + Send + Sync;
    /// The parameters' gradients from a group of blocks.
    type Sums: Debug + Send + Sync;
    /// Buffers of one thread.
    type Scratch;

    fn widths(&self) -> RowWidths<'_>;

    /// Seed of dropout.
    fn seed(&self) -> u64;

    fn block(&self) -> Self::Block;

    fn sums(&self) -> Self::Sums;

    fn scratch(&self) -> Self::Scratch;

    /// Takes over the weights for forward passes.
    fn prepare_forward(&mut self, parameters: &Parameters);

    /// Takes over the weights for backward passes.
    fn prepare_backward(&mut self, parameters: &Parameters);

    /// Computes the outputs of a block from its dense inputs and its vectors; among the latter are
    /// places that a network may fill itself.
    fn forward(
        &self,
        how: Forward,
        block: &mut Self::Block,
        rows: (&[f32], &mut [f32], &mut [f32]),
        scratch: &mut Self::Scratch,
    );

    /// Adds a block's part to its group's sums and writes the gradient of its vectors.
    fn backward(
        &self,
        block: (Backward, &Self::Block),
        given: Given<'_>,
        wanted: (&mut Self::Sums, &mut [f32]),
        scratch: &mut Self::Scratch,
    );

    /// Writes the parameters' gradients: the groups' sums.
    fn collect(&self, groups: &[Self::Sums], parameters: &mut Parameters);
}

/// A [`Network`] made of [`Blocks`].
#[derive(Debug)]
pub(super) struct Fused<T: Blocks> {
    stages: T,
    /// [capacity, N].
    dense: HostTensor,
    /// [capacity, stride] and its gradient.
    vectors: HostTensor,
    vector_gradients: HostTensor,
    /// [capacity, O].
    outputs: HostTensor,
    blocks: Vec<T::Block>,
    groups: Vec<T::Sums>,
    dropout: Option<DropoutStep>,
    capacity: usize,
    rows: usize,
}

impl<T: Blocks> Fused<T> {
    pub(super) fn new(stages: T) -> Result<Self, ModelError> {
        let empty = || zeros(0, 1);
        Ok(Self {
            stages,
            dense: empty()?,
            vectors: empty()?,
            vector_gradients: empty()?,
            outputs: empty()?,
            blocks: Vec::new(),
            groups: Vec::new(),
            dropout: None,
            capacity: 0,
            rows: 0,
        })
    }

    /// Blocks of the batch.
    fn block_count(&self) -> usize {
        self.rows.div_ceil(BLOCK_ROWS)
    }

    /// Makes one group of each `blocks_per_group` blocks; gives that number, which is a function of
    /// the batch's rows alone, so that sums are the same for any number of threads.
    fn form_groups(&mut self) -> usize {
        let blocks = self.block_count();
        let groups = (blocks / BLOCKS_PER_GROUP).clamp(GROUPS_MIN, GROUPS_MAX).min(blocks).max(1);
        let stages = &self.stages;
        self.groups.resize_with(groups.max(self.groups.len()), || stages.sums());
        blocks.div_ceil(groups).max(1)
    }
}

/// The rows of a block in a buffer of the whole batch.
fn rows_of(values: &[f32], width: usize, place: BlockPlace) -> &[f32] {
    &values[place.first * width..][..place.rows * width]
}

fn zeros(rows: usize, columns: usize) -> Result<HostTensor, ModelError> {
    HostTensor::zeros(&[rows, columns], Device::Cpu)
        .map_err(ModelError::torch("allocating activations"))
}

impl<T: Blocks> Network for Fused<T> {
    fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            let RowWidths { dense, layout, outputs } = self.stages.widths();
            self.dense = zeros(rows, dense)?;
            self.vectors = zeros(rows, layout.row_stride)?;
            self.vector_gradients = zeros(rows, layout.row_stride)?;
            self.outputs = zeros(rows, outputs)?;
            self.capacity = rows;
        }
        let blocks = self.block_count().max(self.blocks.len());
        let stages = &self.stages;
        self.blocks.resize_with(blocks, || stages.block());
        Ok(())
    }

    fn dense_mut(&mut self) -> &mut [f32] {
        let len = self.rows * self.stages.widths().dense;
        &mut self.dense.slice_mut()[..len]
    }

    fn embeddings_mut(&mut self) -> (&mut [f32], &Layout) {
        let layout = self.stages.widths().layout;
        (&mut self.vectors.slice_mut()[..self.rows * layout.row_stride], layout)
    }

    fn width(&self) -> usize {
        self.stages.widths().outputs
    }

    fn forward(&mut self, parameters: &Parameters, pass: Pass) -> Result<&[f32], ModelError> {
        self.stages.prepare_forward(parameters);
        self.dropout = match pass {
            Pass::Train { step, row_first } => {
                Some(DropoutStep { seed: self.stages.seed(), step, row_first })
            }
            Pass::Evaluate => None,
        };
        let (rows, dropout, stages) = (self.rows, self.dropout, &self.stages);
        let RowWidths { dense: inputs, layout, outputs: width } = stages.widths();
        let (stride, dense) = (layout.row_stride, self.dense.slice());
        self.blocks
            .par_iter_mut()
            .zip(self.vectors.slice_mut()[..rows * stride].par_chunks_mut(BLOCK_ROWS * stride))
            .zip(self.outputs.slice_mut()[..rows * width].par_chunks_mut(BLOCK_ROWS * width))
            .enumerate()
            .with_max_len(1)
            .for_each_init(
                || stages.scratch(),
                |scratch, (at, ((block, vectors), outputs))| {
                    let rows = outputs.len() / width;
                    let place = BlockPlace { first: at * BLOCK_ROWS, rows };
                    let given = (rows_of(dense, inputs, place), vectors, outputs);
                    stages.forward(Forward { place, dropout }, block, given, scratch);
                },
            );
        Ok(&self.outputs.slice()[..rows * width])
    }

    fn backward(
        &mut self,
        parameters: &mut Parameters,
        output_gradient: &[f32],
    ) -> Result<(), ModelError> {
        self.stages.prepare_backward(parameters);
        let group_blocks = self.form_groups();
        let RowWidths { layout, outputs: width, .. } = self.stages.widths();
        let stride = layout.row_stride;
        let used = self.block_count().div_ceil(group_blocks);
        let (stages, blocks, dropout) = (&self.stages, &self.blocks, self.dropout);
        let (vectors, outputs) = (self.vectors.slice(), self.outputs.slice());
        let group_values = group_blocks * BLOCK_ROWS * stride;
        self.groups[..used]
            .par_iter_mut()
            .zip(
                self.vector_gradients.slice_mut()[..self.rows * stride]
                    .par_chunks_mut(group_values),
            )
            .enumerate()
            .with_max_len(1)
            .for_each_init(
                || stages.scratch(),
                |scratch, (group, (sums, gradients))| {
                    let parts = gradients.chunks_mut(BLOCK_ROWS * stride);
                    for (at, gradients) in parts.enumerate() {
                        let block = group * group_blocks + at;
                        let rows = gradients.len() / stride;
                        let place = BlockPlace { first: block * BLOCK_ROWS, rows };
                        let given = Given {
                            vectors: rows_of(vectors, stride, place),
                            outputs: rows_of(outputs, width, place),
                            output_gradient: rows_of(output_gradient, width, place),
                        };
                        let write = if at == 0 { Write::Replace } else { Write::Add };
                        let how = Backward { place, dropout, write };
                        stages.backward((how, &blocks[block]), given, (sums, gradients), scratch);
                    }
                },
            );
        stages.collect(&self.groups[..used], parameters);
        Ok(())
    }

    fn embedding_gradient(&self) -> (&[f32], &Layout) {
        let layout = self.stages.widths().layout;
        (&self.vector_gradients.slice()[..self.rows * layout.row_stride], layout)
    }
}
