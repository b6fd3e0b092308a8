//! Rows of a split that do not fill a shard yet.

use std::ops::Range;

use rectool_base::{Column, ColumnKind, MISSING_ID, Schema};

use crate::column;
use crate::manifest::IdStatistics;

/// Bytes of fixed-width columns per shard, and of each list or text column: what a writer holds in memory
/// per shard, whatever the width of the rows.
const SHARD_BYTES_MAX: usize = 256 << 20;

/// `asked`, or fewer if the rows are so wide that a shard would pass [`SHARD_BYTES_MAX`].
pub(super) fn rows_per_shard(schema: &Schema, asked: usize) -> usize {
    let row_bytes: usize = schema
        .columns()
        .iter()
        .map(|column| match column.kind {
            ColumnKind::F32 { width } | ColumnKind::Text { width } => width * 4,
            ColumnKind::I64 { width } => width * 8,
            _ => 4,
        })
        .sum();
    asked.min((SHARD_BYTES_MAX / row_bytes.max(1)).max(1))
}

#[derive(Debug)]
pub(super) struct Pending {
    columns: Vec<Column>,
    rows: usize,
    rows_max: usize,
    full: bool,
    /// One entry per column; `None` for floats and texts.
    statistics: Vec<Option<IdStatistics>>,
}

impl Pending {
    pub(super) fn new(schema: &Schema, rows_max: usize) -> Self {
        let kinds = || schema.columns().iter().map(|column| column.kind);
        let statistics = kinds().map(|kind| {
            let count = match kind {
                ColumnKind::I64 { width } => width,
                ColumnKind::I64List => 1,
                _ => return None,
            };
            Some(IdStatistics {
                min: vec![i64::MAX; count],
                max: vec![i64::MIN; count],
                missing: vec![0; count],
            })
        });
        let statistics = statistics.collect();
        let columns = kinds().map(column::empty).collect();
        Self { columns, rows: 0, rows_max, full: false, statistics }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// No further row fits.
    pub(super) fn is_full(&self) -> bool {
        self.full || self.rows == self.rows_max
    }

    pub(super) fn statistics(&self, column: usize) -> Option<&IdStatistics> {
        self.statistics[column].as_ref()
    }

    /// Appends the first of `rows` that fit and returns how many. An empty shard takes at least one
    /// row. If it takes fewer than it was given it is full.
    pub(super) fn append(&mut self, columns: &[Column], rows: Range<usize>) -> usize {
        let mut count = rows.len().min(self.rows_max - self.rows);
        for (held, column) in self.columns.iter().zip(columns) {
            if matches!(column, Column::F32 { .. } | Column::I64 { .. }) {
                continue;
            }
            let room = SHARD_BYTES_MAX.saturating_sub(column::bytes_of(held, self.rows));
            let first = column::bytes_of(column, rows.start);
            count = count.min(fitting(column, rows.start, count, first + room));
        }
        if self.rows == 0 {
            count = count.max(1);
        }
        self.full = count < rows.len();
        let rows = rows.start..rows.start + count;
        for ((held, column), statistics) in
            self.columns.iter_mut().zip(columns).zip(&mut self.statistics)
        {
            append_column(held, column, rows.clone(), self.rows_max);
            if let Some(statistics) = statistics {
                add_ids(statistics, column, rows.clone());
            }
        }
        self.rows += count;
        count
    }

    /// The rows so far; empty again afterwards. Statistics go on.
    pub(super) fn take(&mut self) -> Vec<Column> {
        (self.rows, self.full) = (0, false);
        let empty = |column: &mut Column| {
            let empty = column::empty(column.kind());
            std::mem::replace(column, empty)
        };
        self.columns.iter_mut().map(empty).collect()
    }
}

/// How many of the `count` rows from `start` on end within the first `bytes` bytes of their column.
fn fitting(column: &Column, start: usize, count: usize, bytes: usize) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if column::bytes_of(column, start + middle) <= bytes {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Room for a whole shard is asked for at once: growing by doubling would hold up to twice as much
/// and copy it. Untouched memory costs nothing.
fn append_column(held: &mut Column, column: &Column, rows: Range<usize>, rows_max: usize) {
    match held {
        Column::F32 { width, values } if values.is_empty() => {
            values.reserve_exact(rows_max * *width);
        }
        Column::I64 { width, values } if values.is_empty() => {
            values.reserve_exact(rows_max * *width);
        }
        _ => {}
    }
    column::append_rows(held, column, rows);
}

fn add_ids(statistics: &mut IdStatistics, column: &Column, rows: Range<usize>) {
    let (values, width) = match column {
        Column::I64 { width, values } => (&values[rows.start * width..rows.end * width], *width),
        Column::I64List(jagged) => {
            let (first, last) = (jagged.offsets[rows.start], jagged.offsets[rows.end]);
            (&jagged.values[first as usize..last as usize], 1)
        }
        _ => return,
    };
    for row in values.chunks_exact(width) {
        for (at, &id) in row.iter().enumerate() {
            if id == MISSING_ID {
                statistics.missing[at] += 1;
            } else {
                statistics.min[at] = statistics.min[at].min(id);
                statistics.max[at] = statistics.max[at].max(id);
            }
        }
    }
}

/// The statistics of two splits as one.
pub(super) fn merge_statistics(mut a: IdStatistics, b: &IdStatistics) -> IdStatistics {
    for at in 0..a.min.len() {
        a.min[at] = a.min[at].min(b.min[at]);
        a.max[at] = a.max[at].max(b.max[at]);
        a.missing[at] += b.missing[at];
    }
    a
}
