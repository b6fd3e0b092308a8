//! `evaluate(model, split, #{…})`: how well a model that scores rows does.

use rectool_base::{ColumnKind, quoted_list};
use rectool_data::Cells;
use rhai::Map;
use serde::Deserialize;

use crate::call::Call;
use crate::dataset::Split;
use crate::error::{RecipeError, did_you_mean};
use crate::network::Model;
use crate::options::Options;

/// What is judged, and how.
pub(crate) struct EvaluationRequest {
    pub(crate) split: Split,
    /// The ids that say which rows have an AUC of their own.
    pub(crate) group_by: Option<String>,
}

#[derive(Deserialize)]
struct Plain {
    group_by: Option<String>,
}

impl EvaluationRequest {
    /// Reads the options of `evaluate` and checks them against model and split.
    pub(crate) fn read(
        call: &Call,
        model: &Model,
        split: Split,
        map: Map,
    ) -> Result<Self, RecipeError> {
        if !model.0.spec.scores_rows() {
            let message =
                "evaluate: towers that learn from the candidates of a batch score no rows";
            let hint =
                "write evaluate_retrieval(model, split), or give the towers heads".to_owned();
            return Err(call.error(message, Some(hint)));
        }
        model.0.check_split(call, "split", &split)?;
        let options = Options::new(call, map);
        let Plain { group_by } = options.rest()?;
        if let Some(name) = &group_by {
            check_group(&options, model, &split, name)?;
        }
        Ok(Self { split, group_by })
    }
}

/// Names of the metrics that come with the groups that `group_by` says, if it does.
pub(crate) fn grouped_names(model: &Model, group_by: Option<&str>) -> Vec<String> {
    let names = |_| model.0.spec.grouped_metric_names(&model.0.predictions);
    group_by.map(names).unwrap_or_default()
}

/// Fails if `split` has no ids called `name`, or `model` says nothing that has an AUC.
pub(crate) fn check_group(
    options: &Options<'_>,
    model: &Model,
    split: &Split,
    name: &str,
) -> Result<(), RecipeError> {
    if grouped_names(model, Some(name)).is_empty() {
        let what = "is given, but nothing that the model says of a row has an AUC";
        let hint = "models with the loss \"bce\" have one".to_owned();
        return Err(options.refuse("group_by", what, Some(hint)));
    }
    let schema = split.rows.schema();
    let kind = ColumnKind::I64 { width: 1 };
    if Cells::find_one(schema, name, kind, "group_by").is_ok() {
        return Ok(());
    }
    let mut known = Vec::new();
    for column in schema.columns() {
        match column.kind {
            ColumnKind::I64 { width: 1 } => known.push(column.name.as_str()),
            ColumnKind::I64 { .. } => known.extend(column.members.iter().map(String::as_str)),
            _ => {}
        }
    }
    let listed = quoted_list(known.iter().copied());
    let what = format!("names '{name}', expected ids, one per row; the split has {listed}");
    Err(options.refuse("group_by", &what, did_you_mean(name, known)))
}
