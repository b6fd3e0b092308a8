//! `evaluate(model, split, #{…})`: how well a model that scores rows does.

use rectool_base::ColumnKind;
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
        if model.0.spec.is_contrastive() {
            let message =
                "evaluate: towers that learn from the candidates of a batch score no rows";
            let hint = "write evaluate_retrieval(model, split)".to_owned();
            return Err(call.error(message, Some(hint)));
        }
        model.0.check_split(call, "split", &split)?;
        let options = Options::new(call, map);
        let Plain { group_by } = options.rest()?;
        let request = Self { split, group_by };
        if let Some(name) = &request.group_by {
            request.check_group(&options, name)?;
            if request.grouped_names(model).is_empty() {
                let what = "is given, but nothing that the model says of a row has an AUC";
                let hint = "models with the loss \"bce\" have one".to_owned();
                return Err(options.refuse("group_by", what, Some(hint)));
            }
        }
        Ok(request)
    }

    /// Fails if the split has no ids of that name.
    fn check_group(&self, options: &Options<'_>, name: &str) -> Result<(), RecipeError> {
        let schema = self.split.rows.schema();
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
        let listed = rectool_base::quoted_list(known.iter().copied());
        let what = format!("names '{name}', expected ids, one per row; the split has {listed}");
        Err(options.refuse("group_by", &what, did_you_mean(name, known)))
    }

    /// Names of the metrics that come with the groups, if they are asked for.
    pub(crate) fn grouped_names(&self, model: &Model) -> Vec<String> {
        let names = |_: &String| model.0.spec.grouped_metric_names(model.0.prediction);
        self.group_by.as_ref().map(names).unwrap_or_default()
    }
}
