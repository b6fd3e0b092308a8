//! The first step of a batch, local to a rank: which distinct keys it needs, and from whom.

use std::ops::Range;
use std::sync::Arc;

use crate::distinct::Distinct;
use crate::floats::Floats;
use crate::occurrences::TableBatch;
use crate::parallel::try_for_each;
use crate::placement::Placement;
use crate::plan::Plan;
use crate::{EmbeddingError, Ids};

/// Prepares batches for one collection, also from other threads while the collection is in use.
#[derive(Clone)]
pub struct Preparer(pub(crate) Arc<Plan>);

/// A batch whose ids have been checked and made distinct. It goes through `forward` and, in
/// training, `backward`; [`crate::EmbeddingCollection::recycle`] keeps its buffers for the next one.
pub struct Prepared {
    pub(crate) identity: u64,
    pub(crate) rows: usize,
    pub(crate) phase: Phase,
    pub(crate) tables: Vec<PreparedTable>,
    /// The values of the distinct keys of all tables, [U, D] each; from `backward` on the sums of their
    /// gradients.
    pub(crate) values: Floats,
    /// Whether the ranks that hold the keys know that they are asked for.
    pub(crate) asked: bool,
    /// The values that this rank sends to each rank, table by table. Unused on one rank.
    pub(crate) answers: Floats,
}

/// How far a batch has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Prepared,
    /// The values that others asked for lie in [`Prepared::answers`]. As below.
    Answered(u64),
    /// The values are here. As below.
    Valued(u64),
    Evaluated,
    /// Its rows are those of this generation of the tables.
    Trained(u64),
    Updated,
}

/// One table's part of a batch.
#[derive(Default)]
pub(crate) struct PreparedTable {
    /// In the order of the table's features.
    pub(crate) features: Vec<PreparedFeature>,
    /// The keys of this rank's batch, grouped by owner if each has one.
    pub(crate) local: Lookups,
    /// [R + 1]: where each owner's keys begin, if each has one. Unused on one rank.
    pub(crate) groups: Vec<u32>,
    /// The keys that all ranks ask this one for. Unused on one rank.
    pub(crate) asked: Lookups,
    /// \[R\]: how many keys each rank asks for.
    pub(crate) asked_counts: Vec<usize>,
    /// Start of this table's part of [`Prepared::values`].
    pub(crate) base: usize,
}

/// Distinct keys and their rows.
#[derive(Default)]
pub(crate) struct Lookups {
    pub(crate) distinct: Distinct,
    /// \[U\], by the owner.
    pub(crate) rows: Vec<u32>,
}

/// A feature's occurrences among those of its table.
#[derive(Default)]
pub(crate) struct PreparedFeature {
    pub(crate) first: usize,
    /// [B + 1]: where each row's list begins, counted from `first`; empty for single ids.
    pub(crate) starts: Vec<u32>,
    /// What each occurrence counts: its weight over the divisor of its list. Empty without weights.
    pub(crate) scales: Vec<f32>,
}

impl Prepared {
    pub(crate) fn new(plan: &Plan) -> Self {
        let table = |features: &Vec<usize>| PreparedTable {
            features: features.iter().map(|_| PreparedFeature::default()).collect(),
            ..PreparedTable::default()
        };
        Self {
            identity: plan.identity,
            rows: 0,
            phase: Phase::Prepared,
            tables: plan.features_of.iter().map(table).collect(),
            values: Floats::default(),
            asked: false,
            answers: Floats::default(),
        }
    }

    /// Gives each table its part of `values`: the tables, and the part of each.
    pub(crate) fn lay_out_values(
        &mut self,
        placements: &[Placement],
    ) -> (&[PreparedTable], Vec<&mut [f32]>) {
        let mut end: usize = 0;
        for (placement, prepared) in placements.iter().zip(&mut self.tables) {
            prepared.base = end.next_multiple_of(Floats::ALIGNMENT);
            end = prepared.base + prepared.local.distinct.len() * placement.dim();
        }
        let mut rest = self.values.first_mut(end);
        let mut at = 0;
        let mut parts = Vec::with_capacity(placements.len());
        for (placement, prepared) in placements.iter().zip(&self.tables) {
            let (_, after) = rest.split_at_mut(prepared.base - at);
            let (part, after) = after.split_at_mut(prepared.local.distinct.len() * placement.dim());
            at = prepared.base + part.len();
            rest = after;
            parts.push(part);
        }
        (&self.tables, parts)
    }

    /// The part of a table of width `dim`, once laid out.
    pub(crate) fn values_of(&self, table: &PreparedTable, dim: usize) -> &[f32] {
        &self.values.as_slice()[table.base..][..table.local.distinct.len() * dim]
    }

    /// Rows B of the batch.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Ids of the batch, over all features.
    pub fn lookups(&self) -> usize {
        self.tables.iter().map(|table| table.local.distinct.slots.len()).sum()
    }

    /// Distinct keys among them, over all tables.
    pub fn keys_distinct(&self) -> usize {
        self.tables.iter().map(|table| table.local.distinct.len()).sum()
    }
}

impl PreparedTable {
    /// The positions of the keys of which `rank`, of several ranks, holds columns.
    pub(crate) fn keys_at(&self, rank: usize, placement: &Placement) -> Range<usize> {
        if placement.owners().is_some() {
            self.groups[rank] as usize..self.groups[rank + 1] as usize
        } else if placement.columns(rank).is_empty() {
            0..0
        } else {
            0..self.local.distinct.len()
        }
    }
}

impl Preparer {
    /// Checks the ids of a batch and finds its distinct keys.
    ///
    /// Shapes: one `ids` per feature, in feature order, each with `rows` rows. `row_first` is the
    /// position of the first row in the global batch, for messages.
    ///
    /// # Errors
    /// If a shape does not fit, an id is outside of a dense table, or a weight is not a number.
    ///
    /// # Determinism
    /// Keys are in order of first occurrence, features first, then rows.
    pub fn prepare(
        &self,
        ids: &[Ids<'_>],
        rows: usize,
        row_first: usize,
    ) -> Result<Prepared, EmbeddingError> {
        let plan = &*self.0;
        if ids.len() != plan.features.len() {
            return Err(EmbeddingError::Ids {
                what: "the batch".to_owned(),
                found: format!("{} features", ids.len()),
                expected: format!("{}", plan.features.len()),
            });
        }
        for (ids, feature) in ids.iter().zip(&plan.features) {
            ids.check(&feature.name, rows)?;
        }
        let mut prepared = plan.take_spare();
        prepared.rows = rows;
        prepared.phase = Phase::Prepared;
        prepared.asked = false;
        let tasks = prepared.tables.iter_mut().enumerate().collect();
        let result = try_for_each(tasks, |(t, table)| {
            let batch = TableBatch { plan, ids, t, rows, row_first };
            plan.with_scratch(|scratch| batch.prepare(table, scratch))
        });
        match result {
            Ok(()) => Ok(prepared),
            Err(error) => {
                plan.keep_spare(prepared);
                Err(error)
            }
        }
    }
}
