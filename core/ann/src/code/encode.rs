//! Residuals as codes that keep inner products.
//!
//! The error of a residual counts more along the vector than across it: queries that find the vector
//! point its way (Guo and others, "Accelerating Large-Scale Inference with Anisotropic Vector
//! Quantization", 2020). With e the error, u the vector's direction: loss = |e|² + weight·(e·u)². The
//! second term ties all positions together; codes are chosen position by position, twice over.

use super::codebook::{CODES, Codebook, Entries};
use crate::idle::give_way;
use crate::kernel::{Arithmetic, BLOCK, Kernel, Line, dispatch};

/// Rounds over the positions of a vector: later ones change few codes.
const ROUNDS: usize = 2;

/// Chooses codes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder<'a> {
    pub(crate) codebook: Codebook<'a>,
    /// How much more an error counts along the vector.
    pub(crate) weight: f32,
}

impl Encoder<'_> {
    /// The weight for vectors of width `dim` when inner products of at least `threshold` times the
    /// largest possible ones matter: η − 1 of the paper, never below 0.
    pub(crate) fn weight(dim: usize, threshold: f32) -> f32 {
        let square = threshold * threshold;
        ((dim as f32 - 1.0) * square / (1.0 - square) - 1.0).max(0.0)
    }

    /// Codes [N, positions] of residuals [N, D] of vectors whose directions [N, D] have unit length
    /// or are zero; `biases` [N] for a codebook with them, else empty.
    pub(crate) fn encode(
        &self,
        (residuals, directions): (&[f32], &[f32]),
        biases: &[f32],
        codes: &mut Vec<u8>,
    ) {
        give_way();
        codes.clear();
        let dim = self.codebook.dim;
        for (at, residual) in residuals.chunks_exact(dim).enumerate() {
            let start = codes.len();
            codes.resize(start + self.codebook.entries.len(), 0);
            let codes = &mut codes[start..];
            let direction = &directions[at * dim..][..dim];
            dispatch(Choose { encoder: *self, residual, direction, codes });
            if let [coarse, fine] = self.codebook.bias() {
                let positions = self.codebook.widths.len();
                let code = nearest(&coarse.values[0], biases[at]);
                codes[positions] = code;
                let rest = biases[at] - coarse.values[0][usize::from(code)];
                codes[positions + 1] = nearest(&fine.values[0], rest);
            }
        }
    }
}

/// The code of the nearest value.
pub(super) fn nearest(values: &[f32; CODES], value: f32) -> u8 {
    let costs = std::array::from_fn(|code| (values[code] - value).powi(2));
    least(&costs)
}

/// Where the least of costs of 0 or above is. They are compared as whole numbers, which order as
/// floats of one sign do, with the code in the lowest four bits.
#[inline(always)]
fn least(costs: &[f32; CODES]) -> u8 {
    let mut keys = [0u32; CODES];
    for (code, (key, cost)) in keys.iter_mut().zip(costs).enumerate() {
        *key = (cost.to_bits() & !15) | code as u32;
    }
    (keys.iter().copied().fold(u32::MAX, u32::min) & 15) as u8
}

struct Choose<'a> {
    encoder: Encoder<'a>,
    residual: &'a [f32],
    direction: &'a [f32],
    codes: &'a mut [u8],
}

impl Kernel for Choose<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Encoder { codebook, weight } = self.encoder;
        let rounds = if weight > 0.0 { ROUNDS } else { 1 };
        // The error along the vector, of the columns that are not coded and of positions so far.
        let coded = codebook.coded();
        let mut along = product(&self.residual[coded..], &self.direction[coded..]);
        for round in 0..rounds {
            let parts = codebook.parts(self.residual).zip(codebook.parts(self.direction));
            for (((entries, residual), (_, direction)), code) in parts.zip(&mut *self.codes) {
                let mut along_of = [0.0f32; CODES];
                let mut square = [0.0f32; CODES];
                let columns = residual.iter().zip(direction).zip(&entries.values);
                for ((r, u), values) in columns {
                    for at in 0..CODES {
                        let error = r - values[at];
                        along_of[at] += error * u;
                        square[at] += error * error;
                    }
                }
                if round > 0 {
                    along -= along_of[usize::from(*code & 15)];
                }
                let mut costs = [0.0f32; CODES];
                for at in 0..CODES {
                    let total = along + along_of[at];
                    costs[at] = square[at] + weight * total * total;
                }
                *code = least(&costs);
                along += along_of[usize::from(*code & 15)];
            }
        }
    }
}

/// The inner product, one term after another.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0.0, |sum, (a, b)| sum + a * b)
}

/// Puts codes [positions] of one vector into its lane of a block.
pub(crate) fn pack(codes: &[u8], lane: usize, block: &mut [Line]) {
    let shift = if lane < BLOCK / 2 { 0 } else { 4 };
    for (position, code) in codes.iter().enumerate() {
        let byte = &mut block[position / 4].0[position % 4 * 16 + lane % 16];
        *byte = *byte & !(15 << shift) | (code & 15) << shift;
    }
}

/// Reads codes [positions] of one vector from its lane of a block.
pub(crate) fn unpack(block: &[Line], lane: usize, codes: &mut [u8]) {
    let shift = if lane < BLOCK / 2 { 0 } else { 4 };
    for (position, code) in codes.iter_mut().enumerate() {
        *code = block[position / 4].0[position % 4 * 16 + lane % 16] >> shift & 15;
    }
}

/// Error of a residual along its vector, for codes that were chosen.
pub(super) fn along(
    codebook: &Codebook<'_>,
    (residual, direction): (&[f32], &[f32]),
    codes: &[u8],
) -> f32 {
    let parts = codebook.parts(direction).zip(codes);
    parts.fold(product(residual, direction), |sum, ((entries, direction), code)| {
        sum - product_of(entries, direction, *code)
    })
}

/// The inner product of a code's values with a direction's part.
pub(super) fn product_of(entries: &Entries, direction: &[f32], code: u8) -> f32 {
    let columns = direction.iter().zip(&entries.values);
    columns.fold(0.0, |sum, (u, values)| sum + values[usize::from(code)] * u)
}
