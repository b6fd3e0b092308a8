//! From the columns of a batch to what a model and its loss compute with.

use rectool_base::{Batch, Column, ColumnKind, Jagged, Labels, Schema};
use rectool_embedding::Ids;

use crate::heads::{Learned, Missing};
use crate::{FeatureSpec, IdFeatureSpec, ModelError};

/// Where labels, weights, dense values, ids and the loss's own columns stand among a batch's columns. Built once per model.
#[derive(Clone, Debug)]
pub(crate) struct InputPlan {
    /// Of each loss.
    labels: Vec<Option<LabelColumn>>,
    weight: Option<usize>,
    /// Of each loss.
    of_loss: Vec<Vec<usize>>,
    /// What is known of negatives' probabilities.
    log_q: Option<usize>,
    dense: Vec<DenseColumn>,
    ids: Vec<IdColumn>,
    /// Dense values per row, N.
    pub(crate) dense_width: usize,
}

/// A label's column, what it may hold, and what messages call it.
#[derive(Clone, Debug)]
struct LabelColumn {
    column: usize,
    labels: Labels,
    missing: Missing,
    words: String,
}

#[derive(Clone, Debug)]
struct DenseColumn {
    column: usize,
    width: usize,
    members: Vec<String>,
}

#[derive(Clone, Debug)]
struct IdColumn {
    column: usize,
    at: usize,
    weights: Option<WeightColumn>,
}

/// The column with the weights of a feature's ids, and names for messages.
#[derive(Clone, Debug)]
struct WeightColumn {
    at: usize,
    feature: String,
    column: String,
    of_weights: String,
}

impl InputPlan {
    /// Checks features, and what is learned, against the schema that leaves the feature chain.
    pub(crate) fn new(
        spec: &FeatureSpec,
        learned: &[Learned],
        schema: &Schema,
    ) -> Result<Self, ModelError> {
        let plain = |what: &str, name: &String| {
            let at = schema.position(name)?;
            match schema.columns()[at].kind {
                ColumnKind::F32 { width: 1 } => Ok(at),
                kind => Err(mistyped(what, name, kind, "f32, one per row")),
            }
        };
        let labels = learned.iter().map(|learned| {
            let Some(name) = &learned.label else { return Ok(None) };
            let words = match learned.missing {
                Missing::Refused => "the label".to_owned(),
                Missing::LeftOut => format!("the label `{name}`"),
            };
            let (labels, missing) = (learned.demands.labels, learned.missing);
            Ok(Some(LabelColumn { column: plain("label", name)?, labels, missing, words }))
        });
        let labels = labels.collect::<Result<_, ModelError>>()?;
        let weight = spec.weight.as_ref().map(|name| plain("weight", name)).transpose()?;
        let log_q = spec.negatives.as_ref().and_then(|negatives| negatives.log_q.as_ref());
        let log_q = log_q.map(|name| plain("log_q", name)).transpose()?;
        let columns = |learned: &Learned| {
            learned.demands.columns.iter().map(|name| schema.position(name)).collect()
        };
        let of_loss = learned.iter().map(columns).collect::<Result<_, _>>()?;
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
            let weights = WeightColumn::find(feature, schema, found.kind)?;
            Ok(IdColumn { column, at: feature.at, weights })
        });
        let ids = ids.collect::<Result<_, _>>()?;
        let dense_width = dense.iter().map(|column: &DenseColumn| column.width).sum();
        Ok(Self { labels, weight, of_loss, log_q, dense, ids, dense_width })
    }

    /// The width of each dense column.
    pub(crate) fn dense_widths(&self) -> Vec<usize> {
        self.dense.iter().map(|column| column.width).collect()
    }

    /// Fails if a label is not one that its loss takes, or a weight is not a number from 0.
    pub(crate) fn check_labels(&self, batch: &Batch) -> Result<(), ModelError> {
        let refuse = |row: usize, what: &str, found, expected, hint| {
            let (epoch, step, row) = (batch.epoch, batch.step, batch.row_first + row);
            let what = what.to_owned();
            Err(ModelError::Value { epoch, step, row, what, found, expected, hint })
        };
        for label in self.labels.iter().flatten() {
            let values = floats(batch, label.column);
            let lacking = |value: f32| label.missing == Missing::LeftOut && value.is_nan();
            let wrong = values.iter().position(|value| !label.takes(*value) && !lacking(*value));
            if let Some(row) = wrong {
                let (expected, hint) = label.advice();
                return refuse(row, &label.words, values[row], expected, hint);
            }
        }
        let weights = self.weight_values(batch);
        match weights.iter().position(|&weight| !weight.is_finite() || weight < 0.0) {
            None => Ok(()),
            Some(row) => refuse(
                row,
                "the weight",
                weights[row],
                "a number, 0 or more",
                "a row of weight 0 teaches nothing; leave rows without a weight out when importing",
            ),
        }
    }

    /// The labels \[B\] of the first loss, or nothing where rows have none.
    pub(crate) fn label_values<'a>(&self, batch: &'a Batch) -> &'a [f32] {
        self.labels_of(batch, 0)
    }

    /// Those of loss number `at`; a head's are NaN in rows that have none.
    pub(crate) fn labels_of<'a>(&self, batch: &'a Batch, at: usize) -> &'a [f32] {
        self.labels[at].as_ref().map_or(&[], |label| floats(batch, label.column))
    }

    /// Logarithms of the probabilities of what a sampler drew \[B\], or nothing.
    pub(crate) fn log_q_values<'a>(&self, batch: &'a Batch) -> &'a [f32] {
        self.log_q.map_or(&[], |at| floats(batch, at))
    }

    /// The weights \[B\], or nothing where all rows weigh 1.
    pub(crate) fn weight_values<'a>(&self, batch: &'a Batch) -> &'a [f32] {
        self.weight.map_or(&[], |at| floats(batch, at))
    }

    /// The columns that loss number `at` wants, in its order.
    pub(crate) fn loss_columns<'a>(&self, batch: &'a Batch, at: usize) -> Vec<&'a Column> {
        self.of_loss[at].iter().map(|at| &batch.columns[*at]).collect()
    }

    /// Fails if a dense value is NaN or infinite.
    pub(crate) fn check_dense(&self, batch: &Batch) -> Result<(), ModelError> {
        for plan in &self.dense {
            let (width, values) = dense_column(batch, plan);
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
        }
        Ok(())
    }

    /// Copies the dense values into `out`, [B, N].
    pub(crate) fn copy_dense(&self, batch: &Batch, out: &mut [f32]) {
        let mut offset = 0;
        for plan in &self.dense {
            let (width, values) = dense_column(batch, plan);
            let rows = out.chunks_exact_mut(self.dense_width).zip(values.chunks_exact(width));
            for (out, row) in rows {
                out[offset..offset + width].copy_from_slice(row);
            }
            offset += width;
        }
    }

    /// The ids of each feature, in order, with their weights.
    pub(crate) fn ids<'a>(&self, batch: &'a Batch) -> Result<Vec<Ids<'a>>, ModelError> {
        let feature = |plan: &IdColumn| match &batch.columns[plan.column] {
            Column::I64 { width, values } => Ok(Ids::Fixed { values, width: *width, at: plan.at }),
            Column::I64List(Jagged { offsets, values }) => {
                let weights = plan.weights.as_ref();
                let weights = weights.map(|weights| weights.values(batch, offsets)).transpose()?;
                Ok(Ids::List { offsets, values, weights })
            }
            _ => unreachable!("the plan was checked against the schema of this batch"),
        };
        self.ids.iter().map(feature).collect()
    }
}

impl LabelColumn {
    /// Whether the loss takes `label`.
    fn takes(&self, label: f32) -> bool {
        match self.labels {
            Labels::Binary => label == 0.0 || label == 1.0,
            Labels::NonNegative => label.is_finite() && label >= 0.0,
            Labels::Any => label.is_finite(),
            Labels::Class(classes) => {
                (0.0..classes as f32).contains(&label) && label.fract() == 0.0
            }
        }
    }

    /// What is expected of labels, and what to do about others.
    fn advice(&self) -> (&'static str, &'static str) {
        match self.labels {
            Labels::Binary => (
                "0 or 1",
                "the loss takes labels 0 and 1; map them when importing, or use another loss",
            ),
            Labels::NonNegative => (
                "a number, 0 or more",
                "the loss takes labels of 0 or more; map them when importing, or use another loss",
            ),
            Labels::Any => ("a finite number", "leave rows without a label out when importing"),
            Labels::Class(_) => (
                "the number of a class, from 0 and below `classes`",
                "count classes from 0 when importing, such as stars less 1, or give more `classes`",
            ),
        }
    }
}

/// Width and values.
fn dense_column<'a>(batch: &'a Batch, plan: &DenseColumn) -> (usize, &'a [f32]) {
    let Column::F32 { width, values } = &batch.columns[plan.column] else {
        unreachable!("the plan was checked against the schema of this batch")
    };
    (*width, values)
}

impl WeightColumn {
    /// Checks the types of a feature's weights and of its ids.
    fn find(
        feature: &IdFeatureSpec,
        schema: &Schema,
        ids: ColumnKind,
    ) -> Result<Option<Self>, ModelError> {
        let Some(of_weights) = &feature.weights else { return Ok(None) };
        if ids != ColumnKind::I64List {
            let expected = "i64 list, as it has weights";
            return Err(mistyped(&feature.name, &feature.column, ids, expected));
        }
        let at = schema.position(of_weights)?;
        match schema.columns()[at].kind {
            ColumnKind::F32List => Ok(Some(Self {
                at,
                feature: feature.name.clone(),
                column: feature.column.clone(),
                of_weights: of_weights.clone(),
            })),
            kind => Err(mistyped(&feature.name, of_weights, kind, "f32 list, for weights")),
        }
    }

    /// The weights of ids that lie at `offsets`.
    fn values<'a>(&self, batch: &'a Batch, offsets: &[u32]) -> Result<&'a [f32], ModelError> {
        let Column::F32List(jagged) = &batch.columns[self.at] else {
            unreachable!("the plan was checked against the schema of this batch")
        };
        if jagged.offsets == offsets {
            return Ok(&jagged.values);
        }
        let count = |offsets: &[u32], row: usize| (offsets[row + 1] - offsets[row]) as usize;
        let counts = |row: usize| (count(offsets, row), count(&jagged.offsets, row));
        let differs = |row: &usize| counts(*row).0 != counts(*row).1;
        let row = (0..batch.rows).find(differs).expect("offsets that differ begin to at some row");
        let (ids, weights) = counts(row);
        Err(ModelError::WeightCount {
            epoch: batch.epoch,
            step: batch.step,
            row: batch.row_first + row,
            feature: self.feature.clone(),
            column: self.column.clone(),
            ids,
            of_weights: self.of_weights.clone(),
            weights,
        })
    }
}

fn floats(batch: &Batch, column: usize) -> &[f32] {
    let Column::F32 { values, .. } = &batch.columns[column] else {
        unreachable!("the plan was checked against the schema of this batch")
    };
    values
}

fn mistyped(feature: &str, column: &str, found: ColumnKind, expected: &'static str) -> ModelError {
    let (feature, column, found) = (feature.to_owned(), column.to_owned(), found.to_string());
    ModelError::ColumnType { feature, column, found, expected }
}
