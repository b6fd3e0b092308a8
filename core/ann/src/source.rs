//! The vectors of a build as they are stored: of unit length for cosine, and turned in a tree.

use crate::build::BuildInput;
use crate::metric::Metric;
use crate::rotation::Rotation;
use crate::vectors::Vectors;

/// Vectors under a metric.
#[derive(Clone, Debug)]
pub(crate) struct Source<'a> {
    vectors: &'a Vectors<'a>,
    rows: Option<&'a [u32]>,
    metric: Metric,
    rotation: Option<&'a Rotation>,
}

impl<'a> Source<'a> {
    /// The vectors that `input` asks to index.
    pub(crate) fn new(input: &BuildInput<'a>, metric: Metric) -> Self {
        Self { vectors: input.vectors, rows: input.rows, metric, rotation: None }
    }

    /// The same vectors, turned.
    pub(crate) fn turned(self, rotation: Option<&'a Rotation>) -> Self {
        Self { rotation, ..self }
    }

    /// Width D.
    pub(crate) fn dim(&self) -> usize {
        self.vectors.dim()
    }

    /// Number N of vectors.
    pub(crate) fn rows(&self) -> usize {
        self.rows.map_or(self.vectors.rows(), <[u32]>::len)
    }

    /// Rows [_, D], copied.
    pub(crate) fn gather(&self, rows: impl ExactSizeIterator<Item = usize>) -> Vec<f32> {
        let mut out = Vec::with_capacity(rows.len() * self.dim());
        for row in rows {
            let start = out.len();
            let row = self.rows.map_or(row, |rows| rows[row] as usize);
            out.extend_from_slice(self.vectors.row(row));
            self.metric.normalize(&mut out[start..]);
        }
        let Some(rotation) = self.rotation else { return out };
        let mut turned = Vec::new();
        rotation.turn(&out, &mut turned);
        turned
    }
}

/// At most `count` of the rows 0..`rows`, evenly spread rather than drawn: nothing depends on the
/// order in which they are read.
pub(crate) fn spread(rows: usize, count: usize) -> impl ExactSizeIterator<Item = usize> + Clone {
    let count = count.min(rows);
    (0..count).map(move |at| (at as u64 * rows as u64 / count as u64) as usize)
}
