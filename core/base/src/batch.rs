//! A rank's slice of one global batch, column by column.

use std::ops::Range;

use crate::{ColumnKind, Texts};

/// Values of varying count per row: row `i` holds `values[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jagged<T = i64> {
    /// Where each row starts; one more than rows, first 0, never falling.
    pub offsets: Vec<u32>,
    /// All values, row after row.
    pub values: Vec<T>,
}

impl<T> Jagged<T> {
    /// No rows.
    pub fn new() -> Self {
        Self { offsets: vec![0], values: Vec::new() }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.offsets.len() - 1
    }

    /// The values of row `row`.
    pub fn row(&self, row: usize) -> &[T] {
        &self.values[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }
}

impl<T: Copy> Jagged<T> {
    /// Appends one row.
    pub fn push_row(&mut self, values: &[T]) {
        self.values.extend_from_slice(values);
        self.offsets.push(self.values.len() as u32);
    }
}

impl<T> Default for Jagged<T> {
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
    /// Row-major texts, [B, width].
    Text {
        /// Values per row.
        width: usize,
        /// `rows * width` texts.
        values: Texts,
    },
    /// Floats of varying count per row.
    F32List(Jagged<f32>),
    /// Ids of varying count per row.
    I64List(Jagged),
    /// Texts of varying count per row: row `i` holds texts `offsets[i]..offsets[i + 1]`.
    TextList {
        /// Where each row starts; one more than rows, first 0, never falling.
        offsets: Vec<u32>,
        /// All texts, row after row.
        values: Texts,
    },
}

impl Column {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match self {
            Self::F32 { width, values } => values.len() / width,
            Self::I64 { width, values } => values.len() / width,
            Self::Text { width, values } => values.len() / width,
            Self::F32List(jagged) => jagged.rows(),
            Self::I64List(jagged) => jagged.rows(),
            Self::TextList { offsets, .. } => offsets.len() - 1,
        }
    }

    /// The rows at the places `rows`, in this order.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn picked(&self, rows: &[usize]) -> Self {
        match self {
            Self::F32 { width, values } => {
                Self::F32 { width: *width, values: picked(values, *width, rows) }
            }
            Self::I64 { width, values } => {
                Self::I64 { width: *width, values: picked(values, *width, rows) }
            }
            Self::Text { width, values } => {
                let texts = rows.iter().flat_map(|row| row * width..(row + 1) * width);
                Self::Text { width: *width, values: texts.map(|at| values.get(at)).collect() }
            }
            Self::F32List(jagged) => Self::F32List(jagged.picked(rows)),
            Self::I64List(jagged) => Self::I64List(jagged.picked(rows)),
            Self::TextList { offsets, values } => {
                let (mut starts, mut texts) = (vec![0], Texts::new());
                for row in rows {
                    texts.append(values, offsets[*row] as usize..offsets[row + 1] as usize);
                    starts.push(texts.len() as u32);
                }
                Self::TextList { offsets: starts, values: texts }
            }
        }
    }

    /// `rows` rows of zeros, of missing texts or of empty lists.
    pub fn blank(kind: ColumnKind, rows: usize) -> Self {
        let texts = |count| (0..count).map(|_| None).collect();
        let offsets = vec![0; rows + 1];
        match kind {
            ColumnKind::F32 { width } => Self::F32 { width, values: vec![0.0; rows * width] },
            ColumnKind::I64 { width } => Self::I64 { width, values: vec![0; rows * width] },
            ColumnKind::Text { width } => Self::Text { width, values: texts(rows * width) },
            ColumnKind::F32List => Self::F32List(Jagged { offsets, values: Vec::new() }),
            ColumnKind::I64List => Self::I64List(Jagged { offsets, values: Vec::new() }),
            ColumnKind::TextList => Self::TextList { offsets, values: Texts::new() },
        }
    }

    /// Type and width.
    pub fn kind(&self) -> ColumnKind {
        match self {
            Self::F32 { width, .. } => ColumnKind::F32 { width: *width },
            Self::I64 { width, .. } => ColumnKind::I64 { width: *width },
            Self::Text { width, .. } => ColumnKind::Text { width: *width },
            Self::F32List(_) => ColumnKind::F32List,
            Self::I64List(_) => ColumnKind::I64List,
            Self::TextList { .. } => ColumnKind::TextList,
        }
    }
}

/// The same of rows `rows` of `values`, `width` each.
fn picked<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
    rows.iter().flat_map(|row| &values[row * width..(row + 1) * width]).copied().collect()
}

impl<T: Copy> Jagged<T> {
    fn picked(&self, rows: &[usize]) -> Self {
        let mut picked = Self::new();
        for row in rows {
            picked.push_row(self.row(*row));
        }
        picked
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

/// Where in the data a call stands: for messages, and the seed of what is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchPlace {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Step within the epoch, from 0.
    pub step: u64,
    /// Position of the first row within the global batch.
    pub row_first: usize,
    /// Rows of this rank's slice.
    pub rows: usize,
}

impl std::fmt::Display for BatchPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { epoch, step, row_first, rows } = self;
        write!(f, "epoch {epoch}, step {step}, rows {row_first} to {}", row_first + rows)
    }
}

impl Batch {
    /// Where it stands.
    pub fn place(&self) -> BatchPlace {
        let Self { rows, row_first, epoch, step, .. } = *self;
        BatchPlace { epoch, step, row_first, rows }
    }

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
    fn picked_rows_are_those_asked_for() {
        let mut list = Jagged::new();
        for row in [&[1, 2][..], &[], &[3]] {
            list.push_row(row);
        }
        let texts: Texts = [Some("a"), Some("b"), None, Some("d")].into_iter().collect();
        let columns = [
            Column::F32 { width: 2, values: vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0] },
            Column::I64 { width: 1, values: vec![7, 8, 9] },
            Column::Text { width: 1, values: ["x", "y", "z"].map(Some).into_iter().collect() },
            Column::I64List(list),
            Column::TextList { offsets: vec![0, 2, 2, 4], values: texts },
        ];
        let found: Vec<Column> = columns.iter().map(|column| column.picked(&[2, 0])).collect();
        let mut list = Jagged::new();
        for row in [&[3][..], &[1, 2]] {
            list.push_row(row);
        }
        let texts: Texts = [None, Some("d"), Some("a"), Some("b")].into_iter().collect();
        let expected = [
            Column::F32 { width: 2, values: vec![4.0, 5.0, 0.0, 1.0] },
            Column::I64 { width: 1, values: vec![9, 7] },
            Column::Text { width: 1, values: ["z", "x"].map(Some).into_iter().collect() },
            Column::I64List(list),
            Column::TextList { offsets: vec![0, 2, 4], values: texts },
        ];
        assert_eq!(found, expected);
        for column in &columns {
            let blank = Column::blank(column.kind(), 3);
            assert_eq!((blank.kind(), blank.rows()), (column.kind(), 3));
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
