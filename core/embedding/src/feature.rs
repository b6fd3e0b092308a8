//! What a user says about features.

use serde::{Deserialize, Serialize};

/// One feature: a column of ids, looked up in a table. Features may share a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureOptions {
    /// Unique among the features.
    pub name: String,
    /// The table's name.
    pub table: String,
    /// How a list becomes one row; the same for a single id. An empty list gives zeros.
    pub pooling: Pooling,
}

/// How the rows of a list of ids become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Their sum.
    Sum,
    /// Their sum over their number.
    Mean,
}

impl FeatureOptions {
    /// A feature whose lists are looked up in `table`. Other fields are set by struct update.
    pub fn new(name: impl Into<String>, table: impl Into<String>, pooling: Pooling) -> Self {
        Self { name: name.into(), table: table.into(), pooling }
    }
}
