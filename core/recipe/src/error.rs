//! What can go wrong with a recipe, and where.

use std::fmt;
use std::path::PathBuf;

use rectool_base::{Hint, PluginFault, nearest_name, quoted_list};
use rectool_comm::CommError;
use rectool_embedding::EmbeddingError;
use rectool_model::ModelError;

/// A position in a script: shown as `scripts/dlrm.rhai:14:9`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The script, as it was named.
    pub file: String,
    /// Line, from 1; 0 if unknown.
    pub line: usize,
    /// Column in characters, from 1; 0 if unknown.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// An error of another crate, kept whole: its message, its sources and its hint.
#[derive(Debug)]
pub struct Cause(Box<dyn Hint + Send + Sync>);

impl Cause {
    /// Wraps `error`.
    pub fn new(error: impl Hint + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Cause {
    /// The error itself and not its source: whoever walks the chain is to find its type.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.0)
    }
}

impl Hint for Cause {
    fn hint(&self) -> Option<String> {
        self.0.hint()
    }
}

/// A checkpoint that is damaged, where an earlier one of its training is whole.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub(crate) struct Damaged {
    #[source]
    pub(crate) cause: ModelError,
    pub(crate) remedy: String,
}

impl Hint for Damaged {
    fn hint(&self) -> Option<String> {
        Some(self.remedy.clone())
    }
}

/// Why a recipe could not be run to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// The script says something that cannot be.
    #[error("{place}: {message}")]
    Script {
        /// Where.
        place: Place,
        /// What, with what was expected and found.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// What the script asked for was refused before any work began.
    #[error("{place}: {cause}")]
    Refused {
        /// The call in the script.
        place: Place,
        /// The refusal.
        #[source]
        cause: Cause,
    },
    /// What the script asked for was begun and failed.
    #[error("{place}: {cause}")]
    Failed {
        /// The call in the script.
        place: Place,
        /// The failure.
        #[source]
        cause: Cause,
    },
    /// A `--set` of a parameter that the recipe does not declare.
    #[error("{recipe} has no parameter '{name}'; it has {}", listed(known))]
    UnknownParameter {
        /// The recipe.
        recipe: String,
        /// What was set.
        name: String,
        /// What can be set.
        known: Vec<String>,
    },
    /// A `--set` that is not `name=value`.
    #[error("--set '{found}' is not name=value")]
    SetSyntax {
        /// What was given.
        found: String,
    },
    /// The same parameter set twice.
    #[error("--set names '{name}' twice: '{first}' and '{second}'")]
    SetTwice {
        /// The parameter.
        name: String,
        /// Its first value.
        first: String,
        /// Its second value.
        second: String,
    },
    /// A script that cannot be read.
    #[error("cannot read the recipe {path}")]
    Read {
        /// The script.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file of the run folder that cannot be written.
    #[error("cannot write {path}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The run folder already holds a run.
    #[error("the run folder {path} is not empty")]
    RunDirUsed {
        /// The folder.
        path: PathBuf,
    },
    /// Another process runs in the folder.
    #[error("another run goes on in the run folder {path}")]
    RunDirBusy {
        /// The folder.
        path: PathBuf,
    },
    /// Nothing to resume from.
    #[error("no checkpoint to resume from in {path}")]
    NoCheckpoint {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// The ranks do not agree, or one of them failed.
    #[error("{0}")]
    Ranks(#[source] CommError),
    /// The user asked for an end; what was learnt is in the checkpoint.
    #[error("interrupted{}", saved_in(checkpoint.as_ref()))]
    Interrupted {
        /// The checkpoint written on the way out.
        checkpoint: Option<PathBuf>,
    },
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "none".to_owned() } else { quoted_list(known.iter().map(String::as_str)) }
}

fn saved_in(checkpoint: Option<&PathBuf>) -> String {
    checkpoint.map_or_else(String::new, |path| format!("; the state is in {}", path.display()))
}

impl From<CommError> for RecipeError {
    fn from(error: CommError) -> Self {
        Self::Ranks(error)
    }
}

impl RecipeError {
    /// A failure of work that was begun at `place`.
    pub(crate) fn failed(place: &Place, error: ModelError) -> Self {
        match comm_error(error) {
            Ok(error) => Self::Ranks(error),
            Err(error) => Self::Failed { place: place.clone(), cause: Cause::new(error) },
        }
    }

    /// A refusal of what was asked for at `place`, before any work.
    pub(crate) fn refused(place: &Place, error: ModelError) -> Self {
        match comm_error(error) {
            Ok(error) => Self::Ranks(error),
            Err(error) => Self::Refused { place: place.clone(), cause: Cause::new(error) },
        }
    }

    /// An error of the script text at `place`.
    pub(crate) fn script(place: Place, message: impl Into<String>, hint: Option<String>) -> Self {
        Self::Script { place, message: message.into(), hint }
    }

    /// The exit code this ends the program with: 1 the run failed, 2 the recipe or the command line
    /// is wrong, 3 a plugin broke its contract or was stopped, 130 interrupted.
    pub fn exit_code(&self) -> u8 {
        match self {
            _ if is_plugin_fault(self) => 3,
            Self::Failed { .. } | Self::Write { .. } | Self::Ranks(_) => 1,
            Self::Interrupted { .. } => 130,
            _ => 2,
        }
    }
}

impl Hint for RecipeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Script { hint, .. } => hint.clone(),
            Self::Refused { cause, .. } | Self::Failed { cause, .. } => cause.hint(),
            Self::UnknownParameter { name, known, .. } => {
                let near = nearest_name(name, known.iter().map(String::as_str))?;
                Some(format!("did you mean '{near}'?"))
            }
            Self::SetSyntax { .. } => Some("write --set embedding_dim=32".to_owned()),
            Self::SetTwice { .. } => Some("keep one of them".to_owned()),
            Self::Read { .. } => {
                Some("recipes are .rhai files; the shipped ones are in scripts/".to_owned())
            }
            Self::RunDirUsed { .. } => {
                Some("name another --run-dir, or continue it with --resume auto".to_owned())
            }
            Self::RunDirBusy { .. } => {
                Some("wait for its end or stop it, or name another --run-dir".to_owned())
            }
            Self::Ranks(error) => error.hint(),
            Self::Interrupted { checkpoint: Some(_) } => {
                Some("continue with the same command and --resume auto".to_owned())
            }
            _ => None,
        }
    }
}

/// Whether a plugin's fault is the reason.
pub(crate) fn is_plugin_fault(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.downcast_ref::<PluginFault>().is_some())
}

/// The error between ranks that a model error passes on, or the model error.
fn comm_error(error: ModelError) -> Result<CommError, ModelError> {
    match error {
        ModelError::Comm(error) | ModelError::Embedding(EmbeddingError::Comm(error)) => Ok(error),
        other => Err(other),
    }
}

/// The `did you mean` hint for a name within a list of known ones.
pub(crate) fn did_you_mean<'a>(
    wrong: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    nearest_name(wrong, known).map(|near| format!("did you mean '{near}'?"))
}
