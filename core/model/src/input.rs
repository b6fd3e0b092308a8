//! From the columns of a batch to what a model computes with.

use rectool_base::{Batch, Column, ColumnKind, Schema};
use rectool_embedding::Ids;

use crate::{FeatureSpec, ModelError};

/// Where labels, dense values and ids stand among a batch's columns. Built once per model.
#[derive(Clone, Debug)]
pub(crate) struct InputPlan {
    label: usize,
    dense: Vec<DenseColumn>,
    ids: Vec<IdColumn>,
    /// Dense values per row, N.
    pub(crate) dense_width: usize,
}

#[derive(Clone, Debug)]
struct DenseColumn {
    column: usize,
    width: usize,
    members: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
struct IdColumn {
    column: usize,
    at: usize,
}

impl InputPlan {
    /// Checks the features against the schema that leaves the feature chain.
    pub(crate) fn new(spec: &FeatureSpec, schema: &Schema) -> Result<Self, ModelError> {
        let label = schema.position(&spec.label)?;
        let kind = schema.columns()[label].kind;
        if kind != (ColumnKind::F32 { width: 1 }) {
            return Err(mistyped("label", &spec.label, kind, "f32, one per row"));
        }
        let mut dense = Vec::new();
        for name in &spec.dense {
            let column = schema.position(name)?;
            let found = &schema.columns()[column];
            let ColumnKind::F32 { width } = found.kind else {
                return Err(mistyped("dense", name, found.kind, "f32"));
            };
            let members = (0..width).map(|at| found.member_name(at)).collect();
            dense.push(DenseColumn { column, width, members });
        }
        let ids = spec.ids.iter().map(|feature| {
            let column = schema.position(&feature.column)?;
            let found = &schema.columns()[column];
            let width = match found.kind {
                ColumnKind::I64 { width } => width,
                ColumnKind::I64List => 1,
                kind => {
                    let expected = "i64 or i64 list";
                    return Err(mistyped(&feature.name, &feature.column, kind, expected));
                }
            };
            if feature.at >= width {
                let option = format!("{}.at", feature.name);
                return Err(ModelError::option(option, feature.at, format!("below {width}")));
            }
            Ok(IdColumn { column, at: feature.at })
        });
        let ids = ids.collect::<Result<_, _>>()?;
        let dense_width = dense.iter().map(|column: &DenseColumn| column.width).sum();
        Ok(Self { label, dense, ids, dense_width })
    }

    /// The labels \[B\]; each must be 0 or 1.
    pub(crate) fn labels<'a>(&self, batch: &'a Batch) -> Result<&'a [f32], ModelError> {
        let Column::F32 { values, .. } = &batch.columns[self.label] else {
            unreachable!("the plan was checked against the schema of this batch")
        };
        match values.iter().position(|&label| label != 0.0 && label != 1.0) {
            None => Ok(values),
            Some(row) => Err(ModelError::Value {
                epoch: batch.epoch,
                step: batch.step,
                row: batch.row_first + row,
                what: "the label".to_owned(),
                found: values[row],
                expected: "0 or 1",
                hint: "binary cross entropy needs labels 0 and 1; map them when importing",
            }),
        }
    }

    /// Copies the dense values into `out`, [B, N]; none may be NaN or infinite.
    pub(crate) fn dense(&self, batch: &Batch, out: &mut [f32]) -> Result<(), ModelError> {
        let mut offset = 0;
        for plan in &self.dense {
            let Column::F32 { width, values } = &batch.columns[plan.column] else {
                unreachable!("the plan was checked against the schema of this batch")
            };
            if let Some(at) = values.iter().position(|value| !value.is_finite()) {
                return Err(ModelError::Value {
                    epoch: batch.epoch,
                    step: batch.step,
                    row: batch.row_first + at / width,
                    what: format!("dense feature `{}`", plan.members[at % width]),
                    found: values[at],
                    expected: "a finite number",
                    hint: "add `impute(column, value)` to the feature chain for missing values, or \
                           `clip` for infinite ones",
                });
            }
            let rows = out.chunks_exact_mut(self.dense_width).zip(values.chunks_exact(*width));
            for (out, row) in rows {
                out[offset..offset + width].copy_from_slice(row);
            }
            offset += width;
        }
        Ok(())
    }

    /// The ids of each feature, in order.
    pub(crate) fn ids<'a>(&self, batch: &'a Batch) -> Vec<Ids<'a>> {
        let feature = |plan: &IdColumn| match &batch.columns[plan.column] {
            Column::I64 { width, values } => Ids::Fixed { values, width: *width, at: plan.at },
            Column::I64List(jagged) => {
                Ids::List { offsets: &jagged.offsets, values: &jagged.values }
            }
            _ => unreachable!("the plan was checked against the schema of this batch"),
        };
        self.ids.iter().map(feature).collect()
    }
}

fn mistyped(feature: &str, column: &str, found: ColumnKind, expected: &'static str) -> ModelError {
    let found = match found {
        ColumnKind::F32 { width } => format!("f32[{width}]"),
        ColumnKind::I64 { width } => format!("i64[{width}]"),
        ColumnKind::I64List => "i64 list".to_owned(),
        _ => "unknown".to_owned(),
    };
    let (feature, column) = (feature.to_owned(), column.to_owned());
    ModelError::ColumnType { feature, column, found, expected }
}
