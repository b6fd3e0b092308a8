//! The columns of a split as a reader sees them: its own, perhaps under other names, and joined ones.

use std::sync::Arc;

use rectool_base::Schema;

use super::SideTable;
use crate::DataError;
use crate::cells::Cells;

/// Where a column's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// At this position in the shards.
    Own(usize),
    /// Among the joined columns of a table.
    Side {
        /// Number of the table.
        table: usize,
        /// Place among its joined columns.
        column: usize,
    },
}

/// A table and the key of the rows by which it is found.
#[derive(Clone, Debug)]
pub(crate) struct Joined {
    pub(crate) table: Arc<SideTable>,
    /// In the schema of the shards.
    pub(crate) key: Cells,
}

/// What stands for the schema of the shards.
#[derive(Clone, Debug)]
pub(crate) struct View {
    schema: Schema,
    origins: Vec<Origin>,
    joined: Vec<Joined>,
}

impl View {
    pub(crate) fn new(schema: Schema, origins: Vec<Origin>, joined: Vec<Joined>) -> Self {
        Self { schema, origins, joined }
    }

    /// The columns of `schema` as they are.
    pub(super) fn of(schema: &Schema) -> Self {
        let origins = (0..schema.columns().len()).map(Origin::Own).collect();
        Self::new(schema.clone(), origins, Vec::new())
    }

    /// With the columns of a table behind the others.
    pub(super) fn joined(&self, table: Arc<SideTable>, key: Cells) -> Result<Self, DataError> {
        let mut columns = self.schema.columns().to_vec();
        columns.extend(table.columns().iter().map(|(_, column)| column.clone()));
        let mut view = Self { schema: Schema::new(columns)?, ..self.clone() };
        let side = |column| Origin::Side { table: self.joined.len(), column };
        view.origins.extend((0..table.columns().len()).map(side));
        view.joined.push(Joined { table, key });
        Ok(view)
    }

    pub(crate) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn origin(&self, column: usize) -> Origin {
        self.origins[column]
    }

    pub(crate) fn table(&self, number: usize) -> &Joined {
        &self.joined[number]
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Arc<SideTable>> {
        self.joined.iter().map(|joined| &joined.table)
    }
}
