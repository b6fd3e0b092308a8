//! The sixteen values that each part of a residual can take.

use crate::kernel::GROUP;

/// Codes per position.
pub(crate) const CODES: usize = 16;
/// Columns per position, at most.
pub(crate) const COLUMNS_MAX: usize = 4;
/// Positions of L2's bias.
pub(crate) const BIAS_POSITIONS: usize = 2;

/// The values of one position: sixteen for its first column, sixteen for the second, … A column
/// that it does not stand for has zeros.
#[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub(crate) struct Entries {
    pub(crate) values: [[f32; CODES]; COLUMNS_MAX],
}

/// A product quantiser of residuals [D]: one to four columns per position, and for L2 two more
/// positions for the bias of a vector within its leaf, a coarse and a fine part of one number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codebook<'a> {
    pub(crate) dim: usize,
    /// Columns of each position; what is left of D is not coded.
    pub(crate) widths: &'a [u8],
    /// Values of the positions of columns, then of those of the bias.
    pub(crate) entries: &'a [Entries],
}

impl<'a> Codebook<'a> {
    /// All positions, with or without a bias.
    pub(crate) fn positions(widths: &[u8], biased: bool) -> usize {
        widths.len() + if biased { BIAS_POSITIONS } else { 0 }
    }

    /// Lines of a block and of a table: positions, four to a line.
    pub(crate) fn lines(widths: &[u8], biased: bool) -> usize {
        Self::positions(widths, biased).div_ceil(GROUP)
    }

    /// Each position's values with the part of a row [D] that it stands for.
    #[inline(always)]
    pub(crate) fn parts<'r>(&self, row: &'r [f32]) -> impl Iterator<Item = (&'a Entries, &'r [f32])>
    where
        'a: 'r,
    {
        let mut rest = row;
        self.entries.iter().zip(self.widths).map(move |(entries, width)| {
            let (part, after) = rest.split_at(usize::from(*width));
            rest = after;
            (entries, part)
        })
    }

    /// Columns that are coded.
    #[inline(always)]
    pub(crate) fn coded(&self) -> usize {
        self.widths.iter().map(|width| usize::from(*width)).sum()
    }

    /// Values of the bias, coarse and fine; empty without a bias.
    pub(crate) fn bias(&self) -> &'a [Entries] {
        &self.entries[self.widths.len()..]
    }
}
