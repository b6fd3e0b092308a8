//! Vectors that lie in memory or in mapped files, in one piece or in several.

use rayon::prelude::*;

use crate::error::AnnError;
use crate::limits::DIM_MAX;

/// Vectors [N, D], row after row, in one or more pieces.
///
/// ```
/// use rectool_ann::Vectors;
/// let vectors = Vectors::new(2, &[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])?;
/// assert_eq!((vectors.rows(), vectors.row(2)), (3, &[0.5, 0.5][..]));
/// # Ok::<(), rectool_ann::AnnError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Vectors<'a> {
    dim: usize,
    pieces: Vec<&'a [f32]>,
    /// First row of each piece, and the number of rows.
    starts: Vec<usize>,
}

impl<'a> Vectors<'a> {
    /// Vectors in one piece [N, `dim`].
    ///
    /// # Errors
    /// If `dim` is out of range or does not divide the piece.
    pub fn new(dim: usize, values: &'a [f32]) -> Result<Self, AnnError> {
        Self::in_pieces(dim, vec![values])
    }

    /// Vectors in pieces [_, `dim`], which follow each other.
    ///
    /// # Errors
    /// If `dim` is out of range or does not divide a piece.
    pub fn in_pieces(dim: usize, pieces: Vec<&'a [f32]>) -> Result<Self, AnnError> {
        if !(1..=DIM_MAX).contains(&dim) {
            return Err(AnnError::option("dim", dim, "1 to 4096"));
        }
        let mut starts = vec![0];
        for piece in &pieces {
            if piece.len() % dim != 0 {
                return Err(AnnError::Shape {
                    what: "values of a piece of vectors",
                    found: piece.len(),
                    expected: format!("a multiple of {dim}"),
                });
            }
            starts.push(starts[starts.len() - 1] + piece.len() / dim);
        }
        Ok(Self { dim, pieces, starts })
    }

    /// Width D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number N of vectors.
    pub fn rows(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// The pieces that they lie in, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [f32]> {
        self.pieces.iter().copied()
    }

    /// One vector \[D\].
    ///
    /// # Panics
    /// If there is no such row.
    #[inline]
    pub fn row(&self, row: usize) -> &'a [f32] {
        let piece = if self.pieces.len() == 1 {
            0
        } else {
            self.starts.partition_point(|start| *start <= row) - 1
        };
        &self.pieces[piece][(row - self.starts[piece]) * self.dim..][..self.dim]
    }

    /// Checks that every value is a finite number whose square is one too.
    ///
    /// # Errors
    /// Names the first row that holds another.
    pub(crate) fn check_finite(&self) -> Result<(), AnnError> {
        let rows = self.rows();
        let wrong = (0..rows.div_ceil(4096)).into_par_iter().find_map_first(|chunk| {
            (chunk * 4096..rows.min((chunk + 1) * 4096)).find(|row| !is_usable(self.row(*row)))
        });
        match wrong {
            Some(row) => Err(AnnError::NotFinite { what: "vector", row }),
            None => Ok(()),
        }
    }
}

/// Whether arithmetic on the vector stays finite.
pub(crate) fn is_usable(vector: &[f32]) -> bool {
    // Far below the square root of the largest f32, far above any embedding.
    vector.iter().all(|value| value.abs() <= 1e15)
}
