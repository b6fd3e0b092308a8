//! The rows of one table of a checkpoint, merged from all parts of its chain, in bounded memory.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::Path;

use rectool_embedding::{IndexKind, Rows, bucket};

use super::misfit;
use super::part_read::PartReader;
use crate::ModelError;

/// What a file says about keys. Where one checkpoint says both of a key, rows count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Says {
    Rows,
    Removed,
}

/// One file that takes part.
pub(super) struct Source {
    pub(super) reader: PartReader,
    /// Place in the chain; a later one overrules.
    pub(super) layer: usize,
    pub(super) says: Says,
    /// Columns of `values` that it holds.
    pub(super) columns: Range<usize>,
}

/// A file and the row that it stands at.
struct Cursor {
    source: Source,
    rows: Rows,
    at: usize,
}

/// Where a cursor stands. The least comes first: by bucket and key, then the latest checkpoint.
type Place = Reverse<(u32, u64, Reverse<usize>, Says, usize)>;

/// Iterates over the rows in the order of (bucket, key), up to `rows_max` at a time.
pub(super) struct TableRows {
    index: IndexKind,
    dim: usize,
    state: usize,
    rows_max: usize,
    cursors: Vec<Cursor>,
    places: BinaryHeap<Place>,
    failed: bool,
}

impl TableRows {
    /// Rows of D = `dim` and S = `state` floats.
    pub(super) fn new(
        index: IndexKind,
        (dim, state): (usize, usize),
        rows_max: usize,
        sources: Vec<Source>,
    ) -> Result<Self, ModelError> {
        let mut merged = Self {
            index,
            dim,
            state,
            rows_max: rows_max.max(1),
            cursors: Vec::with_capacity(sources.len()),
            places: BinaryHeap::with_capacity(sources.len()),
            failed: false,
        };
        for source in sources {
            merged.cursors.push(Cursor { source, rows: Rows::default(), at: 0 });
            merged.enter(merged.cursors.len() - 1, None)?;
        }
        Ok(merged)
    }

    /// Finds the place of a cursor's row, which must lie behind `last`; none at the file's end.
    fn enter(&mut self, cursor: usize, last: Option<(u32, u64)>) -> Result<(), ModelError> {
        let own = &mut self.cursors[cursor];
        while own.at == own.rows.keys.len() {
            let Some(rows) = own.source.reader.next()? else { return Ok(()) };
            (own.rows, own.at) = (rows, 0);
        }
        let key = own.rows.keys[own.at];
        let place = (bucket(&self.index, key), key);
        if last.is_some_and(|last| last >= place) {
            let (found, expected) = (format!("key {key}"), "keys that rise by bucket and key");
            return Err(misfit(own.source.reader.path(), "order of rows", found, expected));
        }
        let layer = Reverse(own.source.layer);
        self.places.push(Reverse((place.0, place.1, layer, own.source.says, cursor)));
        Ok(())
    }

    /// Goes on to the next row of the file whose place was taken from the heap.
    fn advance(&mut self, cursor: usize, place: (u32, u64)) -> Result<(), ModelError> {
        self.cursors[cursor].at += 1;
        self.enter(cursor, Some(place))
    }

    /// Appends the next row to `out`; false at the end.
    fn take(&mut self, out: &mut Rows) -> Result<bool, ModelError> {
        while let Some(Reverse((bucket, key, layer, says, cursor))) = self.places.pop() {
            let place = (bucket, key);
            let live = says == Says::Rows;
            let mut covered = if live { self.begin(cursor, key, out) } else { 0 };
            self.advance(cursor, place)?;
            // What else there is about the key: more columns of the same row, or what is overruled.
            while let Some(Reverse((bucket, key, other, says, cursor))) =
                self.places.peek().copied()
                && (bucket, key) == place
            {
                self.places.pop();
                if live && (other, says) == (layer, Says::Rows) {
                    covered += self.add_columns(cursor, out)?;
                }
                self.advance(cursor, place)?;
            }
            if !live {
                continue;
            }
            if covered != self.dim {
                let path = self.cursors[cursor].source.reader.path();
                let (found, expected) = (format!("{covered} of key {key}"), self.dim.to_string());
                return Err(misfit(path, "columns", found, expected));
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Starts a row with what a part has of it; gives the number of its columns.
    fn begin(&self, cursor: usize, key: u64, out: &mut Rows) -> usize {
        let Cursor { source, rows, at } = &self.cursors[cursor];
        let columns = source.columns.clone();
        out.keys.push(key);
        out.last_seen.push(rows.last_seen[*at]);
        out.counts.push(rows.counts[*at]);
        out.values.resize(out.values.len() + self.dim, 0.0);
        out.state.resize(out.state.len() + self.state, 0.0);
        self.copy(cursor, out);
        columns.len()
    }

    /// Adds a further part's columns to the row that was begun last.
    fn add_columns(&self, cursor: usize, out: &mut Rows) -> Result<usize, ModelError> {
        let Cursor { source, rows, at } = &self.cursors[cursor];
        let path = source.reader.path();
        let own = (rows.last_seen[*at], rows.counts[*at]);
        let begun = (out.last_seen[out.keys.len() - 1], out.counts[out.keys.len() - 1]);
        let key = rows.keys[*at];
        if source.columns.len() == self.dim {
            let found = format!("key {key}, which another part holds too");
            return Err(misfit(path, "rows", found, "each key in one part"));
        }
        if own != begun {
            let what = format!("`last_seen` and `count` of key {key}");
            return Err(misfit(path, &what, format!("{own:?}"), format!("{begun:?}")));
        }
        self.copy(cursor, out);
        Ok(source.columns.len())
    }

    /// Copies a part's columns of `values` and of each array of `state` into the last row of `out`.
    fn copy(&self, cursor: usize, out: &mut Rows) {
        let Cursor { source, rows, at } = &self.cursors[cursor];
        let (columns, width) = (source.columns.clone(), source.columns.len());
        let row = out.values.len() - self.dim;
        let own = &rows.values[at * width..][..width];
        out.values[row..][columns.clone()].copy_from_slice(own);
        if width == self.dim {
            let row = out.state.len() - self.state;
            out.state[row..].copy_from_slice(&rows.state[at * self.state..][..self.state]);
            return;
        }
        let arrays = self.state / self.dim;
        for array in 0..arrays {
            let row = out.state.len() - self.state + array * self.dim;
            let own = &rows.state[(at * arrays + array) * width..][..width];
            out.state[row..][columns.clone()].copy_from_slice(own);
        }
    }
}

impl Iterator for TableRows {
    type Item = Result<Rows, ModelError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let mut rows = Rows { columns: 0..self.dim, ..Rows::default() };
        while rows.keys.len() < self.rows_max {
            match self.take(&mut rows) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        (!rows.keys.is_empty()).then_some(Ok(rows))
    }
}

/// The columns that a part's entry names, if there can be such a part.
pub(super) fn columns_of(
    path: &Path,
    columns: Option<[usize; 2]>,
    (dim, state): (usize, usize),
) -> Result<Range<usize>, ModelError> {
    let Some([first, end]) = columns else { return Ok(0..dim) };
    let cut = first < end && end <= dim && (first, end) != (0, dim);
    if cut && state.is_multiple_of(dim) {
        return Ok(first..end);
    }
    let expected = format!("some of the {dim}, and state that can be cut by them");
    Err(misfit(path, "columns", format!("{first} to {end}"), expected))
}
