//! `index(#{…})` and `search(index, #{…})`: what is built of what, and what is asked.

use std::path::PathBuf;

use rectool_ann::limits::{DEGREE_MAX, DEGREE_MIN};
use rectool_ann::{BuildOptions, Crowding, Effort, Filter, IndexKind, Metric};
use rectool_base::Hint;
use rhai::{Array, Dynamic, Map};
use serde::Deserialize;

use super::{InputColumns, RowIds};
use crate::call::Call;
use crate::error::RecipeError;
use crate::options::{Options, text_of};

/// One index, checked as far as that can be done without its input.
pub(crate) struct IndexJob {
    pub(crate) inputs: Vec<PathBuf>,
    pub(crate) columns: InputColumns,
    pub(crate) queries: Option<PathBuf>,
    /// Where it goes; `None`: into the run's folder.
    pub(crate) path: Option<PathBuf>,
    pub(crate) parts: Option<usize>,
    pub(crate) options: BuildOptions,
}

/// The plain options of `index`.
#[derive(Deserialize)]
struct PlainIndex {
    path: Option<PathBuf>,
    #[serde(default)]
    metric: Metric,
    kind: Option<IndexKind>,
    leaves: Option<usize>,
    degree: Option<usize>,
    recall_target: Option<f64>,
    seed: Option<u64>,
    parts: Option<usize>,
    queries: Option<PathBuf>,
    vector_column: Option<String>,
    id_column: Option<String>,
    #[serde(default)]
    filter_columns: Vec<String>,
}

impl IndexJob {
    pub(crate) fn read(call: &Call, map: Map) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        let expected = "a file of vectors, or an array of them";
        let vectors: Dynamic = options.required("vectors", expected)?;
        let plain: PlainIndex = options.rest()?;
        let defaults = BuildOptions::default();
        let recall_target = plain.recall_target.unwrap_or(defaults.recall_target);
        let holds = (0.1..=1.0).contains(&recall_target);
        options.number("recall_target", recall_target, holds, "0.1 to 1")?;
        if let Some(parts) = plain.parts {
            options.in_range("parts", parts, 1..=4096)?;
        }
        if let Some(leaves) = plain.leaves {
            options.in_range("leaves", leaves, 1..=rectool_ann::limits::LEAVES_MAX)?;
        }
        if let Some(degree) = plain.degree {
            options.in_range("degree", degree, DEGREE_MIN..=DEGREE_MAX)?;
        }
        let usual = InputColumns::default();
        Ok(Self {
            inputs: paths(call, "vectors", &vectors)?,
            columns: InputColumns {
                vector: plain.vector_column.unwrap_or(usual.vector),
                ids: plain.id_column.map_or(usual.ids, RowIds::Column),
                filters: plain.filter_columns,
                attributes: None,
            },
            queries: plain.queries,
            path: plain.path,
            parts: plain.parts,
            options: BuildOptions {
                metric: plain.metric,
                kind: plain.kind,
                leaves: plain.leaves,
                degree: plain.degree.unwrap_or(defaults.degree),
                recall_target,
                seed: plain.seed.unwrap_or(defaults.seed),
                ..defaults
            },
        })
    }
}

/// A path or an array of them.
fn paths(call: &Call, key: &str, value: &Dynamic) -> Result<Vec<PathBuf>, RecipeError> {
    let paths = value.clone().try_cast::<Array>().unwrap_or_else(|| vec![value.clone()]);
    if paths.is_empty() {
        let message = format!("{}: '{key}' is an empty array, expected files", call.function);
        return Err(RecipeError::script(call.place_of_keys(&[key]), message, None));
    }
    paths.iter().map(|path| text_of(call, key, path).map(PathBuf::from)).collect()
}

/// Searches of one file of queries.
pub(crate) struct SearchJob {
    pub(crate) queries: PathBuf,
    pub(crate) columns: InputColumns,
    pub(crate) k: usize,
    pub(crate) effort: Option<Effort>,
    pub(crate) filter: Option<Filter>,
    pub(crate) crowding: Option<Crowding>,
    pub(crate) out: Option<PathBuf>,
}

/// The plain options of `search`.
#[derive(Deserialize)]
struct PlainSearch {
    queries: PathBuf,
    vector_column: Option<String>,
    id_column: Option<String>,
    #[serde(default = "ten")]
    k: usize,
    recall: Option<f64>,
    #[serde(default)]
    exact: bool,
    filter: Option<String>,
    crowding: Option<PlainCrowding>,
    out: Option<PathBuf>,
}

#[derive(Deserialize)]
struct PlainCrowding {
    namespace: String,
    results_max: usize,
}

fn ten() -> usize {
    10
}

impl SearchJob {
    pub(crate) fn read(call: &Call, map: Map) -> Result<Self, RecipeError> {
        let options = Options::new(call, map);
        let plain: PlainSearch = options.rest()?;
        options.in_range("k", plain.k, 1..=rectool_ann::limits::K_MAX)?;
        if let Some(recall) = plain.recall {
            options.number("recall", recall, (0.0..=1.0).contains(&recall), "0 to 1")?;
        }
        let filter = plain.filter.map(|text| text.parse::<Filter>()).transpose();
        let filter = filter.map_err(|error| {
            RecipeError::script(options.place_of("filter"), error.to_string(), error.hint())
        })?;
        let usual = InputColumns::default();
        Ok(Self {
            queries: plain.queries,
            columns: InputColumns {
                vector: plain.vector_column.unwrap_or_else(|| usual.vector.clone()),
                ids: plain.id_column.map_or(RowIds::Numbers, RowIds::Column),
                ..usual
            },
            k: plain.k,
            effort: match plain.recall {
                _ if plain.exact => Some(Effort::Exact),
                recall => recall.map(Effort::Recall),
            },
            filter,
            crowding: plain.crowding.map(|PlainCrowding { namespace, results_max }| Crowding {
                namespace,
                results_max,
            }),
            out: plain.out,
        })
    }
}
