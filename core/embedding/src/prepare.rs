//! The first step of a batch, local to a rank: which distinct keys it needs, and from whom.

use std::ops::Range;
use std::sync::Arc;

use crate::distinct::{Distinct, Scratch};
use crate::floats::Floats;
use crate::parallel::try_for_each;
use crate::plan::Plan;
use crate::table::Table;
use crate::{EmbeddingError, Ids, IndexKind};

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
    /// The values of the distinct keys of all tables, [U, D] each.
    pub(crate) values: Floats,
}

/// How far a batch has come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Prepared,
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
    /// Bags per feature are `1 << row_bits`: the bag of row r of the table's feature f is
    /// `f << row_bits | r`.
    pub(crate) row_bits: u32,
    /// The keys of this rank's batch, grouped by owner.
    pub(crate) local: Lookups,
    /// [R + 1]: where each owner's keys begin. Unused on one rank.
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

/// Where a feature's occurrences lie among those of its table.
#[derive(Default)]
pub(crate) struct PreparedFeature {
    pub(crate) first: usize,
    /// [B + 1]: where each row's list begins, counted from the table's first occurrence; empty for
    /// single ids.
    pub(crate) starts: Vec<u32>,
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
        }
    }

    /// Gives each table its part of `values`; returns how many floats that takes.
    pub(crate) fn lay_out_values(&mut self, tables: &[Table]) -> usize {
        let mut base: usize = 0;
        for (table, prepared) in tables.iter().zip(&mut self.tables) {
            prepared.base = base.next_multiple_of(Floats::ALIGNMENT);
            base = prepared.base + prepared.local.distinct.len() * table.layout.dim;
        }
        base
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
    /// The positions of the keys that `rank` owns, of several ranks.
    pub(crate) fn group(&self, rank: usize) -> Range<usize> {
        self.groups[rank] as usize..self.groups[rank + 1] as usize
    }
}

impl Preparer {
    /// Checks the ids of a batch and finds its distinct keys.
    ///
    /// Shapes: one `ids` per feature, in feature order, each with `rows` rows. `row_first` is the
    /// position of the first row in the global batch, for messages.
    ///
    /// # Errors
    /// If a shape does not fit, or an id is outside of a dense table.
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
        let tasks = prepared.tables.iter_mut().enumerate().collect();
        let batch = TableBatch { plan, ids, rows, row_first };
        let result =
            try_for_each(tasks, |(t, table)| plan.with_scratch(|s| batch.prepare(t, table, s)));
        match result {
            Ok(()) => Ok(prepared),
            Err(error) => {
                plan.keep_spare(prepared);
                Err(error)
            }
        }
    }
}

/// A batch that is being prepared.
struct TableBatch<'a> {
    plan: &'a Plan,
    ids: &'a [Ids<'a>],
    rows: usize,
    row_first: usize,
}

impl TableBatch<'_> {
    fn prepare(
        &self,
        t: usize,
        table: &mut PreparedTable,
        scratch: &mut Scratch,
    ) -> Result<(), EmbeddingError> {
        let index = &self.plan.tables[t].index;
        let occurrences = self.lay_out(t, table)?;
        let features = &self.plan.features_of[t];
        let keys_below = match *index {
            IndexKind::Dense { rows } => Some(rows),
            IndexKind::Hash => None,
        };
        if let Some(rows) = keys_below {
            features.iter().try_for_each(|feature| self.check_ids(*feature, rows))?;
        }
        let distinct = &mut table.local.distinct;
        let mut finder = distinct.begin(scratch, occurrences, keys_below);
        for feature in features {
            match self.ids[*feature] {
                Ids::Fixed { values, width, at } => {
                    finder.add(values.iter().skip(at).step_by(width).map(|id| *id as u64));
                }
                Ids::List { offsets, values } => {
                    finder.add(listed(offsets, values).iter().map(|id| *id as u64));
                }
            }
        }
        let placement = &self.plan.placement;
        if placement.ranks() > 1 {
            let owner = |key| placement.owner(index, key);
            distinct.group(scratch, &mut table.groups, placement.ranks(), owner);
        }
        distinct.place_begin();
        for (f, feature) in table.features.iter().enumerate() {
            let bag = (f as u32) << table.row_bits;
            let bags = bag..bag + self.rows as u32;
            if feature.starts.is_empty() {
                distinct.place(feature.first..feature.first + self.rows, bags);
            } else {
                let range = feature.first..feature.starts[self.rows] as usize;
                let lengths = feature.starts.windows(2).map(|ends| (ends[1] - ends[0]) as usize);
                let bags = bags.zip(lengths).flat_map(|(bag, n)| std::iter::repeat_n(bag, n));
                distinct.place(range, bags);
            }
        }
        Ok(())
    }

    /// Numbers the occurrences and bags of a table; returns how many occurrences there are.
    fn lay_out(&self, t: usize, table: &mut PreparedTable) -> Result<usize, EmbeddingError> {
        let mut occurrences = 0;
        for (feature, place) in self.plan.features_of[t].iter().zip(&mut table.features) {
            place.first = occurrences;
            place.starts.clear();
            occurrences += match self.ids[*feature] {
                Ids::Fixed { .. } => self.rows,
                Ids::List { offsets, values } => listed(offsets, values).len(),
            };
            if occurrences >= u32::MAX as usize {
                return Err(self.too_many(t, format!("{occurrences} or more")));
            }
            if let Ids::List { offsets, .. } = self.ids[*feature] {
                let shift = |offset: &u32| offset - offsets[0] + place.first as u32;
                place.starts.extend(offsets.iter().map(shift));
            }
        }
        table.row_bits = self.rows.next_power_of_two().trailing_zeros();
        if (table.features.len() as u128) << table.row_bits > u128::from(u32::MAX) {
            let found = format!("{} features of {} rows", table.features.len(), self.rows);
            return Err(self.too_many(t, found));
        }
        Ok(occurrences)
    }

    fn too_many(&self, t: usize, found: String) -> EmbeddingError {
        EmbeddingError::Ids {
            what: format!("table `{}`", self.plan.tables[t].name),
            found,
            expected: format!("fewer than {} in one batch", u32::MAX),
        }
    }

    /// Refuses ids that are not below `table_rows`.
    fn check_ids(&self, feature: usize, table_rows: u64) -> Result<(), EmbeddingError> {
        let bad = |id: &i64| *id as u64 >= table_rows;
        let (row, id) = match self.ids[feature] {
            Ids::Fixed { values, width, at } => {
                let mut column = values.iter().skip(at).step_by(width);
                let Some(row) = column.position(bad) else { return Ok(()) };
                (row, values[row * width + at])
            }
            Ids::List { offsets, values } => {
                let ids = listed(offsets, values);
                let Some(place) = ids.iter().position(bad) else { return Ok(()) };
                let at = offsets[0] + place as u32;
                (offsets.partition_point(|offset| *offset <= at) - 1, ids[place])
            }
        };
        let options = &self.plan.features[feature];
        Err(EmbeddingError::IdOutOfRange {
            feature: options.name.clone(),
            table: options.table.clone(),
            row: self.row_first + row,
            id,
            rows: table_rows,
        })
    }
}

/// The ids that `offsets` speak of.
fn listed<'a>(offsets: &[u32], values: &'a [i64]) -> &'a [i64] {
    &values[offsets[0] as usize..offsets[offsets.len() - 1] as usize]
}
