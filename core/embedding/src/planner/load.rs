//! What a training asks of a table.

use serde::{Deserialize, Serialize};

use super::keys::KeyCurve;
use super::machine::Lookup;
use crate::row::RowLayout;
use crate::{Backing, IndexKind, TableOptions};

/// Bytes of the hash index for each row: the key, the row's number, and the free places.
const HASH_BYTES: u64 = 16;

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
///     new_per_row: 0.01,
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
    /// Rows that a batch row makes, on average over the training.
    pub new_per_row: f64,
    /// Distinct keys that rows of a batch bring.
    pub keys: KeyCurve,
}

impl TableOptions {
    /// Memory of a row, with its optimizer state and its place in the index. Of a table in a file
    /// only the index takes memory that the system cannot have back.
    pub fn row_bytes(&self) -> u64 {
        self.part_bytes(self.dim)
    }

    /// The same for `columns` of its columns.
    pub(super) fn part_bytes(&self, columns: usize) -> u64 {
        let state = self.optimizer.state_width(columns);
        let layout = RowLayout { dim: columns, state, storage: self.storage };
        let row = match self.backing {
            Backing::Memory => layout.bytes() as u64,
            Backing::File { .. } => 0,
        };
        row + match self.index {
            // One bit says whether a row is in use.
            IndexKind::Dense { .. } | IndexKind::Modulo { .. } => 0,
            IndexKind::Hash => HASH_BYTES,
        }
    }
}

impl TableLoad {
    /// Bytes of all rows, with optimizer state and index, and of what admission counts in.
    pub fn bytes(&self) -> u64 {
        let rows = self.rows.saturating_mul(self.options.row_bytes());
        rows.saturating_add(self.options.admission.bytes())
    }

    /// 32-bit words of values and optimizer state of `columns` columns.
    pub(super) fn row_floats(&self, columns: usize) -> usize {
        let values = (columns * self.options.storage.bytes()).div_ceil(size_of::<f32>());
        values + self.options.optimizer.state_width(columns)
    }

    pub(super) fn lookup(&self) -> Lookup {
        match self.options.index {
            IndexKind::Dense { .. } | IndexKind::Modulo { .. } => Lookup::Dense,
            IndexKind::Hash => Lookup::Hash,
        }
    }
}
