//! The vectors of a build in the order in which the part holds them.

use crate::source::Source;

/// Vectors by their row in the part.
pub(crate) struct Ordered<'a> {
    pub(crate) source: &'a Source<'a>,
    /// The row of the input of each row of the part.
    pub(crate) order: &'a [u32],
}

impl Ordered<'_> {
    /// Width D.
    pub(crate) fn dim(&self) -> usize {
        self.source.dim()
    }

    /// Rows of the part [_, D], copied.
    pub(crate) fn gather(&self, rows: &[u32]) -> Vec<f32> {
        self.source.gather(rows.iter().map(|row| self.order[*row as usize] as usize))
    }
}
