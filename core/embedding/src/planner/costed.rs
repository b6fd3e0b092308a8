//! A plan with what it costs, and why it is the one.

use serde::{Deserialize, Serialize};

use super::calibration::Calibration;
use super::cost::{Prices, Resources};
use super::load::{RowsFrom, TableLoad};
use super::memory::{check_memory, missing};
use super::search::{Draft, search};
use super::share::RankShare;
use super::wish::{ShardingKind, Wish};
use crate::{EmbeddingError, Sharding, ShardingPlan};

/// Finds plans for some tables, and says what they cost.
///
/// ```no_run
/// use rectool_embedding::{
///     KeyCurve, OptimizerOptions, Resources, RowsFrom, TableLoad, TableOptions, TablePlanner, Wire,
///     Wish, calibrate,
/// };
/// let sgd = OptimizerOptions::sgd(0.1);
/// let city = TableLoad {
///     options: TableOptions::new("city", 16, sgd),
///     rows: 10_000,
///     rows_from: RowsFrom::Recipe,
///     ids_per_row: 1.0,
///     new_per_row: 0.01,
///     keys: KeyCurve::zipf(10_000, 1.0, 1.0),
/// };
/// let resources = Resources {
///     ranks: 2,
///     ranks_per_node: 2,
///     batch_rows: 8_192,
///     memory_bytes_max: Some(1 << 30),
///     reserved_bytes: 0,
///     wire: Wire::F32,
/// };
/// let calibration = calibrate(&rectool_comm::Solo)?;
/// let loads = [city];
/// let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
/// let found = planner.plan(&[Wish::Any])?;
/// assert_eq!(found.tables[0].name, "city");
/// assert_eq!(found.ranks.len(), 2);
/// # Ok::<(), rectool_embedding::EmbeddingError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TablePlanner<'a> {
    /// What the machine can do.
    pub calibration: &'a Calibration,
    /// The ranks.
    pub resources: Resources,
    /// The tables.
    pub loads: &'a [TableLoad],
}

/// A plan with its predicted costs, all per step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CostedPlan {
    /// \[T\].
    pub tables: Vec<PlacedTable>,
    /// \[R\].
    pub ranks: Vec<RankCost>,
    /// Part of every rank's `exchange_ms` that its calls take, whatever they carry.
    pub exchange_calls_ms: f64,
    /// Bytes of each rank that are taken by what is no table.
    pub reserved_bytes: u64,
    /// Bytes that a rank may use.
    pub memory_bytes_max: Option<u64>,
}

/// A table and its place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlacedTable {
    /// The table.
    pub name: String,
    /// Where it lives.
    pub sharding: Sharding,
    /// Rows V that it will come to have.
    pub rows: u64,
    /// How that is known.
    pub rows_from: RowsFrom,
    /// Ids of a global batch.
    pub ids: f64,
    /// Distinct keys among them.
    pub keys: f64,
    /// \[R\]: bytes on each rank.
    pub bytes: Vec<u64>,
    /// Greatest time of a rank for finding the distinct keys of a batch.
    pub prepare_ms: f64,
    /// Greatest time of a rank for finding, making, copying and pooling its rows.
    pub lookup_ms: f64,
    /// Greatest time of a rank for moving keys, values and gradients.
    pub exchange_ms: f64,
    /// Greatest time of a rank for summing gradients and for the optimizer.
    pub update_ms: f64,
    /// What would be if this table alone lived elsewhere, for every other kind of place.
    pub alternatives: Vec<Alternative>,
}

/// The best other place of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alternative {
    /// The kind.
    pub kind: ShardingKind,
    /// Time of the slowest rank then; `None` if it cannot be.
    pub slowest_ms: Option<f64>,
    /// Why it cannot be.
    pub refused: Option<String>,
}

/// What one rank holds and does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RankCost {
    /// Bytes of its tables.
    pub bytes: u64,
    /// Time for finding the distinct keys of a batch, mostly ahead of the step.
    pub prepare_ms: f64,
    /// Time for finding, making, copying and pooling rows.
    pub lookup_ms: f64,
    /// Time for moving keys, values and gradients.
    pub exchange_ms: f64,
    /// Time for summing gradients and for the optimizer.
    pub update_ms: f64,
}

impl RankCost {
    /// Time of the embedding part of a step.
    pub fn total_ms(&self) -> f64 {
        self.prepare_ms + self.lookup_ms + self.exchange_ms + self.update_ms
    }
}

impl CostedPlan {
    /// The places alone.
    pub fn sharding_plan(&self) -> ShardingPlan {
        let tables = self.tables.iter();
        let tables = tables.map(|table| (table.name.clone(), table.sharding.clone()));
        ShardingPlan { tables: tables.collect() }
    }

    /// Time of the slowest rank: the cost of the plan.
    pub fn slowest_ms(&self) -> f64 {
        self.ranks.iter().map(RankCost::total_ms).fold(0.0, f64::max)
    }
}

impl TablePlanner<'_> {
    /// The best plan found that fulfils `wishes`, \[T\].
    ///
    /// # Errors
    /// [`EmbeddingError::Sharding`] if a wish cannot be fulfilled, [`EmbeddingError::PlanMemory`] if
    /// a rank would need more memory than it may use.
    ///
    /// # Determinism
    /// A function of planner and wishes: ranks with the same calibration find the same plan.
    ///
    /// # Panics
    /// If there is not one wish for each table, or no rank.
    pub fn plan(&self, wishes: &[Wish]) -> Result<CostedPlan, EmbeddingError> {
        let Self { calibration, resources, loads } = *self;
        assert_eq!(wishes.len(), loads.len(), "one wish for each table");
        assert!(resources.ranks > 0 && resources.ranks_per_node > 0, "{resources:?} has no rank");
        for (wish, load) in wishes.iter().zip(loads) {
            wish.check(load, &resources)?;
        }
        let prices = Prices::new(calibration, resources, loads);
        let draft = search(&prices, loads, wishes);
        let bytes: Vec<f64> = draft.ranks.iter().map(|rank| rank.bytes).collect();
        check_memory(&resources, loads, wishes, &bytes)?;
        let calls_ms = prices.calls_ms();
        let cost = |rank: &RankShare| RankCost {
            bytes: rank.bytes as u64,
            prepare_ms: rank.prepare_ms,
            lookup_ms: rank.lookup_ms,
            exchange_ms: rank.exchange_ms(calibration) + calls_ms,
            update_ms: rank.update_ms,
        };
        let ranks: Vec<RankCost> = draft.ranks.iter().map(cost).collect();
        let tables = (0..loads.len()).map(|table| placed(&prices, &draft, loads, table));
        Ok(CostedPlan {
            tables: tables.collect(),
            ranks,
            exchange_calls_ms: calls_ms,
            reserved_bytes: resources.reserved_bytes,
            memory_bytes_max: resources.memory_bytes_max,
        })
    }
}

fn placed(
    prices: &Prices<'_>,
    draft: &Draft<'_>,
    loads: &[TableLoad],
    table: usize,
) -> PlacedTable {
    let load = &loads[table];
    let sharding = draft.places[table].clone().expect("the search places every table");
    let shares = draft.table(table);
    let greatest = |value: &dyn Fn(&RankShare) -> f64| shares.iter().map(value).fold(0.0, f64::max);
    let rows = prices.resources.batch_rows as f64;
    let own = ShardingKind::of(&sharding);
    let others = ShardingKind::ALL.into_iter().filter(|kind| *kind != own);
    let others = others.filter(|_| prices.resources.ranks > 1);
    PlacedTable {
        name: load.options.name.clone(),
        rows: load.rows,
        rows_from: load.rows_from,
        ids: load.ids_per_row * rows,
        keys: load.keys.distinct(rows),
        bytes: shares.iter().map(|share| share.bytes as u64).collect(),
        prepare_ms: greatest(&|share| share.prepare_ms),
        lookup_ms: greatest(&|share| share.lookup_ms),
        exchange_ms: greatest(&|share| share.exchange_ms(prices.calibration)),
        update_ms: greatest(&|share| share.update_ms),
        alternatives: others.map(|kind| alternative(prices, draft, load, (table, kind))).collect(),
        sharding,
    }
}

fn alternative(
    prices: &Prices<'_>,
    draft: &Draft<'_>,
    load: &TableLoad,
    (table, kind): (usize, ShardingKind),
) -> Alternative {
    let refuse = |why: String| Alternative { kind, slowest_ms: None, refused: Some(why) };
    let resources = &prices.resources;
    let wish = Wish::Kind(kind);
    if let Err(error) = wish.check(load, resources) {
        return match error {
            EmbeddingError::Sharding { found, .. } => refuse(found),
            other => refuse(other.to_string()),
        };
    }
    if kind == ShardingKind::TableRowWise && resources.ranks_per_node >= resources.ranks {
        return refuse("there is one node".to_owned());
    }
    match draft.best_place(table, &wish) {
        Some((_, score)) if score.excess_bytes > 0.0 => refuse(missing(score.excess_bytes)),
        Some((_, score)) => {
            let slowest_ms = Some(score.slowest_ms + prices.calls_ms());
            Alternative { kind, slowest_ms, refused: None }
        }
        None => refuse("no ranks for it".to_owned()),
    }
}
