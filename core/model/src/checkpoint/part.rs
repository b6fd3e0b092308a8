//! The columns of a table's part files.

use std::sync::Arc;

use arrow_schema::{DataType, Field, Schema, SchemaRef};
use rectool_embedding::TableOptions;

/// Bytes of one record batch, about.
const BATCH_BYTES: usize = 8 << 20;
/// Rows of one record batch at most.
const BATCH_ROWS_MAX: usize = 1 << 16;

/// Which columns a part has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PartLayout {
    /// Floats of `values` per row; 0: there is no such column.
    pub(super) dim: usize,
    /// Floats of `state` per row; 0: there is no such column.
    pub(super) state: usize,
    /// Whether rows are dated: `last_seen` and `count`.
    pub(super) dated: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
    U64,
    U32,
    /// Lists of so many floats.
    Floats(usize),
}

impl PartLayout {
    /// Of a file of removed keys.
    pub(super) const KEYS: Self = Self { dim: 0, state: 0, dated: false };

    /// Of some columns of a table's values, and of the state that belongs to them.
    pub(super) fn of(table: &TableOptions, columns: usize) -> Self {
        Self { dim: columns, state: table.optimizer.state_width(columns), dated: true }
    }

    /// The columns in order.
    pub(super) fn columns(self) -> Vec<(&'static str, Item)> {
        let mut columns = vec![("key", Item::U64)];
        for (name, width) in [("values", self.dim), ("state", self.state)] {
            if width > 0 {
                columns.push((name, Item::Floats(width)));
            }
        }
        if self.dated {
            columns.extend([("last_seen", Item::U32), ("count", Item::U32)]);
        }
        columns
    }

    pub(super) fn schema(self) -> SchemaRef {
        let field = |(name, item): (&str, Item)| Field::new(name, item.data_type(), false);
        Arc::new(Schema::new(self.columns().into_iter().map(field).collect::<Vec<_>>()))
    }

    /// Rows of one record batch.
    pub(super) fn batch_rows(self) -> usize {
        let row_bytes = 16 + 4 * (self.dim + self.state);
        (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS_MAX)
    }
}

impl Item {
    fn data_type(self) -> DataType {
        match self {
            Self::U64 => DataType::UInt64,
            Self::U32 => DataType::UInt32,
            Self::Floats(width) => DataType::FixedSizeList(float_item(), width as i32),
        }
    }
}

/// The field of a list's floats.
pub(super) fn float_item() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float32, false))
}
