//! Where the tables of a training will live: what it asks of them, and what the planner says.

use std::sync::{Arc, OnceLock};

use rectool_base::{PluginSource, quoted_list};
use rectool_comm::{Comm, agree};
use rectool_embedding::{
    Calibration, CostedPlan, EmbeddingError, Expiry, IndexKind, KeyCurve, RankCost, Resources,
    RowsFrom, TableLoad, TableOptions, TablePlanner,
};
use rectool_model::{Overlap, TableSample, sample_tables};
use serde::{Deserialize, Serialize};

use crate::calibrated::{Calibrate, calibration};
use crate::error::RecipeError;
use crate::job::TrainJob;
use crate::network::Network;
use crate::plan::hashed_rows_max;

/// Bytes of one 32-bit float.
const FLOAT_BYTES: u64 = 4;

/// The places of a training's tables, and what a step is predicted to take.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// Tables and ranks.
    pub plan: CostedPlan,
    /// All-reduce of the gradient of the dense layers, in milliseconds.
    pub all_reduce_ms: f64,
    /// Threads of each rank, as they were measured.
    pub threads: usize,
    /// Whether a batch is prepared while the rows of the one before are looked up.
    #[serde(default)]
    pub ahead: bool,
    /// What the user should know about the figures.
    pub notes: Vec<String>,
}

impl Placement {
    /// What preparing a batch takes on rank 0.
    pub(crate) fn prepare_ms(&self) -> f64 {
        self.rank_cost().prepare_ms + self.shared_ms()
    }

    /// What the lookup of rank 0 takes in a step.
    pub(crate) fn lookup_ms(&self) -> f64 {
        self.rank_cost().lookup_ms + self.shared_ms()
    }

    /// What preparing a batch and looking up the one before cost each other. The threads that do the one do
    /// the other too, and work on both until the shorter is done; a rank with one thread leaves preparing to a
    /// thread of its own.
    fn shared_ms(&self) -> f64 {
        let RankCost { prepare_ms, lookup_ms, .. } = self.rank_cost();
        if self.ahead && self.threads > 1 { prepare_ms.min(lookup_ms) } else { 0.0 }
    }

    /// What a step takes on rank 0, each phase by itself.
    pub(crate) fn rank_cost(&self) -> RankCost {
        self.plan.ranks.first().copied().unwrap_or_default()
    }
}

/// Plans the tables of `network` for the ranks that `calibration` is about.
///
/// # Collective
/// Every rank of `comm`; all get the same.
pub(crate) fn place_tables(
    network: &Network,
    job: &TrainJob,
    calibration: &Calibration,
    plugins: &dyn PluginSource,
    comm: &dyn Comm,
) -> Result<Placement, RecipeError> {
    let mut notes = Vec::new();
    // Ids that one rank cannot read are unknown to all, so that all make the same plan.
    let sample = sample_tables(&network.spec, &job.train.rows, plugins);
    let sample = sample.map_err(|error| RecipeError::failed(&network.call.place, error));
    let sample = match agree(comm, sample) {
        Ok(sample) => sample,
        Err(error) => {
            notes.push(format!(
                "ids are taken to follow Zipf's law, as no sample could be read: {error}"
            ));
            Vec::new()
        }
    };
    let loads = loads(network, job, &sample);
    let steps_total = job.spec.steps_total(job.train.rows.rows());
    notes.extend(never_due(&loads, steps_total));
    let ranks = calibration.ranks;
    let batch_rows = job.spec.batch_size * rows_of_each(network) as usize;
    let resources = Resources {
        ranks,
        ranks_per_node: calibration.ranks_per_node,
        batch_rows,
        memory_bytes_max: network.wishes.memory_bytes_max,
        reserved_bytes: network.dense_bytes() + network.batch_bytes(batch_rows.div_ceil(ranks)),
        wire: job.spec.wire,
    };
    let planner = TablePlanner { calibration, resources, loads: &loads };
    let plan = planner.plan(&network.wishes.tables).map_err(|error| {
        let key = match error {
            EmbeddingError::PlanMemory { .. } => "memory_per_rank",
            _ => "sharding",
        };
        RecipeError::refused(&network.call.place_of_keys(&[key]), error.into())
    })?;
    let gradient_bytes = (network.dense_parameters() * FLOAT_BYTES) as f64;
    let all_reduce = &calibration.all_reduce;
    let all_reduce_ms = if ranks > 1 {
        all_reduce.latency_ms + all_reduce.transfer_ms(gradient_bytes)
    } else {
        0.0
    };
    let ahead = job.spec.overlap != Overlap::Off;
    Ok(Placement { plan, all_reduce_ms, threads: calibration.threads, ahead, notes })
}

/// That a training ends before its first look for rows to give up.
fn never_due(loads: &[TableLoad], steps_total: u64) -> Option<String> {
    let named = loads.iter().filter(|load| {
        let Expiry { after_steps, rows_max, every_steps } = load.options.expiry;
        (after_steps.is_some() || rows_max.is_some()) && u64::from(every_steps) > steps_total
    });
    let named: Vec<&str> = named.map(|load| load.options.name.as_str()).collect();
    (!named.is_empty()).then(|| {
        format!(
            "no rows of {} expire within {steps_total} steps, fewer than their `every_steps`, unless the model is trained \
             on",
            quoted_list(named)
        )
    })
}

/// Rows of a batch for each row that is read.
fn rows_of_each(network: &Network) -> u64 {
    let negatives = network.spec.features.negatives.as_ref();
    1 + negatives.map_or(0, |negatives| negatives.per_row as u64)
}

/// \[T\]; `sample` is empty if there is none.
fn loads(network: &Network, job: &TrainJob, sample: &[TableSample]) -> Vec<TableLoad> {
    let set = &network.features;
    let (options, _) = network.spec.tables();
    let rows_read = job.train.rows.rows();
    let rows_all = rows_read.saturating_mul(rows_of_each(network));
    let load = |(at, options): (usize, TableOptions)| {
        let name = &options.name;
        let users: Vec<_> = set.spec.ids.iter().filter(|user| user.table == *name).collect();
        let bound = match options.index {
            IndexKind::Dense { rows } | IndexKind::Modulo { rows } => Some(rows),
            IndexKind::Hash => hashed_rows_max(set, rows_all, &users),
        };
        let sampled = sample.get(at).map(|sample| {
            let curve = KeyCurve::measured(sample.distinct.iter().copied(), None);
            (sample, curve.distinct(rows_all as f64).ceil() as u64)
        });
        let most = bound.unwrap_or(rows_all.saturating_mul(users.len() as u64));
        let (rows, rows_from) = match (&options.index, set.rows_expected.get(name), &sampled) {
            (IndexKind::Dense { rows } | IndexKind::Modulo { rows }, ..) => {
                (*rows, RowsFrom::Index)
            }
            (_, Some(rows), _) => (*rows, RowsFrom::Recipe),
            (_, None, Some((_, estimate))) if *estimate < most => (*estimate, RowsFrom::Sample),
            _ => (most, RowsFrom::Bound),
        };
        let rows = rows.max(1);
        let (ids_per_row, keys) = match sampled {
            Some((sample, _)) => {
                let points = sample.distinct.iter().copied();
                (sample.ids_per_row, KeyCurve::measured(points, Some(rows)))
            }
            None => (users.len() as f64, KeyCurve::zipf(rows, 1.0, users.len() as f64)),
        };
        // Every row is made once.
        let rows_trained = rows_all.saturating_mul(job.spec.epochs).max(1);
        let new_per_row = keys.distinct(rows_all as f64).min(rows as f64) / rows_trained as f64;
        let batch_rows = job.spec.batch_size as u64 * rows_of_each(network);
        let (rows, rows_from) = match kept_rows(&options, &keys, batch_rows) {
            Some(kept) if kept < rows => (kept, RowsFrom::Recipe),
            _ => (rows, rows_from),
        };
        TableLoad { options, rows, rows_from, ids_per_row, new_per_row, keys }
    };
    options.into_iter().enumerate().map(load).collect()
}

/// Most rows that expiry leaves at any time: its cap, and those that the batches up to the next look through the rows
/// bring. `None` without a cap, or where the rows are numbered whether they are used or not.
pub(crate) fn kept_rows(options: &TableOptions, keys: &KeyCurve, batch_rows: u64) -> Option<u64> {
    let Expiry { rows_max, every_steps, .. } = options.expiry;
    let rows_max = rows_max.filter(|_| options.index == IndexKind::Hash)?;
    let between = keys.distinct(batch_rows as f64 * f64::from(every_steps));
    Some(rows_max.saturating_add(between.ceil() as u64))
}

/// What plans a training needs besides its model.
#[derive(Clone)]
pub(crate) struct Planning {
    pub(crate) comm: Arc<dyn Comm>,
    pub(crate) calibrate: Calibrate,
    pub(crate) ranks: usize,
    pub(crate) plugins: Arc<dyn PluginSource>,
    /// For all trainings of a recipe, from the first on.
    pub(crate) calibration: Arc<OnceLock<Arc<Calibration>>>,
}

impl Planning {
    /// The placement of the tables of one training.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn place(
        &self,
        network: &Network,
        job: &TrainJob,
    ) -> Result<Placement, RecipeError> {
        let calibration = if let Some(known) = self.calibration.get() {
            known.clone()
        } else {
            let found = calibration(&self.calibrate, &*self.comm, self.ranks)?;
            self.calibration.get_or_init(|| found).clone()
        };
        let mut placement = place_tables(network, job, &calibration, &*self.plugins, &*self.comm)?;
        let given = matches!(self.calibrate, Calibrate::Given(_));
        if self.ranks != self.comm.size() && !given {
            placement.notes.push(format!(
                "exchanges were measured between threads of this process: between {} processes they take longer; \
                 `mpirun -n {} rectool plan …` measures those",
                self.ranks, self.ranks
            ));
        }
        Ok(placement)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preparing_and_looking_up_share_threads_until_one_is_done() {
        let predicted = |prepare_ms, lookup_ms, threads, ahead| {
            let rank = RankCost { prepare_ms, lookup_ms, ..RankCost::default() };
            let plan = CostedPlan { ranks: vec![rank], ..CostedPlan::default() };
            let placement = Placement { plan, threads, ahead, ..Placement::default() };
            (placement.prepare_ms(), placement.lookup_ms())
        };
        assert_eq!(predicted(1.0, 5.0, 2, true), (2.0, 6.0));
        assert_eq!(predicted(5.0, 2.0, 2, true), (7.0, 4.0));
        // Nothing is shared with a thread of its own, nor one after another.
        assert_eq!(predicted(1.0, 5.0, 1, true), (1.0, 5.0));
        assert_eq!(predicted(1.0, 5.0, 2, false), (1.0, 5.0));
    }
}
