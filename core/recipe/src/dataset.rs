//! `dataset(path)` and its splits.

use std::path::Path;

use rectool_base::ColumnSchema;
use rectool_data::IdStatistics;

use crate::call::Call;
use crate::error::{Cause, RecipeError};

/// An open dataset, as scripts hold it.
#[derive(Clone, Debug)]
pub(crate) struct Dataset(pub(crate) rectool_data::Dataset);

impl Dataset {
    /// Opens the dataset at `path`, relative to the current folder.
    pub(crate) fn open(call: &Call, path: &str) -> Result<Self, RecipeError> {
        rectool_data::Dataset::open(Path::new(path)).map(Self).map_err(|error| {
            let (place, cause) = (call.place.clone(), Cause::new(error));
            RecipeError::Refused { place, cause }
        })
    }

    pub(crate) fn columns(&self) -> &[ColumnSchema] {
        self.0.schema().columns()
    }

    /// The split called `name`.
    pub(crate) fn split(&self, call: &Call, name: &str) -> Result<Split, RecipeError> {
        let split = self.0.split(name).map_err(|error| {
            let (place, cause) = (call.place.clone(), Cause::new(error));
            RecipeError::Refused { place, cause }
        })?;
        Ok(Split { dataset: self.clone(), rows: split })
    }

    /// Range of ids of value `at` of the id column `column`: least, greatest, and how many are
    /// missing; `None` if the manifest does not say or no id was seen.
    pub(crate) fn id_range(&self, column: &str, at: usize) -> Option<(i64, i64, u64)> {
        let IdStatistics { min, max, missing } = self.0.id_statistics(column)?;
        let (min, max) = (*min.get(at)?, *max.get(at)?);
        (min <= max).then(|| (min, max, missing.get(at).copied().unwrap_or(0)))
    }
}

/// One split of a dataset, as scripts hold it.
#[derive(Clone)]
pub(crate) struct Split {
    pub(crate) dataset: Dataset,
    pub(crate) rows: rectool_data::Split,
}
