//! Feature chains: what is done to the columns of a batch between the shards and the model.

mod ids;
mod numeric;
mod step;

use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnSchema, Jagged, PluginCall, PluginSource, Schema, SchemaError,
    Transform, TransformError,
};
use serde::{Deserialize, Serialize};

use crate::DataError;
use step::OneColumn;

/// A chain as a recipe writes it and a checkpoint stores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainSpec {
    /// The steps, applied one after the other.
    pub steps: Vec<ChainStep>,
}

/// One step on some columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainStep {
    /// The columns it is given. An output that is named like one of them replaces it.
    pub inputs: Vec<String>,
    /// What is done.
    pub op: ChainOp,
}

impl ChainStep {
    /// A step on one column.
    pub fn on(column: &str, op: ChainOp) -> Self {
        Self { inputs: vec![column.to_owned()], op }
    }
}

/// What a step does: natively, on one column, or by a plugin.
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
    /// What a plugin does.
    Plugin(PluginCall),
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
    /// The step as a transform.
    ///
    /// # Errors
    /// [`TransformError::Parameter`] for a parameter out of range, [`TransformError::Plugin`] for a
    /// plugin that is not in `plugins` or refuses its parameters.
    pub fn transform(
        &self,
        plugins: &dyn PluginSource,
    ) -> Result<Arc<dyn Transform>, TransformError> {
        Ok(match self {
            Self::Impute { value } => Arc::new(OneColumn(numeric::Impute::new(*value)?)),
            Self::RejectMissing => Arc::new(OneColumn(numeric::RejectMissing)),
            Self::Log1p => Arc::new(OneColumn(numeric::Log1p)),
            Self::Clip { min, max } => Arc::new(OneColumn(numeric::Clip::new(*min, *max)?)),
            Self::Standardize { mean, std } => {
                Arc::new(OneColumn(numeric::Standardize::new(*mean, *std)?))
            }
            Self::Modulo { buckets } => Arc::new(OneColumn(ids::Modulo::new(*buckets)?)),
            Self::Truncate { max, keep } => Arc::new(OneColumn(ids::Truncate::new(*max, *keep)?)),
            Self::Plugin(call) => plugins.transform(call)?,
        })
    }
}

/// Transforms that are bound to the columns of a schema.
///
/// ```
/// use rectool_base::{BatchPlace, Column, ColumnKind, ColumnSchema, NoPlugins, Schema};
/// use rectool_data::{ChainSpec, FeatureChain};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let spec: ChainSpec = serde_json::from_str(
///     r#"{"steps": [{"inputs": ["dense"], "op": {"kind": "impute", "value": 0.0}},
///                   {"inputs": ["dense"], "op": {"kind": "log1p"}}]}"#,
/// )?;
/// let dense = ColumnSchema::plain("dense", ColumnKind::F32 { width: 2 });
/// let chain = FeatureChain::build(&spec, &Schema::new(vec![dense])?, &NoPlugins)?;
/// let column = Column::F32 { width: 2, values: vec![f32::NAN, 0.0] };
/// let place = BatchPlace { rows: 1, ..BatchPlace::default() };
/// let made = chain.apply(vec![column], place)?;
/// assert_eq!(made, [Column::F32 { width: 2, values: vec![0.0, 0.0] }]);
/// # Ok(())
/// # }
/// ```
pub struct FeatureChain {
    input: Schema,
    output: Schema,
    steps: Vec<BoundStep>,
}

/// A step whose columns have been found.
struct BoundStep {
    inputs: Vec<Input>,
    input_schemas: Vec<ColumnSchema>,
    outputs: Vec<Output>,
    transform: Arc<dyn Transform>,
}

struct Input {
    column: usize,
    /// Whether an output takes its place, so that the step may consume it.
    replaced: bool,
}

struct Output {
    column: usize,
    schema: ColumnSchema,
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
    /// not take its columns, has a parameter out of range, or is not in `plugins`.
    pub fn build(
        spec: &ChainSpec,
        schema: &Schema,
        plugins: &dyn PluginSource,
    ) -> Result<Self, DataError> {
        let mut chain = Self::new(schema);
        for step in &spec.steps {
            chain.push(&step.inputs, step.op.transform(plugins)?)?;
        }
        Ok(chain)
    }

    /// Appends a step on the columns called `inputs`.
    ///
    /// # Errors
    /// As [`FeatureChain::build`].
    pub fn push(
        &mut self,
        inputs: &[String],
        transform: Arc<dyn Transform>,
    ) -> Result<(), DataError> {
        let mut columns = self.output.columns().to_vec();
        let places = inputs.iter().map(|name| self.output.position(name));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let input_schemas: Vec<_> = places.iter().map(|at| columns[*at].clone()).collect();
        let mut outputs = Vec::new();
        for schema in transform.outputs(&input_schemas)? {
            let place = places.iter().copied().find(|at| columns[*at].name == schema.name);
            let column = place.unwrap_or(columns.len());
            if outputs.iter().any(|output: &Output| output.column == column) {
                return Err(SchemaError::Twice { name: schema.name }.into());
            }
            match columns.get_mut(column) {
                Some(replaced) => *replaced = schema.clone(),
                None => columns.push(schema.clone()),
            }
            outputs.push(Output { column, schema });
        }
        // A column that is given twice may be consumed only by the last one.
        let replaced = |at: usize, column: usize| {
            let again = places[at + 1..].contains(&column);
            !again && outputs.iter().any(|output| output.column == column)
        };
        let inputs = places.iter().enumerate();
        let inputs =
            inputs.map(|(at, &column)| Input { column, replaced: replaced(at, column) }).collect();
        // A plugin may announce anything: the new schema must hold together.
        self.output = Schema::new(columns)?;
        self.steps.push(BoundStep { inputs, input_schemas, outputs, transform });
        Ok(())
    }

    /// The schema of what goes in.
    pub fn input(&self) -> &Schema {
        &self.input
    }

    /// The schema of what comes out: the columns that go in, as the steps left them, then those that
    /// steps added.
    pub fn schema(&self) -> &Schema {
        &self.output
    }

    /// The steps, by number and rising, that make or change the columns called `names`, and those that
    /// make what such steps are given.
    pub fn makers(&self, names: &[&str]) -> Vec<usize> {
        let mut wanted = names.to_vec();
        let mut makers = Vec::new();
        for (at, step) in self.steps.iter().enumerate().rev() {
            if step.outputs.iter().any(|output| wanted.contains(&output.schema.name.as_str())) {
                wanted.extend(step.input_schemas.iter().map(|schema| schema.name.as_str()));
                makers.push(at);
            }
        }
        makers.reverse();
        makers
    }

    /// Applies the steps to the columns of a batch, which stand in the order of the input schema.
    ///
    /// # Errors
    /// If a step refuses a value, or returns columns that are not what it announced.
    ///
    /// # Panics
    /// If there are not as many columns as the input schema has.
    pub fn apply(&self, columns: Vec<Column>, place: BatchPlace) -> Result<Vec<Column>, DataError> {
        let (found, expected) = (columns.len(), self.input.columns().len());
        assert!(found == expected, "a chain on {expected} columns was given {found}");
        let mut columns = columns;
        for step in &self.steps {
            step.apply(&mut columns, place)?;
        }
        Ok(columns)
    }
}

impl BoundStep {
    fn apply(&self, columns: &mut Vec<Column>, place: BatchPlace) -> Result<(), DataError> {
        let nothing = || Column::I64List(Jagged::new());
        let taken = self.inputs.iter().map(|input| {
            let column = &mut columns[input.column];
            if input.replaced { std::mem::replace(column, nothing()) } else { column.clone() }
        });
        let taken = taken.collect();
        let made = self.transform.apply(&self.input_schemas, taken, place)?;
        if made.len() != self.outputs.len() {
            return Err(DataError::OutputCount {
                transform: self.transform.name().to_owned(),
                expected: self.outputs.len(),
                found: made.len(),
            });
        }
        for (output, made) in self.outputs.iter().zip(made) {
            self.check(&output.schema, &made, place.rows)?;
            match columns.get_mut(output.column) {
                Some(column) => *column = made,
                None => columns.push(made),
            }
        }
        Ok(())
    }

    /// Everything behind the chain relies on lengths and offsets, and a plugin may get them wrong.
    fn check(&self, schema: &ColumnSchema, made: &Column, rows: usize) -> Result<(), DataError> {
        let whole = match made {
            Column::F32 { width, values } => values.len() == rows.saturating_mul(*width),
            Column::I64 { width, values } => values.len() == rows.saturating_mul(*width),
            Column::Text { width, values } => values.len() == rows.saturating_mul(*width),
            Column::F32List(jagged) => whole_lists(&jagged.offsets, jagged.values.len(), rows),
            Column::I64List(jagged) => whole_lists(&jagged.offsets, jagged.values.len(), rows),
            Column::TextList { offsets, values } => whole_lists(offsets, values.len(), rows),
            _ => false,
        };
        if whole && made.kind() == schema.kind {
            return Ok(());
        }
        let values = match made {
            Column::F32 { values, .. } => values.len(),
            Column::I64 { values, .. } => values.len(),
            Column::Text { values, .. } | Column::TextList { values, .. } => values.len(),
            Column::F32List(jagged) => jagged.values.len(),
            Column::I64List(jagged) => jagged.values.len(),
            _ => 0,
        };
        Err(DataError::Output {
            transform: self.transform.name().to_owned(),
            column: schema.name.clone(),
            expected: format!("{} of {rows} rows", schema.kind),
            found: format!("{} with {values} values", made.kind()),
        })
    }
}

/// Whether `offsets` cut `values` values into `rows` lists.
fn whole_lists(offsets: &[u32], values: usize, rows: usize) -> bool {
    offsets.len() == rows + 1
        && offsets[0] == 0
        && offsets.is_sorted()
        && offsets[rows] as usize == values
}

impl std::fmt::Debug for FeatureChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |step: &BoundStep| {
            let inputs = step.input_schemas.iter().map(|schema| schema.name.clone());
            (inputs.collect::<Vec<_>>(), step.transform.name().to_owned())
        };
        let steps = self.steps.iter().map(name);
        f.debug_list().entries(steps).finish()
    }
}

fn type_error(step: &str, column: &ColumnSchema, expected: &'static str) -> TransformError {
    TransformError::Type {
        transform: step.to_owned(),
        column: column.name.clone(),
        found: column.kind.to_string(),
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
