//! Machines and tables that are made up.

use rectool_base::Stream;

use crate::planner::link::MessageTime;
use crate::{
    Calibration, EmptyStep, IndexKind, KeyCurve, Link, Lookup, OccurrenceTime, OptimizerOptions,
    Resources, RowTime, RowsFrom, TableLoad, TableOptions, Wire,
};

pub(super) fn link(latency_ms: f64, bytes_per_ms: f64) -> Link {
    let time = |bytes: u64| MessageTime { bytes, ms: latency_ms + bytes as f64 / bytes_per_ms };
    Link::fit([256, 1 << 17, 1 << 22].map(time).to_vec())
}

/// A machine of plausible speed; `exchange` bytes per millisecond between its ranks.
pub(super) fn machine(ranks: usize, ranks_per_node: usize, exchange: f64) -> Calibration {
    let mut rows = Vec::new();
    for (lookup, dim, base_ns) in
        [(Lookup::Dense, 16, 5.0), (Lookup::Dense, 128, 20.0), (Lookup::Hash, 16, 15.0)]
    {
        for (step, bytes) in [1_u64 << 20, 1 << 23, 1 << 27].into_iter().enumerate() {
            let lookup_ns = base_ns * (1 << step) as f64;
            let rows_held = bytes / (dim as u64 * 4);
            rows.push(RowTime {
                lookup,
                dim,
                rows: rows_held,
                lookup_ns,
                update_ns: 1.5 * lookup_ns,
                insert_ns: 10.0 * base_ns,
            });
        }
    }
    let occurrence =
        |(dim, pool_ns)| OccurrenceTime { dim, pool_ns, sum_ns: 2.0 * pool_ns, distinct_ns: 8.0 };
    Calibration {
        ranks,
        ranks_per_node,
        threads: 2,
        rows,
        occurrences: [(16, 3.0), (128, 20.0)].map(occurrence).to_vec(),
        empty: EmptyStep { prepare_ns: 2e3, lookup_ns: 3e3, update_ns: 4e3 },
        copy_bytes_per_ms: 1e7,
        exchange_local: link(0.01, exchange),
        exchange_remote: link(0.05, exchange / 10.0),
        all_reduce: link(0.02, exchange / 2.0),
        seconds: 1.0,
    }
}

pub(super) fn resources(ranks: usize, memory_bytes_max: Option<u64>) -> Resources {
    Resources {
        ranks,
        ranks_per_node: ranks,
        batch_rows: 8_192,
        memory_bytes_max,
        reserved_bytes: 0,
        wire: Wire::F32,
    }
}

pub(super) fn row_wise_adagrad() -> OptimizerOptions {
    OptimizerOptions::RowWiseAdagrad {
        learning_rate: 0.1,
        epsilon: 1e-8,
        initial_accumulator: 0.0,
        weight_decay: 0.0,
    }
}

pub(super) fn sgd() -> OptimizerOptions {
    OptimizerOptions::sgd(0.1)
}

pub(super) fn table(name: &str, dim: usize, rows: u64, ids_per_row: f64) -> TableLoad {
    TableLoad {
        options: TableOptions::new(name, dim, sgd()),
        rows,
        rows_from: RowsFrom::Sample,
        ids_per_row,
        new_per_row: 0.0,
        keys: KeyCurve::zipf(rows, 1.0, ids_per_row),
    }
}

/// Tables of very different sizes, some with a dense index, some whose columns belong together.
pub(super) fn random_tables(stream: &mut Stream, count: usize) -> Vec<TableLoad> {
    let made = |at: usize| {
        let rows = 10_f64.powf(1.0 + 5.5 * stream.next_f64()) as u64;
        let dim = [8, 16, 64, 128][stream.below(4) as usize];
        let ids_per_row = [1.0, 1.0, 3.5, 20.0][stream.below(4) as usize];
        let mut load = table(&format!("t{at}"), dim, rows, ids_per_row);
        if stream.below(3) == 0 {
            load.options.index = IndexKind::Dense { rows };
            load.rows_from = RowsFrom::Index;
        }
        if stream.below(3) == 0 {
            load.options.optimizer = row_wise_adagrad();
        }
        load
    };
    (0..count).map(made).collect()
}
