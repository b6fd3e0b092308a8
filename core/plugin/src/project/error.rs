//! What can go wrong with a plugin's folder.

use std::io;
use std::path::PathBuf;

use rectool_base::{Hint, nearest_name, quoted_list};

/// Why a plugin's folder could not be made, read or built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProjectError {
    /// A file could not be read or written.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The manifest makes no sense.
    #[error("`{}`: {found}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        found: String,
    },
    /// A name that a plugin cannot have.
    #[error("`{name}` is no plugin name; expected lower-case words joined by `-`")]
    Name {
        /// The name.
        name: String,
    },
    /// No template for this language.
    #[error("no template for language `{name}`; there are {}", quoted_list(known.iter().copied()))]
    Language {
        /// The language asked for.
        name: String,
        /// Those there are.
        known: Vec<&'static str>,
    },
    /// No template of this kind.
    #[error("no template for a {kind} in `{language}`; there are {}", quoted_list(known.iter().copied()))]
    Kind {
        /// The kind asked for.
        kind: String,
        /// The language.
        language: String,
        /// Kinds that there are templates for.
        known: Vec<&'static str>,
    },
    /// The folder exists already.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// The language's tool is not installed.
    #[error("`{tool}`, which builds {language} plugins, is not on PATH")]
    Tool {
        /// The program.
        tool: String,
        /// The language.
        language: String,
        /// What to install.
        hint: String,
    },
    /// The build command failed.
    #[error("`{command}` ended with {status}\n{output}")]
    Command {
        /// The command.
        command: String,
        /// Its exit status.
        status: String,
        /// The end of what it printed.
        output: String,
    },
    /// The build command succeeded, but made nothing.
    #[error("`{command}` did not make `{}`", path.display())]
    NoOutput {
        /// The command.
        command: String,
        /// The file that it should have made.
        path: PathBuf,
    },
}

impl Hint for ProjectError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Language { name, known } => {
                let near = nearest_name(name, known.iter().copied())?;
                Some(format!("did you mean `{near}`?"))
            }
            Self::Tool { hint, .. } => Some(hint.clone()),
            Self::Exists { .. } => Some("choose another name or `--dir`".to_owned()),
            Self::Io { source, path }
                if source.kind() == io::ErrorKind::NotFound && path.ends_with("plugin.toml") =>
            {
                Some("`rectool plugin new` makes a folder with one".to_owned())
            }
            Self::NoOutput { .. } => Some("`build.output` in `plugin.toml` names it".to_owned()),
            _ => None,
        }
    }
}
