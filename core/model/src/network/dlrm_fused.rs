//! DLRM in host memory. A block of rows goes through all of it at once, so that what one stage
//! writes is still in the cache when the next one reads it: bottom MLP, interaction, top MLP, and the
//! same backward. The embedding engine writes straight into the interaction's input.

use rayon::prelude::*;
use rectool_embedding::Layout;
use tch::Device;

use super::dlrm::DlrmShape;
use super::mlp::DropoutStep;
use super::mlp_fused::{
    BLOCK_ROWS, BlockBackward, BlockPlace, FusedMlp, InputGradient, LayerGradient,
};
use super::{Network, Pass};
use crate::ModelError;
use crate::blob::HostTensor;
use crate::kernel::{Panels, Write};
use crate::parameters::Parameters;

/// Blocks whose parameter gradients are summed one after another, if there are more than
/// [`GROUPS_MIN`] such groups: the fewer, the more threads find work; the more, the fewer sums are
/// left to add up in the end.
const BLOCKS_PER_GROUP: usize = 8;

/// Fewest and most groups of a batch. Each has a copy of the parameters' gradients.
const GROUPS_MIN: usize = 4;
const GROUPS_MAX: usize = 32;

#[derive(Debug)]
pub(crate) struct FusedDlrm {
    stages: Stages,
    /// [capacity, N].
    dense: HostTensor,
    /// [capacity, F1, D] and its gradient.
    vectors: HostTensor,
    vector_gradients: HostTensor,
    /// \[capacity\].
    logits: HostTensor,
    blocks: Vec<Block>,
    groups: Vec<Group>,
    capacity: usize,
    rows: usize,
}

/// What all blocks go through.
#[derive(Debug)]
struct Stages {
    shape: DlrmShape,
    bottom: Option<FusedMlp>,
    top: FusedMlp,
    dropout: Option<DropoutStep>,
}

/// What a block keeps from its forward to its backward pass.
#[derive(Debug)]
struct Block {
    bottom: Vec<Panels>,
    top: Vec<Panels>,
}

/// The parameters' gradients from a group of blocks.
#[derive(Debug)]
struct Group {
    bottom: Vec<LayerGradient>,
    top: Vec<LayerGradient>,
}

/// Buffers of one thread.
struct Scratch {
    /// The top MLP's input or its gradient, row by row, [`BLOCK_ROWS`, `top_stride`]; the padding stays
    /// zero.
    rows: Vec<f32>,
    /// Gradients of one layer's output and of the one before it.
    gradients: [Panels; 2],
}

impl FusedDlrm {
    pub(crate) fn new(shape: DlrmShape) -> Result<Self, ModelError> {
        let bottom = shape.bottom.clone().map(FusedMlp::new);
        let top = FusedMlp::new(shape.top.clone());
        let empty = || zeros(0, 1);
        Ok(Self {
            stages: Stages { shape, bottom, top, dropout: None },
            dense: empty()?,
            vectors: empty()?,
            vector_gradients: empty()?,
            logits: empty()?,
            blocks: Vec::new(),
            groups: Vec::new(),
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
        let Stages { bottom, top, .. } = &self.stages;
        self.groups.resize_with(groups.max(self.groups.len()), || Group {
            bottom: bottom.as_ref().map_or_else(Vec::new, FusedMlp::gradients),
            top: top.gradients(),
        });
        blocks.div_ceil(groups).max(1)
    }
}

impl Stages {
    fn scratch(&self) -> Scratch {
        let widest = self.bottom.as_ref().map_or(0, FusedMlp::width_max);
        let gradient = Panels::zeros(BLOCK_ROWS, widest.max(self.top.width_max()));
        Scratch {
            rows: vec![0.0; BLOCK_ROWS * self.shape.top_stride],
            gradients: [gradient.clone(), gradient],
        }
    }

    fn prepare_forward(&mut self, parameters: &Parameters, pass: Pass) {
        self.dropout = match pass {
            Pass::Train { step, row_first } => {
                Some(DropoutStep { seed: self.shape.seed, step, row_first })
            }
            Pass::Evaluate => None,
        };
        self.bottom.iter_mut().for_each(|bottom| bottom.pack_forward(parameters));
        self.top.pack_forward(parameters);
    }

    fn prepare_backward(&mut self, parameters: &Parameters) {
        self.bottom.iter_mut().for_each(|bottom| bottom.pack_backward(parameters));
        self.top.pack_backward(parameters);
    }

    /// Writes the parameters' gradients: the groups' sums.
    fn collect(&self, groups: &[Group], parameters: &mut Parameters) {
        if let Some(bottom) = &self.bottom {
            let sums: Vec<_> = groups.iter().map(|group| &*group.bottom).collect();
            bottom.collect(&sums, parameters);
        }
        let sums: Vec<_> = groups.iter().map(|group| &*group.top).collect();
        self.top.collect(&sums, parameters);
    }

    /// Computes the logits of a block from its dense inputs and `vectors`, where it also puts the
    /// bottom MLP's output.
    fn forward_block(
        &self,
        place: BlockPlace,
        block: &mut Block,
        (dense, vectors, logits): (&[f32], &mut [f32], &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let (width, stride) = (self.shape.layout.row_stride, self.shape.top_stride);
        if let Some(bottom) = &self.bottom {
            let inputs = self.shape.dense;
            let dense = &dense[place.first * inputs..][..place.rows * inputs];
            block.bottom[0].write_rows(dense, inputs);
            bottom.forward(place, &mut block.bottom, None);
            block.bottom[block.bottom.len() - 1].read_rows(vectors, width);
        }
        let rows = &mut scratch.rows[..place.rows * stride];
        let concatenated = self.shape.concatenated();
        for (row, vectors) in rows.chunks_exact_mut(stride).zip(vectors.chunks_exact(width)) {
            row[..concatenated].copy_from_slice(&vectors[..concatenated]);
        }
        if self.shape.has_products() {
            self.shape.products().forward(vectors, rows, self.shape.products_place());
        }
        block.top[0].write_rows(rows, stride);
        self.top.forward(place, &mut block.top, self.dropout);
        let last = block.top[block.top.len() - 1].column(0);
        logits.iter_mut().zip(last).for_each(|(logit, value)| *logit = value);
    }

    /// Adds a block's part to its group's gradients and writes the gradient of its vectors.
    fn backward_block(
        &self,
        (place, write): (BlockPlace, Write),
        (block, logit_gradient, vectors): (&Block, &[f32], &[f32]),
        (group, vector_gradients): (&mut Group, &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let (width, stride) = (self.shape.layout.row_stride, self.shape.top_stride);
        let Scratch { rows, gradients } = scratch;
        gradients[0].reshape(1);
        gradients[0].write_rows(logit_gradient, 1);
        let (dropout, input_gradient) = (self.dropout, InputGradient::Wanted);
        let how = BlockBackward { place, dropout, input_gradient, write };
        self.top.backward(how, &block.top, gradients, &mut group.top);

        let rows = &mut rows[..place.rows * stride];
        gradients[0].read_rows(rows, stride);
        if self.shape.has_products() {
            let place = self.shape.products_place();
            self.shape.products().backward(vectors, rows, place, vector_gradients);
        } else {
            vector_gradients.fill(0.0);
        }
        let concatenated = self.shape.concatenated();
        let pairs = vector_gradients.chunks_exact_mut(width).zip(rows.chunks_exact(stride));
        for (vectors, row) in pairs {
            for (value, copy) in vectors.iter_mut().zip(&row[..concatenated]) {
                *value += copy;
            }
        }
        if let Some(bottom) = &self.bottom {
            gradients[0].reshape(self.shape.dim);
            gradients[0].write_rows(vector_gradients, width);
            let input_gradient = InputGradient::Unwanted;
            let how = BlockBackward { dropout: None, input_gradient, ..how };
            bottom.backward(how, &block.bottom, gradients, &mut group.bottom);
        }
    }

    /// Runs backward over a group of blocks, the first of which is `first`.
    fn backward_group(
        &self,
        first: usize,
        (blocks, logit_gradients, vectors): (&[Block], &[f32], &[f32]),
        (group, vector_gradients): (&mut Group, &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let width = self.shape.layout.row_stride;
        let parts = vector_gradients.chunks_mut(BLOCK_ROWS * width);
        for (at, vector_gradients) in parts.enumerate() {
            let place = BlockPlace {
                first: (first + at) * BLOCK_ROWS,
                rows: vector_gradients.len() / width,
            };
            let logit_gradients = &logit_gradients[place.first..][..place.rows];
            let vectors = &vectors[place.first * width..][..place.rows * width];
            let write = if at == 0 { Write::Replace } else { Write::Add };
            let given = (&blocks[first + at], logit_gradients, vectors);
            let wanted = (&mut *group, vector_gradients);
            self.backward_block((place, write), given, wanted, scratch);
        }
    }
}

fn zeros(rows: usize, columns: usize) -> Result<HostTensor, ModelError> {
    HostTensor::zeros(&[rows, columns], Device::Cpu)
        .map_err(ModelError::torch("allocating activations"))
}

impl Network for FusedDlrm {
    fn begin(&mut self, rows: usize) -> Result<(), ModelError> {
        self.rows = rows;
        if rows > self.capacity || self.capacity == 0 {
            let rows = rows.max(1);
            let width = self.stages.shape.layout.row_stride;
            self.dense = zeros(rows, self.stages.shape.dense)?;
            self.vectors = zeros(rows, width)?;
            self.vector_gradients = zeros(rows, width)?;
            self.logits = zeros(rows, 1)?;
            self.capacity = rows;
        }
        let blocks = self.block_count().max(self.blocks.len());
        let Stages { bottom, top, .. } = &self.stages;
        self.blocks.resize_with(blocks, || Block {
            bottom: bottom.as_ref().map_or_else(Vec::new, FusedMlp::activations),
            top: top.activations(),
        });
        Ok(())
    }

    fn dense_mut(&mut self) -> &mut [f32] {
        let len = self.rows * self.stages.shape.dense;
        &mut self.dense.slice_mut()[..len]
    }

    fn embeddings_mut(&mut self) -> (&mut [f32], &Layout) {
        let len = self.rows * self.stages.shape.layout.row_stride;
        (&mut self.vectors.slice_mut()[..len], &self.stages.shape.layout)
    }

    fn width(&self) -> usize {
        1
    }

    fn forward(&mut self, parameters: &Parameters, pass: Pass) -> Result<&[f32], ModelError> {
        self.stages.prepare_forward(parameters, pass);
        let (rows, width) = (self.rows, self.stages.shape.layout.row_stride);
        let (stages, dense) = (&self.stages, self.dense.slice());
        self.blocks
            .par_iter_mut()
            .zip(self.vectors.slice_mut()[..rows * width].par_chunks_mut(BLOCK_ROWS * width))
            .zip(self.logits.slice_mut()[..rows].par_chunks_mut(BLOCK_ROWS))
            .enumerate()
            .with_max_len(1)
            .for_each_init(
                || stages.scratch(),
                |scratch, (at, ((block, vectors), logits))| {
                    let place = BlockPlace { first: at * BLOCK_ROWS, rows: logits.len() };
                    stages.forward_block(place, block, (dense, vectors, logits), scratch);
                },
            );
        Ok(&self.logits.slice()[..rows])
    }

    fn backward(
        &mut self,
        parameters: &mut Parameters,
        logit_gradient: &[f32],
    ) -> Result<(), ModelError> {
        self.stages.prepare_backward(parameters);
        let group_blocks = self.form_groups();
        let len = self.rows * self.stages.shape.layout.row_stride;
        let group_values = group_blocks * BLOCK_ROWS * self.stages.shape.layout.row_stride;
        let used = self.block_count().div_ceil(group_blocks);
        let given = (&*self.blocks, logit_gradient, self.vectors.slice());
        let stages = &self.stages;
        self.groups[..used]
            .par_iter_mut()
            .zip(self.vector_gradients.slice_mut()[..len].par_chunks_mut(group_values))
            .enumerate()
            .with_max_len(1)
            .for_each_init(
                || stages.scratch(),
                |scratch, (at, (group, gradients))| {
                    stages.backward_group(at * group_blocks, given, (group, gradients), scratch);
                },
            );
        stages.collect(&self.groups[..used], parameters);
        Ok(())
    }

    fn embedding_gradient(&self) -> (&[f32], &Layout) {
        let len = self.rows * self.stages.shape.layout.row_stride;
        (&self.vector_gradients.slice()[..len], &self.stages.shape.layout)
    }
}
