//! Floats that start on a cache line.

/// Sixteen floats on a cache line of their own, so that no vector straddles two lines.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Zeroed floats that start on a cache line; their number is rounded up to whole lines.
#[derive(Clone)]
pub(crate) struct Aligned(Vec<Line>);

impl Aligned {
    pub(crate) fn new(len: usize) -> Self {
        Self(vec![Line([0.0; 16]); len.div_ceil(16)])
    }

    pub(crate) fn values(&self) -> &[f32] {
        bytemuck::cast_slice(&self.0)
    }

    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        bytemuck::cast_slice_mut(&mut self.0)
    }
}

impl std::fmt::Debug for Aligned {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Aligned([f32; {}])", self.0.len() * 16)
    }
}
