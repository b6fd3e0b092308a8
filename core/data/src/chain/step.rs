//! Native steps: one column in, one out, in place where possible.

use rectool_base::{BatchPlace, Column, ColumnSchema, Transform, TransformError};

/// A step on one column, which its output replaces.
pub(super) trait ColumnStep: Send + Sync {
    fn name(&self) -> &'static str;

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError>;

    /// `row_first` is the position of the first row in the global batch, for messages.
    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        row_first: usize,
    ) -> Result<Column, TransformError>;
}

/// A step as a transform, the same kind of thing that a plugin supplies.
pub(super) struct OneColumn<S>(pub(super) S);

impl<S: ColumnStep> Transform for OneColumn<S> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        let [input] = inputs else {
            let (transform, found) = (self.0.name().to_owned(), inputs.len());
            return Err(TransformError::Inputs { transform, found, expected: "one column" });
        };
        Ok(vec![self.0.output(input)?])
    }

    fn apply(
        &self,
        schemas: &[ColumnSchema],
        columns: Vec<Column>,
        place: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        let pairs = schemas.iter().zip(columns);
        pairs.map(|(schema, column)| self.0.apply(schema, column, place.row_first)).collect()
    }
}
