//! Steps for id columns, packed or of varying count.

use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, MISSING_ID, TransformError};

use super::step::ColumnStep;
use super::{Keep, parameter_error, type_error};

const IDS: &str = "ids";
const LISTS: &str = "a list of ids or floats";

/// Maps an id to its remainder by `buckets`, from 0 to `buckets - 1`, also for negative ids (hashed
/// texts); a missing id becomes `buckets`. The table behind it has `buckets + 1` rows.
pub(super) struct Modulo {
    buckets: i64,
}

impl Modulo {
    pub(super) fn new(buckets: u64) -> Result<Self, TransformError> {
        match i64::try_from(buckets) {
            Ok(buckets) if buckets > 0 => Ok(Self { buckets }),
            _ => {
                let found = buckets.to_string();
                Err(parameter_error("modulo", "buckets", found, "1 to 2^63 - 1"))
            }
        }
    }

    fn map(&self, ids: &mut [i64]) {
        for id in ids {
            *id = if *id == MISSING_ID { self.buckets } else { id.rem_euclid(self.buckets) };
        }
    }
}

impl ColumnStep for Modulo {
    fn name(&self) -> &'static str {
        "modulo"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        match input.kind {
            ColumnKind::I64 { .. } | ColumnKind::I64List => Ok(input.clone()),
            _ => Err(type_error(self.name(), input, IDS)),
        }
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        mut column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        match &mut column {
            Column::I64 { values, .. } => self.map(values),
            Column::I64List(jagged) => self.map(&mut jagged.values),
            _ => return Err(type_error(self.name(), schema, IDS)),
        }
        Ok(column)
    }
}

/// Shortens each list to its first or last values: of ids, or of the floats that go with them.
pub(super) struct Truncate {
    max: usize,
    keep: Keep,
}

impl Truncate {
    pub(super) fn new(max: usize, keep: Keep) -> Result<Self, TransformError> {
        if max == 0 {
            return Err(parameter_error("truncate", "max", "0".into(), "1 or more"));
        }
        Ok(Self { max, keep })
    }

    fn cut<T: Copy>(&self, lists: &Jagged<T>) -> Jagged<T> {
        let mut out = Jagged::new();
        out.offsets.reserve(lists.rows());
        out.values.reserve(lists.values.len());
        for row in 0..lists.rows() {
            let values = lists.row(row);
            let count = values.len().min(self.max);
            out.push_row(match self.keep {
                Keep::First => &values[..count],
                Keep::Last => &values[values.len() - count..],
            });
        }
        out
    }
}

impl ColumnStep for Truncate {
    fn name(&self) -> &'static str {
        "truncate"
    }

    fn output(&self, input: &ColumnSchema) -> Result<ColumnSchema, TransformError> {
        match input.kind {
            ColumnKind::I64List | ColumnKind::F32List => Ok(input.clone()),
            _ => Err(type_error(self.name(), input, LISTS)),
        }
    }

    fn apply(
        &self,
        schema: &ColumnSchema,
        column: Column,
        _: usize,
    ) -> Result<Column, TransformError> {
        match column {
            Column::I64List(jagged) => Ok(Column::I64List(self.cut(&jagged))),
            Column::F32List(jagged) => Ok(Column::F32List(self.cut(&jagged))),
            _ => Err(type_error(self.name(), schema, LISTS)),
        }
    }
}
