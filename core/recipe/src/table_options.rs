//! The entries of `tables`: how the rows of each table are found, kept and given up.

use std::path::PathBuf;

use rectool_embedding::{
    Admission, Backing, EmbeddingError, Expiry, OptimizerOptions, Storage,
    TableOptions as EngineOptions, Unadmitted,
};
use rectool_model::RowSpec;
use serde::Deserialize;

use crate::call::Call;
use crate::error::RecipeError;

/// What a recipe says of one table.
#[derive(Deserialize)]
pub(crate) struct TableOptions {
    #[serde(default)]
    pub(crate) index: IndexWord,
    pub(crate) rows: Option<u64>,
    pub(crate) rows_expected: Option<u64>,
    pub(crate) dim: Option<usize>,
    learning_rate: Option<f32>,
    clip_norm: Option<f32>,
    #[serde(default)]
    storage: Storage,
    /// A folder for the rows, which then need not fit in memory.
    folder: Option<PathBuf>,
    #[serde(default, deserialize_with = "AdmissionWord::deserialize")]
    admission: Admission,
    #[serde(default, deserialize_with = "UnadmittedWord::deserialize")]
    unadmitted: Unadmitted,
    expiry: Option<Expiry>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "snake_case")]
pub(crate) enum IndexWord {
    #[default]
    Hash,
    Dense,
    Modulo,
}

/// [`Admission`] as scripts write it: by a word where it has no options.
#[derive(Deserialize)]
#[serde(remote = "Admission", rename_all = "snake_case")]
enum AdmissionWord {
    All,
    Count { sightings: u32, window_steps: u32, cells: u64 },
    Probability { p: f32 },
}

/// [`Unadmitted`] as scripts write it: by a word where it has no options.
#[derive(Deserialize)]
#[serde(remote = "Unadmitted", rename_all = "snake_case")]
enum UnadmittedWord {
    Initial,
    Zero,
    Constant { value: f32 },
}

impl TableOptions {
    pub(crate) fn rows_spec(&self) -> RowSpec {
        RowSpec {
            learning_rate: self.learning_rate,
            clip_norm: self.clip_norm,
            storage: self.storage,
            backing: match &self.folder {
                Some(folder) => Backing::File { folder: folder.clone() },
                None => Backing::Memory,
            },
            admission: self.admission.clone(),
            unadmitted: self.unadmitted,
            expiry: self.expiry.clone().unwrap_or_default(),
        }
    }

    /// Refuses what no table can work with, at its place under `name`.
    pub(crate) fn check(&self, call: &Call, name: &str) -> Result<(), RecipeError> {
        self.check_expiry(call, name)?;
        let RowSpec { learning_rate, clip_norm, storage, backing, admission, unadmitted, expiry } =
            self.rows_spec();
        // Width and optimizer come with the model, and are checked there.
        let table = EngineOptions {
            clip_norm,
            storage,
            backing,
            admission,
            unadmitted,
            expiry,
            ..EngineOptions::new(name, 1, OptimizerOptions::sgd(learning_rate.unwrap_or_default()))
        };
        match table.check() {
            Err(EmbeddingError::Option { option, found, expected, .. }) => {
                let what = format!("is {found}, expected {expected}");
                Err(refuse(call, &keys_of(name, option), &what, hint_of(option)))
            }
            Err(error) => {
                let place = call.place_of_keys(&["tables", name]);
                Err(RecipeError::refused(&place, error.into()))
            }
            Ok(()) => Ok(()),
        }
    }

    fn check_expiry(&self, call: &Call, name: &str) -> Result<(), RecipeError> {
        match &self.expiry {
            Some(Expiry { after_steps: None, rows_max: None, .. }) => {
                let hint = "add after_steps: 50000 or rows_max: 1000000, or leave it out";
                let what = "gives up no rows without 'after_steps' or 'rows_max'";
                Err(refuse(call, &[name, "expiry"], what, Some(hint)))
            }
            _ => Ok(()),
        }
    }
}

/// Where an option of the engine's table `name` stands within `tables`.
fn keys_of<'a>(name: &'a str, option: &'a str) -> Vec<&'a str> {
    match option {
        "sightings" | "window_steps" | "cells" | "p" => vec![name, "admission", option],
        "value" => vec![name, "unadmitted", option],
        "after_steps" | "rows_max" | "every_steps" => vec![name, "expiry", option],
        _ => vec![name, option],
    }
}

/// What helps if a number is out of its range.
fn hint_of(option: &str) -> Option<&'static str> {
    match option {
        "sightings" => Some("batches that must have had an id; of more, no more are counted"),
        "window_steps" => Some("sightings count for so many steps at most, such as 10000"),
        "cells" => Some("one for each rare id of half a window, such as 1000000"),
        "p" => Some("0.1 lets in an id with one in ten of the batches that have it"),
        "folder" => Some("leave it out to keep the rows in memory"),
        "clip_norm" => Some("leave it out to clip nothing"),
        "after_steps" => Some("leave it out to keep rows of any age"),
        "rows_max" => Some("leave it out for any number of rows"),
        "every_steps" => Some("leave it out to look through the rows after every 1000 steps"),
        _ => None,
    }
}

/// An error about what stands at `keys` within `tables`.
fn refuse(call: &Call, keys: &[&str], what: &str, hint: Option<&str>) -> RecipeError {
    let keys = [&["tables"], keys].concat();
    let message = format!("{}: '{}' {what}", call.function, keys.join("."));
    RecipeError::script(call.place_of_keys(&keys), message, hint.map(str::to_owned))
}
