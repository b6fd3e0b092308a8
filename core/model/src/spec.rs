//! What a recipe may say about a model and its training: plain options, checked once.

use rectool_base::limits::{BATCH_ROWS_MAX, EMBEDDING_DIM_MAX};
use rectool_base::{ColumnSchema, Schema, SchemaError};
use rectool_data::{ChainOp, ChainSpec, Shuffle};
use rectool_embedding::{
    Admission, Backing, Expiry, IndexKind, Init, OptimizerOptions, Pooling, Storage, TableOptions,
    Unadmitted, Wire,
};
use serde::{Deserialize, Serialize};

use crate::architecture::check_widths;
use crate::{
    Architecture, DenseOptimizerOptions, HeadSpec, LossSpec, ModelError, NegativeSpec,
    RetrievalSpec, Schedule,
};

/// Which columns enter the model, and as what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSpec {
    /// Column with the label, one float per row; which values it may hold is the loss's to say. Only
    /// models with heads, which name their own, and towers that learn from the candidates of a batch do
    /// without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Column with the weight of each row in the loss: one float per row, 0 or more. It scales loss
    /// and gradient of the training; metrics count every row once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<String>,
    /// Float columns; their values are concatenated in this order into the dense input [B, N].
    #[serde(default)]
    pub dense: Vec<String>,
    /// Embedded features, in this order.
    pub ids: Vec<IdFeatureSpec>,
    /// Transforms applied to the columns before the model sees them, in this order.
    #[serde(default)]
    pub chain: ChainSpec,
    /// Rows added before the chain, for items that were not chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub negatives: Option<NegativeSpec>,
}

/// One embedded feature: a position of an id column, or a list column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdFeatureSpec {
    /// Feature name, unique: the member's name where a column packs several.
    pub name: String,
    /// Column of type i64 or i64 list.
    pub column: String,
    /// Position within the column's values; 0 for plain and list columns.
    #[serde(default)]
    pub at: usize,
    /// Table the feature reads; features that name the same table share its rows.
    pub table: String,
    /// How the rows of one list become one vector.
    #[serde(default = "default_pooling")]
    pub pooling: Pooling,
    /// Column of type f32 list with the weight of every id in the pooling: one for each id of a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<String>,
}

fn default_pooling() -> Pooling {
    Pooling::Sum
}

/// What differs from the defaults for one table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Table name, as in [`IdFeatureSpec::table`].
    pub name: String,
    /// How keys find rows.
    pub index: IndexKind,
    /// How new rows start.
    pub init: Init,
    /// Width of its vectors, where it is not [`ModelSpec::embedding_dim`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// How its rows are kept.
    #[serde(default, skip_serializing_if = "RowSpec::is_default")]
    pub rows: RowSpec,
}

/// How the rows of one table are kept and updated, where it differs from the other tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RowSpec {
    /// Learning rate of this table, instead of the one of [`ModelSpec::embedding_optimizer`].
    pub learning_rate: Option<f32>,
    /// Longest norm of a row's summed gradient.
    pub clip_norm: Option<f32>,
    /// How values are stored.
    pub storage: Storage,
    /// Where the rows live.
    pub backing: Backing,
    /// Which keys get a row.
    pub admission: Admission,
    /// What keys without a row read.
    pub unadmitted: Unadmitted,
    /// When rows are given up.
    pub expiry: Expiry,
}

impl RowSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What the top MLP of a DLRM reads besides the bottom MLP's output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interaction {
    /// Dot products of all pairs of vectors (the DLRM paper).
    #[default]
    Dot,
    /// The vectors themselves.
    Cat,
    /// Both.
    DotCat,
}

/// A model: its inputs, tables and dense part, and how they are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Inputs.
    pub features: FeatureSpec,
    /// How the dense part combines them.
    #[serde(default, skip_serializing_if = "Architecture::is_dlrm")]
    pub architecture: Architecture,
    /// Tables, one for every name in the features.
    pub tables: Vec<TableSpec>,
    /// Width D of every embedding, unless its table has another one, and of the bottom MLP's output.
    pub embedding_dim: usize,
    /// Hidden widths of a DLRM's bottom MLP; its last layer, of width D, is added. Unused without
    /// dense features, and by other kinds.
    pub bottom_mlp: Vec<usize>,
    /// Hidden widths of the top MLP, or of the only one; its last layer, of width O, is added. Unused
    /// by towers, which have their own.
    pub top_mlp: Vec<usize>,
    /// What the top MLP of a DLRM reads.
    #[serde(default)]
    pub interaction: Interaction,
    /// Share of hidden values of the top MLP, or of the towers', that are dropped in training, in
    /// [0, 1).
    #[serde(default)]
    pub dropout: f32,
    /// Fused optimizer of every table.
    pub embedding_optimizer: OptimizerOptions,
    /// Optimizer of the MLPs.
    pub dense_optimizer: DenseOptimizerOptions,
    /// What training makes small, row by row.
    #[serde(default, skip_serializing_if = "LossSpec::is_bce")]
    pub loss: LossSpec,
    /// What is learned instead of the one label, if it is several, or beside the objective of two towers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heads: Vec<HeadSpec>,
    /// How two towers learn; only they have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retrieval: Option<RetrievalSpec>,
    /// Seed of initial weights and dropout.
    pub seed: u64,
}

/// When training stops before its last epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStop {
    /// The metric watched.
    pub metric: StopMetric,
    /// The label of the head whose metric it is, in a model with heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<String>,
    /// Evaluations in a row without a new best after which training stops.
    pub patience: u32,
}

/// A validation metric that early stopping can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopMetric {
    /// Area under the ROC curve, higher is better.
    Auc,
    /// The same within groups of rows, if [`TrainSpec::group_by`] says which, higher is better.
    Gauc,
    /// Log loss, lower is better.
    Logloss,
    /// Share of rows whose class is the one predicted, higher is better.
    Accuracy,
    /// Mean of the model's own loss, lower is better; only where it is a plugin's.
    Loss,
    /// Root of the mean squared error, lower is better.
    Rmse,
    /// Mean absolute error, lower is better.
    Mae,
    /// Share of the items to be found that are recommended, higher is better; of towers only.
    Recall,
    /// Normalised discounted cumulative gain, higher is better; of towers only.
    Ndcg,
    /// Share of queries with an item found, higher is better; of towers only.
    HitRate,
}

/// What is done for the next batch while the dense part of a step is computed, on a thread of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing.
    Off,
    /// It is checked, its distinct keys are found, and the ranks tell each other theirs. Results are
    /// the same, byte for byte.
    #[default]
    Keys,
    /// Its embeddings are fetched as well, before the update of this step: each batch is computed with
    /// rows that miss the update of the batch before. Deterministic, but another result; a training
    /// that was interrupted between two checkpoints goes on with rows that miss nothing.
    Stale,
}

fn default_eval_k() -> usize {
    20
}

/// How a model is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// Samples per step over all ranks.
    pub batch_size: usize,
    /// Passes over the training split.
    pub epochs: u64,
    /// Stops after this many steps in all; 0: no limit.
    #[serde(default)]
    pub steps_max: u64,
    /// Order of rows.
    pub shuffle: Shuffle,
    /// Seed of the order.
    pub seed: u64,
    /// Learning-rate schedule: a multiplier of both optimizers' rates.
    pub schedule: Schedule,
    /// Greatest L2 norm of the dense part's gradient; 0: not clipped.
    #[serde(default)]
    pub clip_norm: f64,
    /// Steps between evaluations on the validation split; 0: at each epoch's end.
    #[serde(default)]
    pub eval_every: u64,
    /// Items that evaluations of two towers recommend to each query.
    #[serde(default = "default_eval_k")]
    pub eval_k: usize,
    /// The column, or member, with the ids of groups of rows that evaluations take the AUC within.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_by: Option<String>,
    /// Stops early and goes back to the best evaluation's weights.
    #[serde(default)]
    pub early_stop: Option<EarlyStop>,
    /// Steps between checkpoints; 0: only at the end.
    #[serde(default)]
    pub checkpoint_every: u64,
    /// Checkpoints kept besides the best one, and those that they build on.
    pub checkpoints_kept: usize,
    /// Every so many checkpoints one that stands alone; those between hold only what changed. 0 and
    /// 1: all stand alone. So does the last one of a training that ends by itself.
    #[serde(default)]
    pub checkpoint_full_every: u64,
    /// Steps between training reports.
    pub report_every: u64,
    /// Loader threads; 0: batches are read by the thread that prepares them.
    pub loader_threads: usize,
    /// What is done ahead for the next batch.
    #[serde(default)]
    pub overlap: Overlap,
    /// How embeddings and their gradients travel between ranks, from here on also in evaluations.
    #[serde(default)]
    pub wire: Wire,
}

impl FeatureSpec {
    /// The columns of `schema` to read, in the schema's order: those that features, label, weight or
    /// the loss (`of_loss`) name, those that the chain is given, and the item's. Negatives add columns,
    /// and plugins of the chain may make columns of other names; with such a chain a name that `schema`
    /// lacks is taken for one of them.
    ///
    /// # Errors
    /// If a column is missing that nobody makes.
    pub fn select(&self, schema: &Schema, of_loss: &[String]) -> Result<Schema, SchemaError> {
        let steps = &self.chain.steps;
        let made = steps.iter().any(|step| matches!(step.op, ChainOp::Plugin(_)));
        let added = self.added();
        let mut used = Vec::new();
        for name in self.negatives.iter().flat_map(NegativeSpec::names) {
            match NegativeSpec::column_of(schema, name) {
                Some(at) => used.push(at),
                None => used.push(schema.position(name)?),
            }
        }
        for name in self.names().chain(of_loss).chain(steps.iter().flat_map(|step| &step.inputs)) {
            match schema.position(name) {
                Ok(at) => used.push(at),
                Err(_) if made || added.iter().any(|column| column.name == *name) => {}
                Err(error) => return Err(error),
            }
        }
        used.sort_unstable();
        used.dedup();
        Schema::new(used.into_iter().map(|at| schema.columns()[at].clone()).collect())
    }

    /// The columns that come with negatives, behind those that are read.
    pub(crate) fn added(&self) -> Vec<ColumnSchema> {
        self.negatives.as_ref().map(NegativeSpec::added).unwrap_or_default()
    }

    /// The columns that enter the model, as they are called after the chain.
    fn names(&self) -> impl Iterator<Item = &String> {
        let ids = self.ids.iter().flat_map(IdFeatureSpec::columns);
        self.label.iter().chain(&self.weight).chain(&self.dense).chain(ids)
    }
}

impl IdFeatureSpec {
    /// Whether each of its ids keeps a vector of its own.
    pub fn is_sequence(&self) -> bool {
        matches!(self.pooling, Pooling::Sequence { .. })
    }

    /// The columns it reads.
    pub fn columns(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.column).chain(&self.weights)
    }
}

impl ModelSpec {
    /// Checks what can be checked without data.
    ///
    /// # Errors
    /// [`ModelError::Option`], naming the option, or [`ModelError::Sequence`].
    pub fn check(&self) -> Result<(), ModelError> {
        let dim = self.embedding_dim;
        if !(1..=EMBEDDING_DIM_MAX).contains(&dim) {
            let expected = format!("1 to {EMBEDDING_DIM_MAX}");
            return Err(ModelError::option("embedding_dim", dim, expected));
        }
        check_widths("bottom_mlp", &self.bottom_mlp)?;
        check_widths("top_mlp", &self.top_mlp)?;
        if !(0.0..1.0).contains(&self.dropout) {
            return Err(ModelError::option("dropout", self.dropout, "0 or more and below 1"));
        }
        self.tables().0.iter().try_for_each(TableOptions::check)?;
        self.architecture.check(self)?;
        self.check_heads()?;
        self.check_learning()
    }

    /// Checks what is learned from against the kind of the model.
    fn check_learning(&self) -> Result<(), ModelError> {
        let towers = matches!(self.architecture, Architecture::TwoTower(_));
        let kind = self.architecture.name();
        match (&self.retrieval, towers) {
            (None, true) => {
                return Err(ModelError::option(
                    "retrieval",
                    "absent",
                    "a way to learn, for towers",
                ));
            }
            (Some(_), false) => {
                let expected = format!("none, as a {kind} has no towers");
                return Err(ModelError::option("retrieval", "given", expected));
            }
            (retrieval, _) => retrieval.as_ref().map_or(Ok(()), RetrievalSpec::check)?,
        }
        if self.features.label.is_none() && self.has_own_score() {
            return Err(ModelError::option(
                "label",
                "absent",
                "a column, as the loss wants labels",
            ));
        }
        let weight = self.retrieval.as_ref().map_or(1.0, |retrieval| retrieval.weight);
        if self.heads.is_empty() && weight != 1.0 {
            let expected = "1, as there are no heads beside the objective";
            return Err(ModelError::option("objective_weight", weight, expected));
        }
        if self.is_contrastive() && !self.loss.is_bce() {
            let expected = "none of its own: `objective` says what towers make small";
            return Err(ModelError::option("loss", "given", expected));
        }
        Ok(())
    }

    /// Whether it learns from the candidates of a batch, and not row by row.
    pub fn is_contrastive(&self) -> bool {
        self.retrieval.as_ref().is_some_and(|spec| spec.objective.is_contrastive())
    }

    /// Width of the vectors of a table.
    pub(crate) fn dim_of(&self, table: &str) -> usize {
        let table = self.tables.iter().find(|known| known.name == table);
        table.and_then(|table| table.dim).unwrap_or(self.embedding_dim)
    }
}

impl TrainSpec {
    /// Checks the options against each other and against the data.
    ///
    /// # Errors
    /// [`ModelError::Option`], naming the option.
    pub fn check(&self, rows: u64) -> Result<(), ModelError> {
        let greatest = rows.min(BATCH_ROWS_MAX as u64);
        if self.batch_size == 0 || self.batch_size as u64 > greatest {
            let expected = format!("1 to {greatest}, as the training split has {rows} rows");
            return Err(ModelError::option("batch_size", self.batch_size, expected));
        }
        if self.epochs == 0 {
            return Err(ModelError::option("epochs", 0, "1 or more"));
        }
        if self.eval_k == 0 {
            return Err(ModelError::option("eval_k", 0, "1 or more"));
        }
        if self.report_every == 0 {
            return Err(ModelError::option("report_every", 0, "1 or more"));
        }
        if !self.clip_norm.is_finite() || self.clip_norm < 0.0 {
            return Err(ModelError::option("clip_norm", self.clip_norm, "0 (off) or more"));
        }
        Ok(())
    }

    /// Steps of one epoch over `rows` rows; the last one may be short.
    pub fn steps_per_epoch(&self, rows: u64) -> u64 {
        rows.div_ceil(self.batch_size as u64)
    }

    /// Steps of the whole training if nothing stops it early.
    pub fn steps_total(&self, rows: u64) -> u64 {
        let all = self.steps_per_epoch(rows) * self.epochs;
        if self.steps_max == 0 { all } else { all.min(self.steps_max) }
    }
}
