//! What is fixed when a collection is made.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use rectool_base::{hash_text, nearest_name};

use crate::distinct::Scratch;
use crate::placement::Placement;
use crate::prepare::Prepared;
use crate::{EmbeddingError, FeatureOptions, ShardingPlan, TableOptions};

/// Tables, features, who owns what, and buffers waiting for their next use.
pub(crate) struct Plan {
    /// Unlike that of any other collection of this process; tells prepared batches apart.
    pub(crate) identity: u64,
    /// Equal on ranks that hold the same tables and features in the same places.
    pub(crate) fingerprint: u64,
    pub(crate) tables: Vec<TableOptions>,
    pub(crate) features: Vec<FeatureOptions>,
    /// \[T\]: the features of each table.
    pub(crate) features_of: Vec<Vec<usize>>,
    /// \[F\]: each feature's table, and its position among the table's features.
    pub(crate) place_of: Vec<(usize, usize)>,
    /// \[F\]: the width D of each feature's table.
    pub(crate) dims: Vec<usize>,
    /// \[F\]: floats of each feature in a row of the batch.
    pub(crate) widths: Vec<usize>,
    /// \[T\].
    pub(crate) placements: Vec<Placement>,
    /// Where this rank stands among the R ranks.
    pub(crate) rank: usize,
    spare: Mutex<Vec<Prepared>>,
    scratch: Mutex<Vec<Scratch>>,
}

/// The identity of the next plan.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// Batches and scratch kept for reuse: more than a pipeline or a machine would have in flight.
const SPARE_MAX: usize = 256;

impl Plan {
    pub(crate) fn new(
        tables: Vec<TableOptions>,
        features: Vec<FeatureOptions>,
        seed: u64,
        sharding: &ShardingPlan,
        (rank, ranks): (usize, usize),
    ) -> Result<Self, EmbeddingError> {
        unique("tables", tables.iter().map(|table| table.name.as_str()))?;
        unique("features", features.iter().map(|feature| feature.name.as_str()))?;
        tables.iter().try_for_each(TableOptions::check)?;
        features.iter().try_for_each(FeatureOptions::check)?;
        let sharding = sharding.check(&tables, ranks)?;
        let mut features_of = vec![Vec::new(); tables.len()];
        let mut place_of = Vec::with_capacity(features.len());
        for (feature, options) in features.iter().enumerate() {
            let table = tables
                .iter()
                .position(|table| table.name == options.table)
                .ok_or_else(|| unknown_table(options, &tables))?;
            place_of.push((table, features_of[table].len()));
            features_of[table].push(feature);
        }
        let dims: Vec<usize> = place_of.iter().map(|(table, _)| tables[*table].dim).collect();
        let lengths = features.iter().map(|feature| feature.pooling.vectors());
        Ok(Self {
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            fingerprint: hash_text(&format!("{seed} {tables:?} {features:?} {sharding:?}")) as u64,
            placements: sharding
                .iter()
                .zip(&tables)
                .map(|(sharding, table)| Placement::new(sharding, table.dim, ranks))
                .collect(),
            widths: dims.iter().zip(lengths).map(|(dim, length)| dim * length).collect(),
            dims,
            tables,
            features,
            features_of,
            place_of,
            rank,
            spare: Mutex::default(),
            scratch: Mutex::default(),
        })
    }

    /// A batch of former use, or an empty one.
    pub(crate) fn take_spare(&self) -> Prepared {
        take(&self.spare).unwrap_or_else(|| Prepared::new(self))
    }

    pub(crate) fn keep_spare(&self, prepared: Prepared) {
        if prepared.identity == self.identity {
            keep(&self.spare, prepared);
        }
    }

    /// Lends scratch to `work`.
    pub(crate) fn with_scratch<T>(&self, work: impl FnOnce(&mut Scratch) -> T) -> T {
        let mut scratch = take(&self.scratch).unwrap_or_default();
        let result = work(&mut scratch);
        keep(&self.scratch, scratch);
        result
    }
}

fn take<T>(store: &Mutex<Vec<T>>) -> Option<T> {
    store.lock().unwrap_or_else(PoisonError::into_inner).pop()
}

fn keep<T>(store: &Mutex<Vec<T>>, item: T) {
    let mut store = store.lock().unwrap_or_else(PoisonError::into_inner);
    if store.len() < SPARE_MAX {
        store.push(item);
    }
}

fn unique<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), EmbeddingError> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(EmbeddingError::Duplicate { what, name: name.to_owned() });
        }
    }
    Ok(())
}

fn unknown_table(feature: &FeatureOptions, tables: &[TableOptions]) -> EmbeddingError {
    let names = tables.iter().map(|table| table.name.as_str());
    EmbeddingError::UnknownTable {
        feature: feature.name.clone(),
        table: feature.table.clone(),
        nearest: nearest_name(&feature.table, names).map(str::to_owned),
    }
}
