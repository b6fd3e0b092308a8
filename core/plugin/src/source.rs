//! Plugins by name: where recipes find them, and what training asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rectool_base::{
    ItemStatistics, Loss, PluginCall, PluginFault, PluginSource, Sampler, Schema, Transform,
};

use crate::builtin;
use crate::error::PluginError;
use crate::host::{Host, sha256_hex};
use crate::name::is_plugin_name;
use crate::parameters::Parameters;
use crate::plugin::Plugin;

/// Folders that may hold plugins, first come first served. Behind them come those in
/// [`builtin::PLUGINS`].
///
/// A folder holds plugin `name` as `name.wasm` or `name.wat`, or one of these in a folder `name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SearchPath {
    folders: Vec<PathBuf>,
}

impl SearchPath {
    /// No folders: only the plugins that come with rectool.
    pub fn new() -> Self {
        Self::default()
    }

    /// The folders of a recipe: its own, `./plugins`, those the user gives, the user's data folder.
    pub fn for_recipe(script: Option<&Path>, given: &[PathBuf]) -> Self {
        let beside = script.map(|script| match script.parent() {
            Some(folder) if folder.as_os_str().is_empty() => PathBuf::from("."),
            Some(folder) => folder.to_owned(),
            None => PathBuf::from("."),
        });
        let folders = beside.into_iter().chain([PathBuf::from("plugins")]);
        let folders = folders.chain(given.iter().cloned()).chain(user_folder());
        folders.fold(Self::new(), Self::with)
    }

    /// The same with one more folder at the end.
    pub fn with(mut self, folder: PathBuf) -> Self {
        if !self.folders.contains(&folder) {
            self.folders.push(folder);
        }
        self
    }

    /// The folders, in the order in which they are searched.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The file of plugin `name`.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let inside = |folder: &PathBuf| {
            ["", &format!("{name}/")]
                .map(|inside| [".wasm", ".wat"].map(|ending| format!("{inside}{name}{ending}")))
                .map(|files| files.map(|file| folder.join(file)))
        };
        self.folders.iter().flat_map(inside).flatten().find(|file| file.is_file())
    }

    /// Names and files of all plugins in the folders; a name that was found is not looked for again.
    fn list(&self) -> BTreeMap<String, PathBuf> {
        let mut found = BTreeMap::new();
        for folder in &self.folders {
            let Ok(entries) = std::fs::read_dir(folder) else { continue };
            for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
                let Some(name) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
                let name = name.to_owned();
                if !found.contains_key(&name)
                    && let Some(file) = self.find(&name)
                {
                    found.insert(name, file);
                }
            }
        }
        found
    }
}

/// `$XDG_DATA_HOME/rectool/plugins`.
fn user_folder() -> Option<PathBuf> {
    let data = match std::env::var_os("XDG_DATA_HOME").filter(|data| !data.is_empty()) {
        Some(data) => PathBuf::from(data),
        None => PathBuf::from(std::env::var_os("HOME")?).join(".local/share"),
    };
    Some(data.join("rectool/plugins"))
}

/// Where a plugin is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file.
    File(PathBuf),
    /// In rectool itself.
    Builtin,
}

impl std::fmt::Display for Location {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Builtin => f.write_str("comes with rectool"),
        }
    }
}

/// The plugins of a run, loaded when they are first named.
pub struct Plugins {
    host: Host,
    path: SearchPath,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    by_name: BTreeMap<String, Arc<Plugin>>,
    by_sha256: BTreeMap<String, Arc<Plugin>>,
}

impl std::fmt::Debug for Plugins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugins").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Plugins {
    /// Plugins of `path`, run by `host`.
    pub fn new(host: Host, path: SearchPath) -> Self {
        Self { host, path, loaded: Mutex::default() }
    }

    /// The host that runs them.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Every plugin that can be named, and where it is. Files are not opened.
    pub fn list(&self) -> BTreeMap<String, Location> {
        let builtin =
            builtin::PLUGINS.iter().map(|builtin| (builtin.name.to_owned(), Location::Builtin));
        let files = self.path.list().into_iter();
        builtin.chain(files.map(|(name, file)| (name, Location::File(file)))).collect()
    }

    /// The plugin called `name`.
    ///
    /// # Errors
    /// [`PluginError::NotFound`] with the nearest name, or as [`Host::load`].
    pub fn find(&self, name: &str) -> Result<Arc<Plugin>, PluginError> {
        if let Some(plugin) = self.loaded().by_name.get(name) {
            return Ok(Arc::clone(plugin));
        }
        let file = is_plugin_name(name).then(|| self.path.find(name)).flatten();
        let builtin = builtin::find(name);
        let plugin = match (file, builtin) {
            (Some(file), _) => self.load(name, &file)?,
            (None, Some(builtin)) => self.host.load_bytes(name, builtin.component.to_vec())?,
            (None, None) => {
                let (name, known) = (name.to_owned(), self.list().into_keys().collect());
                let searched = self.path.folders.clone();
                return Err(PluginError::NotFound { name, known, searched });
            }
        };
        Ok(self.keep(name, plugin))
    }

    fn load(&self, name: &str, file: &Path) -> Result<Plugin, PluginError> {
        let plugin = self.host.load(file)?;
        let found = &plugin.description().name;
        if found == name {
            return Ok(plugin);
        }
        let (found, expected) = (format!("plugin `{found}`"), format!("plugin `{name}`"));
        Err(PluginError::Mismatch { path: file.to_owned(), found, expected })
    }

    /// Adds a plugin from the bytes of its file, such as those that a checkpoint keeps. Calls that
    /// carry its SHA-256 get it, wherever else its name is found.
    ///
    /// # Errors
    /// As [`Host::load_bytes`].
    pub fn add(&self, name: &str, bytes: &[u8]) -> Result<Arc<Plugin>, PluginError> {
        if let Some(plugin) = self.loaded().by_sha256.get(&sha256_hex(bytes)) {
            return Ok(Arc::clone(plugin));
        }
        let plugin = Arc::new(self.host.load_bytes(name, bytes.to_vec())?);
        self.loaded().by_sha256.insert(plugin.sha256().to_owned(), Arc::clone(&plugin));
        Ok(plugin)
    }

    /// The call of the plugin called `name` with these parameters, which are checked.
    ///
    /// # Errors
    /// As [`Plugins::find`] and [`Plugin::call`].
    pub fn call(&self, name: &str, parameters: &Parameters) -> Result<PluginCall, PluginError> {
        self.find(name)?.call(parameters)
    }

    fn keep(&self, name: &str, plugin: Plugin) -> Arc<Plugin> {
        let mut loaded = self.loaded();
        // Two threads may have loaded it; both go on with the same one.
        let plugin = loaded.by_name.entry(name.to_owned()).or_insert_with(|| Arc::new(plugin));
        let plugin = Arc::clone(plugin);
        loaded.by_sha256.insert(plugin.sha256().to_owned(), Arc::clone(&plugin));
        plugin
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        // Maps of whole entries: nothing is half done when a thread that held the lock panicked.
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The very plugin that a call names: same name, same bytes.
    fn of(&self, kind: &'static str, call: &PluginCall) -> Result<Arc<Plugin>, PluginFault> {
        if let Some(plugin) = self.loaded().by_sha256.get(&call.sha256) {
            return Ok(Arc::clone(plugin));
        }
        let title = format!("{} {}", call.name, call.version);
        let plugin = self.find(&call.name).map_err(|error| error.into_fault(kind, &title))?;
        if plugin.sha256() == call.sha256 {
            return Ok(plugin);
        }
        Err(PluginFault {
            kind,
            message: format!(
                "found {} with SHA-256 {:.12}…, expected SHA-256 {:.12}…",
                plugin.title(),
                plugin.sha256(),
                call.sha256
            ),
            plugin: title,
            place: None,
            hint: Some("a plugin of this name was found, with other code in it".to_owned()),
        })
    }
}

impl PluginSource for Plugins {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        self.of("transform", call)?.transform(&call.parameters)
    }

    fn loss(&self, call: &PluginCall, schema: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        self.of("loss", call)?.loss(&call.parameters, schema)
    }

    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        self.of("sampler", call)?.sampler(&call.parameters, items)
    }

    fn content(&self, sha256: &str) -> Option<Arc<[u8]>> {
        self.loaded().by_sha256.get(sha256).map(|plugin| Arc::clone(plugin.bytes()))
    }
}
