//! Which plugin is meant, and what it runs in.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use rectool_plugin::cases::{self, Case};
use rectool_plugin::project::Project;
use rectool_plugin::{Host, Location, Plugin, Plugins, SearchPath, builtin, user_cache};

use crate::failure::Failure;

/// A plugin on the command line.
#[derive(Debug, Args)]
pub(crate) struct Target {
    /// A plugin's file, the folder it was built in, or a name that recipes would find
    #[arg(value_name = "PLUGIN")]
    plugin: String,

    /// Folder of plugins to search before the usual ones
    #[arg(long, value_name = "DIR")]
    plugin_path: Vec<PathBuf>,
}

/// A plugin that was found.
pub(crate) struct Found {
    pub(crate) plugin: Arc<Plugin>,
    cases: Option<Cases>,
}

/// Where its golden cases are.
enum Cases {
    File(PathBuf),
    Embedded(&'static str),
}

impl Target {
    /// Loads it.
    pub(crate) fn load(&self) -> Result<Found, Failure> {
        let path = Path::new(&self.plugin);
        if Project::is_at(path) {
            let project = Project::open(path).map_err(Failure::usage)?;
            let component = project.component();
            if !component.is_file() {
                let (shown, path) = (component.display(), path.display());
                return Err(Failure::asked(format!("`{shown}` is not built yet"))
                    .with_hint(format!("`rectool plugin build {path}` makes it")));
            }
            return load_file(&component);
        }
        if path.is_file() || path.extension().is_some() || self.plugin.contains('/') {
            return load_file(path);
        }
        let plugins = Plugins::new(host()?, search_path(&self.plugin_path));
        let plugin = plugins.find(&self.plugin).map_err(Failure::usage)?;
        let cases = match plugins.list().remove(&self.plugin) {
            Some(Location::File(path)) => cases_beside(&path),
            _ => builtin::find(&self.plugin).map(|builtin| Cases::Embedded(builtin.cases)),
        };
        Ok(Found { plugin, cases })
    }
}

fn load_file(path: &Path) -> Result<Found, Failure> {
    let plugin = Arc::new(host()?.load(path).map_err(Failure::usage)?);
    Ok(Found { plugin, cases: cases_beside(path) })
}

fn cases_beside(path: &Path) -> Option<Cases> {
    Some(path.with_file_name("cases.jsonl")).filter(|cases| cases.is_file()).map(Cases::File)
}

impl Found {
    /// Reads its golden cases, or those of `given`; none if there is no file of them.
    pub(crate) fn cases(&self, given: Option<&Path>) -> Result<Vec<Case>, Failure> {
        let file = match (given, &self.cases) {
            (Some(given), _) => given,
            (None, Some(Cases::File(file))) => file,
            (None, Some(Cases::Embedded(text))) => return self.read(text, "cases.jsonl"),
            (None, None) => return Ok(Vec::new()),
        };
        let shown = file.display().to_string();
        let text = std::fs::read_to_string(file)
            .map_err(|error| Failure::asked(format!("`{shown}`: {error}")))?;
        self.read(&text, &shown)
    }

    fn read(&self, text: &str, file: &str) -> Result<Vec<Case>, Failure> {
        cases::read(self.plugin.kind(), text)
            .map_err(|error| Failure::asked(format!("{file}:{}: {}", error.line, error.message)))
    }
}

/// Where plugins are looked for when no recipe is at hand.
pub(crate) fn search_path(given: &[PathBuf]) -> SearchPath {
    SearchPath::for_recipe(None, given)
}

/// The host, with compiled code kept in the user's cache folder.
pub(crate) fn host() -> Result<Host, Failure> {
    Host::for_user().map_err(Failure::failed)
}

/// Folders of tools that `.ci/setup --wasm` installs; PATH comes after them.
pub(crate) fn tools() -> Vec<PathBuf> {
    let folders = user_cache().and_then(|cache| std::fs::read_dir(cache).ok());
    let folders = folders.into_iter().flatten().filter_map(Result::ok);
    let ours =
        folders.filter(|entry| entry.file_name().to_string_lossy().starts_with("wasm-tools-"));
    ours.map(|entry| entry.path().join("bin")).collect()
}
