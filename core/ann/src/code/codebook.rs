//! The sixteen values that each part of a residual can take.

use crate::kernel::GROUP;

/// Codes per position.
pub(crate) const CODES: usize = 16;
/// Columns per position.
pub(crate) const COLUMNS: usize = 2;

/// The values of one position: sixteen pairs, first all first values.
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Entries {
    pub(crate) x: [f32; CODES],
    pub(crate) y: [f32; CODES],
}

/// A product quantiser of residuals [D]: two columns per position, and for L2 two more positions for
/// the bias of a vector within its leaf, a coarse and a fine part of one number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codebook<'a> {
    pub(crate) dim: usize,
    /// Values of the positions of columns, then of those of the bias.
    pub(crate) entries: &'a [Entries],
}

impl<'a> Codebook<'a> {
    /// Positions that columns take.
    pub(crate) fn column_positions(dim: usize) -> usize {
        dim.div_ceil(COLUMNS)
    }

    /// All positions, with or without a bias.
    pub(crate) fn positions(dim: usize, biased: bool) -> usize {
        Self::column_positions(dim) + if biased { 2 } else { 0 }
    }

    /// Lines of a block and of a table: positions, four to a line.
    pub(crate) fn lines(dim: usize, biased: bool) -> usize {
        Self::positions(dim, biased).div_ceil(GROUP)
    }

    /// Values of columns.
    pub(crate) fn columns(&self) -> &'a [Entries] {
        &self.entries[..Self::column_positions(self.dim)]
    }

    /// Values of the bias, coarse and fine; empty without a bias.
    pub(crate) fn bias(&self) -> &'a [Entries] {
        &self.entries[Self::column_positions(self.dim)..]
    }
}
