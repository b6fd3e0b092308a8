//! Why a plugin cannot be found, loaded, or called as a recipe asks.

use std::path::PathBuf;

use rectool_base::{Hint, PluginFault, nearest_name};

/// What went wrong before a plugin was given any data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The engine could not be set up.
    #[error("plugins cannot run on this machine: {message}")]
    Engine {
        /// What the engine says.
        message: String,
    },
    /// A plugin's file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file beyond [`crate::limits::FILE_BYTES_MAX`].
    #[error("plugin `{name}`: {found} bytes, at most {max}")]
    TooLarge {
        /// The plugin.
        name: String,
        /// Its size.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Neither WebAssembly nor its text.
    #[error("plugin `{name}`: found {found}, expected a WebAssembly component, module or text")]
    NotWasm {
        /// The plugin.
        name: String,
        /// How the file starts.
        found: String,
    },
    /// Text that does not assemble.
    #[error("plugin `{name}`: {message}")]
    Text {
        /// The plugin.
        name: String,
        /// What the assembler says, with the place.
        message: String,
    },
    /// WebAssembly that does not validate, or a module that does not make a component.
    #[error("plugin `{name}` is not valid: {message}")]
    Invalid {
        /// The plugin.
        name: String,
        /// What the validator says.
        message: String,
    },
    /// A plugin that wants something from the host.
    #[error("plugin `{name}` imports `{import}`; plugins are given nothing to import")]
    Import {
        /// The plugin.
        name: String,
        /// What it imports.
        import: String,
    },
    /// A plugin of another version of the contract.
    #[error(
        "plugin `{name}` implements version {found} of the plugin contract, expected {accepted}"
    )]
    Version {
        /// The plugin.
        name: String,
        /// Its version of the contract.
        found: String,
        /// The versions that this host accepts.
        accepted: String,
    },
    /// A plugin without what its kind has to export.
    #[error("plugin `{name}` does not export {what}")]
    Missing {
        /// The plugin.
        name: String,
        /// What is missing.
        what: String,
    },
    /// A plugin of several kinds.
    #[error("plugin `{name}` is a {found} at once, expected one kind")]
    Kinds {
        /// The plugin.
        name: String,
        /// The kinds.
        found: String,
    },
    /// A plugin that describes itself badly.
    #[error("plugin `{name}` describes itself badly: {what} is {found}, expected {expected}")]
    Description {
        /// The plugin.
        name: String,
        /// Which part.
        what: String,
        /// What it says.
        found: String,
        /// What would do.
        expected: String,
    },
    /// A parameter that a recipe gives and the plugin does not take so.
    #[error("plugin `{plugin}`: {what}")]
    Parameter {
        /// The plugin.
        plugin: String,
        /// What is wrong, with found and expected.
        what: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// No plugin of this name.
    #[error("there is no plugin `{name}`")]
    NotFound {
        /// The name.
        name: String,
        /// Names that there are.
        known: Vec<String>,
        /// Folders that were searched.
        searched: Vec<PathBuf>,
    },
    /// A plugin under another name than it gives itself, or with other contents than expected.
    #[error("{}: found {found}, expected {expected}", path.display())]
    Mismatch {
        /// Where it was found.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What was asked for.
        expected: String,
    },
    /// The plugin itself failed.
    #[error(transparent)]
    Fault(#[from] PluginFault),
}

impl Hint for PluginError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { name, known, searched } => {
                if let Some(near) = nearest_name(name, known.iter().map(String::as_str)) {
                    return Some(format!("did you mean `{near}`?"));
                }
                let folders: Vec<_> =
                    searched.iter().map(|folder| folder.display().to_string()).collect();
                let folders = folders.join(", ");
                Some(format!("searched {folders} and the plugins that come with rectool"))
            }
            Self::Import { .. } => Some(
                "a plugin has no files, network, clock or randomness: leave out what uses them, or \
                 stub it out when the component is made"
                    .to_owned(),
            ),
            Self::Version { .. } => Some("rebuild it against `sdk/wit` of this rectool".to_owned()),
            Self::Parameter { hint, .. } => hint.clone(),
            Self::Fault(fault) => fault.hint(),
            _ => None,
        }
    }
}

impl PluginError {
    /// The same as a fault of the plugin that a call names.
    pub fn into_fault(self, kind: &'static str, plugin: &str) -> PluginFault {
        match self {
            Self::Fault(fault) => fault,
            error => PluginFault {
                kind,
                plugin: plugin.to_owned(),
                place: None,
                message: error.to_string(),
                hint: error.hint(),
            },
        }
    }
}
