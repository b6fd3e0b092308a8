//! A float buffer that is kept between steps.

use bytemuck::{Pod, Zeroable};

/// One cache line.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; Floats::ALIGNMENT]);

/// Floats that start on a cache line, so that rows of 16, 32, … floats each fill whole lines.
/// Grows and never shrinks; what it holds is what was last written.
#[derive(Default)]
pub(crate) struct Floats {
    lines: Vec<Line>,
}

impl Floats {
    /// Floats of a cache line.
    pub(crate) const ALIGNMENT: usize = 16;

    /// The first `len` floats.
    pub(crate) fn first_mut(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(Self::ALIGNMENT);
        if self.lines.len() < lines {
            self.lines.resize(lines, Line::zeroed());
        }
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..len]
    }

    /// All of it.
    pub(crate) fn as_slice(&self) -> &[f32] {
        bytemuck::cast_slice(&self.lines)
    }
}
