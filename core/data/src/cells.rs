//! Where the values that a name stands for lie: a whole column, or one member of a packed one.

use std::ops::Range;

use rectool_base::{ColumnKind, Schema, SchemaError};

use crate::DataError;

/// Some of the values of each row of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// Position of the column in the schema.
    pub column: usize,
    /// Values of a row that are meant; of a list all, written as none.
    pub range: Range<usize>,
    /// Values per row; of a list 0.
    pub width: usize,
}

impl Cells {
    /// The column called `name`, or else the member of that name.
    ///
    /// # Errors
    /// If `schema` has neither.
    pub fn find(schema: &Schema, name: &str) -> Result<Self, SchemaError> {
        let columns = || schema.columns().iter().enumerate();
        if let Some((column, found)) = columns().find(|(_, column)| column.name == name) {
            let width = found.width().unwrap_or(0);
            return Ok(Self { column, range: 0..width, width });
        }
        let member = columns().find_map(|(column, found)| {
            let at = found.members.iter().position(|member| member == name)?;
            Some(Self { column, range: at..at + 1, width: found.members.len() })
        });
        member.ok_or_else(|| {
            let known = schema.columns().iter().flat_map(|column| {
                std::iter::once(column.name.clone()).chain(column.members.iter().cloned())
            });
            let known = known.collect();
            SchemaError::Unknown { name: name.to_owned(), known }
        })
    }

    /// The one value per row of type `kind` (of whatever width) that `name` stands for; `option` is
    /// what asks for it.
    ///
    /// # Errors
    /// If `schema` has no such name, or it stands for something else.
    pub fn find_one(
        schema: &Schema,
        name: &str,
        kind: ColumnKind,
        option: &'static str,
    ) -> Result<Self, DataError> {
        let cells = Self::find(schema, name)?;
        let found = schema.columns()[cells.column].kind;
        if std::mem::discriminant(&found) == std::mem::discriminant(&kind) && cells.range.len() == 1
        {
            return Ok(cells);
        }
        Err(DataError::Option {
            option,
            expected: format!("a column or member of type {kind}"),
            found: format!("`{name}` of type {found}"),
        })
    }

    /// Place of the first value meant of row `row`.
    pub fn at(&self, row: usize) -> usize {
        row * self.width + self.range.start
    }
}
