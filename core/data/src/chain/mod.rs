//! Feature chains: what is done to the columns of a batch between the shards and the model.

mod ids;
mod numeric;

use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Schema, Transform, TransformError};
use serde::{Deserialize, Serialize};

use crate::DataError;

/// A chain as a recipe writes it and a checkpoint stores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSpec {
    /// The steps, applied one after the other.
    pub steps: Vec<ChainStep>,
}

/// One step on one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainStep {
    /// The column, which the step's output replaces.
    pub column: String,
    /// What is done.
    pub op: ChainOp,
}

/// The native steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ChainOp {
    /// Floats: a missing value (NaN) becomes `value`.
    Impute {
        /// What it becomes.
        value: f32,
    },
    /// Floats: a missing value (NaN) is an error that names column and row.
    RejectMissing,
    /// Floats: `ln(1 + max(x, 0))`, as in the Criteo recipe of DLRM. NaN stays NaN.
    Log1p,
    /// Floats: values below `min` become `min`, above `max` become `max`. NaN stays NaN.
    Clip {
        /// Least value.
        min: f32,
        /// Greatest value.
        max: f32,
    },
    /// Floats: `(x - mean) / std`. NaN stays NaN.
    Standardize {
        /// Subtracted.
        mean: f32,
        /// Divided by; more than 0.
        std: f32,
    },
    /// Ids: the remainder by `buckets`, 0 or more also for a negative id, as DLRM's
    /// `--max-ind-range`. A missing id becomes `buckets`: the table needs `buckets + 1` rows.
    Modulo {
        /// Number of remainders.
        buckets: u64,
    },
    /// Lists: at most `max` ids per row.
    Truncate {
        /// Ids kept.
        max: usize,
        /// Which ones.
        #[serde(default)]
        keep: Keep,
    },
}

/// The end of a list that is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first ids.
    First,
    /// The last ids: of a history in time order, the latest.
    #[default]
    Last,
}

impl ChainOp {
    /// The step as a transform, the same kind of thing that a plugin supplies.
    ///
    /// # Errors
    /// [`TransformError::Parameter`] for a parameter out of range.
    pub fn transform(&self) -> Result<Arc<dyn Transform>, TransformError> {
        Ok(match *self {
            Self::Impute { value } => Arc::new(numeric::Impute::new(value)?),
            Self::RejectMissing => Arc::new(numeric::RejectMissing),
            Self::Log1p => Arc::new(numeric::Log1p),
            Self::Clip { min, max } => Arc::new(numeric::Clip::new(min, max)?),
            Self::Standardize { mean, std } => Arc::new(numeric::Standardize::new(mean, std)?),
            Self::Modulo { buckets } => Arc::new(ids::Modulo::new(buckets)?),
            Self::Truncate { max, keep } => Arc::new(ids::Truncate::new(max, keep)?),
        })
    }
}

/// Transforms that are bound to the columns of a schema.
///
/// ```
/// use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};
/// use rectool_data::{ChainSpec, FeatureChain};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let spec: ChainSpec = serde_json::from_str(
///     r#"{"steps": [{"column": "dense", "op": {"kind": "impute", "value": 0.0}},
///                   {"column": "dense", "op": {"kind": "log1p"}}]}"#,
/// )?;
/// let dense = ColumnSchema::plain("dense", ColumnKind::F32 { width: 2 });
/// let chain = FeatureChain::build(&spec, &Schema::new(vec![dense])?)?;
/// let column = Column::F32 { width: 2, values: vec![f32::NAN, 0.0] };
/// assert_eq!(chain.apply(vec![column], 0)?, [Column::F32 { width: 2, values: vec![0.0, 0.0] }]);
/// # Ok(())
/// # }
/// ```
pub struct FeatureChain {
    input: Schema,
    output: Schema,
    steps: Vec<BoundStep>,
}

struct BoundStep {
    column: usize,
    input: ColumnSchema,
    output: ColumnSchema,
    transform: Arc<dyn Transform>,
}

impl FeatureChain {
    /// The chain of no steps.
    pub fn new(schema: &Schema) -> Self {
        Self { input: schema.clone(), output: schema.clone(), steps: Vec::new() }
    }

    /// The chain of `spec` on columns of `schema`.
    ///
    /// # Errors
    /// [`DataError::Schema`] for an unknown column, [`DataError::Transform`] for a step that does
    /// not take its column or has a parameter out of range.
    pub fn build(spec: &ChainSpec, schema: &Schema) -> Result<Self, DataError> {
        let mut chain = Self::new(schema);
        for step in &spec.steps {
            chain.push(&step.column, step.op.transform()?)?;
        }
        Ok(chain)
    }

    /// Appends a step.
    ///
    /// # Errors
    /// As [`FeatureChain::build`].
    pub fn push(&mut self, column: &str, transform: Arc<dyn Transform>) -> Result<(), DataError> {
        let column = self.output.position(column)?;
        let mut columns = self.output.columns().to_vec();
        let input = columns[column].clone();
        let output = transform.output(&input)?;
        columns[column] = output.clone();
        // A plugin may announce anything: the new schema must hold together.
        self.output = Schema::new(columns)?;
        self.steps.push(BoundStep { column, input, output, transform });
        Ok(())
    }

    /// The schema of what goes in.
    pub fn input(&self) -> &Schema {
        &self.input
    }

    /// The schema of what comes out.
    pub fn schema(&self) -> &Schema {
        &self.output
    }

    /// Applies the steps to the columns of a batch, which stand in the order of the input schema.
    /// `row_first` is the position of the first row in the global batch, for messages.
    ///
    /// # Errors
    /// If a step refuses a value, or returns a column that is not what it announced.
    ///
    /// # Panics
    /// If there are not as many columns as the input schema has.
    pub fn apply(&self, columns: Vec<Column>, row_first: usize) -> Result<Vec<Column>, DataError> {
        let (found, expected) = (columns.len(), self.output.columns().len());
        assert!(found == expected, "a chain on {expected} columns was given {found}");
        let mut columns = columns;
        for step in &self.steps {
            let place = &mut columns[step.column];
            let rows = place.rows();
            let taken = std::mem::replace(place, Column::I64List(rectool_base::Jagged::new()));
            let made = step.transform.apply(&step.input, taken, row_first)?;
            step.check(&made, rows)?;
            *place = made;
        }
        Ok(columns)
    }
}

impl BoundStep {
    /// Everything behind the chain relies on lengths and offsets, and a plugin may get them wrong.
    fn check(&self, made: &Column, rows: usize) -> Result<(), DataError> {
        let width_fits = |width: usize, values: usize| Some(values) == rows.checked_mul(width);
        let fits = match (made, self.output.kind) {
            (Column::F32 { width, values }, ColumnKind::F32 { width: expected }) => {
                *width == expected && width_fits(expected, values.len())
            }
            (Column::I64 { width, values }, ColumnKind::I64 { width: expected }) => {
                *width == expected && width_fits(expected, values.len())
            }
            (Column::I64List(jagged), ColumnKind::I64List) => {
                let offsets = &jagged.offsets;
                offsets.len() == rows + 1
                    && offsets[0] == 0
                    && offsets.is_sorted()
                    && offsets[rows] as usize == jagged.values.len()
            }
            _ => false,
        };
        if fits {
            return Ok(());
        }
        let (type_name, held) = match made {
            Column::F32 { values, .. } => (made.type_name(), values.len()),
            Column::I64 { values, .. } => (made.type_name(), values.len()),
            Column::I64List(jagged) => (made.type_name(), jagged.values.len()),
            _ => ("another type".to_owned(), 0),
        };
        Err(DataError::Output {
            transform: self.transform.name().to_owned(),
            column: self.output.name.clone(),
            expected: format!("{} of {rows} rows", kind_name(self.output.kind)),
            found: format!("{type_name} with {held} values"),
        })
    }
}

impl std::fmt::Debug for FeatureChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let steps = self.steps.iter().map(|step| (&step.input.name, step.transform.name()));
        f.debug_list().entries(steps).finish()
    }
}

/// `f32[13]`, for messages.
pub(crate) fn kind_name(kind: ColumnKind) -> String {
    match kind {
        ColumnKind::F32 { width } => format!("f32[{width}]"),
        ColumnKind::I64 { width } => format!("i64[{width}]"),
        ColumnKind::I64List => "i64 list".to_owned(),
        _ => "another type".to_owned(),
    }
}

fn type_error(step: &str, column: &ColumnSchema, expected: &'static str) -> TransformError {
    TransformError::Type {
        transform: step.to_owned(),
        column: column.name.clone(),
        found: kind_name(column.kind),
        expected,
    }
}

fn parameter_error(
    step: &str,
    parameter: &'static str,
    found: String,
    expected: &'static str,
) -> TransformError {
    TransformError::Parameter { transform: step.to_owned(), parameter, found, expected }
}

#[cfg(test)]
mod tests;
