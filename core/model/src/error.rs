//! What can go wrong while a model is built, trained or saved.

use std::path::PathBuf;

use rectool_base::{Hint, SchemaError};
use rectool_comm::CommError;
use rectool_data::DataError;
use rectool_embedding::EmbeddingError;

use crate::checkpoint::MANIFEST_FILE;
use crate::{MetricError, ParameterError, RetrievalError, StateError};

/// Any failure of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// An option out of range or at odds with another.
    #[error("`{option}` is {found}, expected {expected}")]
    Option {
        /// The option.
        option: String,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: String,
    },
    /// A plugin failed. Not transparent: whoever walks the sources is to find the fault.
    #[error("{0}")]
    Plugin(#[from] rectool_base::PluginFault),
    /// A column of the wrong type for its use.
    #[error("feature `{feature}`: column `{column}` has type {found}, expected {expected}")]
    ColumnType {
        /// The feature, or `label`.
        feature: String,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// The types that would do.
        expected: &'static str,
    },
    /// A value that cannot be trained on.
    #[error(
        "epoch {epoch}, step {step}, row {row} of the batch: {what} is {found}, expected {expected}"
    )]
    Value {
        /// Epoch, from 0.
        epoch: u64,
        /// Step within the epoch, from 0.
        step: u64,
        /// Row within the global batch.
        row: usize,
        /// The column or member.
        what: String,
        /// The value.
        found: f32,
        /// What is allowed.
        expected: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// Weights that are not one for each id.
    #[error(
        "epoch {epoch}, step {step}, row {row} of the batch: feature `{feature}` has {ids} ids in \
         `{column}` and {weights} weights in `{of_weights}`"
    )]
    WeightCount {
        /// Epoch, from 0.
        epoch: u64,
        /// Step within the epoch, from 0.
        step: u64,
        /// Row within the global batch.
        row: usize,
        /// The feature.
        feature: String,
        /// The column of its ids.
        column: String,
        /// Ids of that row.
        ids: usize,
        /// The column of its weights.
        of_weights: String,
        /// Weights of that row.
        weights: usize,
    },
    /// A feature of several vectors in a model that takes single ones.
    #[error(
        "feature `{feature}` is a sequence of {vectors} vectors, expected one vector from each \
         feature of a `{model}`"
    )]
    Sequence {
        /// The feature.
        feature: String,
        /// Its length L.
        vectors: usize,
        /// The model's kind.
        model: &'static str,
    },
    /// A head that no model can have.
    #[error("head `{head}`: `{option}` is {found}, expected {expected}")]
    Head {
        /// Its label.
        head: String,
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What is allowed.
        expected: &'static str,
        /// What to do about it.
        hint: &'static str,
    },
    /// Heads beside negatives of which none learns what was chosen.
    #[error(
        "`heads` with `negatives`: expected a head that learns which items were chosen, found {found}"
    )]
    Choices {
        /// What there is instead.
        found: String,
    },
    /// Heads or classes of a model of one output.
    #[error("a `{model}` learns one label with one output, expected neither heads nor classes")]
    Outputs {
        /// The model's kind.
        model: &'static str,
        /// The kinds that may have several outputs.
        known: String,
    },
    /// The loss left the numbers.
    #[error("step {step}: the loss is {loss}")]
    Diverged {
        /// Steps done.
        step: u64,
        /// The mean loss since the last report.
        loss: f64,
    },
    /// A device that was asked for is not there.
    #[error("device `{device}` is not usable: {reason}")]
    Device {
        /// The device.
        device: String,
        /// Why.
        reason: String,
        /// What to do about it.
        hint: &'static str,
    },
    /// A checkpoint of something else, or a damaged one.
    #[error("checkpoint {}: {what}: found {found}, expected {expected}", path.display())]
    Checkpoint {
        /// The folder or file.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// What it holds.
        found: String,
        /// What was needed.
        expected: String,
    },
    /// A checkpoint of a format that this program does not know.
    #[error("checkpoint {}: `version`: found {found}, expected 1 to {newest}", path.display())]
    CheckpointVersion {
        /// Its manifest.
        path: PathBuf,
        /// What it says.
        found: String,
        /// The newest format that is read.
        newest: u32,
    },
    /// A delta that does not go with what it builds on.
    #[error("checkpoint {}: {what}: found {found}, expected {expected}", path.display())]
    Delta {
        /// The delta.
        path: PathBuf,
        /// What does not fit.
        what: String,
        /// What is there.
        found: String,
        /// What was there when the delta was made.
        expected: String,
    },
    /// A table that a checkpoint does not hold.
    #[error("checkpoint {}: no table `{table}`", path.display())]
    NoTable {
        /// The checkpoint.
        path: PathBuf,
        /// The table asked for.
        table: String,
        /// The name that may have been meant.
        nearest: Option<String>,
    },
    /// Something is where a result is to go.
    #[error("{} is there already", path.display())]
    Exists {
        /// The file or folder.
        path: PathBuf,
    },
    /// A checkpoint that was made with another build of a plugin.
    #[error(
        "checkpoint {}: plugin `{plugin}` is {found}, expected {expected}", path.display()
    )]
    PluginDiffers {
        /// The checkpoint.
        path: PathBuf,
        /// The plugin's name.
        plugin: String,
        /// Version and hash in the checkpoint.
        found: String,
        /// Those of the plugin that was found here.
        expected: String,
        /// The component in the checkpoint.
        kept: Option<PathBuf>,
    },
    /// A file could not be read or written.
    #[error("{doing} {}", path.display())]
    Io {
        /// `writing` and the like.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// libtorch refused an operation, such as an allocation.
    #[error("libtorch, {doing}: {message}")]
    Torch {
        /// What was being done.
        doing: &'static str,
        /// The first line of libtorch's message; a C++ backtrace follows there.
        message: String,
    },
    /// From the dataset or loader.
    #[error(transparent)]
    Data(#[from] DataError),
    /// From the embedding tables.
    #[error(transparent)]
    Embedding(#[from] EmbeddingError),
    /// From the other ranks.
    #[error(transparent)]
    Comm(#[from] CommError),
    /// An optimizer's or schedule's option out of range.
    #[error(transparent)]
    Parameter(#[from] ParameterError),
    /// Scores that have no metric.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Recommendations that have no figures.
    #[error(transparent)]
    Retrieval(#[from] RetrievalError),
    /// A checkpoint's optimizer state that does not fit.
    #[error(transparent)]
    OptimizerState(#[from] StateError),
    /// A column that is not there.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

impl ModelError {
    pub(crate) fn option(
        option: impl Into<String>,
        found: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> Self {
        let (option, expected) = (option.into(), expected.into());
        Self::Option { option, found: found.to_string(), expected }
    }

    pub(crate) fn torch(doing: &'static str) -> impl Fn(tch::TchError) -> Self {
        move |error| Self::Torch { doing, message: torch_message(&error) }
    }

    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

/// The first line of libtorch's message; a C++ backtrace follows there.
pub(crate) fn torch_message(error: &tch::TchError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

impl Hint for ModelError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Value { hint, .. } | Self::Device { hint, .. } | Self::Head { hint, .. } => {
                Some((*hint).to_owned())
            }
            Self::Choices { .. } => Some(
                "write `label: \"chosen\"` into `negatives` and `#{label: \"chosen\"}` into `heads`: it is 1 \
                 in rows that were read and 0 in negatives, where other labels are missing"
                    .to_owned(),
            ),
            Self::Outputs { known, .. } => Some(format!("{known} may have several outputs")),
            Self::WeightCount { .. } => Some(
                "both lists must be of one length in every row; a step that cuts one of them, such \
                 as `truncate`, must cut the other too"
                    .to_owned(),
            ),
            Self::Sequence { .. } => {
                let hint = "pool its ids by `sum`, `mean` or `sqrtn`; `din` and towers take sequences";
                Some(hint.to_owned())
            }
            Self::Diverged { .. } => {
                Some("lower the learning rates, warm up, or set `clip_norm`".to_owned())
            }
            Self::Checkpoint { .. } => Some(
                "`rectool ckpt verify` tells whether the files are whole; a checkpoint fits only \
                 the model and features it was made with"
                    .to_owned(),
            ),
            Self::NoTable { nearest: Some(name), .. } => Some(format!("did you mean `{name}`?")),
            Self::NoTable { .. } => Some("`rectool ckpt inspect` lists the tables".to_owned()),
            Self::Exists { .. } => Some("choose another name, or remove it first".to_owned()),
            Self::CheckpointVersion { .. } => Some(
                "a newer rectool wrote it: read it with that one, or update this one".to_owned(),
            ),
            Self::Delta { .. } => Some(
                "a delta needs the checkpoints it was made on beside it, as they were: restore them, \
                 or go on from one that is whole; `rectool ckpt reshard` makes checkpoints that stand \
                 alone"
                    .to_owned(),
            ),
            Self::PluginDiffers { plugin, kept: Some(kept), .. } => Some(format!(
                "the checkpoint keeps its own as {}: put it where `{plugin}` is found first",
                kept.display()
            )),
            Self::Io { path, source, .. }
                if source.kind() == std::io::ErrorKind::NotFound
                    && path.ends_with(MANIFEST_FILE) =>
            {
                Some(
                    "a checkpoint is a folder with this file; a run keeps its own in `checkpoints`"
                        .to_owned(),
                )
            }
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                Some("free some space; earlier checkpoints are untouched".to_owned())
            }
            Self::Data(error) => error.hint(),
            Self::Embedding(error) => error.hint(),
            Self::Comm(error) => error.hint(),
            Self::Metric(error) => error.hint(),
            Self::Retrieval(error) => error.hint(),
            Self::OptimizerState(error) => error.hint(),
            Self::Schema(error) => error.hint(),
            Self::Plugin(fault) => fault.hint(),
            _ => None,
        }
    }
}
