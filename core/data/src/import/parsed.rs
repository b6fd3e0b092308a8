//! The rows parsed out of one chunk, good and bad.

use std::ops::Range;

use rectool_base::{Column, Schema};

use crate::column;

/// Bad rows of one chunk that are kept with their text; the count is exact beyond.
const SAMPLES_MAX: usize = 1_000;
/// Bytes kept of a bad row's text.
const TEXT_BYTES_MAX: usize = 240;

/// A row that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BadRow {
    /// Line within the chunk, or row within the row group, from 0.
    pub(super) line: u64,
    pub(super) reason: String,
    /// The start of the row's text.
    pub(super) text: String,
}

/// Good rows as columns, and the bad ones.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) columns: Vec<Column>,
    /// Good rows.
    pub(super) rows: usize,
    /// Line ends, or rows of a row group: how far line numbers go on.
    pub(super) lines: u64,
    /// Which of the chunk's records, counted from 0 with the bad ones, were bad.
    pub(super) bad_records: Vec<u32>,
    pub(super) samples: Vec<BadRow>,
}

impl Parsed {
    pub(super) fn new(schema: &Schema) -> Self {
        let columns = schema.columns().iter().map(|column| column::empty(column.kind)).collect();
        Self { columns, rows: 0, lines: 0, bad_records: Vec::new(), samples: Vec::new() }
    }

    /// All records, good and bad.
    pub(super) fn records(&self) -> u64 {
        self.rows as u64 + self.bad_records.len() as u64
    }

    pub(super) fn push_float(&mut self, column: usize, value: f32) {
        let Column::F32 { values, .. } = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for floats")
        };
        values.push(value);
    }

    pub(super) fn push_id(&mut self, column: usize, id: i64) {
        let Column::I64 { values, .. } = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for ids")
        };
        values.push(id);
    }

    pub(super) fn push_text(&mut self, column: usize, text: Option<&str>) {
        let Column::Text { values, .. } = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for texts")
        };
        values.push(text);
    }

    pub(super) fn push_ids(&mut self, column: usize, ids: impl IntoIterator<Item = i64>) {
        let Column::I64List(jagged) = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for lists of ids")
        };
        jagged.values.extend(ids);
        jagged.offsets.push(jagged.values.len() as u32);
    }

    pub(super) fn push_floats(&mut self, column: usize, floats: &[f32]) {
        let Column::F32List(jagged) = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for lists of floats")
        };
        jagged.push_row(floats);
    }

    pub(super) fn push_texts<'a>(
        &mut self,
        column: usize,
        texts: impl IntoIterator<Item = Option<&'a str>>,
    ) {
        let Column::TextList { offsets, values } = &mut self.columns[column] else {
            unreachable!("the layout made column {column} for lists of texts")
        };
        texts.into_iter().for_each(|text| values.push(text));
        offsets.push(values.len() as u32);
    }

    /// The row whose values were pushed is whole.
    pub(super) fn accept(&mut self) {
        self.rows += 1;
    }

    /// Takes back what was pushed of the row.
    pub(super) fn refuse(&mut self, line: u64, reason: String, text: &[u8]) {
        for column in &mut self.columns {
            column::truncate(column, self.rows);
        }
        self.bad_records.push(self.records() as u32);
        if self.samples.len() < SAMPLES_MAX {
            let text = String::from_utf8_lossy(&text[..text.len().min(TEXT_BYTES_MAX)]);
            self.samples.push(BadRow { line, reason, text: text.into_owned() });
        }
    }

    /// The good rows among the records `records`.
    pub(super) fn rows_of(&self, records: Range<u64>) -> Range<usize> {
        let good_before = |record: u64| {
            let bad = self.bad_records.partition_point(|&bad| u64::from(bad) < record);
            record as usize - bad
        };
        good_before(records.start)..good_before(records.end)
    }
}
