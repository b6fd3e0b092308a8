//! How training and evaluation read a split.

use std::sync::Arc;

use rectool_base::Schema;
use rectool_data::{LastBatch, Loader, LoaderOptions, OrderOptions, ReaderState, Split};

use crate::{ModelError, Ranker};

/// Batches buffered per rank: enough to ride out a slow shard, few enough to stay small.
const QUEUE_BATCHES: usize = 4;

/// What to read and in which order.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) order: OrderOptions,
    /// Global.
    pub(super) batch_size: usize,
    pub(super) threads: usize,
    pub(super) epochs: u64,
    /// Where to begin; `None`: at the beginning.
    pub(super) start: Option<ReaderState>,
}

/// A loader of the columns that the model uses, through its chain.
pub(super) fn open_loader(
    ranker: &Ranker,
    split: &Split,
    reading: &Reading,
) -> Result<Loader, ModelError> {
    let columns = positions(&ranker.schema, split)?;
    let features = &ranker.spec.features;
    let negatives = features.negatives.as_ref().zip(ranker.items.as_ref());
    let negatives = negatives.map(|(spec, items)| items.negatives(spec, &ranker.spec));
    Ok(Loader::start(
        split,
        LoaderOptions {
            batch_size: reading.batch_size,
            rank: ranker.comm.rank(),
            ranks: ranker.comm.size(),
            threads: reading.threads,
            queue_batches: QUEUE_BATCHES,
            order: reading.order,
            last: LastBatch::Keep,
            columns,
            negatives,
            chain: Some(Arc::clone(&ranker.chain)),
            start: reading.start,
            epochs: Some(reading.epochs),
        },
    )?)
}

/// Where the columns of `schema` stand in the split.
pub(crate) fn positions(schema: &Schema, split: &Split) -> Result<Vec<usize>, ModelError> {
    let mut columns = Vec::new();
    for wanted in schema.columns() {
        let at = split.schema().position(&wanted.name)?;
        let found = &split.schema().columns()[at];
        if found != wanted {
            return Err(ModelError::Option {
                option: format!("column {}", wanted.name),
                found: format!("{:?}", found.kind),
                expected: format!("{:?}, as in the model's training data", wanted.kind),
            });
        }
        columns.push(at);
    }
    Ok(columns)
}
