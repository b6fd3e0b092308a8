//! `features(dataset, #{…})`: which columns enter a model, checked against the dataset's schema.

use std::collections::BTreeMap;
use std::sync::Arc;

use rectool_base::{ColumnKind, Hint, MISSING_ID, NoPlugins, quoted_list};
use rectool_data::{ChainOp, ChainSpec, ChainStep, FeatureChain};
use rectool_embedding::{IndexKind, Pooling};
use rectool_model::{FeatureSpec, IdFeatureSpec};
use rhai::{Dynamic, Map};
use serde::Deserialize;

use crate::call::Call;
use crate::dataset::Dataset;
use crate::error::{RecipeError, did_you_mean};
use crate::options::{Options, entry, text_of};

/// Rows of a table whose keys are the rows: beyond this hashing is meant.
const DENSE_ROWS_MAX: u64 = 1 << 32;

/// The inputs of a model, as scripts hold them.
#[derive(Clone, Debug)]
pub(crate) struct Features(pub(crate) Arc<FeatureSet>);

#[derive(Clone, Debug)]
pub(crate) struct FeatureSet {
    pub(crate) dataset: Dataset,
    pub(crate) spec: FeatureSpec,
    /// Values of all dense columns together.
    pub(crate) dense_width: usize,
    /// Tables in the order of their first use.
    pub(crate) tables: Vec<(String, IndexKind)>,
}

#[derive(Deserialize)]
struct Plain {
    #[serde(default = "label_column")]
    label: String,
    #[serde(default)]
    dense: Vec<String>,
    #[serde(default)]
    tables: BTreeMap<String, TableOptions>,
}

fn label_column() -> String {
    "label".to_owned()
}

#[derive(Deserialize)]
struct IdOptions {
    column: String,
    name: Option<String>,
    table: Option<String>,
    #[serde(default = "sum")]
    pooling: Pooling,
}

fn sum() -> Pooling {
    Pooling::Sum
}

#[derive(Deserialize)]
struct TableOptions {
    #[serde(default)]
    index: IndexWord,
    rows: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
enum IndexWord {
    #[default]
    Hash,
    Dense,
}

impl Features {
    /// Reads the options and checks every column they name.
    pub(crate) fn read(call: &Call, dataset: Dataset, map: Map) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        let id_entries = options.values("ids")?;
        let chain: Vec<ChainStep> =
            options.nouns("chain", "chain steps such as log1p(\"dense\")")?;
        let plain: Plain = options.rest()?;
        check_label(&options, &dataset, &plain.label)?;
        let dense_width = dense_width(&options, &dataset, &plain.dense)?;
        let mut ids = Vec::new();
        for (at, value) in id_entries.iter().enumerate() {
            ids.extend(id_features(call, &options, &dataset, (at, value))?);
        }
        if let Some(twice) = ids.iter().enumerate().find_map(|(at, feature)| {
            ids[..at].iter().any(|other| other.name == feature.name).then_some(&feature.name)
        }) {
            let hint = Some("give one of them another name: #{column: …, name: …}".to_owned());
            return Err(options.refuse("ids", &format!("has two features '{twice}'"), hint));
        }
        if ids.is_empty() && plain.dense.is_empty() {
            return Err(options.refuse("ids", "and 'dense' are both empty", None));
        }
        let tables = tables(&options, &dataset, &plain.tables, (&ids, &chain))?;
        let (label, dense) = (plain.label, plain.dense);
        let spec = FeatureSpec { label, dense, ids, chain: ChainSpec { steps: chain } };
        check_chain(&options, &dataset, &spec)?;
        Ok(Self(Arc::new(FeatureSet { dataset, spec, dense_width, tables })))
    }
}

impl FeatureSet {
    /// Range of the ids of a feature after the chain: least, greatest, and whether some are
    /// missing; `None` if the dataset does not say.
    pub(crate) fn id_range(&self, feature: &IdFeatureSpec) -> Option<(i64, i64, bool)> {
        id_range(&self.dataset, feature, &self.spec.chain.steps)
    }
}

fn id_range(
    dataset: &Dataset,
    feature: &IdFeatureSpec,
    chain: &[ChainStep],
) -> Option<(i64, i64, bool)> {
    let of_column = chain.iter().rev().filter(|step| step.inputs.contains(&feature.column));
    let mut buckets = of_column.filter_map(|step| match step.op {
        ChainOp::Modulo { buckets } => Some(buckets),
        _ => None,
    });
    if let Some(buckets) = buckets.next() {
        // A missing id becomes `buckets`.
        return Some((0, i64::try_from(buckets).unwrap_or(i64::MAX), false));
    }
    let (min, max, missing) = dataset.id_range(&feature.column, feature.at)?;
    Some((min, max, missing > 0))
}

fn unknown(options: &Options<'_>, key: &str, name: &str, known: &[&str]) -> RecipeError {
    let hint = did_you_mean(name, known.iter().copied());
    let listed = quoted_list(known.iter().copied());
    let message = format!("names '{name}', which the dataset does not have; it has {listed}");
    options.refuse(key, &message, hint)
}

fn is_float(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::F32 { .. })
}

fn is_id(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::I64 { .. } | ColumnKind::I64List)
}

fn check_label(options: &Options<'_>, dataset: &Dataset, label: &str) -> Result<(), RecipeError> {
    let columns = dataset.columns();
    let Some(column) = columns.iter().find(|column| column.name == label) else {
        return Err(unknown(options, "label", label, &dataset.names(is_float)));
    };
    if column.kind == (ColumnKind::F32 { width: 1 }) {
        return Ok(());
    }
    let kind = column.kind.to_string();
    Err(options.refuse("label", &format!("expects a column of type f32[1], found {kind}"), None))
}

fn dense_width(
    options: &Options<'_>,
    dataset: &Dataset,
    dense: &[String],
) -> Result<usize, RecipeError> {
    let columns = dataset.columns();
    let mut width_total = 0;
    for (at, name) in dense.iter().enumerate() {
        let Some(column) = columns.iter().find(|column| column.name == *name) else {
            return Err(unknown(options, "dense", name, &dataset.names(is_float)));
        };
        let ColumnKind::F32 { width } = column.kind else {
            let kind = column.kind.to_string();
            let what = format!("expects float columns; '{name}' is {kind}");
            return Err(options.refuse("dense", &what, None));
        };
        if dense[..at].contains(name) {
            return Err(options.refuse("dense", &format!("names '{name}' twice"), None));
        }
        width_total += width;
    }
    Ok(width_total)
}

/// The features of one entry of `ids`: a name stands for a plain or list column, for one packed
/// member, or for every member of a packed column.
fn id_features(
    call: &Call,
    options: &Options<'_>,
    dataset: &Dataset,
    (at, value): (usize, &Dynamic),
) -> Result<Vec<IdFeatureSpec>, RecipeError> {
    let given = if value.is_map() {
        entry(call, ("ids", at), value)?
    } else {
        let column = text_of(call, "ids", value)?;
        IdOptions { column, name: None, table: None, pooling: Pooling::Sum }
    };
    let Some((column, positions)) = dataset.find(&given.column) else {
        return Err(unknown(options, "ids", &given.column, &dataset.names(is_id)));
    };
    if !is_id(column.kind) {
        let (name, kind) = (&given.column, column.kind.to_string());
        let what = format!("expects id columns; '{name}' is {kind}");
        return Err(options.refuse("ids", &what, None));
    }
    if given.name.is_some() && positions.len() > 1 {
        let (name, members) = (&given.column, positions.len());
        let what = format!("gives one name to the {members} features of column '{name}'");
        return Err(options.refuse("ids", &what, Some("name one of its members".to_owned())));
    }
    let features = positions.map(|at| {
        let name = given.name.clone().unwrap_or_else(|| column.member_name(at));
        IdFeatureSpec {
            column: column.name.clone(),
            at,
            table: given.table.clone().unwrap_or_else(|| name.clone()),
            pooling: given.pooling,
            name,
        }
    });
    Ok(features.collect())
}

/// Builds the chain on the columns in use: the steps say themselves what they take.
fn check_chain(
    options: &Options<'_>,
    dataset: &Dataset,
    spec: &FeatureSpec,
) -> Result<(), RecipeError> {
    let columns = spec.select(dataset.0.schema());
    let columns = columns.map_err(|error| options.refuse("ids", &error.to_string(), None))?;
    for step in &spec.chain.steps {
        let missing = step.inputs.iter().find(|name| columns.position(name).is_err());
        let Some(name) = missing else { continue };
        let known: Vec<&str> =
            columns.columns().iter().map(|column| column.name.as_str()).collect();
        let hint = did_you_mean(name, known.iter().copied());
        let listed = quoted_list(known);
        let what = format!("changes column '{name}', which no feature uses; they use {listed}");
        return Err(options.refuse("chain", &what, hint));
    }
    FeatureChain::build(&spec.chain, &columns, &NoPlugins)
        .map(drop)
        .map_err(|error| options.refuse("chain", &format!("cannot be: {error}"), error.hint()))
}

/// One table for every name in `ids`, in order of first use, with what `given` says of it.
fn tables(
    options: &Options<'_>,
    dataset: &Dataset,
    given: &BTreeMap<String, TableOptions>,
    (ids, chain): (&[IdFeatureSpec], &[ChainStep]),
) -> Result<Vec<(String, IndexKind)>, RecipeError> {
    let mut tables: Vec<(String, IndexKind)> = Vec::new();
    for feature in ids {
        if tables.iter().any(|(name, _)| *name == feature.table) {
            continue;
        }
        let name = feature.table.clone();
        let users: Vec<&IdFeatureSpec> = ids.iter().filter(|other| other.table == name).collect();
        let index = match given.get(&name) {
            Some(table) if table.index == IndexWord::Dense => {
                dense_index(options, dataset, (&name, table.rows), (&users, chain))?
            }
            Some(TableOptions { rows: Some(_), .. }) => {
                let what =
                    format!("gives rows to the hashed table '{name}', which grows by itself");
                let hint = Some("add index: \"dense\", or use modulo in the chain".to_owned());
                return Err(options.refuse("tables", &what, hint));
            }
            _ => IndexKind::Hash,
        };
        tables.push((name, index));
    }
    if let Some(name) = given.keys().find(|name| !tables.iter().any(|(known, _)| known == *name)) {
        let known = tables.iter().map(|(name, _)| name.as_str());
        let listed = quoted_list(known.clone());
        let what = format!("names '{name}', which no feature uses; they use {listed}");
        return Err(options.refuse("tables", &what, did_you_mean(name, known)));
    }
    Ok(tables)
}

fn dense_index(
    options: &Options<'_>,
    dataset: &Dataset,
    (name, rows): (&str, Option<u64>),
    (users, chain): (&[&IdFeatureSpec], &[ChainStep]),
) -> Result<IndexKind, RecipeError> {
    let mut greatest = None;
    for user in users {
        let Some((min, max, missing)) = id_range(dataset, user, chain) else { continue };
        let min = if missing { min.min(MISSING_ID) } else { min };
        let allowed = rows.unwrap_or(DENSE_ROWS_MAX);
        if min < 0 || max as u64 >= allowed {
            let user = &user.name;
            let what = format!(
                "has table '{name}', which takes ids from 0 to {}, but those of '{user}' reach from {min} to \
                 {max}",
                allowed - 1
            );
            let hint = "use index: \"hash\", more rows, or modulo in the chain".to_owned();
            return Err(options.refuse("tables", &what, Some(hint)));
        }
        greatest = greatest.max(Some(max as u64));
    }
    let rows = rows.or_else(|| greatest.map(|max| max + 1)).ok_or_else(|| {
        let what = format!("has table '{name}' without 'rows': the dataset does not say how many");
        options.refuse("tables", &what, None)
    })?;
    if (1..=DENSE_ROWS_MAX).contains(&rows) {
        return Ok(IndexKind::Dense { rows });
    }
    let what = format!("has table '{name}' of {rows} rows, expected 1 to {DENSE_ROWS_MAX}");
    Err(options.refuse("tables", &what, None))
}
