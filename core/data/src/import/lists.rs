//! Lines of a user and the items it chose: one row per item.

use std::path::Path;

use rectool_base::{ColumnKind, ColumnSchema, Schema};

use super::chunks::Chunk;
use super::parsed::Parsed;
use super::text::{RowParser, TextFormat, TextImport, lines};
use super::value::known_id;
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule};
use crate::DataError;

/// What the order of the items of a line means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ItemOrder {
    /// Nothing.
    #[default]
    Any,
    /// Oldest first: an item's place in its line, from 0, becomes the column `time`.
    Time,
}

/// Imports lists of items: each line is a user and the items it chose, between spaces or tabs; plain,
/// gzip or Zstandard.
///
/// Every item becomes a row with the columns `user` and `item`, and `time` if the order of items is
/// that of time. Ids are taken as [`super::ColumnSpec::ids`] takes them: any whole number but −1 is
/// an id like others. A user without items has no row. A line is bad if an id is not UTF-8, or is −1,
/// which means missing.
///
/// # Errors
/// As [`super::criteo`].
///
/// # Determinism
/// The same shards for any number of threads.
pub fn lists(
    order: ItemOrder,
    splits: &SplitRule,
    out: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<ImportSummary, DataError> {
    TextImport::new(splits, out, options, on_progress).run(&Lists::new(order)?)
}

struct Lists {
    order: ItemOrder,
    schema: Schema,
}

impl Lists {
    fn new(order: ItemOrder) -> Result<Self, DataError> {
        let names: &[&str] = match order {
            ItemOrder::Any => &["user", "item"],
            ItemOrder::Time => &["user", "item", "time"],
        };
        let column = |name: &&str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
        Ok(Self { order, schema: Schema::new(names.iter().map(column).collect())? })
    }
}

impl TextFormat for Lists {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn quoted(&self) -> Option<u8> {
        None
    }

    fn parser(&self, _: &Path, _: &Chunk) -> Result<(Box<dyn RowParser + '_>, usize), DataError> {
        Ok((Box::new(ListRows(self.order)), 0))
    }
}

struct ListRows(ItemOrder);

impl RowParser for ListRows {
    fn parse(&self, chunk: &Chunk, parsed: &mut Parsed) {
        let mut ids = Vec::new();
        for (at, line) in lines(&chunk.bytes).enumerate() {
            if let Err(reason) = read_ids(line, &mut ids) {
                parsed.refuse(at as u64, reason, line);
                continue;
            }
            let Some((user, items)) = ids.split_first() else { continue };
            for (place, item) in items.iter().enumerate() {
                parsed.push_id(0, *user);
                parsed.push_id(1, *item);
                if self.0 == ItemOrder::Time {
                    parsed.push_id(2, place as i64);
                }
                parsed.accept();
            }
        }
    }

    fn count(&self, chunk: &Chunk) -> u64 {
        let mut ids = Vec::new();
        let records = lines(&chunk.bytes).map(|line| match read_ids(line, &mut ids) {
            Ok(()) => ids.len().saturating_sub(1) as u64,
            Err(_) => 1,
        });
        records.sum()
    }
}

/// The ids of a line; none of a blank one.
fn read_ids(line: &[u8], ids: &mut Vec<i64>) -> Result<(), String> {
    ids.clear();
    let fields = line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    for field in fields {
        let name = if ids.is_empty() { "user" } else { "item" };
        ids.push(known_id(field).map_err(|refused| refused.reason(name))?);
    }
    Ok(())
}
