//! The terms of a DeepFM or a Wide & Deep beside its MLP, in host memory.

use super::fused::Backward;
use super::history_fused::VectorRows;
use super::mlp_fused::{BLOCK_ROWS, BlockBackward, FusedMlp, InputGradient, LayerGradient};
use super::towers::TermsShape;
use crate::kernel::{self, Level, Panels};
use crate::parameters::Parameters;

#[derive(Debug)]
pub(super) struct FusedTerms {
    shape: TermsShape,
    dense: Option<FusedMlp>,
}

/// What a block keeps.
#[derive(Debug)]
pub(super) struct TermsBlock {
    /// The dense inputs and the field's row.
    dense: Vec<Panels>,
    /// The field's row again, row by row: [rows, D + 1]; empty without dense inputs.
    fields: Vec<f32>,
    /// Sum of the vectors of all fields, [rows, D].
    totals: Vec<f32>,
}

/// Gradients of the parameters.
#[derive(Debug)]
pub(super) struct TermsSums {
    dense: Vec<LayerGradient>,
}

impl FusedTerms {
    pub(super) fn new(shape: TermsShape) -> Self {
        let dense = shape.dense.clone().map(FusedMlp::new);
        Self { shape, dense }
    }

    pub(super) fn block(&self) -> TermsBlock {
        let dense = self.dense.as_ref().map_or_else(Vec::new, FusedMlp::activations);
        let fields = if dense.is_empty() { 0 } else { BLOCK_ROWS * (self.shape.dim + 1) };
        let totals = vec![0.0; BLOCK_ROWS * self.shape.dim];
        TermsBlock { dense, fields: vec![0.0; fields], totals }
    }

    pub(super) fn sums(&self) -> TermsSums {
        TermsSums { dense: self.dense.as_ref().map_or_else(Vec::new, FusedMlp::gradients) }
    }

    pub(super) fn prepare_forward(&mut self, parameters: &Parameters) {
        self.dense.iter_mut().for_each(|dense| dense.pack_forward(parameters));
    }

    /// Adds the terms of a block to its only output.
    pub(super) fn forward(
        &self,
        block: &mut TermsBlock,
        dense: &[f32],
        vectors: VectorRows<'_>,
        outputs: &mut [f32],
    ) {
        let (level, dim) = (Level::best(), self.shape.dim);
        let VectorRows { place, values, stride } = vectors;
        let TermsBlock { dense: kept, fields, totals } = block;
        if let Some(mlp) = &self.dense {
            let inputs = kept[0].columns();
            kept[0].write_rows(dense, inputs);
            mlp.forward(place, kept, None);
            kept[1].read_rows(&mut fields[..place.rows * (dim + 1)], dim + 1);
        }
        for (at, (output, row)) in outputs.iter_mut().zip(values.chunks_exact(stride)).enumerate() {
            let total = &mut totals[at * dim..][..dim];
            total.fill(0.0);
            let mut squares = 0.0;
            let mut add = |vector: &[f32]| {
                kernel::add(level, total, vector);
                squares += kernel::dot(level, vector, vector);
            };
            self.shape.vectors.iter().for_each(|from| add(&row[*from..][..dim]));
            let mut sum: f32 = self.shape.weights.iter().map(|from| row[*from]).sum();
            if self.dense.is_some() {
                let field = &fields[at * (dim + 1)..][..=dim];
                add(&field[..dim]);
                sum += field[dim];
            }
            // The products of all pairs are half of what the square of the sum has beyond the squares.
            *output += sum + 0.5 * (kernel::dot(level, total, total) - squares);
        }
    }

    /// Adds to the sums and to the gradients of the vectors.
    pub(super) fn backward(
        &self,
        Backward { place, write, .. }: Backward,
        block: &TermsBlock,
        (vectors, output_gradient): (VectorRows<'_>, &[f32]),
        (sums, vector_gradients): (&mut TermsSums, &mut [f32]),
    ) {
        let (level, dim) = (Level::best(), self.shape.dim);
        let rows = vectors.values.chunks_exact(vectors.stride).zip(output_gradient);
        let rows = rows.zip(vector_gradients.chunks_exact_mut(vectors.stride));
        for (at, ((row, gradient), into)) in rows.enumerate() {
            let total = &block.totals[at * dim..][..dim];
            for from in &self.shape.vectors {
                let into = &mut into[*from..][..dim];
                kernel::add_scaled(level, into, *gradient, total);
                kernel::add_scaled(level, into, -*gradient, &row[*from..][..dim]);
            }
            self.shape.weights.iter().for_each(|from| into[*from] += gradient);
        }
        let Some(mlp) = &self.dense else { return };
        let width = dim + 1;
        let mut fields = vec![0.0; place.rows * width];
        for (at, (into, gradient)) in
            fields.chunks_exact_mut(width).zip(output_gradient).enumerate()
        {
            let (total, field) = (&block.totals[at * dim..], &block.fields[at * width..]);
            let given = total.iter().zip(field).take(dim);
            for (into, (total, own)) in into.iter_mut().zip(given) {
                *into = gradient * (total - own);
            }
            into[dim] = *gradient;
        }
        let mut gradients = [Panels::zeros(BLOCK_ROWS, width), Panels::zeros(BLOCK_ROWS, width)];
        gradients[0].write_rows(&fields, width);
        let input_gradient = InputGradient::Unwanted;
        let how = BlockBackward { place, dropout: None, input_gradient, write };
        mlp.backward(how, &block.dense, &mut gradients, &mut sums.dense);
    }

    pub(super) fn collect(&self, groups: &[&TermsSums], parameters: &mut Parameters) {
        if let Some(mlp) = &self.dense {
            let sums: Vec<_> = groups.iter().map(|group| &*group.dense).collect();
            mlp.collect(&sums, parameters);
        }
    }
}
