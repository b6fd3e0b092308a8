//! What a training asks of a table.

use serde::{Deserialize, Serialize};

use super::keys::KeyCurve;
use super::machine::Lookup;
use crate::{IndexKind, TableOptions};

/// Bytes in front of a row's values: when it was last updated, and how often.
const HEADER_BYTES: u64 = 8;
/// Rows begin at multiples of this.
const ROW_ALIGNMENT: u64 = 8;
/// Bytes of the hash index for each row: the key, the row's number, and the free places.
const HASH_BYTES: u64 = 16;
/// Bytes of the dense index for each row.
const DENSE_BYTES: u64 = 4;

/// Where a table's number of rows is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowsFrom {
    /// A dense index has as many rows as it says.
    Index,
    /// The range of ids and the number of samples allow no more.
    Bound,
    /// The recipe says what to expect.
    Recipe,
    /// An estimate from how the number of distinct keys grows in a sample.
    Sample,
}

/// A table, and how a training uses it.
///
/// ```
/// use rectool_embedding::{KeyCurve, OptimizerOptions, RowsFrom, TableLoad, TableOptions};
/// let sgd = OptimizerOptions::sgd(0.1);
/// let load = TableLoad {
///     options: TableOptions::new("city", 16, sgd),
///     rows: 10_000,
///     rows_from: RowsFrom::Recipe,
///     ids_per_row: 1.0,
///     keys: KeyCurve::zipf(10_000, 1.0, 1.0),
/// };
/// assert_eq!(load.bytes(), 10_000 * (8 + 16 * 4 + 16));
/// ```
#[derive(Clone, Debug)]
pub struct TableLoad {
    /// The table.
    pub options: TableOptions,
    /// Rows V that it will come to have.
    pub rows: u64,
    /// How that is known.
    pub rows_from: RowsFrom,
    /// Ids of a batch row over all features of the table, L.
    pub ids_per_row: f64,
    /// Distinct keys that rows of a batch bring.
    pub keys: KeyCurve,
}

impl TableLoad {
    /// Bytes of all rows, with optimizer state and index.
    pub fn bytes(&self) -> u64 {
        self.rows.saturating_mul(self.row_bytes(self.options.dim))
    }

    /// Bytes of a row of `columns` columns, with its place in the index.
    pub(super) fn row_bytes(&self, columns: usize) -> u64 {
        let floats = self.row_floats(columns) as u64;
        let row = (HEADER_BYTES + floats * size_of::<f32>() as u64).next_multiple_of(ROW_ALIGNMENT);
        row + match self.options.index {
            IndexKind::Dense { .. } => DENSE_BYTES,
            IndexKind::Hash => HASH_BYTES,
        }
    }

    /// Values and optimizer state of `columns` columns.
    pub(super) fn row_floats(&self, columns: usize) -> usize {
        columns + self.options.optimizer.state_width(columns)
    }

    pub(super) fn lookup(&self) -> Lookup {
        match self.options.index {
            IndexKind::Dense { .. } => Lookup::Dense,
            IndexKind::Hash => Lookup::Hash,
        }
    }
}
