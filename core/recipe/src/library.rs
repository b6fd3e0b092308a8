//! The plugins that a recipe can name, whatever it is that runs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use rectool_base::{
    ItemStatistics, Loss, NoPlugins, ParameterValue, PluginCall, PluginFault, PluginSource,
    Sampler, Schema, Transform,
};

use crate::run::RecipeOptions;

/// A plugin that was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The plugin with its parameters, which fit its description.
    pub(crate) call: PluginCall,
    /// `transform`, `loss` or `sampler`.
    pub(crate) kind: &'static str,
    /// The file, or who brought it.
    pub(crate) origin: String,
}

/// Why a plugin cannot be had, or not with these parameters.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    /// The parameter that is wrong, if one is.
    pub(crate) parameter: Option<String>,
}

/// Plugins by name.
pub(crate) trait Library: PluginSource {
    /// The plugin called `name`, with `parameters` checked against its description.
    fn find(
        &self,
        name: &str,
        parameters: &BTreeMap<String, ParameterValue>,
    ) -> Result<Found, Refusal>;
}

/// The plugins that a recipe's options lead to.
pub(crate) fn library(_options: &RecipeOptions) -> Arc<dyn Library> {
    Arc::new(Nothing)
}

/// The library without plugins.
#[derive(Clone, Copy, Debug)]
struct Nothing;

impl Library for Nothing {
    fn find(&self, name: &str, _: &BTreeMap<String, ParameterValue>) -> Result<Found, Refusal> {
        let message = format!("there is no plugin '{name}'");
        Err(Refusal { message, hint: None, parameter: None })
    }
}

impl PluginSource for Nothing {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        NoPlugins.transform(call)
    }

    fn loss(&self, call: &PluginCall, schema: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        NoPlugins.loss(call, schema)
    }

    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        NoPlugins.sampler(call, items)
    }

    fn content(&self, _: &str) -> Option<Arc<[u8]>> {
        None
    }
}
