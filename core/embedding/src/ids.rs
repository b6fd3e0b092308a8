//! What goes in and out of a lookup.

use crate::EmbeddingError;

/// The ids of one feature for B rows.
#[derive(Clone, Copy, Debug)]
pub enum Ids<'a> {
    /// One id per row, in a column of a matrix: the id of row r is `values[r * width + at]`.
    Fixed {
        /// The matrix, [B, `width`].
        values: &'a [i64],
        /// Columns of the matrix.
        width: usize,
        /// The feature's column.
        at: usize,
    },
    /// Any number of ids per row: those of row r are `values[offsets[r]..offsets[r + 1]]`.
    List {
        /// [B + 1], never falling.
        offsets: &'a [u32],
        /// The ids.
        values: &'a [i64],
        /// How often each of `values` counts, or nothing where all count once.
        weights: Option<&'a [f32]>,
    },
}

impl Ids<'_> {
    /// Refuses slices that do not hold `rows` rows.
    pub(crate) fn check(&self, feature: &str, rows: usize) -> Result<(), EmbeddingError> {
        let refuse = |found: String, expected: String| {
            Err(EmbeddingError::Ids { what: format!("feature `{feature}`"), found, expected })
        };
        match *self {
            Self::Fixed { values, width, at } => {
                if at >= width {
                    return refuse(format!("column {at}"), format!("one of {width} columns"));
                }
                if Some(values.len()) != rows.checked_mul(width) {
                    return refuse(
                        format!("{} values", values.len()),
                        format!("{rows} rows of {width}"),
                    );
                }
            }
            Self::List { offsets, values, weights } => {
                if offsets.len() != rows + 1 {
                    return refuse(
                        format!("{} offsets", offsets.len()),
                        format!("{} for {rows} rows", rows + 1),
                    );
                }
                if !offsets.is_sorted() {
                    return refuse("offsets that fall".to_owned(), "rising offsets".to_owned());
                }
                if offsets[rows] as usize > values.len() {
                    return refuse(
                        format!("{} values", values.len()),
                        format!("{} as the last offset says", offsets[rows]),
                    );
                }
                if let Some(weights) = weights.filter(|weights| weights.len() != values.len()) {
                    return refuse(
                        format!("{} weights", weights.len()),
                        format!("{}, one for each value", values.len()),
                    );
                }
            }
        }
        Ok(())
    }
}

/// Where the embeddings of B rows lie in a buffer: those of feature f of row r at
/// `r * row_stride + offsets[f]`, D long, or L * D for a sequence. Gradients lie in the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Floats from one row to the next.
    pub row_stride: usize,
    /// \[F\], in feature order.
    pub offsets: Vec<usize>,
}

impl Layout {
    /// The features one after another without gaps, given each one's width: that of
    /// [`crate::EmbeddingCollection::widths`].
    ///
    /// ```
    /// let layout = rectool_embedding::Layout::packed([16, 16, 8]);
    /// assert_eq!((layout.row_stride, layout.offsets), (40, vec![0, 16, 32]));
    /// ```
    pub fn packed(dims: impl IntoIterator<Item = usize>) -> Self {
        let mut row_stride = 0;
        let mut offsets = Vec::new();
        for dim in dims {
            offsets.push(row_stride);
            row_stride += dim;
        }
        Self { row_stride, offsets }
    }

    /// Refuses a layout that does not fit features of these widths, or a buffer too small for it.
    pub(crate) fn check(
        &self,
        widths: &[usize],
        rows: usize,
        buffer: usize,
    ) -> Result<(), EmbeddingError> {
        let refuse = |what, found, expected| Err(EmbeddingError::Layout { what, found, expected });
        if self.offsets.len() != widths.len() {
            return refuse("offsets", self.offsets.len(), format!("{} features", widths.len()));
        }
        let mut end = 0;
        for (&offset, width) in self.offsets.iter().zip(widths) {
            let feature_end = offset.saturating_add(*width);
            if feature_end > self.row_stride {
                let expected = format!("{width} floats before the stride of {}", self.row_stride);
                return refuse("offset", offset, expected);
            }
            end = end.max(feature_end);
        }
        let needed = match rows {
            0 => Some(0),
            _ => self.row_stride.checked_mul(rows - 1).and_then(|last| last.checked_add(end)),
        };
        if needed.is_none_or(|needed| buffer < needed) {
            let expected = format!("{rows} rows of stride {}", self.row_stride);
            return refuse("buffer", buffer, expected);
        }
        Ok(())
    }
}

/// What a lookup is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Keys without a row get one, and a backward pass may follow.
    Train,
    /// Nothing changes: a key without a row reads its initial values.
    Evaluate,
}
