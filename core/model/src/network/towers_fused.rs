//! Networks of branches in host memory.

use super::branch_fused::{BranchBlock, BranchScratch, BranchSums, FusedBranch};
use super::fused::{Backward, Blocks, Forward, Given, RowWidths};
use super::heads_fused::{FusedHeads, HeadsBlock, HeadsScratch, HeadsSums};
use super::history_fused::VectorRows;
use super::terms_fused::{FusedTerms, TermsBlock, TermsSums};
use super::towers::TowersShape;
use crate::parameters::Parameters;

/// What all blocks go through.
#[derive(Debug)]
pub(super) struct TowersStages {
    shape: TowersShape,
    branches: Vec<FusedBranch>,
    terms: Option<FusedTerms>,
    heads: Option<FusedHeads>,
}

/// What a block keeps.
#[derive(Debug)]
pub(super) struct Block {
    branches: Vec<BranchBlock>,
    terms: Option<TermsBlock>,
    heads: Option<HeadsBlock>,
}

/// Gradients of the parameters.
#[derive(Debug)]
pub(super) struct Sums {
    branches: Vec<BranchSums>,
    terms: Option<TermsSums>,
    heads: Option<HeadsSums>,
}

/// Buffers of one thread.
pub(super) struct Scratch {
    branches: BranchScratch,
    heads: Option<HeadsScratch>,
}

impl TowersStages {
    pub(super) fn new(shape: TowersShape) -> Self {
        let branches = shape.branches.iter().cloned().map(FusedBranch::new).collect();
        let terms = shape.terms.clone().map(FusedTerms::new);
        let heads = shape.heads.clone().map(FusedHeads::new);
        Self { shape, branches, terms, heads }
    }
}

impl Blocks for TowersStages {
    type Block = Block;
    type Sums = Sums;
    type Scratch = Scratch;

    fn widths(&self) -> RowWidths<'_> {
        let TowersShape { dense, layout, outputs, .. } = &self.shape;
        RowWidths { dense: *dense, layout, outputs: *outputs }
    }

    fn seed(&self) -> u64 {
        self.shape.seed
    }

    fn block(&self) -> Block {
        let branches = self.branches.iter().map(FusedBranch::block).collect();
        let terms = self.terms.as_ref().map(FusedTerms::block);
        Block { branches, terms, heads: self.heads.as_ref().map(FusedHeads::block) }
    }

    fn sums(&self) -> Sums {
        let branches = self.branches.iter().map(FusedBranch::sums).collect();
        let terms = self.terms.as_ref().map(FusedTerms::sums);
        Sums { branches, terms, heads: self.heads.as_ref().map(FusedHeads::sums) }
    }

    fn scratch(&self) -> Scratch {
        let heads = self.heads.as_ref().map(FusedHeads::scratch);
        Scratch { branches: BranchScratch::new(&self.branches), heads }
    }

    fn prepare_forward(&mut self, parameters: &Parameters) {
        self.branches.iter_mut().for_each(|branch| branch.prepare_forward(parameters));
        self.terms.iter_mut().for_each(|terms| terms.prepare_forward(parameters));
        self.heads.iter_mut().for_each(|heads| heads.prepare_forward(parameters));
    }

    fn prepare_backward(&mut self, parameters: &Parameters) {
        self.branches.iter_mut().for_each(|branch| branch.prepare_backward(parameters));
        self.heads.iter_mut().for_each(|heads| heads.prepare_backward(parameters));
    }

    fn forward(
        &self,
        how: Forward,
        block: &mut Block,
        (dense, vectors, outputs): (&[f32], &mut [f32], &mut [f32]),
        scratch: &mut Scratch,
    ) {
        let RowWidths { dense: dense_width, layout, outputs: width } = self.widths();
        let stride = layout.row_stride;
        let vectors = VectorRows { place: how.place, values: vectors, stride };
        outputs.fill(0.0);
        for (branch, block) in self.branches.iter().zip(&mut block.branches) {
            let given = ((dense, dense_width), vectors);
            branch.forward((how, block), given, (&mut *outputs, width), &mut scratch.branches);
        }
        if let (Some(terms), Some(block)) = (&self.terms, &mut block.terms) {
            terms.forward(block, dense, vectors, outputs);
        }
        let given = self.heads.as_ref().zip(block.heads.as_mut()).zip(scratch.heads.as_mut());
        if let Some(((heads, block), scratch)) = given {
            heads.forward(how, block, (outputs, width), scratch);
        }
    }

    fn backward(
        &self,
        (how, block): (Backward, &Block),
        given: Given<'_>,
        (sums, vector_gradients): (&mut Sums, &mut [f32]),
        Scratch { branches: scratch, heads }: &mut Scratch,
    ) {
        let RowWidths { layout, outputs: width, .. } = self.widths();
        let stride = layout.row_stride;
        vector_gradients.fill(0.0);
        let output_gradient = match (&self.heads, &block.heads, &mut sums.heads, heads) {
            (Some(heads), Some(block), Some(sums), Some(scratch)) => {
                let outputs = (given.outputs, given.output_gradient, width);
                heads.backward((how, block), outputs, sums, scratch)
            }
            _ => given.output_gradient,
        };
        let given = Given { output_gradient, ..given };
        for (at, branch) in self.branches.iter().enumerate() {
            let wanted = (&mut sums.branches[at], (&mut *vector_gradients, stride));
            branch.backward((how, &block.branches[at]), (given, width), wanted, scratch);
        }
        if let (Some(terms), Some(block), Some(sums)) = (&self.terms, &block.terms, &mut sums.terms)
        {
            let vectors = VectorRows { place: how.place, values: given.vectors, stride };
            let given = (vectors, given.output_gradient);
            terms.backward(how, block, given, (sums, vector_gradients));
        }
    }

    fn collect(&self, groups: &[Sums], parameters: &mut Parameters) {
        for (at, branch) in self.branches.iter().enumerate() {
            let sums: Vec<_> = groups.iter().map(|group| &group.branches[at]).collect();
            branch.collect(&sums, parameters);
        }
        if let Some(terms) = &self.terms {
            let sums: Vec<_> = groups.iter().filter_map(|group| group.terms.as_ref()).collect();
            terms.collect(&sums, parameters);
        }
        if let Some(heads) = &self.heads {
            let sums: Vec<_> = groups.iter().filter_map(|group| group.heads.as_ref()).collect();
            heads.collect(&sums, parameters);
        }
    }
}
