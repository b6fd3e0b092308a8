//! `rectool check`: what a recipe would build and train, without training.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use rectool_base::PluginCall;
pub(crate) use rectool_base::{bytes_text, grouped};
use rectool_embedding::{IndexKind, TableOptions};
use rectool_model::IdFeatureSpec;
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::{Cause, RecipeError};
use crate::evaluation::{EvaluationRequest, grouped_names};
use crate::executor::{Executor, Metrics, TrainResult};
use crate::features::FeatureSet;
use crate::index::{BuiltByScript, IndexJob, SearchJob, Searched, VectorInput};
use crate::job::TrainJob;
use crate::library::Found;
use crate::network::{Model, Network};
use crate::params::Parameter;
use crate::placement::{Placement, Planning};
use crate::retrieval::{RetrievalRequest, TwoStageRequest};

/// Range of ids of a list column beyond which it says nothing about the number of ids.
const LISTED_IDS_MAX: u64 = 1 << 32;

/// A plugin that a recipe names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginPlan {
    /// Name.
    pub name: String,
    /// `transform`, `loss` or `sampler`.
    pub kind: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the component, 64 hex digits.
    pub sha256: String,
    /// The file it was found in, or who brought it.
    pub origin: String,
}

impl From<Found> for PluginPlan {
    fn from(found: Found) -> Self {
        let Found { call, kind, origin } = found;
        let PluginCall { name, version, sha256, .. } = call;
        Self { name, kind: kind.to_owned(), version, sha256, origin }
    }
}

/// What a recipe would do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The recipe.
    pub recipe: String,
    /// Ranks planned for.
    pub ranks: usize,
    /// Parameters with their values.
    pub parameters: Vec<Parameter>,
    /// Plugins that the script names, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub plugins: Vec<PluginPlan>,
    /// One entry for every `train` of the script, in order.
    pub trainings: Vec<TrainingPlan>,
    /// Splits the script evaluates on after training.
    pub evaluations: Vec<String>,
    /// Indexes that the script builds, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexPlan>,
}

/// One index of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPlan {
    /// Where it goes; `None`: into the run's folder.
    pub path: Option<String>,
    /// Files of its vectors.
    pub vectors: Vec<String>,
    /// `inner_product`, `cosine` or `l2`.
    pub metric: String,
    /// Vectors and their width; `None` where a file is not there yet.
    pub shape: Option<(usize, usize)>,
}

/// One training of a plan.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingPlan {
    /// Dataset folder.
    pub dataset: String,
    /// Columns as name and type.
    pub columns: Vec<(String, String)>,
    /// Splits in use as name and rows.
    pub splits: Vec<(String, u64)>,
    /// Matrices of the dense part as name, inputs and outputs.
    pub layers: Vec<(String, usize, usize)>,
    /// Weights of the dense part; every rank holds them all.
    pub dense_parameters: u64,
    /// Weights, gradient and optimizer state of the dense part, in bytes per rank.
    pub dense_bytes: u64,
    /// Embedding tables.
    pub tables: Vec<TablePlan>,
    /// Width D of the embeddings.
    pub embedding_dim: usize,
    /// Optimizer of the tables.
    pub embedding_optimizer: String,
    /// Samples per step over all ranks.
    pub batch_size: usize,
    /// Negatives that are added to each of them.
    #[serde(default)]
    pub negatives_per_row: usize,
    /// Steps of one epoch.
    pub steps_per_epoch: u64,
    /// Steps in all if training is not stopped early.
    pub steps_total: u64,
    /// Where the tables live, and what that costs.
    #[serde(default)]
    pub placement: Placement,
}

/// One embedding table of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TablePlan {
    /// Table name.
    pub name: String,
    /// `hash`, `dense` or `modulo`.
    pub index: String,
    /// Features that read it.
    pub features: Vec<String>,
    /// Rows V: exact for a dense index, otherwise the most there can be, or `None` where the dataset
    /// does not say.
    pub rows_max: Option<u64>,
    /// Bytes of values, optimizer state and headers at `rows_max`, over all ranks.
    pub bytes_max: Option<u64>,
}

impl TrainingPlan {
    /// Bytes of the tables over all ranks, where known.
    pub fn table_bytes(&self) -> u64 {
        let known = self.tables.iter().filter_map(|table| table.bytes_max);
        known.fold(0, u64::saturating_add)
    }

    fn new(network: &Network, job: &TrainJob, placement: Placement) -> Self {
        let set = &network.features;
        let dense_parameters = network.dense_parameters();
        let rows = job.train.rows.rows();
        let splits = std::iter::once(&job.train).chain(job.valid.as_ref());
        let columns = set.dataset.columns().iter();
        Self {
            dataset: set.dataset.0.path().display().to_string(),
            columns: columns.map(|column| (column.name.clone(), column.kind.to_string())).collect(),
            splits: splits.map(|split| (split.rows.name().to_owned(), split.rows.rows())).collect(),
            layers: network.layers().to_vec(),
            dense_parameters,
            dense_bytes: network.dense_bytes(),
            tables: table_plans(network, rows),
            embedding_dim: network.spec.embedding_dim,
            embedding_optimizer: network.embedding_optimizer.to_owned(),
            batch_size: job.spec.batch_size,
            negatives_per_row: network.spec.features.negatives.as_ref().map_or(0, |it| it.per_row),
            steps_per_epoch: job.spec.steps_per_epoch(rows),
            steps_total: job.spec.steps_total(rows),
            placement,
        }
    }
}

fn table_plans(network: &Network, rows: u64) -> Vec<TablePlan> {
    let set = &network.features;
    let (tables, _) = network.spec.tables();
    let plan = |table: TableOptions| {
        let TableOptions { name, index, .. } = &table;
        let users: Vec<&IdFeatureSpec> =
            set.spec.ids.iter().filter(|feature| feature.table == *name).collect();
        let (word, rows_max) = match index {
            IndexKind::Dense { rows } => ("dense", Some(*rows)),
            IndexKind::Modulo { rows } => ("modulo", Some(*rows)),
            IndexKind::Hash => ("hash", hashed_rows_max(set, rows, &users)),
        };
        TablePlan {
            name: name.clone(),
            index: word.to_owned(),
            features: users.iter().map(|feature| feature.name.clone()).collect(),
            rows_max,
            bytes_max: rows_max.map(|rows| rows.saturating_mul(table.row_bytes())),
        }
    };
    tables.into_iter().map(plan).collect()
}

/// The most different ids there can be: no more than their range, and, where each row has one id, no
/// more than rows.
pub(crate) fn hashed_rows_max(
    set: &FeatureSet,
    rows: u64,
    users: &[&IdFeatureSpec],
) -> Option<u64> {
    let (mut low, mut high, mut missing) = (i64::MAX, i64::MIN, false);
    let mut values = Some(0_u64);
    for user in users {
        let (min, max, absent) = set.id_range(user)?;
        (low, high, missing) = (low.min(min), high.max(max), missing || absent);
        let column = set.chained.column(&user.column);
        let single = column.is_some_and(|column| column.width().is_some());
        values = values.filter(|_| single).map(|values| values.saturating_add(rows));
    }
    let range = high.abs_diff(low).saturating_add(1 + u64::from(missing));
    match values {
        Some(values) => Some(range.min(values)),
        // Hashed texts range over everything, and a list may hold any number of them.
        None => (range <= LISTED_IDS_MAX).then_some(range),
    }
}

/// The executor of `check`: writes down what would be done.
#[derive(Clone)]
pub(crate) struct Planner {
    pub(crate) plan: Arc<Mutex<Plan>>,
    pub(crate) planning: Planning,
}

const FREE: &str = "a script runs one function at a time";

/// Metrics that scripts may read: these and those by groups; without training they are 0.
fn placeholders(names: Vec<String>, model: &Model, group_by: Option<&str>) -> Metrics {
    let names = names.into_iter().chain(["samples".to_owned()]);
    names.chain(grouped_names(model, group_by)).map(|name| (name, 0.0)).collect()
}

impl Executor for Planner {
    fn train(
        &mut self,
        _call: &Call,
        model: &Model,
        job: &TrainJob,
    ) -> Result<TrainResult, RecipeError> {
        let placement = self.planning.place(&model.0, job)?;
        let training = TrainingPlan::new(&model.0, job, placement);
        self.plan.lock().expect(FREE).trainings.push(training);
        let group = job.spec.group_by.as_deref();
        let valid = job.valid.as_ref();
        let valid = valid.map(|_| placeholders(model.0.metric_names(), model, group));
        let valid = valid.unwrap_or_default();
        Ok(TrainResult { valid, ..TrainResult::default() })
    }

    fn evaluate(
        &mut self,
        _call: &Call,
        model: &Model,
        request: &EvaluationRequest,
    ) -> Result<Metrics, RecipeError> {
        let split = request.split.rows.name().to_owned();
        self.plan.lock().expect(FREE).evaluations.push(split);
        Ok(placeholders(model.0.row_metric_names(), model, request.group_by.as_deref()))
    }

    fn retrieve(
        &mut self,
        _call: &Call,
        _model: &Model,
        request: &RetrievalRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError> {
        self.plan.lock().expect(FREE).evaluations.push(request.test.rows.name().to_owned());
        Ok(request.placeholders())
    }

    fn index(&mut self, call: &Call, job: &IndexJob) -> Result<BuiltByScript, RecipeError> {
        // What an earlier step of the script makes cannot be there yet.
        let shape = if job.inputs.iter().all(|input| input.exists()) {
            let input = VectorInput::open(&job.inputs, &job.columns).map_err(|error| {
                RecipeError::Refused { place: call.place.clone(), cause: Cause::new(error) }
            })?;
            Some((input.rows(), input.dim()))
        } else {
            None
        };
        let text = |path: &PathBuf| path.display().to_string();
        self.plan.lock().expect(FREE).indexes.push(IndexPlan {
            path: job.path.as_ref().map(text),
            vectors: job.inputs.iter().map(text).collect(),
            metric: job.options.metric.name().to_owned(),
            shape,
        });
        let path = job.path.clone().unwrap_or_else(|| "index".into());
        Ok(BuiltByScript { path, rows: shape.map_or(0, |(rows, _)| rows) })
    }

    fn search(
        &mut self,
        _call: &Call,
        _index: &BuiltByScript,
        _job: &SearchJob,
    ) -> Result<Searched, RecipeError> {
        Ok(Searched::default())
    }

    fn retrieve_and_rank(
        &mut self,
        call: &Call,
        (model, _): (&Model, &Model),
        request: &TwoStageRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError> {
        self.retrieve(call, model, &request.retrieval)
    }
}

impl Plan {
    /// The plan as a table of plain text.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        // A string takes any text.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "{} on {} rank{}", self.recipe, self.ranks, plural(self.ranks))?;
        if !self.parameters.is_empty() {
            writeln!(out, "\nparameters")?;
        }
        for parameter in &self.parameters {
            let mark = if parameter.set { "  (set)" } else { "" };
            writeln!(out, "  {:<22} {}{mark}", parameter.name, parameter.value)?;
        }
        if !self.plugins.is_empty() {
            writeln!(out, "\nplugins                  kind       version    sha256        from")?;
        }
        for PluginPlan { name, kind, version, sha256, origin } in &self.plugins {
            let sha256: String = sha256.chars().take(12).collect();
            writeln!(out, "  {name:<22} {kind:<10} {version:<10} {sha256:<13} {origin}")?;
        }
        for training in &self.trainings {
            training.write(out)?;
        }
        if self.trainings.is_empty() && self.indexes.is_empty() {
            writeln!(out, "\nthe script trains nothing")?;
        }
        for IndexPlan { path, vectors, metric, shape } in &self.indexes {
            let path = path.as_deref().unwrap_or("in the run's folder");
            let shape = match shape {
                Some((rows, dim)) => format!("{} vectors of width {dim}", grouped(*rows as u64)),
                None => "vectors that are not there yet".to_owned(),
            };
            writeln!(out, "\nindex {path}: {shape}, {metric}, from {}", vectors.join(", "))?;
        }
        if !self.evaluations.is_empty() {
            writeln!(out, "\nevaluates on {}", self.evaluations.join(", "))?;
        }
        Ok(())
    }
}

impl TrainingPlan {
    fn write(&self, out: &mut String) -> std::fmt::Result {
        writeln!(out, "\ndata {}", self.dataset)?;
        for (name, kind) in &self.columns {
            writeln!(out, "  {name:<22} {kind}")?;
        }
        for (name, rows) in &self.splits {
            writeln!(out, "  split {name:<16} {} rows", grouped(*rows))?;
        }
        writeln!(out, "\nlayers                   inputs -> outputs")?;
        for (name, inputs, outputs) in &self.layers {
            writeln!(out, "  {name:<22} {inputs:>6} -> {outputs}")?;
        }
        let (parameters, bytes) = (grouped(self.dense_parameters), bytes_text(self.dense_bytes));
        writeln!(out, "  {parameters} parameters, {bytes} with gradient and optimizer state")?;
        let (dim, optimizer) = (self.embedding_dim, &self.embedding_optimizer);
        writeln!(out, "\ntables (D = {dim}, {optimizer})  index         rows       bytes")?;
        for table in &self.tables {
            let most = if table.index == "dense" { ' ' } else { '≤' };
            let rows = table.rows_max.map_or("unknown".to_owned(), grouped);
            let bytes = table.bytes_max.map_or("unknown".to_owned(), bytes_text);
            let (name, index) = (&table.name, &table.index);
            writeln!(out, "  {name:<28} {index:<6} {most}{rows:>12} {bytes:>11}")?;
        }
        if self.tables.iter().any(|table| table.index == "hash") {
            writeln!(
                out,
                "  ≤: hashed tables hold the ids they meet; the dataset's id ranges and"
            )?;
            writeln!(out, "     row counts say how many that can be at most")?;
        }
        self.placement.write(self.dense_bytes, out)?;
        let (epoch, steps) = (grouped(self.steps_per_epoch), grouped(self.steps_total));
        let batch = grouped(self.batch_size as u64);
        let negatives = match self.negatives_per_row {
            0 => String::new(),
            each => format!(" and {each} negatives to each"),
        };
        writeln!(out, "\nsteps: {epoch} per epoch of {batch} samples{negatives}, {steps} in all")
    }
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
