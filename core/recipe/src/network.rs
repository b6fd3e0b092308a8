//! Models as scripts hold them, and what all functions that make one have in common.

use std::sync::Arc;

use rectool_base::limits::EMBEDDING_DIM_MAX;
use rectool_base::{PluginSource, Prediction};
use rectool_embedding::{EmbeddingError, Init};
use rectool_model::{
    Architecture, DenseOptimizerOptions, DenseOutline, FeatureSpec, HeadSpec, Interaction,
    LossSpec, ModelError, ModelSpec, RetrievalSpec, TableSpec, dense_outline,
};
use rhai::Map;

use crate::call::Call;
use crate::dataset::Split;
use crate::error::RecipeError;
use crate::features::{FeatureSet, Features};
use crate::losses::{Beside, heads_of, loss_of};
use crate::optimize::Optimizer;
use crate::options::Options;
use crate::wishes::Wishes;

/// Bytes of one 32-bit float.
const FLOAT_BYTES: u64 = 4;
/// Greatest magnitude of an embedding's initial values, unless the recipe says otherwise.
const INIT_BOUND: f32 = 0.01;

/// A model, as scripts hold it. Cloning it names the same weights.
#[derive(Clone)]
pub(crate) struct Model(pub(crate) Arc<Network>);

/// A model as it was described.
pub(crate) struct Network {
    /// Where the script made it.
    pub(crate) call: Call,
    pub(crate) features: Arc<FeatureSet>,
    pub(crate) spec: ModelSpec,
    outline: DenseOutline,
    /// What the scores of each thing that is learned stand for, that of no head first.
    pub(crate) predictions: Vec<Prediction>,
    /// Columns that are read for the losses, besides the label of the features.
    loss_columns: Vec<String>,
    pub(crate) embedding_optimizer: &'static str,
    /// Floats of optimizer state per weight of the dense part.
    pub(crate) dense_state: u64,
    /// Where the tables are to live. No part of the spec: the model is the same everywhere.
    pub(crate) wishes: Wishes,
}

/// What every model takes besides options of its own.
pub(crate) struct Assembly<'a> {
    call: &'a Call,
    options: Options<'a>,
    features: Arc<FeatureSet>,
    of_tables: Optimizer,
    of_layers: Optimizer,
    loss: LossSpec,
    heads: Vec<HeadSpec>,
    wishes: Wishes,
}

/// The dense part of a model as its function describes it.
#[derive(Default)]
pub(crate) struct DensePart {
    pub(crate) architecture: Architecture,
    /// How towers learn.
    pub(crate) retrieval: Option<RetrievalSpec>,
    pub(crate) embedding_dim: usize,
    pub(crate) bottom: Vec<usize>,
    pub(crate) top: Vec<usize>,
    pub(crate) interaction: Interaction,
    pub(crate) dropout: f32,
    pub(crate) embedding_init: f32,
    pub(crate) seed: u64,
}

pub(crate) fn init_bound() -> f32 {
    INIT_BOUND
}

impl<'a> Assembly<'a> {
    /// Takes the options that are nouns.
    pub(crate) fn read(call: &'a Call, map: Map) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        let features: Features = options.required("features", "features(dataset, #{…})")?;
        let features = features.0;
        let words = "an optimizer such as adagrad(#{learning_rate: 0.01})";
        let of_tables: Optimizer = options.required("embedding_optimizer", words)?;
        let of_layers: Optimizer = options.required("dense_optimizer", words)?;
        let beside = match call.function.as_str() {
            Model::TOWERS => Beside::Objective,
            _ => Beside::Nothing,
        };
        let heads = heads_of(call, &mut options, &features, beside)?;
        let loss = loss_of(&mut options)?;
        let tables: Vec<&str> = features.tables.iter().map(|(name, _)| name.as_str()).collect();
        let wishes = Wishes::read(call, &mut options, &tables)?;
        Ok(Self { call, options, features, of_tables, of_layers, loss, heads, wishes })
    }

    /// The options.
    pub(crate) fn options(&self) -> &Options<'a> {
        &self.options
    }

    /// The options, to take nouns out.
    pub(crate) fn options_mut(&mut self) -> &mut Options<'a> {
        &mut self.options
    }

    pub(crate) fn features(&self) -> &FeatureSet {
        &self.features
    }

    /// Checks the widths of an MLP.
    pub(crate) fn check_widths(&self, key: &str, widths: &[usize]) -> Result<(), RecipeError> {
        self.options.widths(key, widths)
    }

    /// The model with this dense part, checked.
    pub(crate) fn finish(
        self,
        plugins: &dyn PluginSource,
        dense: DensePart,
    ) -> Result<Model, RecipeError> {
        dense.check(&self.options)?;
        let Self { call, options, features, of_tables, of_layers, loss, heads, wishes } = self;
        let embedding_optimizer = of_tables.of_embeddings();
        let dense_optimizer: DenseOptimizerOptions =
            of_layers.of_layers().map_err(|why| options.refuse("dense_optimizer", &why, None))?;
        // Heads name their own labels; towers may have one besides.
        let own = heads.is_empty() || dense.retrieval.is_some();
        let label = features.spec.label.clone().filter(|_| own);
        let spec = ModelSpec {
            tables: dense.tables(&features),
            features: FeatureSpec { label, ..features.spec.clone() },
            architecture: dense.architecture,
            embedding_dim: dense.embedding_dim,
            bottom_mlp: dense.bottom,
            top_mlp: dense.top,
            interaction: dense.interaction,
            dropout: dense.dropout,
            embedding_optimizer,
            dense_optimizer,
            loss,
            heads,
            retrieval: dense.retrieval,
            seed: dense.seed,
        };
        features.check_label(&spec)?;
        let outline = dense_outline(&spec, &features.dense_widths).map_err(|error| {
            let place = match &error {
                ModelError::Sequence { .. } => options.place_of("features"),
                ModelError::Outputs { .. } if spec.heads.is_empty() => options.place_of("loss"),
                ModelError::Outputs { .. }
                | ModelError::Head { .. }
                | ModelError::Choices { .. } => options.place_of("heads"),
                ModelError::Option { option, .. } => {
                    options.place_of(option.split('.').next().unwrap_or(option))
                }
                // What a table's own number means depends on the optimizer, which is known only here.
                ModelError::Embedding(EmbeddingError::Option { table, option, .. }) => {
                    features.place_of_table(table, option)
                }
                _ => call.place.clone(),
            };
            RecipeError::refused(&place, error)
        })?;
        let bound = spec.bind(features.dataset.0.schema(), plugins);
        let at = if spec.heads.is_empty() { "loss" } else { "heads" };
        let bound = bound.map_err(|error| RecipeError::refused(&options.place_of(at), error))?;
        let loss_columns = spec.of_learning(&bound.losses);
        features.check_used(&spec, &loss_columns)?;
        let predictions = spec.predictions(&bound.losses);
        Ok(Model(Arc::new(Network {
            call: call.clone(),
            features,
            spec,
            outline,
            predictions,
            loss_columns,
            embedding_optimizer: of_tables.function(),
            dense_state: of_layers.weight_state(),
            wishes,
        })))
    }
}

impl DensePart {
    fn check(&self, options: &Options<'_>) -> Result<(), RecipeError> {
        options.in_range("embedding_dim", self.embedding_dim, 1..=EMBEDDING_DIM_MAX)?;
        let holds = (0.0..1.0).contains(&self.dropout);
        options.number("dropout", self.dropout, holds, "at least 0 and below 1")?;
        let bound = self.embedding_init;
        options.number("embedding_init", bound, bound >= 0.0, "at least 0")
    }

    fn tables(&self, features: &FeatureSet) -> Vec<TableSpec> {
        let init = if self.embedding_init > 0.0 {
            Init::Uniform { bound: self.embedding_init }
        } else {
            Init::Zero
        };
        let table = |(name, index): &(String, _)| {
            let (name, init) = (name.clone(), init.clone());
            let rows = features.row_specs.get(&name).cloned().unwrap_or_default();
            let dim = features.dims.get(&name).copied();
            TableSpec { name, index: Clone::clone(index), init, dim, rows }
        };
        features.tables.iter().map(table).collect()
    }
}

impl Network {
    /// Matrices of the dense part as (name, inputs, outputs).
    pub(crate) fn layers(&self) -> &[(String, usize, usize)] {
        &self.outline.layers
    }

    /// Weights of the dense part.
    pub(crate) fn dense_parameters(&self) -> u64 {
        self.outline.parameters as u64
    }

    /// Weights, gradient and optimizer state of the dense part, in bytes.
    pub(crate) fn dense_bytes(&self) -> u64 {
        self.dense_parameters() * FLOAT_BYTES * (2 + self.dense_state)
    }

    /// What a batch of `rows` rows keeps: embeddings and outputs of layers, each with its gradient.
    pub(crate) fn batch_bytes(&self, rows: usize) -> u64 {
        let outputs: usize = self.layers().iter().map(|(_, _, outputs)| outputs).sum();
        (rows * (self.outline.embedding_floats + outputs) * 2) as u64 * FLOAT_BYTES
    }

    /// The names of its metrics, in the order of showing them.
    pub(crate) fn metric_names(&self) -> Vec<String> {
        self.spec.metric_names(&self.predictions)
    }

    /// Those that an evaluation row by row gives.
    pub(crate) fn row_metric_names(&self) -> Vec<String> {
        self.spec.row_metric_names(&self.predictions)
    }

    /// Checks that `split` has rows, and the columns that the features were made for.
    pub(crate) fn check_split(
        &self,
        call: &Call,
        key: &str,
        split: &Split,
    ) -> Result<(), RecipeError> {
        let place = call.place_of_keys(&[key]);
        let function = &call.function;
        let path = split.dataset.0.path().display();
        if split.rows.rows() == 0 {
            let name = split.rows.name();
            let message = format!("{function}: split '{name}' of {path} has no rows");
            return Err(RecipeError::script(place, message, None));
        }
        let own = &self.features.dataset;
        let select = |schema| self.spec.features.select(schema, &self.loss_columns);
        let (needed, found) = (select(own.0.schema()), select(split.dataset.0.schema()));
        if needed.is_ok_and(|needed| found.is_ok_and(|found| found == needed)) {
            return Ok(());
        }
        let own = own.0.path().display();
        let message = format!("{function}: the columns of {path} are not those of {own}");
        let hint = Some("features() and the split must be of the same columns".to_owned());
        Err(RecipeError::script(place, message, hint))
    }
}
