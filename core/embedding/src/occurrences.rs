//! From the ids of one table's features to distinct keys, lists and scales.

use std::ops::Range;

use crate::distinct::{Beyond, Finder, Scratch};
use crate::placement::bucket;
use crate::plan::Plan;
use crate::prepare::{PreparedFeature, PreparedTable};
use crate::{EmbeddingError, Ids, IndexKind, Pooling};

/// The part of a batch that one table sees.
pub(crate) struct TableBatch<'a> {
    pub(crate) plan: &'a Plan,
    /// \[F\], of all tables.
    pub(crate) ids: &'a [Ids<'a>],
    /// The table.
    pub(crate) t: usize,
    pub(crate) rows: usize,
    /// Position of the first row in the global batch.
    pub(crate) row_first: usize,
}

/// The lists of one feature, cut to the ids that are looked up.
#[derive(Clone, Copy)]
struct Lists<'a> {
    offsets: &'a [u32],
    values: &'a [i64],
    pooling: Pooling,
}

impl<'a> Lists<'a> {
    /// Positions in `values` of each row's ids.
    fn rows(self) -> impl Iterator<Item = Range<usize>> + 'a {
        let Self { offsets, pooling, .. } = self;
        offsets.windows(2).map(move |ends| pooling.kept(ends[0] as usize..ends[1] as usize))
    }

    /// All ids, if they lie without gaps.
    fn whole(self) -> Option<&'a [i64]> {
        let Self { offsets, values, pooling } = self;
        let all = offsets[0] as usize..offsets[offsets.len() - 1] as usize;
        (!matches!(pooling, Pooling::Sequence { .. })).then(|| &values[all])
    }
}

impl TableBatch<'_> {
    /// Finds the table's distinct keys, and which of them each id is.
    pub(crate) fn prepare(
        &self,
        table: &mut PreparedTable,
        scratch: &mut Scratch,
    ) -> Result<(), EmbeddingError> {
        let index = &self.plan.tables[self.t].index;
        let occurrences = self.lay_out(table)?;
        let features = &self.plan.features_of[self.t];
        let distinct = &mut table.local.distinct;
        let mut finder = distinct.begin(scratch, occurrences, index.keys_below());
        for (feature, place) in features.iter().zip(&table.features) {
            let found = match *index {
                IndexKind::Modulo { rows } => self.find(*feature, &mut finder, |id| id % rows),
                IndexKind::Dense { .. } | IndexKind::Hash => {
                    self.find(*feature, &mut finder, |id| id)
                }
            };
            found.map_err(|beyond| self.id_out_of_range(*feature, place, beyond))?;
        }
        finder.end();
        let placement = &self.plan.placements[self.t];
        if let Some(owners) = placement.owners().filter(|_| placement.ranks() > 1) {
            let owner = |key| owners[bucket(index, key) as usize] as usize;
            distinct.group(scratch, &mut table.groups, placement.ranks(), owner);
        }
        Ok(())
    }

    /// Finds the slots of a feature's ids; `key` says which key an id is.
    #[inline(always)]
    fn find(
        &self,
        feature: usize,
        finder: &mut Finder<'_>,
        key: impl Fn(u64) -> u64,
    ) -> Result<(), Beyond> {
        if let Ids::Fixed { values, width, at } = self.ids[feature] {
            return finder.add(values.iter().skip(at).step_by(width).map(|id| key(*id as u64)));
        }
        let Some(lists) = self.lists(feature) else { return Ok(()) };
        if let Some(ids) = lists.whole() {
            finder.add(ids.iter().map(|id| key(*id as u64)))
        } else {
            let ids = lists.rows().flat_map(|list| &lists.values[list]);
            finder.add(ids.map(|id| key(*id as u64)))
        }
    }

    fn lists(&self, feature: usize) -> Option<Lists<'_>> {
        let pooling = self.plan.features[feature].pooling;
        match self.ids[feature] {
            Ids::Fixed { .. } => None,
            Ids::List { offsets, values, .. } => Some(Lists { offsets, values, pooling }),
        }
    }

    /// Numbers the occurrences of the table; returns how many there are.
    fn lay_out(&self, table: &mut PreparedTable) -> Result<usize, EmbeddingError> {
        let mut occurrences: usize = 0;
        for (feature, place) in self.plan.features_of[self.t].iter().zip(&mut table.features) {
            place.first = occurrences;
            place.starts.clear();
            place.scales.clear();
            let count = match self.lists(*feature) {
                None => self.rows,
                Some(lists) => {
                    let mut end = 0;
                    place.starts.reserve(self.rows + 1);
                    place.starts.push(0);
                    for list in lists.rows() {
                        end += list.len() as u32;
                        place.starts.push(end);
                    }
                    self.scale(*feature, place)?;
                    end as usize
                }
            };
            occurrences += count;
            if occurrences >= u32::MAX as usize {
                return Err(self.too_many(format!("{occurrences} or more")));
            }
        }
        Ok(occurrences)
    }

    /// Divides the weights of each list, if there are any.
    fn scale(&self, feature: usize, place: &mut PreparedFeature) -> Result<(), EmbeddingError> {
        let Ids::List { weights: Some(weights), .. } = self.ids[feature] else { return Ok(()) };
        let options = &self.plan.features[feature];
        let refuse = |row, what, found, expected| EmbeddingError::Weight {
            feature: options.name.clone(),
            row: self.row_first + row,
            what,
            found,
            expected,
        };
        let lists = self.lists(feature).into_iter().flat_map(Lists::rows);
        for (row, list) in lists.enumerate() {
            let weights = &weights[list];
            if let Some(weight) = weights.iter().find(|weight| !weight.is_finite()) {
                return Err(refuse(row, "a weight", f64::from(*weight), "a finite number"));
            }
            let divisor = options.pooling.divisor_weighted(weights);
            let scale = |weight: &f32| match divisor {
                0.0 => 0.0,
                _ => (f64::from(*weight) / divisor) as f32,
            };
            let first = place.scales.len();
            place.scales.extend(weights.iter().map(scale));
            if place.scales[first..].iter().any(|scale| !scale.is_finite()) {
                let expected = "0, or far enough from it to divide the weights";
                return Err(refuse(row, "the sum of the weights", divisor, expected));
            }
        }
        Ok(())
    }

    fn too_many(&self, found: String) -> EmbeddingError {
        EmbeddingError::Ids {
            what: format!("table `{}`", self.plan.tables[self.t].name),
            found,
            expected: format!("fewer than {} in one batch", u32::MAX),
        }
    }

    /// Of a feature at `place`.
    fn id_out_of_range(
        &self,
        feature: usize,
        place: &PreparedFeature,
        beyond: Beyond,
    ) -> EmbeddingError {
        let at = beyond.occurrence - place.first;
        let row = match place.starts.as_slice() {
            [] => at,
            starts => starts.partition_point(|start| *start as usize <= at) - 1,
        };
        let (options, table) = (&self.plan.features[feature], &self.plan.tables[self.t]);
        EmbeddingError::IdOutOfRange {
            feature: options.name.clone(),
            table: options.table.clone(),
            row: self.row_first + row,
            id: beyond.key as i64,
            rows: table.index.keys_below().unwrap_or(u64::MAX),
        }
    }
}
