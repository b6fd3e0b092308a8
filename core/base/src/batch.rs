//! A rank's slice of one global batch, column by column.

use std::ops::Range;

/// Values of varying count per row: row `i` holds `values[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jagged {
    /// Where each row starts; one more than rows, first 0, never falling.
    pub offsets: Vec<u32>,
    /// All values, row after row.
    pub values: Vec<i64>,
}

impl Jagged {
    /// No rows.
    pub fn new() -> Self {
        Self { offsets: vec![0], values: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The values of row `row`.
    pub fn row(&self, row: usize) -> &[i64] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    /// Appends one row.
    pub fn push_row(&mut self, values: &[i64]) {
        self.values.extend_from_slice(values);
        self.offsets.push(self.values.len() as u32);
    }
}

impl Default for Jagged {
    fn default() -> Self {
        Self::new()
    }
}

/// The values of one column for the rows of a batch.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Column {
    /// Row-major floats, [B, width]; a missing value is NaN.
    F32 {
        /// Values per row.
        width: usize,
        /// `rows * width` values.
        values: Vec<f32>,
    },
    /// Row-major ids, [B, width]; a missing id is [`crate::MISSING_ID`].
    I64 {
        /// Values per row.
        width: usize,
        /// `rows * width` values.
        values: Vec<i64>,
    },
    /// Ids of varying count per row.
    I64List(Jagged),
}

impl Column {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::F32 { width, values } => values.len() / width,
            Self::I64 { width, values } => values.len() / width,
            Self::I64List(jagged) => jagged.rows(),
        }
    }

    /// `f32[13]`, `i64[26]` or `i64 list`, for messages.
    pub fn type_name(&self) -> String {
        match self {
            Self::F32 { width, .. } => format!("f32[{width}]"),
            Self::I64 { width, .. } => format!("i64[{width}]"),
            Self::I64List(_) => "i64 list".to_owned(),
        }
    }
}

/// The rows of one step that belong to one rank.
///
/// The global batch of a step is the same set of rows for every number of ranks; rank r of R holds
/// the consecutive slice [`Batch::slice_of`] of it. The last batch of an epoch may be short, and a
/// rank's slice of it empty: every rank still runs the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Rows in this slice.
    pub rows: usize,
    /// Rows of the whole global batch: what means are taken over.
    pub rows_global: usize,
    /// Position of the first row of this slice within the global batch.
    pub row_first: usize,
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// The columns, in the order of the schema or of the feature chain's output.
    pub columns: Vec<Column>,
}

impl Batch {
    /// The slice of a global batch of `rows` rows that rank `rank` of `ranks` takes.
    ///
    /// ```
    /// use rectool_base::Batch;
    /// assert_eq!(Batch::slice_of(10, 0, 4), 0..2);
    /// assert_eq!(Batch::slice_of(10, 3, 4), 7..10);
    /// ```
    pub fn slice_of(rows: usize, rank: usize, ranks: usize) -> Range<usize> {
        rows * rank / ranks..rows * (rank + 1) / ranks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_cover_the_batch_once() {
        for rows in [0, 1, 3, 8192, 8191] {
            for ranks in 1..9 {
                let mut next = 0;
                for rank in 0..ranks {
                    let slice = Batch::slice_of(rows, rank, ranks);
                    assert_eq!(slice.start, next, "{rows} rows, rank {rank} of {ranks}");
                    next = slice.end;
                }
                assert_eq!(next, rows);
            }
        }
    }

    #[test]
    fn jagged_rows_come_back() {
        let mut jagged = Jagged::new();
        jagged.push_row(&[1, 2]);
        jagged.push_row(&[]);
        jagged.push_row(&[3]);
        assert_eq!(jagged.rows(), 3);
        assert_eq!((jagged.row(0), jagged.row(1), jagged.row(2)), (&[1, 2][..], &[][..], &[3][..]));
    }
}
