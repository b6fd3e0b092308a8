//! What is indexed.

use crate::error::AnnError;
use crate::filter::Attributes;
use crate::vectors::Vectors;

/// Vectors with their ids, and queries like those to come.
#[derive(Clone, Copy, Debug)]
pub struct BuildInput<'a> {
    /// The vectors [N, D].
    pub vectors: &'a Vectors<'a>,
    /// Their ids \[N\]; by default 0..N.
    pub ids: Option<&'a [u64]>,
    /// Their attributes, for filters.
    pub attributes: Option<&'a Attributes>,
    /// The rows that are indexed; by default all.
    pub rows: Option<&'a [u32]>,
    /// Queries [Q, D] on which efforts are measured. By default some of the vectors themselves,
    /// which are easier to find than what users ask for.
    pub queries: Option<&'a Vectors<'a>>,
}

impl<'a> From<&'a Vectors<'a>> for BuildInput<'a> {
    fn from(vectors: &'a Vectors<'a>) -> Self {
        Self { vectors, ids: None, attributes: None, rows: None, queries: None }
    }
}

impl BuildInput<'_> {
    /// The id of a row of `vectors`.
    pub(crate) fn id(&self, row: usize) -> u64 {
        self.ids.map_or(row as u64, |ids| ids[row])
    }

    /// The row of `vectors` that is indexed at this place.
    pub(crate) fn row(&self, at: usize) -> usize {
        self.rows.map_or(at, |rows| rows[at] as usize)
    }

    /// Number of vectors that are indexed.
    pub(crate) fn count(&self) -> usize {
        self.rows.map_or(self.vectors.rows(), <[u32]>::len)
    }

    pub(crate) fn check(&self) -> Result<(), AnnError> {
        let (rows, dim) = (self.vectors.rows(), self.vectors.dim());
        if let Some(found) = self.ids.map(<[u64]>::len).filter(|found| *found != rows) {
            return Err(AnnError::Shape { what: "ids", found, expected: rows.to_string() });
        }
        let rows_of_attributes = self.attributes.map(Attributes::rows);
        if let Some(found) = rows_of_attributes.filter(|found| *found != rows) {
            let expected = rows.to_string();
            return Err(AnnError::Shape { what: "rows of attributes", found, expected });
        }
        let beyond = self.rows.and_then(|own| own.iter().find(|row| **row as usize >= rows));
        if let Some(found) = beyond.map(|row| *row as usize) {
            let expected = format!("below {rows}");
            return Err(AnnError::Shape { what: "a row to index", found, expected });
        }
        let width = self.queries.map(Vectors::dim).filter(|width| *width != dim);
        if let Some(found) = width {
            return Err(AnnError::Shape {
                what: "width of queries",
                found,
                expected: dim.to_string(),
            });
        }
        self.vectors.check_finite()?;
        self.queries.map_or(Ok(()), Vectors::check_finite)
    }
}
