//! A query as searches use it.

use crate::error::AnnError;
use crate::kernel::{IntegerQuery, dot};
use crate::limits::K_MAX;
use crate::metric::Metric;
use crate::part::Part;
use crate::vectors::is_usable;

/// A query that is checked, of unit length for cosine, and turned as the part's vectors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    pub(crate) values: Vec<f32>,
    turned: Vec<f32>,
    pub(crate) integer: IntegerQuery,
    /// |q|².
    pub(crate) square: f32,
    pub(crate) metric: Metric,
}

impl Query {
    /// Takes a query [D] for a part, as the part's vectors are stored.
    pub(crate) fn set(&mut self, query: &[f32], part: &Part) -> Result<(), AnnError> {
        let (dim, metric) = (part.dim(), part.metric());
        if query.len() != dim {
            let expected = dim.to_string();
            return Err(AnnError::Shape {
                what: "values of a query",
                found: query.len(),
                expected,
            });
        }
        if !is_usable(query) {
            return Err(AnnError::NotFinite { what: "query", row: 0 });
        }
        self.values.clear();
        self.values.extend_from_slice(query);
        metric.normalize(&mut self.values);
        if let Some(rotation) = part.rotation() {
            rotation.turn(&self.values, &mut self.turned);
            std::mem::swap(&mut self.values, &mut self.turned);
        }
        self.square = dot(&self.values, &self.values);
        self.integer.set(&self.values);
        self.metric = metric;
        Ok(())
    }

    /// The score of q·x + bias.
    pub(crate) fn score(&self, rank: f32) -> f32 {
        self.metric.score(rank, self.square)
    }
}

/// Checks a number of results.
pub(crate) fn check_k(k: usize) -> Result<(), AnnError> {
    if (1..=K_MAX).contains(&k) { Ok(()) } else { Err(AnnError::option("k", k, "1 to 16384")) }
}

/// A float as a whole number of the same order.
#[inline(always)]
pub(crate) fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

/// The float of [`ordered`].
#[inline(always)]
pub(crate) fn unordered(bits: u32) -> f32 {
    f32::from_bits(if bits >> 31 == 1 { bits & !(1 << 31) } else { !bits })
}
