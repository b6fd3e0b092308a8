//! Rows for items that were not chosen: what a spec says of them, and where they come from.

use std::sync::Arc;

use rectool_base::{
    ColumnKind, ColumnSchema, ItemStatistics, PluginCall, PluginSource, Sampler, Schema,
};
use rectool_data::{Negatives, Split};
use serde::{Deserialize, Serialize};

use crate::{ModelError, ModelSpec};

/// Rows for items that a sampler draws, added to every row that is read, in training and in
/// evaluation; [`rectool_data::Negatives`] has the rules.
///
/// They belong to the features and not to a training, because they add columns that the chain and
/// the loss may want. The items, and how often they occur, are those of the split that is trained on,
/// also where another one is evaluated; a model that was not trained here evaluates with those of the
/// split itself.
///
/// ```
/// let text = r#"{"sampler": {"name": "uniform", "version": "1.0.0", "sha256": "00"},
///     "item": "item_id", "per_row": 4, "group": "row"}"#;
/// let spec: rectool_model::NegativeSpec = serde_json::from_str(text)?;
/// assert_eq!(spec.added()[0].name, "row");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NegativeSpec {
    /// What draws items.
    pub sampler: PluginCall,
    /// The id column, or member of a packed one, with the chosen item.
    pub item: String,
    /// Items drawn for each row: K, 1 or more.
    pub per_row: usize,
    /// Columns, or members, that describe the item and go with it.
    #[serde(default)]
    pub item_columns: Vec<String>,
    /// A float column, or member, whose last value for an item the sampler is told.
    #[serde(default)]
    pub score: Option<String>,
    /// Seed of what is drawn.
    #[serde(default)]
    pub seed: u64,
    /// Name of an added column with the logarithm of each drawn item's probability.
    #[serde(default)]
    pub log_q: Option<String>,
    /// Name of an added column that is 1 in rows that were read and 0 in negatives: the label of logs
    /// that have none. Of several heads one must learn it; the labels of the others are missing in negatives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Name of an added column that a row and its negatives share.
    #[serde(default)]
    pub group: Option<String>,
}

impl NegativeSpec {
    /// The columns it adds, in order.
    pub fn added(&self) -> Vec<ColumnSchema> {
        let log_q = (&self.log_q, ColumnKind::F32 { width: 1 });
        let label = (&self.label, ColumnKind::F32 { width: 1 });
        let group = (&self.group, ColumnKind::I64 { width: 1 });
        let named = |(name, kind): (&Option<String>, _)| {
            name.as_ref().map(|name| ColumnSchema::plain(name, kind))
        };
        [log_q, label, group].into_iter().filter_map(named).collect()
    }

    /// The columns, or members, that must be read.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.item).chain(&self.item_columns)
    }

    /// Position in `schema` of the column that is called `name` or packs a member of that name.
    pub(crate) fn column_of(schema: &Schema, name: &str) -> Option<usize> {
        let columns = schema.columns();
        let own = columns.iter().position(|column| column.name == name);
        own.or_else(|| {
            columns.iter().position(|column| column.members.iter().any(|member| member == name))
        })
    }
}

/// The items of a split, and a sampler over them.
pub(crate) struct Items {
    sampler: Arc<dyn Sampler>,
    statistics: Arc<ItemStatistics>,
    split: Split,
}

impl Items {
    /// Reads the split once.
    pub(crate) fn of(
        spec: &NegativeSpec,
        split: &Split,
        plugins: &dyn PluginSource,
    ) -> Result<Self, ModelError> {
        let statistics = split.item_statistics(&spec.item, spec.score.as_deref())?;
        let sampler = plugins.sampler(&spec.sampler, &statistics)?;
        Ok(Self { sampler, statistics: Arc::new(statistics), split: split.clone() })
    }

    /// As a loader of rows for `model` takes them.
    pub(crate) fn negatives(&self, spec: &NegativeSpec, model: &ModelSpec) -> Negatives {
        // A label that comes with the negatives needs no change.
        let added = |label: &str| spec.label.as_deref() == Some(label);
        let label = model.features.label.as_deref().filter(|label| !added(label));
        // Nor does a head's that says which rows are choices as well.
        let zero = |name: &String| added(name) || label == Some(name.as_str());
        let outcomes = model.heads.iter().map(|head| &head.label).filter(|name| !zero(name));
        let (sampler, items) = (Arc::clone(&self.sampler), Arc::clone(&self.statistics));
        Negatives {
            items_from: Some(self.split.clone()),
            item_columns: spec.item_columns.clone(),
            outcomes: outcomes.cloned().collect(),
            seed: spec.seed,
            log_q: spec.log_q.clone(),
            label_added: spec.label.clone(),
            group: spec.group.clone(),
            ..Negatives::new(sampler, items, (&spec.item, label), spec.per_row)
        }
    }
}
