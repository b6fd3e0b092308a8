//! `features(dataset, #{…})`: which columns enter a model, checked against those of the dataset and
//! those that the chain makes.

use std::collections::BTreeMap;
use std::sync::Arc;

use rectool_base::limits::EMBEDDING_DIM_MAX;
use rectool_base::{ColumnKind, MISSING_ID, PluginSource, quoted_list};
use rectool_data::{ChainOp, ChainSpec, ChainStep};
use rectool_embedding::IndexKind;
use rectool_model::{FeatureSpec, IdFeatureSpec, ModelSpec, NegativeSpec, RowSpec};
use rhai::Map;
use serde::Deserialize;

use crate::call::Call;
use crate::chained::Chained;
use crate::dataset::Dataset;
use crate::error::{Place, RecipeError, did_you_mean};
use crate::id_features::id_features;
use crate::options::Options;
use crate::sampling::negatives;
use crate::table_options::{IndexWord, TableOptions};

/// Rows of a table whose keys are the rows: beyond this hashing is meant.
const DENSE_ROWS_MAX: u64 = 1 << 32;

/// The inputs of a model, as scripts hold them.
#[derive(Clone, Debug)]
pub(crate) struct Features(pub(crate) Arc<FeatureSet>);

#[derive(Clone, Debug)]
pub(crate) struct FeatureSet {
    /// Where the script made it.
    call: Call,
    pub(crate) dataset: Dataset,
    pub(crate) spec: FeatureSpec,
    /// The columns behind the chain.
    pub(crate) chained: Chained,
    /// Values of each dense column.
    pub(crate) dense_widths: Vec<usize>,
    /// Tables in the order of their first use.
    pub(crate) tables: Vec<(String, IndexKind)>,
    /// How each table keeps its rows, where the recipe says.
    pub(crate) row_specs: BTreeMap<String, RowSpec>,
    /// Widths of tables, where the recipe says.
    pub(crate) dims: BTreeMap<String, usize>,
    /// Rows that hashed tables will come to have, where the recipe says.
    pub(crate) rows_expected: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Plain {
    label: Option<String>,
    weight: Option<String>,
    #[serde(default)]
    dense: Vec<String>,
    #[serde(default)]
    tables: BTreeMap<String, TableOptions>,
}

/// The label where nobody names one, if there is a column of that name.
const LABEL_COLUMN: &str = "label";

impl Features {
    /// Reads the options and checks every column they name.
    pub(crate) fn read(
        call: &Call,
        dataset: Dataset,
        map: Map,
        plugins: &dyn PluginSource,
    ) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        let id_entries = options.values("ids")?;
        let chain: Vec<ChainStep> =
            options.nouns("chain", "chain steps such as log1p(\"dense\")")?;
        let negatives = negatives(call, &mut options, &dataset)?;
        let plain: Plain = options.rest()?;
        let added = negatives.as_ref().map(NegativeSpec::added).unwrap_or_default();
        let columns = [dataset.columns().to_vec(), added].concat();
        let chained = Chained::build(&options, columns, &chain, plugins)?;
        let label = plain.label.clone().or_else(|| {
            let column = chained.column(LABEL_COLUMN);
            column.map(|column| column.name.clone())
        });
        for (key, name) in [("label", label.as_ref()), ("weight", plain.weight.as_ref())] {
            name.map_or(Ok(()), |name| check_single(&options, &chained, (key, name)))?;
        }
        let dense_widths = dense_widths(&options, &chained, &plain.dense)?;
        let mut ids = Vec::new();
        for (at, value) in id_entries.iter().enumerate() {
            ids.extend(id_features(call, &options, &chained, (at, value))?);
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
        let Plain { weight, dense, tables, .. } = plain;
        let chain = ChainSpec { steps: chain };
        let spec = FeatureSpec { label, weight, dense, ids, chain, negatives };
        let call = call.clone();
        let rows_expected = rows_expected(&options, &tables)?;
        let row_specs =
            tables.iter().map(|(name, table)| (name.clone(), table.rows_spec())).collect();
        let dims = dims(&options, &tables)?;
        let mut set = FeatureSet {
            call,
            dataset,
            spec,
            chained,
            dense_widths,
            tables: Vec::new(),
            row_specs,
            dims,
            rows_expected,
        };
        set.tables = set.tables_of(&options, &tables)?;
        tables.iter().try_for_each(|(name, table)| table.check(&set.call, name))?;
        Ok(Self(Arc::new(set)))
    }
}

impl FeatureSet {
    /// Range of the ids of a feature after the chain: least, greatest, and whether some are
    /// missing; `None` if neither the dataset nor the chain says.
    pub(crate) fn id_range(&self, feature: &IdFeatureSpec) -> Option<(i64, i64, bool)> {
        for at in self.chained.makers(&feature.column) {
            match &self.spec.chain.steps[at].op {
                // A missing id becomes `buckets`.
                ChainOp::Modulo { buckets } => {
                    return Some((0, i64::try_from(*buckets).unwrap_or(i64::MAX), false));
                }
                ChainOp::Plugin(_) => return None,
                _ => {}
            }
        }
        let (min, max, missing) = self.dataset.id_range(&feature.column, feature.at)?;
        Some((min, max, missing > 0))
    }

    /// Where an option of a table stands in the script.
    pub(crate) fn place_of_table(&self, table: &str, option: &str) -> Place {
        self.call.place_of_keys(&["tables", table, option])
    }

    /// Fails if `model` wants a label and there is none.
    pub(crate) fn check_label(&self, model: &ModelSpec) -> Result<(), RecipeError> {
        if self.spec.label.is_some() || !model.has_own_score() {
            return Ok(());
        }
        let path = self.dataset.0.path().display();
        let message = format!(
            "features needs the option 'label', the column to learn, as {path} has none called \
             '{LABEL_COLUMN}'"
        );
        let hint = "only models with heads, and towers with the objective \"softmax\", \"bpr\" or \
                    \"ccl\", do without";
        Err(RecipeError::script(self.call.place.clone(), message, Some(hint.to_owned())))
    }

    /// Fails if a step of the chain works for nobody, given the columns that the loss of `model` wants.
    pub(crate) fn check_used(
        &self,
        model: &ModelSpec,
        of_loss: &[String],
    ) -> Result<(), RecipeError> {
        let FeatureSpec { label, weight, dense, ids, chain, .. } = &self.spec;
        let ids = ids.iter().flat_map(IdFeatureSpec::columns);
        let names = label.iter().chain(weight).chain(dense).chain(ids).chain(of_loss);
        let of_towers = model.retrieval.iter().flat_map(|spec| [&spec.query, &spec.item]);
        let names = names.chain(of_towers);
        let mut used: Vec<&str> = Vec::new();
        for name in names {
            if !used.contains(&name.as_str()) {
                used.push(name);
            }
        }
        let Some(at) = self.chained.unused(&chain.steps, &used) else { return Ok(()) };
        let listed = quoted_list(self.chained.made(at));
        let hint = self.chained.made(at).find_map(|name| did_you_mean(name, used.iter().copied()));
        let message = format!(
            "features: 'chain' makes {listed}, which no feature uses; they use {}",
            quoted_list(used)
        );
        Err(RecipeError::script(self.call.place_of_keys(&["chain"]), message, hint))
    }

    /// One table for every name in `ids`, in order of first use, with what `given` says of it.
    fn tables_of(
        &self,
        options: &Options<'_>,
        given: &BTreeMap<String, TableOptions>,
    ) -> Result<Vec<(String, IndexKind)>, RecipeError> {
        let mut tables: Vec<(String, IndexKind)> = Vec::new();
        for IdFeatureSpec { table: name, .. } in &self.spec.ids {
            if tables.iter().any(|(known, _)| known == name) {
                continue;
            }
            let index = match given.get(name) {
                Some(table) if table.index == IndexWord::Dense => {
                    self.dense_index(options, name, table.rows)?
                }
                Some(TableOptions { index: IndexWord::Modulo, rows, .. }) => {
                    let rows = rows.filter(|rows| (1..=DENSE_ROWS_MAX).contains(rows));
                    let rows = rows.ok_or_else(|| {
                        let what = format!(
                            "has table '{name}' by modulo, which takes 'rows', 1 to {DENSE_ROWS_MAX}"
                        );
                        options.refuse("tables", &what, None)
                    })?;
                    IndexKind::Modulo { rows }
                }
                Some(TableOptions { rows: Some(_), .. }) => {
                    let what =
                        format!("gives rows to the hashed table '{name}', which grows by itself");
                    let hint = Some("add index: \"dense\", or use modulo in the chain".to_owned());
                    return Err(options.refuse("tables", &what, hint));
                }
                _ => IndexKind::Hash,
            };
            tables.push((name.clone(), index));
        }
        let unknown = given.keys().find(|name| !tables.iter().any(|(known, _)| known == *name));
        let Some(name) = unknown else { return Ok(tables) };
        let known = tables.iter().map(|(name, _)| name.as_str());
        let listed = quoted_list(known.clone());
        let what = format!("names '{name}', which no feature uses; they use {listed}");
        Err(options.refuse("tables", &what, did_you_mean(name, known)))
    }

    fn dense_index(
        &self,
        options: &Options<'_>,
        name: &str,
        rows: Option<u64>,
    ) -> Result<IndexKind, RecipeError> {
        let mut greatest = None;
        for user in self.spec.ids.iter().filter(|feature| feature.table == name) {
            let Some((min, max, missing)) = self.id_range(user) else { continue };
            let min = if missing { min.min(MISSING_ID) } else { min };
            let allowed = rows.unwrap_or(DENSE_ROWS_MAX);
            if min < 0 || max as u64 >= allowed {
                let (user, last) = (&user.name, allowed - 1);
                let what = format!(
                    "has table '{name}', which takes ids from 0 to {last}, but those of '{user}' \
                     reach from {min} to {max}"
                );
                let hint = "use index: \"hash\", more rows, or modulo in the chain".to_owned();
                return Err(options.refuse("tables", &what, Some(hint)));
            }
            greatest = greatest.max(Some(max as u64));
        }
        let rows = rows.or_else(|| greatest.map(|max| max + 1)).ok_or_else(|| {
            let what =
                format!("has table '{name}' without 'rows': the dataset does not say how many");
            options.refuse("tables", &what, None)
        })?;
        if (1..=DENSE_ROWS_MAX).contains(&rows) {
            return Ok(IndexKind::Dense { rows });
        }
        let what = format!("has table '{name}' of {rows} rows, expected 1 to {DENSE_ROWS_MAX}");
        Err(options.refuse("tables", &what, None))
    }
}

/// The widths that tables have of their own.
fn dims(
    options: &Options<'_>,
    given: &BTreeMap<String, TableOptions>,
) -> Result<BTreeMap<String, usize>, RecipeError> {
    let mut dims = BTreeMap::new();
    for (name, table) in given {
        let Some(dim) = table.dim else { continue };
        if !(1..=EMBEDDING_DIM_MAX).contains(&dim) {
            let what =
                format!("has table '{name}' of width {dim}, expected 1 to {EMBEDDING_DIM_MAX}");
            return Err(options.refuse("tables", &what, None));
        }
        dims.insert(name.clone(), dim);
    }
    Ok(dims)
}

/// The rows that hashed tables are expected to come to.
fn rows_expected(
    options: &Options<'_>,
    given: &BTreeMap<String, TableOptions>,
) -> Result<BTreeMap<String, u64>, RecipeError> {
    let mut expected = BTreeMap::new();
    for (name, table) in given {
        let Some(rows) = table.rows_expected else { continue };
        if table.index != IndexWord::Hash {
            let what = format!("expects rows of table '{name}', whose index says how many it has");
            let hint = Some("give 'rows' to it, or make it a hashed table".to_owned());
            return Err(options.refuse("tables", &what, hint));
        }
        if rows == 0 {
            let what = format!("expects 0 rows of table '{name}', expected at least 1");
            return Err(options.refuse("tables", &what, None));
        }
        expected.insert(name.clone(), rows);
    }
    Ok(expected)
}

fn is_float(kind: ColumnKind) -> bool {
    matches!(kind, ColumnKind::F32 { .. })
}

/// Checks that a column of one float per row is called `name`.
pub(crate) fn check_single(
    options: &Options<'_>,
    chained: &Chained,
    (key, name): (&str, &str),
) -> Result<(), RecipeError> {
    let Some(column) = chained.column(name) else {
        return Err(chained.unknown(options, key, name, is_float));
    };
    if column.kind == (ColumnKind::F32 { width: 1 }) {
        return Ok(());
    }
    let kind = column.kind;
    Err(options.refuse(key, &format!("expects a column of type f32[1], found {kind}"), None))
}

fn dense_widths(
    options: &Options<'_>,
    chained: &Chained,
    dense: &[String],
) -> Result<Vec<usize>, RecipeError> {
    let mut widths = Vec::new();
    for (at, name) in dense.iter().enumerate() {
        let Some(column) = chained.column(name) else {
            return Err(chained.unknown(options, "dense", name, is_float));
        };
        let ColumnKind::F32 { width } = column.kind else {
            let kind = column.kind;
            let what = format!("expects float columns; '{name}' is {kind}");
            return Err(options.refuse("dense", &what, None));
        };
        if dense[..at].contains(name) {
            return Err(options.refuse("dense", &format!("names '{name}' twice"), None));
        }
        widths.push(width);
    }
    Ok(widths)
}
