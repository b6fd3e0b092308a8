//! Products of one query with every centroid, in bytes: the choice of leaves.
//!
//! Sixteen centroids make a panel; a line of it has four columns of each, side by side, so that one
//! instruction multiplies and adds 64 bytes where the processor has it (AVX-512 VNNI). A centroid is
//! stored as bytes without sign, value ≈ scale·(byte − 128).

use super::level::{Arithmetic, Kernel, Level, dispatch};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::panels::LANES;
use super::scan::Line;
#[cfg(target_arch = "x86_64")]
use super::{directory_x86, level::has_vnni};

/// Columns of a line.
const COLUMNS: usize = 4;
/// What stands for 0, as it wraps around: 128.
const ZERO: i8 = i8::MIN;
/// The largest number of a byte with sign.
const RANGE: f32 = 127.0;

/// What turns a panel's sums into scores: sixteen scales and sixteen biases. Lanes without a centroid
/// have a bias of −∞.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct PanelFacts {
    pub(crate) scales: [f32; LANES],
    pub(crate) biases: [f32; LANES],
}

/// Centroids as bytes, and how many there are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Directory<'a> {
    pub(crate) panels: &'a [Line],
    pub(crate) facts: &'a [PanelFacts],
    pub(crate) count: usize,
}

/// Lines of a panel of vectors of width `dim`.
pub(crate) fn panel_lines(dim: usize) -> usize {
    dim.div_ceil(COLUMNS)
}

/// Panels of `centroids` [L, D], with a bias each.
pub(crate) fn pack_panels(
    dim: usize,
    centroids: &[f32],
    biases: impl Iterator<Item = f32>,
) -> (Vec<Line>, Vec<PanelFacts>) {
    let panels = (centroids.len() / dim).div_ceil(LANES);
    let lines = panel_lines(dim);
    let mut values = vec![Line([ZERO as u8; 64]); panels * lines];
    let empty = PanelFacts { scales: [0.0; LANES], biases: [f32::NEG_INFINITY; LANES] };
    let mut facts = vec![empty; panels];
    let mut rounded = Vec::new();
    for ((at, centroid), bias) in centroids.chunks_exact(dim).enumerate().zip(biases) {
        let (panel, lane) = (at / LANES, at % LANES);
        let bytes = Bytes::of(centroid);
        bytes.round(centroid, &mut rounded);
        for (column, byte) in rounded.iter().enumerate() {
            let line = &mut values[panel * lines + column / COLUMNS].0;
            line[lane * COLUMNS + column % COLUMNS] = byte.wrapping_add(ZERO) as u8;
        }
        facts[panel].scales[lane] = bytes.scale;
        facts[panel].biases[lane] = bias;
    }
    (values, facts)
}

/// How floats become bytes with sign.
struct Bytes {
    scale: f32,
    inverse: f32,
}

impl Bytes {
    fn of(values: &[f32]) -> Self {
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = RANGE / largest;
        // A vector of zeros, or of values so tiny that the inverse overflows: then of zeros.
        let inverse = if inverse.is_finite() { inverse } else { 0.0 };
        Self { scale: largest / RANGE, inverse }
    }

    /// The byte of each value, in `out`.
    fn round(&self, values: &[f32], out: &mut Vec<i8>) {
        dispatch(Round { values, inverse: self.inverse, out });
    }
}

struct Round<'a> {
    values: &'a [f32],
    inverse: f32,
    out: &'a mut Vec<i8>,
}

impl Kernel for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { values, inverse, out } = self;
        out.resize(values.len(), 0);
        for (value, out) in values.iter().zip(out) {
            // Where the processor has an instruction for it; elsewhere rounding calls a function.
            *out = (value * inverse).round_ties_even().clamp(-RANGE, RANGE) as i8;
        }
    }
}

/// A query in bytes with sign: value ≈ scale·byte.
#[derive(Clone, Debug, Default)]
pub(crate) struct ByteQuery {
    /// Four to a number, as they lie in a line.
    values: Vec<i32>,
    scale: f32,
    sum: i32,
    rounded: Vec<i8>,
    sums: Vec<[i32; LANES]>,
}

impl ByteQuery {
    /// The nearest bytes.
    pub(crate) fn set(&mut self, query: &[f32]) {
        let bytes = Bytes::of(query);
        self.scale = bytes.scale;
        bytes.round(query, &mut self.rounded);
        self.sum = self.rounded.iter().map(|byte| i32::from(*byte)).sum();
        // Columns that do not exist are zeros.
        self.rounded.resize(panel_lines(query.len()) * COLUMNS, 0);
        self.values.clear();
        let packed = self.rounded.as_chunks::<COLUMNS>().0;
        let packed = packed.iter().map(|bytes| i32::from_le_bytes(bytes.map(|byte| byte as u8)));
        self.values.extend(packed);
    }

    #[cfg(test)]
    pub(super) fn packed(&self) -> &[i32] {
        &self.values
    }

    /// The query's product with every centroid plus its bias, in `out` [panels × 16], and in `most` the
    /// largest of each lane of every sixteen panels: every score counts in one of them.
    ///
    /// # Panics
    /// If the shapes do not fit.
    ///
    /// # Determinism
    /// Whole numbers but for one product and one sum of floats: every level gives the same.
    pub(crate) fn products(
        &mut self,
        panels: &[Line],
        facts: &[PanelFacts],
        out: &mut Vec<f32>,
        most: &mut Vec<f32>,
    ) {
        self.sums.resize(facts.len(), [0; LANES]);
        sums_at(Level::best(), panels, &self.values, &mut self.sums);
        out.resize(facts.len() * LANES, 0.0);
        most.resize(facts.len().div_ceil(LANES) * LANES, 0.0);
        let zero = i32::from(ZERO as u8) * self.sum;
        let (out, most) = (out.as_chunks_mut().0, most.as_chunks_mut().0);
        dispatch(Scores { sums: &self.sums, zero, scale: self.scale, facts, out, most });
    }
}

/// A score that at least `count` lanes reach, of those whose largest are in `most` (which is left in another
/// order): each of these is another lane's.
pub(crate) fn floor_of(most: &mut [f32], count: usize) -> f32 {
    if count >= most.len() {
        return f32::NEG_INFINITY;
    }
    *most.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
}

/// Calls `found` with each lane whose score reaches `floor`, and the score.
#[inline(always)]
pub(crate) fn reaching(scores: &[f32], floor: f32, found: impl FnMut(u32, f32)) {
    dispatch(Reaching { scores, floor, found });
}

struct Reaching<'a, F> {
    scores: &'a [f32],
    floor: f32,
    found: F,
}

impl<F: FnMut(u32, f32)> Kernel for Reaching<'_, F> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { scores, floor, mut found } = self;
        let (groups, rest) = scores.as_chunks::<LANES>();
        for (group, scores) in groups.iter().enumerate() {
            // Few do: one look at sixteen, without a branch for each.
            let mut any = false;
            for score in scores {
                any |= *score >= floor;
            }
            if any {
                reaching_of(scores, floor, group * LANES, &mut found);
            }
        }
        reaching_of(rest, floor, scores.len() - rest.len(), &mut found);
    }
}

#[inline(always)]
fn reaching_of(scores: &[f32], floor: f32, start: usize, found: &mut impl FnMut(u32, f32)) {
    for (lane, score) in scores.iter().enumerate() {
        if *score >= floor {
            found((start + lane) as u32, *score);
        }
    }
}

/// Sums of products of bytes, of all panels, with the instructions of `level`.
pub(super) fn sums_at(level: Level, panels: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    assert_eq!(panels.len(), query.len() * sums.len(), "panels of the query's width");
    match level {
        Level::Portable => portable(panels, query, sums),
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX-512 VNNI")]
        // SAFETY: the processor was asked; the function has no other demand.
        Level::Avx512 if has_vnni() => unsafe { directory_x86::vnni(panels, query, sums) },
        #[cfg(target_arch = "x86_64")]
        #[expect(unsafe_code, reason = "calls a function compiled for AVX2")]
        // SAFETY: a `Level` above portable only comes from `supported`, which asked the processor.
        Level::Avx2 | Level::Avx512 => unsafe { directory_x86::avx2(panels, query, sums) },
        #[cfg(target_arch = "aarch64")]
        #[expect(unsafe_code, reason = "calls a function compiled for NEON")]
        // SAFETY: as above.
        Level::Neon => unsafe { neon::sums(panels, query, sums) },
    }
}

fn portable(panels: &[Line], query: &[i32], sums: &mut [[i32; LANES]]) {
    for (lines, sums) in panels.chunks_exact(query.len()).zip(sums) {
        *sums = [0; LANES];
        for (line, packed) in lines.iter().zip(query) {
            for (sum, bytes) in sums.iter_mut().zip(line.0.chunks_exact(COLUMNS)) {
                for (byte, value) in bytes.iter().zip(packed.to_le_bytes()) {
                    *sum += i32::from(*byte) * i32::from(value as i8);
                }
            }
        }
    }
}

struct Scores<'a> {
    sums: &'a [[i32; LANES]],
    zero: i32,
    scale: f32,
    facts: &'a [PanelFacts],
    out: &'a mut [[f32; LANES]],
    most: &'a mut [[f32; LANES]],
}

impl Kernel for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<A: Arithmetic>(self) {
        let Self { sums, zero, scale, facts, out, most } = self;
        let panels = sums.chunks(LANES).zip(facts.chunks(LANES));
        for ((panels, out), most) in panels.zip(out.chunks_mut(LANES)).zip(most) {
            let mut largest = [f32::NEG_INFINITY; LANES];
            for ((sums, facts), out) in panels.0.iter().zip(panels.1).zip(out) {
                // All is read before any of it is written: else the compiler, which cannot see that
                // `out` lies elsewhere, would take one lane after another.
                let mut scores = [0.0; LANES];
                for lane in 0..LANES {
                    // Two roundings at every level, so that all give the same.
                    scores[lane] = (sums[lane] - zero) as f32 * (scale * facts.scales[lane])
                        + facts.biases[lane];
                }
                for (largest, score) in largest.iter_mut().zip(scores) {
                    *largest = if score > *largest { score } else { *largest };
                }
                *out = scores;
            }
            *most = largest;
        }
    }
}
