//! Vectors of one tower, for all queries or candidates of some rows.

use std::collections::HashSet;
use std::sync::Arc;

use rectool_base::{Batch, Column};
use rectool_comm::{Comm, CommExt, agree};
use rectool_data::{
    Cells, ChainSpec, FeatureChain, LastBatch, Loader, LoaderOptions, OrderOptions, Shuffle, Split,
};
use serde::{Deserialize, Serialize};

use crate::learning::{ids_behind, ids_of};
use crate::train::positions;
use crate::{Architecture, FeatureSpec, Ids, ModelError, Ranker, RetrievalSpec, TowerSpec};

/// Rows that go through a tower at a time, over all ranks. Splits of unit tests are small, and are to take several.
const BATCH_ROWS: usize = if cfg!(test) { 1 << 5 } else { 1 << 14 };

/// One of two towers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// What asks, such as a user.
    Query,
    /// What is asked for, such as an item.
    Candidate,
}

/// What a tower made of its inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Vectors {
    /// What was encoded, rising.
    pub ids: Ids,
    /// A vector for each: [N, E].
    pub values: Vec<f32>,
    /// E.
    pub width: usize,
}

impl Vectors {
    /// The vectors of `ids`, in their order: [N, E], zeros for one that is not here.
    pub fn of(&self, ids: &Ids) -> Vec<f32> {
        let mut values = vec![0.0; ids.len() * self.width];
        for (id, into) in ids.as_slice().iter().zip(values.chunks_exact_mut(self.width.max(1))) {
            if let Some(at) = self.ids.index(*id) {
                let at = at as usize * self.width;
                into.copy_from_slice(&self.values[at..at + self.width]);
            }
        }
        values
    }
}

/// What a part of a model reads of a split.
pub(crate) struct View {
    /// The columns to read.
    columns: Vec<usize>,
    chain: Arc<FeatureChain>,
    /// For each column that the model's own chain makes the one that this chain makes.
    given: Vec<Option<usize>>,
}

impl Side {
    /// Its values among a row of two vectors of width E.
    fn half(self, row: &[f32]) -> &[f32] {
        let (query, candidate) = row.split_at(row.len() / 2);
        match self {
            Self::Query => query,
            Self::Candidate => candidate,
        }
    }

    /// The column that tells its inputs apart.
    pub fn id(self, spec: &RetrievalSpec) -> &str {
        match self {
            Self::Query => &spec.query,
            Self::Candidate => &spec.item,
        }
    }
}

impl Ranker {
    /// How the towers learn, if it has any.
    pub(crate) fn towers(&self) -> Result<&RetrievalSpec, ModelError> {
        self.spec.retrieval.as_ref().ok_or_else(|| {
            let expected = "two_tower, as others have no vectors to encode";
            ModelError::option("architecture", self.spec.architecture.name(), expected)
        })
    }

    /// The vectors of one tower for all distinct ids in the rows of `splits`, each made of the first row
    /// that has it. Only the columns that this tower needs are read, so the rows may be those of a table
    /// of users or items, with ids that training never saw.
    ///
    /// `loader_threads` as in [`crate::TrainSpec`].
    ///
    /// # Errors
    /// If the model has no towers, a split lacks a column that the tower needs, or rows cannot be read.
    ///
    /// # Collective
    /// Every rank, with the same splits; all get all vectors.
    pub fn encode(
        &mut self,
        side: Side,
        splits: &[&Split],
        loader_threads: usize,
    ) -> Result<Vectors, ModelError> {
        let stride = self.outputs();
        // What heads say stands behind the vectors.
        let both = stride - self.spec.head_logits();
        let width = both / 2;
        let (mut seen, mut ids, mut values) = (HashSet::new(), Vec::new(), Vec::new());
        // The row of each id, counted over all splits.
        let (mut rows, mut split_first) = (Vec::new(), 0);
        for split in splits {
            let view = agree(&*self.comm, self.side_view(side, split))?;
            let (view, id) = view;
            let mut loader = view.open(self, split, loader_threads)?;
            loop {
                let next = loader.next().transpose().map_err(ModelError::from);
                let Some(batch) = agree(&*self.comm, next)? else { break };
                let here = ids_of(&id, &batch);
                let fresh: Vec<usize> =
                    (0..batch.rows).filter(|row| seen.insert(here[*row])).collect();
                ids.extend(fresh.iter().map(|row| here[*row]));
                let first = split_first + batch.step * BATCH_ROWS as u64 + batch.row_first as u64;
                rows.extend(fresh.iter().map(|row| first + *row as u64));
                let whole = view.completed(self, &batch, &fresh);
                let outputs = self.score(&whole)?;
                for row in outputs.chunks_exact(stride.max(1)) {
                    values.extend_from_slice(side.half(&row[..both]));
                }
                loader.recycle(batch);
            }
            split_first += split.rows();
        }
        joined(&*self.comm, (&ids, &rows), &values, width)
    }
}

/// The vectors of all ranks, by rising ids; of those that several ranks have, the one of the lowest row.
fn joined(
    comm: &dyn Comm,
    (own_ids, own_rows): (&[i64], &[u64]),
    own_values: &[f32],
    width: usize,
) -> Result<Vectors, ModelError> {
    let (mut all_ids, mut all_rows, mut all_values) = (Vec::new(), Vec::new(), Vec::new());
    comm.all_gather(own_ids, &mut all_ids)?;
    comm.all_gather(own_rows, &mut all_rows)?;
    comm.all_gather(own_values, &mut all_values)?;
    let mut order: Vec<usize> = (0..all_ids.len()).collect();
    order.sort_by_key(|at| (all_ids[*at], all_rows[*at]));
    order.dedup_by_key(|at| all_ids[*at]);
    let values = order.iter().flat_map(|at| &all_values[at * width..(at + 1) * width]);
    let values = values.copied().collect();
    Ok(Vectors { ids: Ids::new(all_ids), values, width })
}

impl Ranker {
    /// What a tower reads of a split, and where the ids that tell rows apart stand behind its chain.
    fn side_view(&self, side: Side, split: &Split) -> Result<(View, Cells), ModelError> {
        let (spec, retrieval) = (&self.spec, self.towers()?);
        let Architecture::TwoTower(towers) = &spec.architecture else {
            unreachable!("`ModelSpec::check` lets towers alone have such options");
        };
        let tower = match side {
            Side::Query => &towers.query,
            Side::Candidate => &towers.candidate,
        };
        let id = side.id(retrieval);
        let features = needed(&spec.features, tower, &self.chain);
        let view = View::new(self, &features, split, &[column_of(&self.chain, id)?])?;
        let id = ids_behind(&view.chain, id, "id")?;
        Ok((view, id))
    }
}

impl View {
    /// Of the part of the model that needs `features`; `besides` are columns that are read as well.
    pub(crate) fn new(
        ranker: &Ranker,
        features: &FeatureSpec,
        split: &Split,
        besides: &[String],
    ) -> Result<Self, ModelError> {
        let schema = features.select(split.schema(), besides)?;
        let chain = FeatureChain::build(&features.chain, &schema, &*ranker.plugins)?;
        let own = ranker.chain.schema().columns().iter();
        let given = own.map(|wanted| chain.schema().columns().iter().position(|at| at == wanted));
        let given: Vec<Option<usize>> = given.collect();
        Ok(Self { columns: positions(&schema, split)?, given, chain: Arc::new(chain) })
    }

    /// Of all that scores rows: neither label nor weight is read, and no negatives are added.
    pub(crate) fn of_scores(ranker: &Ranker, split: &Split) -> Result<Self, ModelError> {
        if !ranker.spec.scores_rows() {
            let found = "two towers that learn from the candidates of a batch";
            return Err(ModelError::option("model", found, "one that scores rows"));
        }
        let features = FeatureSpec {
            label: None,
            weight: None,
            negatives: None,
            ..ranker.spec.features.clone()
        };
        Self::new(ranker, &features, split, &[])
    }

    /// The columns to read, by their place in the split.
    pub(crate) fn columns(&self) -> &[usize] {
        &self.columns
    }

    pub(crate) fn chain(&self) -> &FeatureChain {
        &self.chain
    }

    pub(crate) fn open(
        &self,
        ranker: &Ranker,
        split: &Split,
        threads: usize,
    ) -> Result<Loader, ModelError> {
        let rows = usize::try_from(split.rows()).unwrap_or(usize::MAX);
        let options = LoaderOptions {
            rank: ranker.comm.rank(),
            ranks: ranker.comm.size(),
            threads,
            order: OrderOptions { seed: 0, shuffle: Shuffle::None },
            last: LastBatch::Keep,
            columns: self.columns.clone(),
            chain: Some(Arc::clone(&self.chain)),
            epochs: Some(1),
            ..LoaderOptions::new(BATCH_ROWS.min(rows.max(1)))
        };
        Ok(Loader::start(split, options)?)
    }

    /// The rows at `places` as a batch of the model's columns: those that this part does not need are
    /// blank.
    pub(crate) fn completed(&self, ranker: &Ranker, batch: &Batch, places: &[usize]) -> Batch {
        let schema = ranker.chain.schema();
        let columns = schema.columns().iter().zip(&self.given).map(|(column, given)| match given {
            Some(at) => batch.columns[*at].picked(places),
            None => Column::blank(column.kind, places.len()),
        });
        Batch { rows: places.len(), columns: columns.collect(), ..*batch }
    }
}

/// The name of the column behind the chain that is called `name` or packs it.
fn column_of(chain: &FeatureChain, name: &str) -> Result<String, ModelError> {
    let at = Cells::find(chain.schema(), name)?.column;
    Ok(chain.schema().columns()[at].name.clone())
}

/// The features that a tower needs.
fn needed(all: &FeatureSpec, tower: &TowerSpec, chain: &FeatureChain) -> FeatureSpec {
    let ids: Vec<_> =
        all.ids.iter().filter(|feature| tower.ids.contains(&feature.name)).cloned().collect();
    let names = ids.iter().flat_map(crate::IdFeatureSpec::columns).chain(&tower.dense);
    let names: Vec<&str> = names.map(String::as_str).collect();
    let steps = chain.makers(&names).into_iter().map(|at| all.chain.steps[at].clone());
    FeatureSpec {
        label: None,
        weight: None,
        dense: tower.dense.clone(),
        chain: ChainSpec { steps: steps.collect() },
        negatives: None,
        ids,
    }
}
