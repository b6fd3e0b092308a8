//! The dot interaction of DLRM: all pairs of a sample's feature vectors.

use super::aligned::Aligned;
#[cfg(target_arch = "x86_64")]
use super::interaction_x86;
use super::{Instructions, Level};

/// Whether a vector's product with itself is one of the outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfDots {
    /// Pairs of different vectors only: F1 (F1 - 1) / 2 of them.
    Exclude,
    /// Also each vector with itself: F1 (F1 + 1) / 2 products.
    Include,
}

/// Whether the first vector (the bottom network's output) goes along in front of the products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstVector {
    /// Products only.
    Omit,
    /// D values of vector 0, then the products: the top network's whole input in one pass.
    Copy,
}

/// Where a sample's outputs lie: sample b's at `b * stride + offset`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Values from one sample to the next.
    pub stride: usize,
    /// Values before a sample's outputs.
    pub offset: usize,
}

/// The dot interaction of F1 vectors of width D.
///
/// The products are the lower triangle of V Vᵀ, row by row: (1,0), (2,0), (2,1), (3,0), …, with the
/// diagonal where [`SelfDots::Include`] asks for it.
///
/// ```
/// use rectool_model::{FirstVector, DotInteraction, Place, SelfDots};
/// let dots = DotInteraction::new(3, 2, SelfDots::Exclude, FirstVector::Omit);
/// let vectors = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let mut out = [0.0; 3];
/// dots.forward(&vectors, &mut out, Place { stride: 3, offset: 0 });
/// assert_eq!(out, [11.0, 17.0, 39.0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DotInteraction {
    pub(super) features: usize,
    pub(super) width: usize,
    pub(super) self_dots: SelfDots,
    first: FirstVector,
}

impl DotInteraction {
    /// An interaction of `features` = F1 vectors, the first one included, of `width` = D values.
    ///
    /// # Panics
    /// If either is 0.
    pub fn new(features: usize, width: usize, self_dots: SelfDots, first: FirstVector) -> Self {
        assert!(features > 0 && width > 0, "an interaction of {features} vectors of width {width}");
        Self { features, width, self_dots, first }
    }

    /// Number of products of a sample.
    pub fn dots(&self) -> usize {
        self.row_start(self.features)
    }

    /// Number of outputs of a sample: the products, and D more with [`FirstVector::Copy`].
    pub fn outputs(&self) -> usize {
        self.first_width() + self.dots()
    }

    /// Products of vector `row` with those before it (and itself).
    pub(super) fn row_len(&self, row: usize) -> usize {
        row + usize::from(self.self_dots == SelfDots::Include)
    }

    /// Position of the first product of vector `row`.
    pub(super) fn row_start(&self, row: usize) -> usize {
        match self.self_dots {
            SelfDots::Exclude => row * row.saturating_sub(1) / 2,
            SelfDots::Include => row * (row + 1) / 2,
        }
    }

    fn first_width(&self) -> usize {
        match self.first {
            FirstVector::Omit => 0,
            FirstVector::Copy => self.width,
        }
    }

    /// Writes every sample's outputs, on the calling thread: samples are independent, and callers
    /// spread blocks of them.
    ///
    /// Shapes: `vectors` [B, F1, D]; `out` [B, stride], of which [`DotInteraction::outputs`] values
    /// from `offset` on are written and the others left alone.
    ///
    /// # Panics
    /// If the shapes do not fit.
    ///
    /// # Determinism
    /// A sample's outputs do not depend on the others; the rounding depends on the machine's
    /// instructions.
    pub fn forward(&self, vectors: &[f32], out: &mut [f32], place: Place) {
        self.forward_at(Level::best(), vectors, out, place);
    }

    /// The gradient of every vector from those of the outputs; `d_vectors` is overwritten.
    ///
    /// Shapes: `vectors` and `d_vectors` [B, F1, D]; `d_out` [B, stride], read at `place`.
    ///
    /// # Panics
    /// If the shapes do not fit.
    ///
    /// # Determinism
    /// As [`DotInteraction::forward`].
    pub fn backward(&self, vectors: &[f32], d_out: &[f32], place: Place, d_vectors: &mut [f32]) {
        self.backward_at(Level::best(), (vectors, d_out), place, d_vectors);
    }

    fn forward_at(&self, level: Level, vectors: &[f32], out: &mut [f32], place: Place) {
        self.check(vectors.len(), out.len(), place);
        let scratch = &mut Scratch::new(self);
        let samples = out.chunks_exact_mut(place.stride);
        for (out, vectors) in samples.zip(vectors.chunks_exact(self.features * self.width)) {
            let out = &mut out[place.offset..place.offset + self.outputs()];
            let (first, dots) = out.split_at_mut(self.first_width());
            first.copy_from_slice(&vectors[..first.len()]);
            self.forward_sample(level, vectors, scratch, dots);
        }
    }

    fn backward_at(
        &self,
        level: Level,
        (vectors, d_out): (&[f32], &[f32]),
        place: Place,
        d_vectors: &mut [f32],
    ) {
        self.check(vectors.len(), d_out.len(), place);
        assert_eq!(vectors.len(), d_vectors.len(), "gradient shaped unlike its vectors");
        let scratch = &mut Scratch::new(self);
        let sample = self.features * self.width;
        let samples = vectors.chunks_exact(sample).zip(d_out.chunks(place.stride));
        for (d_vectors, (vectors, d_out)) in d_vectors.chunks_exact_mut(sample).zip(samples) {
            let d_out = &d_out[place.offset..place.offset + self.outputs()];
            let (first, dots) = d_out.split_at(self.first_width());
            self.backward_sample(level, (vectors, dots), scratch, d_vectors);
            for (into, from) in d_vectors.iter_mut().zip(first) {
                *into += from;
            }
        }
    }

    fn check(&self, vectors: usize, out: usize, place: Place) {
        let sample = self.features * self.width;
        assert!(
            vectors.is_multiple_of(sample)
                && place.offset + self.outputs() <= place.stride
                && out == vectors / sample * place.stride,
            "{vectors} values are not [B, {}, {}], or {out} outputs not [B, {}] with {} from {} on",
            self.features,
            self.width,
            place.stride,
            self.outputs(),
            place.offset,
        );
    }

    fn forward_sample(
        &self,
        level: Level,
        vectors: &[f32],
        scratch: &mut Scratch,
        dots: &mut [f32],
    ) {
        match level.instructions() {
            Instructions::Portable => self.forward_portable(vectors, scratch, dots),
            #[cfg(target_arch = "x86_64")]
            _ => interaction_x86::forward(self, level, vectors, scratch, dots),
        }
    }

    fn backward_sample(
        &self,
        level: Level,
        (vectors, d_dots): (&[f32], &[f32]),
        scratch: &mut Scratch,
        d_vectors: &mut [f32],
    ) {
        match level.instructions() {
            Instructions::Portable => self.backward_portable(vectors, d_dots, d_vectors),
            #[cfg(target_arch = "x86_64")]
            _ => interaction_x86::backward(self, level, (vectors, d_dots), scratch, d_vectors),
        }
    }

    /// Works on a transposed copy, so that the inner loop runs over columns: a plain dot product
    /// would be a chain of dependent additions, which no compiler may vectorise.
    fn forward_portable(&self, vectors: &[f32], scratch: &mut Scratch, dots: &mut [f32]) {
        let columns = scratch.columns.values_mut();
        let padded = scratch.features_padded;
        for (feature, vector) in vectors.chunks_exact(self.width).enumerate() {
            for (column, value) in columns.chunks_exact_mut(padded).zip(vector) {
                column[feature] = *value;
            }
        }
        dots.fill(0.0);
        for (row, vector) in vectors.chunks_exact(self.width).enumerate() {
            let sums = &mut dots[self.row_start(row)..self.row_start(row + 1)];
            for (value, column) in vector.iter().zip(columns.chunks_exact(padded)) {
                for (sum, other) in sums.iter_mut().zip(column) {
                    *sum += value * other;
                }
            }
        }
    }

    fn backward_portable(&self, vectors: &[f32], d_dots: &[f32], d_vectors: &mut [f32]) {
        d_vectors.fill(0.0);
        for row in 0..self.features {
            let into_row = row * self.width..(row + 1) * self.width;
            for (column, gradient) in
                d_dots[self.row_start(row)..self.row_start(row + 1)].iter().enumerate()
            {
                let into_column = column * self.width..(column + 1) * self.width;
                add_scaled(
                    &mut d_vectors[into_row.clone()],
                    *gradient,
                    &vectors[into_column.clone()],
                );
                add_scaled(&mut d_vectors[into_column], *gradient, &vectors[into_row.clone()]);
            }
        }
    }
}

fn add_scaled(into: &mut [f32], scale: f32, from: &[f32]) {
    for (into, from) in into.iter_mut().zip(from) {
        *into += scale * from;
    }
}

/// Buffers of one thread; rows and columns beyond F1 stay zero.
pub(super) struct Scratch {
    /// F1 rounded up to whole vectors of 16.
    pub(super) features_padded: usize,
    /// D rounded up to whole vectors of 8.
    pub(super) width_padded: usize,
    /// A sample's vectors transposed, [D, features_padded].
    pub(super) columns: Aligned,
    /// The products, with room for two vectors of 16 past their end.
    pub(super) packed: Aligned,
    /// The gradients of the products as a symmetric matrix, [features_padded, features_padded].
    pub(super) square: Aligned,
    /// A sample's vectors, then their gradients, each [F1, width_padded]; empty where D needs no
    /// padding.
    pub(super) padded: Aligned,
}

impl Scratch {
    fn new(shape: &DotInteraction) -> Self {
        let features_padded = shape.features.next_multiple_of(16);
        let width_padded = shape.width.next_multiple_of(8);
        let padded =
            if width_padded == shape.width { 0 } else { 2 * shape.features * width_padded };
        Self {
            features_padded,
            width_padded,
            columns: Aligned::new(shape.width * features_padded),
            packed: Aligned::new(shape.dots() + 32),
            square: Aligned::new(features_padded * features_padded),
            padded: Aligned::new(padded),
        }
    }
}

#[cfg(test)]
mod tests;
