//! How a training will use its tables, seen on a sample of its rows.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use rectool_base::PluginSource;
use rectool_data::{LastBatch, Loader, LoaderOptions, OrderOptions, Split};
use rectool_embedding::Ids;

use crate::input::InputPlan;
use crate::negatives::Items;
use crate::train::positions;
use crate::{BoundSpec, ModelError, ModelSpec};

/// Rows of a sample, negatives included: several batches, and read in a moment.
pub const SAMPLE_ROWS: usize = 1 << 16;
/// Rows that are read at a time.
const BATCH_ROWS: usize = 512;

/// The ids of one table in a sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableSample {
    /// Ids of a row, over all features of the table.
    pub ids_per_row: f64,
    /// Rows, and the distinct keys that they bring; the last point is the whole sample.
    pub distinct: Vec<(u64, u64)>,
}

/// Reads up to [`SAMPLE_ROWS`] rows of `split` in random order, as training will see them, and
/// counts the ids of each table of `spec`, in its order.
///
/// # Errors
/// If rows cannot be read, or a step of the chain or a sampler fails.
///
/// # Determinism
/// A function of spec and split: the same on every rank.
pub fn sample_tables(
    spec: &ModelSpec,
    split: &Split,
    plugins: &dyn PluginSource,
) -> Result<Vec<TableSample>, ModelError> {
    let features = &spec.features;
    let BoundSpec { schema, chain, losses } = spec.bind(split.schema(), plugins)?;
    let input = InputPlan::new(features, &spec.learned(&losses), chain.schema())?;
    let items = features.negatives.as_ref().map(|negatives| {
        let items = Items::of(negatives, split, plugins)?;
        Ok::<_, ModelError>(items.negatives(negatives, spec))
    });
    let rows = usize::try_from(split.rows()).unwrap_or(usize::MAX);
    let options = LoaderOptions {
        threads: 0,
        order: OrderOptions { seed: spec.seed, ..OrderOptions::default() },
        last: LastBatch::Keep,
        columns: positions(&schema, split)?,
        negatives: items.transpose()?,
        chain: Some(Arc::clone(&chain)),
        ..LoaderOptions::new(BATCH_ROWS.min(rows.max(1)))
    };
    let mut counts = vec![Count::default(); spec.tables.len()];
    let table_of = |name: &str| spec.tables.iter().position(|table| table.name == name);
    let mut seen = 0;
    for batch in Loader::start(split, options)? {
        let batch = batch?;
        let ids = input.ids(&batch)?;
        let mut row = 0;
        while row < batch.rows {
            // Points at doubled numbers of rows: from 1 to 2, from 2 to 4 and so on.
            let next = (seen + row + 1).next_power_of_two() - seen;
            let part = row..next.min(batch.rows);
            for (feature, ids) in features.ids.iter().zip(&ids) {
                if let Some(table) = table_of(&feature.table) {
                    counts[table].add(ids, part.clone());
                }
            }
            row = part.end;
            for count in &mut counts {
                count.mark(seen + row);
            }
        }
        seen += batch.rows;
        if seen >= SAMPLE_ROWS {
            break;
        }
    }
    Ok(counts.into_iter().map(|count| count.sample(seen)).collect())
}

/// What was seen of one table.
#[derive(Clone, Default)]
struct Count {
    ids: u64,
    keys: HashSet<i64>,
    distinct: Vec<(u64, u64)>,
}

impl Count {
    fn add(&mut self, ids: &Ids<'_>, rows: Range<usize>) {
        match *ids {
            Ids::Fixed { values, width, at } => {
                self.ids += rows.len() as u64;
                let values = &values[rows.start * width..rows.end * width];
                self.keys.extend(values.iter().skip(at).step_by(width));
            }
            Ids::List { offsets, values, .. } => {
                let listed = &values[offsets[rows.start] as usize..offsets[rows.end] as usize];
                self.ids += listed.len() as u64;
                self.keys.extend(listed);
            }
        }
    }

    /// Notes a point; the last one replaces one that is no doubling of rows.
    fn mark(&mut self, rows: usize) {
        let point = (rows as u64, self.keys.len() as u64);
        match self.distinct.last_mut() {
            Some(last) if !last.0.is_power_of_two() => *last = point,
            _ => self.distinct.push(point),
        }
    }

    fn sample(self, rows: usize) -> TableSample {
        let ids_per_row = self.ids as f64 / rows.max(1) as f64;
        TableSample { ids_per_row, distinct: self.distinct }
    }
}
