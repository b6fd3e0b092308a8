//! `evaluate_retrieval(model, split, #{…})`: how well two towers find what users took.

use rectool_base::quoted_list;
use rectool_model::{RetrievalEvaluation, SampledEvaluation};
use rhai::{Dynamic, Map};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::dataset::Split;
use crate::error::{RecipeError, did_you_mean};
use crate::network::Model;
use crate::options::Options;
use crate::values::described;

/// Longest lists that are judged.
const K_MAX: usize = 10_000;
/// Most negatives of a sampled case.
const NEGATIVES_MAX: usize = 1_000_000;

/// What is to be found, among what, and what it is compared with.
pub(crate) struct RetrievalRequest {
    pub(crate) test: Split,
    /// What users have seen; `None`: what the model was trained on.
    pub(crate) seen: Option<Vec<Split>>,
    /// Rows of the catalogue; `None`: those seen and those of the test.
    pub(crate) items: Option<Vec<Split>>,
    pub(crate) ks: Vec<usize>,
    /// Whether simple methods are judged as well.
    pub(crate) baselines: bool,
    /// Ranks positives among negatives besides.
    pub(crate) negatives: Option<CaseNegatives>,
    /// Text column of `items` with what the report calls them.
    pub(crate) names: Option<String>,
    pub(crate) seed: u64,
}

/// What [`RetrievalRequest`] says, and how what is retrieved is ranked.
pub(crate) struct TwoStageRequest {
    pub(crate) retrieval: RetrievalRequest,
    /// Items that are retrieved for each user.
    pub(crate) candidates: usize,
    /// Columns that describe items, besides their id.
    pub(crate) item_columns: Vec<String>,
    /// The head of the second model that orders.
    pub(crate) head: Option<String>,
}

/// Where the negatives of the sampled protocol come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CaseNegatives {
    /// Drawn, so many for each positive.
    Drawn(usize),
    /// From a column with lists.
    Column(String),
}

/// What came of it; kept for the report and `result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalOutcome {
    /// Split.
    pub split: String,
    /// Of the model, on the whole catalogue.
    pub full: RetrievalEvaluation,
    /// Of the model, among sampled negatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<SampledEvaluation>,
    /// Of simple methods, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<BaselineOutcome>,
}

/// What a simple method reaches on the same task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaselineOutcome {
    /// Its name.
    pub name: String,
    /// On the whole catalogue.
    pub full: RetrievalEvaluation,
    /// Among sampled negatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<SampledEvaluation>,
}

impl RetrievalOutcome {
    /// The model's metrics by name and their values.
    pub(crate) fn metrics(&self) -> Vec<(String, f64)> {
        let full = self.full.metrics.iter().map(|(name, figure)| (name.clone(), figure.mean));
        let coverage = self.full.coverage.iter().map(|(name, value)| (name.clone(), *value));
        let sampled = self.sampled.iter().flat_map(|sampled| &sampled.metrics);
        let sampled = sampled.map(|(name, figure)| (name.clone(), figure.mean));
        let users = ("users".to_owned(), self.full.users as f64);
        full.chain(coverage).chain(sampled).chain([users]).collect()
    }
}

/// What two stages take besides.
#[derive(Deserialize)]
struct TwoStage {
    #[serde(default = "hundred")]
    candidates: usize,
    #[serde(default)]
    item_columns: Vec<String>,
    head: Option<String>,
}

fn hundred() -> usize {
    100
}

impl TwoStageRequest {
    /// Reads the options of `evaluate_two_stage`.
    pub(crate) fn read(
        call: &Call,
        (model, ranker): (&Model, &Model),
        test: Split,
        map: Map,
    ) -> Result<Self, RecipeError> {
        let mut map = map;
        let own: Map = ["candidates", "item_columns", "head"]
            .into_iter()
            .filter_map(|key| map.remove_entry(key))
            .collect();
        let TwoStage { candidates, item_columns, head } = Options::new(call, own).rest()?;
        let retrieval = RetrievalRequest::read(call, model, test, map)?;
        let options = Options::new(call, Map::new());
        let longest = retrieval.ks.iter().copied().max().unwrap_or(1);
        options.in_range("candidates", candidates, longest..=K_MAX)?;
        if !ranker.0.spec.scores_rows() {
            let message = format!("{}: the second model scores no rows", call.function);
            let hint = "it can be any model with a label, such as dlrm(#{…})".to_owned();
            return Err(call.error(message, Some(hint)));
        }
        check_head(&options, ranker, head.as_deref())?;
        ranker.0.check_split(call, "split", &retrieval.test)?;
        Ok(Self { retrieval, candidates, item_columns, head })
    }
}

/// Fails if it is not plain which score of the second model orders.
fn check_head(
    options: &Options<'_>,
    ranker: &Model,
    head: Option<&str>,
) -> Result<(), RecipeError> {
    let spec = &ranker.0.spec;
    let known = spec.ordering_heads();
    match head {
        None if spec.orders_rows() => Ok(()),
        None => {
            let what = format!("is absent, and the second model has {} scores", spec.logits());
            let hint = match known.first() {
                Some(label) => format!("say which one orders: head: \"{label}\""),
                None => "classes are in no order: give a model with another loss".to_owned(),
            };
            Err(options.refuse("head", &what, Some(hint)))
        }
        Some(label) if known.contains(&label) => Ok(()),
        Some(label) => {
            let listed = quoted_list(known.iter().copied());
            let what = format!("names '{label}'; heads of the second model that order: {listed}");
            Err(options.refuse("head", &what, did_you_mean(label, known)))
        }
    }
}

#[derive(Deserialize)]
struct Plain {
    #[serde(default = "cut_offs")]
    k: Vec<usize>,
    #[serde(default)]
    baselines: bool,
    names: Option<String>,
    #[serde(default)]
    seed: u64,
}

fn cut_offs() -> Vec<usize> {
    vec![10, 20, 100]
}

impl RetrievalRequest {
    /// Reads the options and checks them against model and data.
    pub(crate) fn read(
        call: &Call,
        model: &Model,
        test: Split,
        map: Map,
    ) -> Result<Self, RecipeError> {
        if model.0.spec.retrieval.is_none() {
            let kind = model.0.spec.architecture.name();
            let message =
                format!("{} expects a model of two towers, found a {kind}", call.function);
            let hint = Some("evaluate(model, split) judges models that score rows".to_owned());
            return Err(call.error(message, hint));
        }
        let mut options = Options::new(call, map);
        let seen = splits(&mut options, "seen")?;
        let items = splits(&mut options, "items")?;
        let expected = "a number, or the name of a column with lists of items";
        let negatives = options.noun::<Dynamic>("negatives", expected)?;
        let negatives = negatives.map(|value| case_negatives(&options, &value)).transpose()?;
        let Plain { k: ks, baselines, names, seed } = options.rest()?;
        if ks.is_empty() {
            return Err(options.refuse("k", "is empty, expected lengths such as [10, 20]", None));
        }
        ks.iter().try_for_each(|k| options.in_range("k", *k, 1..=K_MAX))?;
        if test.rows.rows() == 0 {
            let message = format!("{}: split '{}' has no rows", call.function, test.rows.name());
            return Err(call.error(message, None));
        }
        Ok(Self { test, seen, items, ks, baselines, negatives, names, seed })
    }

    /// Metrics that scripts may read where nothing is computed.
    pub(crate) fn placeholders(&self) -> Vec<(String, f64)> {
        let full = ["recall", "hit_rate", "ndcg", "mrr", "map", "coverage"];
        let popularity = ["popularity_log", "popularity_percentile"];
        let sampled = self.negatives.iter().flat_map(|_| ["sampled_hit_rate", "sampled_ndcg"]);
        let names: Vec<&str> = full.into_iter().chain(popularity).chain(sampled).collect();
        let keyed =
            self.ks.iter().flat_map(|k| names.iter().map(move |name| format!("{name}@{k}")));
        keyed.chain(["users".to_owned()]).map(|name| (name, 0.0)).collect()
    }
}

fn splits(options: &mut Options<'_>, key: &'static str) -> Result<Option<Vec<Split>>, RecipeError> {
    let given = options.has(key);
    let splits: Vec<Split> = options.nouns(key, "an array of splits such as [data.train]")?;
    Ok(given.then_some(splits))
}

fn case_negatives(options: &Options<'_>, value: &Dynamic) -> Result<CaseNegatives, RecipeError> {
    if let Ok(count) = value.as_int() {
        let count = usize::try_from(count).unwrap_or(0);
        options.in_range("negatives", count, 1..=NEGATIVES_MAX)?;
        return Ok(CaseNegatives::Drawn(count));
    }
    value.clone().into_string().map(|name| CaseNegatives::Column(name.clone())).map_err(|_| {
        let found = described(value);
        let what = format!("expects a number or the name of a column, found {found}");
        options.refuse("negatives", &what, None)
    })
}
