//! The plugins that a recipe can name, and what runs them.

use std::sync::{Arc, OnceLock};

use rectool_base::{
    ItemStatistics, Loss, PluginCall, PluginFault, PluginSource, Sampler, Schema, Transform,
};
use rectool_plugin::{Host, Location, Parameters, PluginError, Plugins, SearchPath};

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

/// Plugins by name. Tests have some that are not WebAssembly.
pub(crate) trait Library: PluginSource {
    /// The plugin called `name`, with `parameters` checked against its description.
    fn find(&self, name: &str, parameters: &Parameters) -> Result<Found, PluginError>;
}

/// The plugins that a recipe's options lead to.
pub(crate) fn library(options: &RecipeOptions) -> Arc<dyn Library> {
    let path = SearchPath::for_recipe(Some(&options.recipe), &options.plugin_paths);
    Arc::new(WasmLibrary { path, plugins: OnceLock::new() })
}

/// Plugins of a search path. What runs them is set up for the first one: most recipes have none.
struct WasmLibrary {
    path: SearchPath,
    plugins: OnceLock<Plugins>,
}

impl WasmLibrary {
    fn plugins(&self) -> Result<&Plugins, PluginError> {
        if let Some(plugins) = self.plugins.get() {
            return Ok(plugins);
        }
        let host = Host::for_user()?;
        Ok(self.plugins.get_or_init(|| Plugins::new(host, self.path.clone())))
    }

    fn for_call(&self, kind: &'static str, call: &PluginCall) -> Result<&Plugins, PluginFault> {
        let title = || format!("{} {}", call.name, call.version);
        self.plugins().map_err(|error| error.into_fault(kind, &title()))
    }
}

impl Library for WasmLibrary {
    fn find(&self, name: &str, parameters: &Parameters) -> Result<Found, PluginError> {
        let plugins = self.plugins()?;
        let plugin = plugins.find(name)?;
        let origin = plugins.list().remove(name).unwrap_or(Location::Builtin).to_string();
        Ok(Found { call: plugin.call(parameters)?, kind: plugin.kind().name(), origin })
    }
}

impl PluginSource for WasmLibrary {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        self.for_call("transform", call)?.transform(call)
    }

    fn loss(&self, call: &PluginCall, schema: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        self.for_call("loss", call)?.loss(call, schema)
    }

    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        self.for_call("sampler", call)?.sampler(call, items)
    }

    fn content(&self, sha256: &str) -> Option<Arc<[u8]>> {
        self.plugins.get()?.content(sha256)
    }
}
