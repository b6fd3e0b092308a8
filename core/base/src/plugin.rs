//! How training names plugins, gets them, and hears of their failures, without knowing what runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{BatchPlace, Hint, ItemStatistics, Loss, Sampler, Schema, Transform};

/// A plugin that broke its contract, refused its input, or was stopped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} plugin `{plugin}`{}: {message}", place_text(*place))]
pub struct PluginFault {
    /// `transform`, `loss` or `sampler`.
    pub kind: &'static str,
    /// Name and version: `hash-cross 1.0.0`.
    pub plugin: String,
    /// The batch it was given; `None` while it was configured.
    pub place: Option<BatchPlace>,
    /// What happened, with what was found and expected.
    pub message: String,
    /// What to do about it, and the Wasm backtrace of a trap.
    pub hint: Option<String>,
}

fn place_text(place: Option<BatchPlace>) -> String {
    place.map(|place| format!(" ({place})")).unwrap_or_default()
}

impl Hint for PluginFault {
    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

/// A value that a recipe gives to a parameter of a plugin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// `true`
    Boolean(bool),
    /// `3`
    Integer(i64),
    /// `0.5`
    Number(f64),
    /// `"last"`
    Text(String),
    /// `[true, false]`
    Booleans(Vec<bool>),
    /// `[1, 2]`; also an empty list of any type.
    Integers(Vec<i64>),
    /// `[0.5, 1.0]`
    Numbers(Vec<f64>),
    /// `["a", "b"]`
    Texts(Vec<String>),
}

/// A plugin and the parameters it is given: what a recipe says and a checkpoint keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PluginCall {
    /// The plugin's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// SHA-256 of its component, 64 hex digits: which code it is, wherever it was found.
    pub sha256: String,
    /// Parameters given; the plugin has defaults for the others.
    #[serde(default)]
    pub parameters: BTreeMap<String, ParameterValue>,
}

/// Where training gets its plugins from.
pub trait PluginSource: Send + Sync {
    /// The transform of a call.
    ///
    /// # Errors
    /// If the plugin is not here, is of another kind, or refuses its parameters.
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault>;

    /// The loss of a call, for rows of `schema`.
    ///
    /// # Errors
    /// As [`PluginSource::transform`], or if a column that the loss wants is missing.
    fn loss(&self, call: &PluginCall, schema: &Schema) -> Result<Arc<dyn Loss>, PluginFault>;

    /// The sampler of a call, over `items`.
    ///
    /// # Errors
    /// As [`PluginSource::transform`].
    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault>;

    /// The component with this SHA-256: a checkpoint keeps what its model was made with.
    fn content(&self, sha256: &str) -> Option<Arc<[u8]>>;
}

/// The source that has no plugins.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPlugins;

impl NoPlugins {
    fn fault(kind: &'static str, call: &PluginCall) -> PluginFault {
        PluginFault {
            kind,
            plugin: format!("{} {}", call.name, call.version),
            place: None,
            message: "there are no plugins here".to_owned(),
            hint: None,
        }
    }
}

impl PluginSource for NoPlugins {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        Err(Self::fault("transform", call))
    }

    fn loss(&self, call: &PluginCall, _: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        Err(Self::fault("loss", call))
    }

    fn sampler(
        &self,
        call: &PluginCall,
        _: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        Err(Self::fault("sampler", call))
    }

    fn content(&self, _: &str) -> Option<Arc<[u8]>> {
        None
    }
}
