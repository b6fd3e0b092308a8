//! Steps for float columns. NaN is the missing value and stays NaN unless the step says otherwise.

use rectool_base::{Column, ColumnKind, ColumnSchema, TransformError};

use super::step::ColumnStep;
use super::{parameter_error, type_error};

const FLOATS: &str = "floats";

/// Checks that a column is of floats, and leaves its schema as it is.
fn float_output(
    step: &dyn ColumnStep,
    input: &ColumnSchema,
) -> Result<ColumnSchema, TransformError> {
    match input.kind {
        ColumnKind::F32 { .. } => Ok(input.clone()),
        _ => Err(type_error(step.name(), input, FLOATS)),
    }
}

/// Replaces each value by `f` of it.
fn map(
    step: &dyn ColumnStep,
    schema: &ColumnSchema,
    column: Column,
    f: impl Fn(f32) -> f32,
) -> Result<Column, TransformError> {
    let Column::F32 { width, mut values } = column else {
        return Err(type_error(step.name(), schema, FLOATS));
    };
    for value in &mut values {
        *value = f(*value);
    }
    Ok(Column::F32 { width, values })
}

/// Replaces a missing value by a constant.
pub(super) struct Impute {
    value: f32,
}

impl Impute {
    pub(super) fn new(value: f32) -> Result<Self, TransformError> {
        finite("impute", "value", value)?;
        Ok(Self { value })
    }
}

impl ColumnStep for Impute {
    fn name(&self) -> &'static str {
        "impute"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        float_output(self, input)
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        map(self, schema, column, |value| if value.is_nan() { self.value } else { value })
    }
}

/// Refuses a missing value.
pub(super) struct RejectMissing;

impl ColumnStep for RejectMissing {
    fn name(&self) -> &'static str {
        "reject_missing"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        float_output(self, input)
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        row_first: usize,
    ) -> Result<Column, TransformError> {
        let Column::F32 { width, values } = &column else {
            return Err(type_error(self.name(), schema, FLOATS));
        };
        let Some(at) = values.iter().position(|value| value.is_nan()) else {
            return Ok(column);
        };
        Err(TransformError::Value {
            transform: self.name().to_owned(),
            column: schema.member_name(at % width),
            row: row_first + at / width,
            found: "missing value (NaN)".into(),
            hint: "replace missing values with an `impute` step before it",
        })
    }
}

/// `ln(1 + max(x, 0))`, as the Criteo recipe of DLRM has it.
pub(super) struct Log1p;

impl ColumnStep for Log1p {
    fn name(&self) -> &'static str {
        "log1p"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        float_output(self, input)
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        // `f32::max` would turn NaN into 0.
        map(self, schema, column, |value| if value < 0.0 { 0.0 } else { value.ln_1p() })
    }
}

/// Puts values into a range.
pub(super) struct Clip {
    min: f32,
    max: f32,
}

impl Clip {
    pub(super) fn new(min: f32, max: f32) -> Result<Self, TransformError> {
        finite("clip", "min", min)?;
        finite("clip", "max", max)?;
        if min > max {
            return Err(parameter_error("clip", "max", max.to_string(), "`min` or more"));
        }
        Ok(Self { min, max })
    }
}

impl ColumnStep for Clip {
    fn name(&self) -> &'static str {
        "clip"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        float_output(self, input)
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        map(self, schema, column, |value| value.clamp(self.min, self.max))
    }
}

/// `(x - mean) / std`, each value of a row with the same constants.
pub(super) struct Standardize {
    mean: f32,
    std: f32,
}

impl Standardize {
    pub(super) fn new(mean: f32, std: f32) -> Result<Self, TransformError> {
        finite("standardize", "mean", mean)?;
        finite("standardize", "std", std)?;
        if std <= 0.0 {
            return Err(parameter_error("standardize", "std", std.to_string(), "more than 0"));
        }
        Ok(Self { mean, std })
    }
}

impl ColumnStep for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        float_output(self, input)
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        map(self, schema, column, |value| (value - self.mean) / self.std)
    }
}

fn finite(step: &str, parameter: &'static str, value: f32) -> Result<(), TransformError> {
    if value.is_finite() {
        return Ok(());
    }
    Err(parameter_error(step, parameter, value.to_string(), "a finite number"))
}
