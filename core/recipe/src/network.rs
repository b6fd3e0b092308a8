//! `dlrm(#{…})`: the network and its shapes.

use std::sync::Arc;

use rectool_base::limits::{EMBEDDING_DIM_MAX, MLP_WIDTH_MAX};
use rectool_base::{PluginSource, Prediction};
use rectool_embedding::Init;
use rectool_model::{
    Architecture, DenseOptimizerOptions, Interaction, LossSpec, ModelError, ModelSpec, TableSpec,
    dlrm_widths, metric_names,
};
use rhai::{Dynamic, Map};
use serde::Deserialize;

use crate::call::Call;
use crate::dataset::Split;
use crate::error::{RecipeError, did_you_mean};
use crate::features::{FeatureSet, Features};
use crate::optimize::Optimizer;
use crate::options::Options;
use crate::plugin::Plugin;
use crate::values::described;
use crate::wishes::Wishes;

/// Bytes of one 32-bit float.
const FLOAT_BYTES: u64 = 4;
/// Layers of one MLP.
const LAYERS_MAX: usize = 64;
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
    /// What a logit stands for.
    pub(crate) prediction: Prediction,
    /// Columns that the loss wants.
    loss_columns: Vec<String>,
    pub(crate) embedding_optimizer: &'static str,
    /// Floats of optimizer state per weight of the MLPs.
    pub(crate) dense_state: u64,
    /// Where the tables are to live. No part of the spec: the model is the same everywhere.
    pub(crate) wishes: Wishes,
}

/// The plain options of `dlrm`.
#[derive(Deserialize)]
struct Plain {
    embedding_dim: usize,
    #[serde(default)]
    bottom: Vec<usize>,
    top: Vec<usize>,
    #[serde(default)]
    interaction: Interaction,
    #[serde(default)]
    dropout: f32,
    #[serde(default = "init_bound")]
    embedding_init: f32,
    #[serde(default)]
    seed: u64,
}

fn init_bound() -> f32 {
    INIT_BOUND
}

impl Model {
    /// Reads the options of `dlrm`.
    pub(crate) fn dlrm(
        call: &Call,
        map: Map,
        plugins: &dyn PluginSource,
    ) -> Result<Self, RecipeError> {
        let mut options = Options::new(call, map);
        let features: Features = options.required("features", "features(dataset, #{…})")?;
        let features = features.0;
        let words = "an optimizer such as adagrad(#{learning_rate: 0.01})";
        let of_tables: Optimizer = options.required("embedding_optimizer", words)?;
        let of_layers: Optimizer = options.required("dense_optimizer", words)?;
        let loss = loss_of(&mut options)?;
        let tables: Vec<&str> = features.tables.iter().map(|(name, _)| name.as_str()).collect();
        let wishes = Wishes::read(call, &mut options, &tables)?;
        let plain: Plain = options.rest()?;
        plain.check(&options)?;
        let embedding_optimizer = of_tables.of_embeddings();
        let dense_optimizer: DenseOptimizerOptions =
            of_layers.of_layers().map_err(|why| options.refuse("dense_optimizer", why, None))?;
        let spec = ModelSpec {
            architecture: Architecture::Dlrm,
            tables: plain.tables(&features),
            features: features.spec.clone(),
            embedding_dim: plain.embedding_dim,
            bottom_mlp: plain.bottom,
            top_mlp: plain.top,
            interaction: plain.interaction,
            dropout: plain.dropout,
            embedding_optimizer,
            dense_optimizer,
            loss,
            seed: plain.seed,
        };
        spec.check().map_err(|error| {
            let place = match error {
                ModelError::Sequence { .. } => options.place_of("features"),
                _ => call.place.clone(),
            };
            RecipeError::refused(&place, error)
        })?;
        let bound = spec.bind(features.dataset.0.schema(), plugins);
        let bound =
            bound.map_err(|error| RecipeError::refused(&options.place_of("loss"), error))?;
        let demands = bound.loss.demands();
        features.check_used(&demands.columns)?;
        Ok(Self(Arc::new(Network {
            call: call.clone(),
            features,
            spec,
            prediction: demands.prediction,
            loss_columns: demands.columns.clone(),
            embedding_optimizer: of_tables.function(),
            dense_state: of_layers.weight_state(),
            wishes,
        })))
    }
}

/// The loss: a plugin, or the name of the native one, which is also what an absent option means.
fn loss_of(options: &mut Options<'_>) -> Result<LossSpec, RecipeError> {
    let expected = "\"bce\" or a plugin such as plugin(\"focal-loss\", #{gamma: 2.0})";
    let Some(value) = options.noun::<Dynamic>("loss", expected)? else {
        return Ok(LossSpec::Bce);
    };
    if let Some(plugin) = value.clone().try_cast::<Plugin>() {
        let call = plugin.of_kind("loss");
        let call = call.map_err(|what| options.refuse("loss", &what, None))?;
        return Ok(LossSpec::Plugin(call));
    }
    match value.clone().into_string() {
        Ok(name) if name == "bce" => Ok(LossSpec::Bce),
        Ok(name) => {
            let hint = did_you_mean(&name, ["bce"]);
            let hint = hint.unwrap_or_else(|| format!("write loss: plugin(\"{name}\")"));
            Err(options.refuse("loss", &format!("is '{name}', expected {expected}"), Some(hint)))
        }
        Err(_) => {
            let found = described(&value);
            Err(options.refuse("loss", &format!("expects {expected}, found {found}"), None))
        }
    }
}

impl Plain {
    fn check(&self, options: &Options<'_>) -> Result<(), RecipeError> {
        options.in_range("embedding_dim", self.embedding_dim, 1..=EMBEDDING_DIM_MAX)?;
        for (key, widths) in [("bottom", &self.bottom), ("top", &self.top)] {
            if widths.len() > LAYERS_MAX {
                let what = format!("has {} layers, expected at most {LAYERS_MAX}", widths.len());
                return Err(options.refuse(key, &what, None));
            }
            for width in widths {
                options.in_range(key, *width, 1..=MLP_WIDTH_MAX)?;
            }
        }
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
    /// Layers of both MLPs as (name, inputs, outputs), in the order of the forward pass.
    pub(crate) fn layers(&self) -> Vec<(String, usize, usize)> {
        let spec = &self.spec;
        let hidden = (spec.bottom_mlp.as_slice(), spec.top_mlp.as_slice());
        let (dense, features) = (self.features.dense_width, spec.features.ids.len());
        let (bottom, top) =
            dlrm_widths(dense, features, spec.embedding_dim, hidden, spec.interaction);
        let named = |name: &'static str, widths: Vec<usize>| {
            let layer =
                move |(at, pair): (usize, &[usize])| (format!("{name}.{at}"), pair[0], pair[1]);
            widths.windows(2).enumerate().map(layer).collect::<Vec<_>>()
        };
        [named("bottom", bottom), named("top", top)].concat()
    }

    /// Weights and biases of both MLPs.
    pub(crate) fn dense_parameters(&self) -> u64 {
        let layers = self.layers();
        layers.iter().map(|(_, inputs, outputs)| ((inputs + 1) * outputs) as u64).sum()
    }

    /// Weights, gradient and optimizer state of the MLPs, in bytes.
    pub(crate) fn dense_bytes(&self) -> u64 {
        self.dense_parameters() * FLOAT_BYTES * (2 + self.dense_state)
    }

    /// What a batch of `rows` rows keeps: embeddings and outputs of layers, each with its gradient.
    pub(crate) fn batch_bytes(&self, rows: usize) -> u64 {
        let vectors = (self.spec.features.ids.len() + 1) * self.spec.embedding_dim;
        let outputs: usize = self.layers().iter().map(|(_, _, outputs)| outputs).sum();
        (rows * (vectors + outputs) * 2) as u64 * FLOAT_BYTES
    }

    /// The names of its metrics, in the order of showing them.
    pub(crate) fn metric_names(&self) -> Vec<&'static str> {
        metric_names(self.prediction, &self.spec.loss)
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
