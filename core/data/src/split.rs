//! The rows of one split, gathered by number.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use rectool_base::{Column, ColumnKind, Jagged, Schema, Texts};

use crate::cells::Cells;
use crate::decode::Block;
use crate::shard::Shard;
use crate::side::{Origin, View};
use crate::values::{self, Offsets, TextValues, Values};
use crate::{DataError, column};

/// The number of a row in which every value is missing, where a split has one: see
/// [`Split::with_missing_row`].
pub(crate) const MISSING_ROW: u64 = u64::MAX - 1;

/// Rows of a block of [`Split::scan`].
const SCAN_ROWS: u64 = 1 << 16;

/// One split of a dataset. Clones share the mapped shards.
#[derive(Clone)]
pub struct Split {
    inner: Arc<Inner>,
    fingerprint: u64,
    /// What columns there are, if not just those of the shards.
    view: Option<Arc<View>>,
}

/// The shards of a split.
pub(crate) struct Inner {
    pub(crate) name: String,
    /// Columns of the shards.
    schema: Schema,
    rows: u64,
    /// First row of each shard.
    starts: Vec<u64>,
    shards: Vec<Shard>,
    /// The row [`MISSING_ROW`].
    missing: OnceLock<Block>,
}

/// Consecutive rows of one record batch that were asked for one after the other.
pub(crate) struct Run<'a> {
    block: &'a Block,
    row: usize,
    rows: usize,
}

impl Split {
    /// The split of shards with their row counts, in order.
    pub(crate) fn new(
        (name, fingerprint): (String, u64),
        schema: Schema,
        counted: impl Iterator<Item = (Shard, u64)>,
        view: Option<Arc<View>>,
    ) -> Self {
        let (mut starts, mut shards, mut rows) = (Vec::new(), Vec::new(), 0);
        for (shard, count) in counted {
            if count > 0 {
                starts.push(rows);
                shards.push(shard);
                rows += count;
            }
        }
        let missing = OnceLock::new();
        let inner = Arc::new(Inner { name, schema, rows, starts, shards, missing });
        Self { inner, fingerprint, view }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A hash of what it holds, side tables included, and of its name; not of other splits.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Columns, in file order, then those of side tables.
    pub fn schema(&self) -> &Schema {
        self.view.as_ref().map_or(&self.inner.schema, |view| view.schema())
    }

    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.inner.rows
    }

    /// The schema of `columns`, by position, in that order.
    ///
    /// # Errors
    /// [`DataError::OutOfRange`] for a position that is not one, or [`DataError::Schema`] for one
    /// that comes twice.
    pub fn project(&self, columns: &[usize]) -> Result<Schema, DataError> {
        self.check_columns(columns)?;
        let all = self.schema().columns();
        Ok(Schema::new(columns.iter().map(|column| all[*column].clone()).collect())?)
    }

    /// The values of `columns` for `rows`, in that order; both may repeat.
    ///
    /// # Errors
    /// If a row or column is out of range, or a shard that holds one of the rows cannot be read or
    /// fails its verification.
    pub fn gather(&self, rows: &[u64], columns: &[usize]) -> Result<Vec<Column>, DataError> {
        let mut out = Vec::new();
        self.gather_into(rows, columns, &mut out)?;
        Ok(out)
    }

    /// As [`Split::gather`], into `out`: its allocations are used again where the types fit.
    ///
    /// # Errors
    /// As [`Split::gather`]. What `out` then holds is of no meaning.
    pub fn gather_into(
        &self,
        rows: &[u64],
        columns: &[usize],
        out: &mut Vec<Column>,
    ) -> Result<(), DataError> {
        self.check_columns(columns)?;
        let runs = self.inner.locate(rows)?;
        let mut tables = Vec::new();
        // What comes back from a chain may have other columns in other places.
        let mut spares = std::mem::take(out);
        for column in columns {
            let (of, runs, at) = match self.origin(*column) {
                Origin::Own(at) => (&*self.inner, runs.as_slice(), at),
                Origin::Side { table, column } => {
                    self.side_runs(rows, &runs, (table, column), &mut tables)?
                }
            };
            let kind = of.schema.columns()[at].kind;
            let fitting = spares.iter().position(|spare| same_type(spare.kind(), kind));
            let spare = fitting.map(|at| spares.remove(at));
            out.push(of.gather_column(runs, (at, kind), rows.len(), spare)?);
        }
        Ok(())
    }

    /// Hands the values of `columns` to `take`, block by block in the order of the rows, with the rows that
    /// the block holds. Memory is bounded by a block, however long the split is.
    ///
    /// # Errors
    /// As [`Split::gather`], and what `take` fails with.
    pub fn scan<E: From<DataError>>(
        &self,
        columns: &[usize],
        mut take: impl FnMut(Range<u64>, &[Column]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut values = Vec::new();
        for first in (0..self.rows()).step_by(SCAN_ROWS as usize) {
            let rows = first..self.rows().min(first + SCAN_ROWS);
            let all: Vec<u64> = rows.clone().collect();
            self.gather_into(&all, columns, &mut values)?;
            take(rows, &values)?;
        }
        Ok(())
    }

    /// Where the values of a joined column are for `rows`, which lie at `own`: the table's rows, found
    /// once for all its columns and kept in `found`, and the column's position there.
    fn side_runs<'s, 'f>(
        &'s self,
        rows: &[u64],
        own: &[Run<'s>],
        (table, column): (usize, usize),
        found: &'f mut Vec<(usize, Vec<Run<'s>>)>,
    ) -> Result<(&'s Inner, &'f [Run<'s>], usize), DataError> {
        let view = self.view.as_ref().expect("only a view has joined columns");
        let joined = view.table(table);
        let known = found.iter().position(|(other, _)| *other == table);
        let place = known.unwrap_or(found.len());
        if known.is_none() {
            let at = joined.key.column;
            let kind = self.inner.schema.columns()[at].kind;
            let keys = self.inner.gather_column(own, (at, kind), rows.len(), None)?;
            found.push((table, joined.table.find(&self.inner, rows, (&joined.key, &keys))?));
        }
        Ok((joined.table.rows(), &found[place].1, joined.table.columns()[column].0))
    }

    /// Number of shards.
    pub(crate) fn shards(&self) -> usize {
        self.inner.shards.len()
    }

    /// The first row of a shard, and its record batches.
    pub(crate) fn blocks_of(&self, shard: usize) -> Result<(u64, &[Block]), DataError> {
        self.inner.blocks_of(shard)
    }

    /// Its shards, in which the row [`MISSING_ROW`] is found from now on.
    pub(crate) fn with_missing_row(&self) -> Arc<Inner> {
        self.inner.missing.get_or_init(|| {
            let columns = self.inner.schema.columns().iter();
            let columns = columns.map(|column| values::missing(column.kind)).collect();
            Block { first: 0, rows: 1, columns }
        });
        Arc::clone(&self.inner)
    }

    /// `cells`, which `option` names by `name`, in the schema of the shards.
    pub(crate) fn own_cells(
        &self,
        cells: Cells,
        (option, name): (&'static str, &str),
    ) -> Result<Cells, DataError> {
        match self.origin(cells.column) {
            Origin::Own(column) => Ok(Cells { column, ..cells }),
            Origin::Side { .. } => Err(DataError::Option {
                option,
                expected: "a column of the rows themselves".to_owned(),
                found: format!("`{name}`, which is joined to them"),
            }),
        }
    }

    /// Names of the columns that are joined by the key `key`.
    pub(crate) fn joined_by(&self, key: &str) -> impl Iterator<Item = &str> {
        let tables = self.view.iter().flat_map(|view| view.tables());
        tables
            .filter(move |table| table.key() == key)
            .flat_map(|table| table.columns().iter().map(|(_, column)| column.name.as_str()))
    }

    fn origin(&self, column: usize) -> Origin {
        self.view.as_ref().map_or(Origin::Own(column), |view| view.origin(column))
    }

    fn check_columns(&self, columns: &[usize]) -> Result<(), DataError> {
        let expected = self.schema().columns().len();
        let wrong = columns.iter().find(|column| **column >= expected);
        wrong.map_or(Ok(()), |found| {
            Err(self.inner.out_of_range("column", expected as u64, *found as u64))
        })
    }
}

impl Inner {
    fn out_of_range(&self, what: &'static str, expected: u64, found: u64) -> DataError {
        DataError::OutOfRange { split: self.name.clone(), what, expected, found }
    }

    /// Where the rows are, with neighbours joined. Opens shards that were not open.
    pub(crate) fn locate(&self, rows: &[u64]) -> Result<Vec<Run<'_>>, DataError> {
        let mut runs: Vec<Run<'_>> = Vec::with_capacity(rows.len());
        // The block of the row before, and its first row and end within the split.
        let mut last: Option<(&Block, u64, u64)> = None;
        let mut next = u64::MAX;
        for row in rows.iter().copied() {
            let (block, first, end) = match last {
                Some((block, first, end)) if (first..end).contains(&row) => (block, first, end),
                _ => self.block_of(row)?,
            };
            match runs.last_mut() {
                // The first row of a block is never joined to the block before.
                Some(run) if row == next && row != first => run.rows += 1,
                _ => runs.push(Run { block, row: (row - first) as usize, rows: 1 }),
            }
            next = row + 1;
            last = Some((block, first, end));
        }
        Ok(runs)
    }

    fn blocks_of(&self, shard: usize) -> Result<(u64, &[Block]), DataError> {
        Ok((self.starts[shard], self.shards[shard].blocks(&self.schema)?))
    }

    fn block_of(&self, row: u64) -> Result<(&Block, u64, u64), DataError> {
        if row >= self.rows {
            return match self.missing.get() {
                Some(block) if row == MISSING_ROW => Ok((block, row, row + 1)),
                _ => Err(self.out_of_range("row", self.rows, row)),
            };
        }
        let shard = self.starts.partition_point(|start| *start <= row) - 1;
        let (start, blocks) = self.blocks_of(shard)?;
        let within = row - start;
        let block = &blocks[blocks.partition_point(|block| block.first <= within) - 1];
        let first = start + block.first;
        Ok((block, first, first + block.rows))
    }

    pub(crate) fn gather_column(
        &self,
        runs: &[Run<'_>],
        (column, kind): (usize, ColumnKind),
        rows: usize,
        spare: Option<Column>,
    ) -> Result<Column, DataError> {
        let mut out = match spare {
            Some(spare) if same_type(spare.kind(), kind) => spare,
            _ => column::empty(kind),
        };
        match (&mut out, kind) {
            (Column::F32 { width, values }, ColumnKind::F32 { width: wanted }) => {
                *width = wanted;
                copy_runs(runs, wanted, rows, values, |block| match &block.columns[column] {
                    Values::F32(values) => values,
                    _ => unreachable!("blocks were decoded by the schema"),
                });
            }
            (Column::I64 { width, values }, ColumnKind::I64 { width: wanted }) => {
                *width = wanted;
                copy_runs(runs, wanted, rows, values, |block| match &block.columns[column] {
                    Values::I64(values) => values,
                    _ => unreachable!("blocks were decoded by the schema"),
                });
            }
            (Column::Text { width, values }, ColumnKind::Text { width: wanted }) => {
                *width = wanted;
                self.gather_texts(runs, column, wanted, values)?;
            }
            (Column::F32List(jagged), _) => {
                self.gather_lists(runs, rows, jagged, |block| match &block.columns[column] {
                    Values::F32List(offsets, values) => (offsets, values),
                    _ => unreachable!("blocks were decoded by the schema"),
                })?;
            }
            (Column::I64List(jagged), _) => {
                self.gather_lists(runs, rows, jagged, |block| match &block.columns[column] {
                    Values::I64List(offsets, values) => (offsets, values),
                    _ => unreachable!("blocks were decoded by the schema"),
                })?;
            }
            (Column::TextList { offsets, values }, _) => {
                self.gather_text_lists(runs, column, offsets, values)?;
            }
            _ => unreachable!("every kind of the format is covered"),
        }
        Ok(out)
    }

    fn gather_texts(
        &self,
        runs: &[Run<'_>],
        column: usize,
        width: usize,
        out: &mut Texts,
    ) -> Result<(), DataError> {
        out.clear();
        for run in runs {
            let Values::Text(texts) = &run.block.columns[column] else {
                unreachable!("blocks were decoded by the schema")
            };
            let range = run.row * width..(run.row + run.rows) * width;
            self.push_texts(texts, range, out)?;
        }
        Ok(())
    }

    fn push_texts(
        &self,
        texts: &TextValues,
        range: Range<usize>,
        out: &mut Texts,
    ) -> Result<(), DataError> {
        let total = (out.bytes().len() + texts.bytes(range.start, range.end)) as u64;
        self.check_offset("bytes of texts in one batch", total)?;
        range.for_each(|at| out.push(texts.get(at)));
        Ok(())
    }

    /// Offsets of batches are `u32`.
    fn check_offset(&self, what: &'static str, total: u64) -> Result<(), DataError> {
        if total > u64::from(u32::MAX) {
            return Err(self.out_of_range(what, 1 << 32, total));
        }
        Ok(())
    }

    fn gather_lists<'a, T: Copy + 'a>(
        &self,
        runs: &[Run<'a>],
        rows: usize,
        jagged: &mut Jagged<T>,
        lists_of: impl Fn(&'a Block) -> (&'a Offsets, &'a [T]),
    ) -> Result<(), DataError> {
        jagged.offsets.clear();
        jagged.offsets.reserve(rows + 1);
        jagged.offsets.push(0);
        jagged.values.clear();
        for run in runs {
            let (offsets, values) = lists_of(run.block);
            let range = self.push_offsets(run, offsets, &mut jagged.offsets)?;
            jagged.values.extend_from_slice(&values[range]);
        }
        Ok(())
    }

    fn gather_text_lists(
        &self,
        runs: &[Run<'_>],
        column: usize,
        out_offsets: &mut Vec<u32>,
        out: &mut Texts,
    ) -> Result<(), DataError> {
        out_offsets.clear();
        out_offsets.push(0);
        out.clear();
        for run in runs {
            let Values::TextList(offsets, texts) = &run.block.columns[column] else {
                unreachable!("blocks were decoded by the schema")
            };
            let range = self.push_offsets(run, offsets, out_offsets)?;
            self.push_texts(texts, range, out)?;
        }
        Ok(())
    }

    /// Appends the ends of a run's lists, and returns where their values lie in the block.
    fn push_offsets(
        &self,
        run: &Run<'_>,
        offsets: &Offsets,
        out: &mut Vec<u32>,
    ) -> Result<Range<usize>, DataError> {
        let (start, end) = (offsets.at(run.row), offsets.at(run.row + run.rows));
        let filled = *out.last().expect("offsets begin with 0") as usize;
        self.check_offset("list values of one batch", (filled + (end - start)) as u64)?;
        let ends = run.row + 1..=run.row + run.rows;
        out.extend(ends.map(|row| (filled + offsets.at(row) - start) as u32));
        Ok(start..end)
    }
}

/// Whether a column of one kind can become one of the other by changing its width.
fn same_type(a: ColumnKind, b: ColumnKind) -> bool {
    std::mem::discriminant(&a) == std::mem::discriminant(&b)
}

impl std::fmt::Debug for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Split({}, {} rows)", self.name(), self.rows())
    }
}

/// Each copy depends on nothing but its run, so that the processor keeps many cache misses in
/// flight.
fn copy_runs<'a, T: Copy + 'a>(
    runs: &[Run<'a>],
    width: usize,
    rows: usize,
    out: &mut Vec<T>,
    values_of: impl Fn(&'a Block) -> &'a [T],
) {
    out.clear();
    out.reserve(rows * width);
    for run in runs {
        let values = values_of(run.block);
        out.extend_from_slice(&values[run.row * width..(run.row + run.rows) * width]);
    }
}
