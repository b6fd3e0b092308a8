//! What the steps of a feature chain make of a dataset's columns.

use std::ops::Range;

use rectool_base::{ColumnKind, ColumnSchema, Hint, PluginSource, Schema, quoted_list};
use rectool_data::{ChainOp, ChainStep, DataError, FeatureChain};

use crate::error::{Cause, RecipeError, did_you_mean, is_plugin_fault};
use crate::options::Options;

/// The columns behind a chain.
#[derive(Clone, Debug)]
pub(crate) struct Chained {
    /// Those of the dataset as the steps left them, then those that steps added.
    columns: Vec<ColumnSchema>,
    /// Names of the columns that each step makes or changes.
    made: Vec<Vec<String>>,
    /// Whether a plugin may have made columns that the dataset does not have.
    has_plugins: bool,
}

impl Chained {
    /// Builds the chain on all columns of a dataset: the steps say themselves what they take.
    pub(crate) fn build(
        options: &Options<'_>,
        columns: Vec<ColumnSchema>,
        steps: &[ChainStep],
        plugins: &dyn PluginSource,
    ) -> Result<Self, RecipeError> {
        let refuse = |error: DataError| {
            if is_plugin_fault(&error) {
                let place = options.place_of("chain");
                return RecipeError::Refused { place, cause: Cause::new(error) };
            }
            options.refuse("chain", &format!("cannot be: {error}"), error.hint())
        };
        let schema = Schema::new(columns).map_err(|error| refuse(error.into()))?;
        let mut chain = FeatureChain::new(&schema);
        let mut made = Vec::new();
        for step in steps {
            let columns = chain.schema().columns();
            let mut inputs = Vec::new();
            for name in &step.inputs {
                let Some(found) = columns.iter().find(|column| column.name == *name) else {
                    let known: Vec<&str> = columns.iter().map(|column| &*column.name).collect();
                    let hint = did_you_mean(name, known.iter().copied());
                    let listed = quoted_list(known);
                    let what =
                        format!("names column '{name}', which is not there; there are {listed}");
                    return Err(options.refuse("chain", &what, hint));
                };
                inputs.push(found.clone());
            }
            let transform = step.op.transform(plugins).map_err(|error| refuse(error.into()))?;
            let outputs = transform.outputs(&inputs).map_err(|error| refuse(error.into()))?;
            made.push(outputs.into_iter().map(|column| column.name).collect());
            chain.push(&step.inputs, transform).map_err(refuse)?;
        }
        let has_plugins = steps.iter().any(|step| matches!(step.op, ChainOp::Plugin(_)));
        Ok(Self { columns: chain.schema().columns().to_vec(), made, has_plugins })
    }

    /// The column called `name`.
    pub(crate) fn column(&self, name: &str) -> Option<&ColumnSchema> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The column that holds `name`, itself or as a packed member, and the positions meant: all of
    /// a column, one of a member. `None` if there is no such name.
    pub(crate) fn find(&self, name: &str) -> Option<(&ColumnSchema, Range<usize>)> {
        if let Some(column) = self.column(name) {
            return Some((column, 0..column.width().unwrap_or(1)));
        }
        self.columns.iter().find_map(|column| {
            let at = column.members.iter().position(|member| member == name)?;
            Some((column, at..at + 1))
        })
    }

    /// The error of an option that names what [`Chained::find`] does not find among columns of a
    /// kind.
    pub(crate) fn unknown(
        &self,
        options: &Options<'_>,
        key: &str,
        name: &str,
        wanted: impl Fn(ColumnKind) -> bool,
    ) -> RecipeError {
        let mut known = Vec::new();
        for column in self.columns.iter().filter(|column| wanted(column.kind)) {
            known.push(column.name.as_str());
            known.extend(column.members.iter().map(String::as_str));
        }
        let hint = did_you_mean(name, known.iter().copied());
        let listed = quoted_list(known);
        let who = if self.has_plugins {
            "neither the dataset nor the chain has; they have"
        } else {
            "the dataset does not have; it has"
        };
        options.refuse(key, &format!("names '{name}', which {who} {listed}"), hint)
    }

    /// Names of the columns that the step `at` makes or changes.
    pub(crate) fn made(&self, at: usize) -> impl Iterator<Item = &str> {
        self.made[at].iter().map(String::as_str)
    }

    /// The steps that make or change the column `name`, from last to first.
    pub(crate) fn makers(&self, name: &str) -> impl Iterator<Item = usize> {
        let makes = move |at: &usize| self.made[*at].iter().any(|other| other == name);
        (0..self.made.len()).rev().filter(makes)
    }

    /// The first step whose columns nobody uses, given those that model and loss use and what each
    /// step takes.
    pub(crate) fn unused(&self, steps: &[ChainStep], used: &[&str]) -> Option<usize> {
        let mut needed: Vec<&str> = used.to_vec();
        let mut unused = None;
        for (at, step) in steps.iter().enumerate().rev() {
            if self.made[at].iter().any(|made| needed.contains(&made.as_str())) {
                needed.extend(step.inputs.iter().map(String::as_str));
            } else {
                unused = Some(at);
            }
        }
        unused
    }
}
