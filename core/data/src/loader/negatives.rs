//! Rows for items that were not chosen, added to those for items that were.

use std::ops::Range;
use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, ItemStatistics, MISSING_ID, Sampler, Samples,
    Schema, Stream, TransformError,
};

use super::expand;
use crate::cells::Cells;
use crate::{DataError, Split};

/// Rows of a global batch that are sampled by one call: fixed, because the samples are a function of
/// where these blocks begin, and must not depend on how ranks cut the batch.
const BLOCK_ROWS: usize = 256;
/// First part of a stream's address, so that no other use of the seed meets these streams.
const STREAM: u64 = 0x006e_6567_6174_6976;

/// Rows for items that a sampler draws, added after each row of a batch, whose item was chosen.
///
/// Every row read must have label 1 and an item. It is followed by [`Negatives::per_row`] copies of
/// itself that have label 0, a drawn item, and the drawn item's values in
/// [`Negatives::item_columns`]. This happens before the feature chain, which sees the added rows and
/// columns ([`Negatives::schema`]). A batch then has `1 + per_row` times as many rows, in
/// [`rectool_base::Batch::rows_global`] and [`rectool_base::Batch::row_first`] too, while
/// [`super::LoaderOptions::batch_size`] still counts the rows read.
///
/// # Determinism
/// What is drawn for a row is a function of the seed, the epoch, the step and the rows of the global
/// batch: the same for any number of ranks and threads. A sampler is asked for 256 rows of the global
/// batch at a time.
#[derive(Clone)]
pub struct Negatives {
    /// What draws items.
    pub sampler: Arc<dyn Sampler>,
    /// The items there are: [`Split::item_statistics`]. Their last rows are where
    /// [`Negatives::item_columns`] are copied from.
    pub items: Arc<ItemStatistics>,
    /// The split that `items` was made of, if it is not the one that is read: a validation split takes
    /// its negatives from the training data.
    pub items_from: Option<Split>,
    /// The id column of width 1, or the member of a packed one, that holds the chosen item. It must
    /// be among the columns that are read, as `label` and `item_columns` must.
    pub item: String,
    /// The float column of width 1, or the member of a packed one, that holds the label: 1 in every row
    /// that is read, 0 in those that are added. `None`: rows have no label, and what is added is known by
    /// its place.
    pub label: Option<String>,
    /// Items drawn for each row: K, 1 or more.
    pub per_row: usize,
    /// Columns, or members of packed ones, that describe the item: copied for a drawn item from the
    /// row in which it occurs last. Those of a side table that is joined by `item` are always among
    /// them.
    pub item_columns: Vec<String>,
    /// Float columns, or members of packed ones, that say what came of the choice, such as the stars that
    /// the item got: NaN in rows that are added, as nothing came of what was not chosen.
    pub outcomes: Vec<String>,
    /// Seed of what is drawn.
    pub seed: u64,
    /// Name of an added column `f32[1]`: the natural logarithm of the probability with which a row's
    /// item was drawn; 0 for a row that was read, for which no sampler says it.
    pub log_q: Option<String>,
    /// Name of an added column `f32[1]`: 1 in rows that are read, 0 in those that are added. For logs
    /// that hold no label.
    pub label_added: Option<String>,
    /// Name of an added column `i64[1]`: the position, within the global batch before rows were
    /// added, of the row that was read; it and its negatives share it.
    pub group: Option<String>,
}

impl Negatives {
    /// `per_row` negatives from `sampler`, with seed 0, no columns that describe the item, and no
    /// added columns.
    pub fn new(
        sampler: Arc<dyn Sampler>,
        items: Arc<ItemStatistics>,
        (item, label): (&str, Option<&str>),
        per_row: usize,
    ) -> Self {
        Self {
            sampler,
            items,
            items_from: None,
            item: item.to_owned(),
            label: label.map(str::to_owned),
            per_row,
            item_columns: Vec::new(),
            outcomes: Vec::new(),
            seed: 0,
            log_q: None,
            label_added: None,
            group: None,
        }
    }

    /// The columns of a batch with negatives, where `read` are read: they, then the added ones. This is
    /// the input of the feature chain.
    ///
    /// # Errors
    /// [`DataError::Schema`] if an added column has the name of another.
    pub fn schema(&self, read: &Schema) -> Result<Schema, DataError> {
        let mut columns = read.columns().to_vec();
        let added = [
            (&self.log_q, ColumnKind::F32 { width: 1 }),
            (&self.label_added, ColumnKind::F32 { width: 1 }),
            (&self.group, ColumnKind::I64 { width: 1 }),
        ];
        for (name, kind) in added {
            columns.extend(name.iter().map(|name| ColumnSchema::plain(name, kind)));
        }
        Ok(Schema::new(columns)?)
    }
}

impl std::fmt::Debug for Negatives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Negatives")
            .field("sampler", &self.sampler.name())
            .field("items", &self.items.ids.len())
            .field("item", &self.item)
            .field("per_row", &self.per_row)
            .field("item_columns", &self.item_columns)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}

/// Negatives whose columns have been found.
pub(super) struct BoundNegatives {
    options: Negatives,
    item: Cells,
    label: Option<Cells>,
    outcomes: Vec<Cells>,
    /// Position of the item's column in the split that is read.
    item_in_split: usize,
    /// The values that describe an item, by their column's place in `described_at`.
    described: Vec<(usize, Cells)>,
    /// The columns of `source` that hold them.
    described_at: Vec<usize>,
    source: Split,
}

impl BoundNegatives {
    /// `read` are the columns of `split` that are read.
    pub(super) fn new(
        options: Negatives,
        split: &Split,
        read: &[usize],
        schema: &Schema,
    ) -> Result<Self, DataError> {
        let (ids, floats) = (ColumnKind::I64 { width: 1 }, ColumnKind::F32 { width: 1 });
        let item = Cells::find_one(schema, &options.item, ids, "item")?;
        let label = options.label.as_ref();
        let label = label.map(|name| Cells::find_one(schema, name, floats, "label")).transpose()?;
        let outcome = |name: &String| Cells::find_one(schema, name, floats, "outcomes");
        let outcomes = options.outcomes.iter().map(outcome).collect::<Result<_, _>>()?;
        let source = options.items_from.clone().unwrap_or_else(|| split.clone());
        let (mut described, mut described_at) = (Vec::new(), Vec::<usize>::new());
        let of_tables = split.joined_by(&options.item).filter(|name| {
            let named = options.item_columns.iter().any(|other| other == name);
            !named && schema.position(name).is_ok()
        });
        for name in options.item_columns.iter().map(String::as_str).chain(of_tables) {
            let cells = Cells::find(schema, name)?;
            let wanted = &schema.columns()[cells.column];
            let at = source.schema().position(&wanted.name)?;
            let found = &source.schema().columns()[at];
            if found != wanted {
                return Err(DataError::Option {
                    option: "item_columns",
                    expected: format!("`{}` of type {} in both splits", wanted.name, wanted.kind),
                    found: found.kind.to_string(),
                });
            }
            let place = described_at.iter().position(|other| *other == at);
            described.push((place.unwrap_or(described_at.len()), cells));
            if place.is_none() {
                described_at.push(at);
            }
        }
        let item_in_split = read[item.column];
        Ok(Self { options, item, label, outcomes, item_in_split, described, described_at, source })
    }

    /// Rows after the addition for each row read.
    pub(super) fn times(&self) -> usize {
        1 + self.options.per_row
    }

    /// Adds rows and columns to `columns`, which hold the rows `place` of a global batch of
    /// `rows_global` rows. `read` gathers the given column of other rows of it.
    pub(super) fn add(
        &self,
        columns: &mut Vec<Column>,
        place: BatchPlace,
        rows_global: usize,
        read: impl Fn(Range<usize>, usize) -> Result<Column, DataError>,
    ) -> Result<(), DataError> {
        let chosen = self.chosen(columns, place)?;
        let samples = self.sample(&chosen, place, rows_global, read)?;
        let per_row = self.options.per_row;
        for column in columns.iter_mut() {
            expand::repeat(column, self.times())?;
        }
        if !self.described.is_empty() {
            let described = self.describe(&samples.ids, place)?;
            for (from, cells) in &self.described {
                let column = &mut columns[cells.column];
                expand::overwrite(column, &described[*from], &cells.range, per_row);
            }
        }
        let drawn = |row| expand::source(row, per_row);
        let rows = place.rows * self.times();
        if let Column::I64 { values, .. } = &mut columns[self.item.column] {
            for row in 0..rows {
                if let Some(drawn) = drawn(row) {
                    values[self.item.at(row)] = samples.ids[drawn];
                }
            }
        }
        let of_drawn = self.label.iter().map(|label| (label, 0.0));
        for (cells, value) in of_drawn.chain(self.outcomes.iter().map(|cells| (cells, f32::NAN))) {
            if let Column::F32 { values, .. } = &mut columns[cells.column] {
                let rows = (0..rows).filter(|row| drawn(*row).is_some());
                rows.for_each(|row| values[cells.at(row)] = value);
            }
        }
        if self.options.log_q.is_some() {
            let log_q = |row| drawn(row).map_or(0.0, |drawn| samples.log_probabilities[drawn]);
            columns.push(Column::F32 { width: 1, values: (0..rows).map(log_q).collect() });
        }
        if self.options.label_added.is_some() {
            let label = |row| f32::from(drawn(row).is_none());
            columns.push(Column::F32 { width: 1, values: (0..rows).map(label).collect() });
        }
        if self.options.group.is_some() {
            let group = |row| (place.row_first + row / self.times()) as i64;
            columns.push(Column::I64 { width: 1, values: (0..rows).map(group).collect() });
        }
        Ok(())
    }

    /// The chosen item of each row, once all labels and items are what they must be.
    fn chosen(&self, columns: &[Column], place: BatchPlace) -> Result<Vec<i64>, DataError> {
        let error = |row: usize, column: &str, expected, found: String| DataError::Positive {
            place,
            row: place.row_first + row,
            column: column.to_owned(),
            expected,
            found,
        };
        if let (Some(label), Some(name)) = (&self.label, &self.options.label)
            && let Column::F32 { values, .. } = &columns[label.column]
        {
            let labels = (0..place.rows).map(|row| values[label.at(row)]);
            if let Some((row, label)) = labels.enumerate().find(|(_, label)| *label != 1.0) {
                return Err(error(row, name, "label 1", label.to_string()));
            }
        }
        let chosen = self.items_in(&columns[self.item.column], place.rows);
        if let Some(row) = chosen.iter().position(|id| *id == MISSING_ID) {
            return Err(error(row, &self.options.item, "an item", "a missing id".to_owned()));
        }
        Ok(chosen)
    }

    fn items_in(&self, column: &Column, rows: usize) -> Vec<i64> {
        let Column::I64 { values, .. } = column else {
            unreachable!("the item's column was found to be of ids")
        };
        (0..rows).map(|row| values[self.item.at(row)]).collect()
    }

    /// The samples of the rows `place`. A block that other ranks have rows of is sampled whole.
    fn sample(
        &self,
        chosen: &[i64],
        place: BatchPlace,
        rows_global: usize,
        read: impl Fn(Range<usize>, usize) -> Result<Column, DataError>,
    ) -> Result<Samples, DataError> {
        let per_row = self.options.per_row;
        let mut samples = Samples::default();
        if place.rows == 0 {
            return Ok(samples);
        }
        let (start, end) = (place.row_first, place.row_first + place.rows);
        let first = start / BLOCK_ROWS * BLOCK_ROWS;
        let last = end.next_multiple_of(BLOCK_ROWS).min(rows_global);
        let others = |rows: Range<usize>| -> Result<Vec<i64>, DataError> {
            if rows.is_empty() {
                return Ok(Vec::new());
            }
            let count = rows.len();
            Ok(self.items_in(&read(rows, self.item_in_split)?, count))
        };
        let positives = [&others(first..start)?, chosen, &others(end..last)?].concat();
        for (number, block) in positives.chunks(BLOCK_ROWS).enumerate() {
            let row_first = first + number * BLOCK_ROWS;
            let drawn = self.sample_block(block, BatchPlace { row_first, ..place })?;
            let from = start.saturating_sub(row_first) * per_row;
            let to = (end - row_first).min(block.len()) * per_row;
            samples.ids.extend_from_slice(&drawn.ids[from..to]);
            samples.log_probabilities.extend_from_slice(&drawn.log_probabilities[from..to]);
        }
        Ok(samples)
    }

    fn sample_block(&self, positives: &[i64], at: BatchPlace) -> Result<Samples, DataError> {
        let place = BatchPlace { rows: positives.len(), ..at };
        let block = (place.row_first / BLOCK_ROWS) as u64;
        let address = [STREAM, place.epoch, place.step, block];
        let seed = Stream::new(self.options.seed, &address).next_u64();
        let (sampler, per_row) = (&self.options.sampler, self.options.per_row);
        let drawn = sampler.sample(positives, per_row, seed, place);
        let drawn = drawn.map_err(TransformError::from)?;
        let expected = positives.len() * per_row;
        let counts =
            [("ids", drawn.ids.len()), ("log-probabilities", drawn.log_probabilities.len())];
        if let Some((what, found)) = counts.into_iter().find(|(_, found)| *found != expected) {
            let (expected, found) = (expected.to_string(), found.to_string());
            return Err(self.wrong_samples(place, what, expected, found));
        }
        // A probability of 1 may come out of rounding as a little more.
        let wrong = drawn.log_probabilities.iter().find(|log| !(log.is_finite() && **log <= 1e-3));
        if let Some(wrong) = wrong {
            let expected = "a logarithm of a probability".to_owned();
            return Err(self.wrong_samples(place, "log-probability", expected, wrong.to_string()));
        }
        Ok(drawn)
    }

    fn wrong_samples(
        &self,
        place: BatchPlace,
        what: &'static str,
        expected: String,
        found: String,
    ) -> DataError {
        let sampler = self.options.sampler.name().to_owned();
        DataError::Samples { sampler, place, what, expected, found }
    }

    /// The columns that describe items, for the items `ids`.
    fn describe(&self, ids: &[i64], place: BatchPlace) -> Result<Vec<Column>, DataError> {
        let items = &self.options.items;
        let row = |id: &i64| {
            let at = items.ids.binary_search(id).map_err(|_| {
                let expected = format!("one of the {} items", items.ids.len());
                self.wrong_samples(place, "id", expected, id.to_string())
            })?;
            Ok(items.last_rows[at])
        };
        let rows = ids.iter().map(row).collect::<Result<Vec<u64>, DataError>>()?;
        self.source.gather(&rows, &self.described_at)
    }
}
