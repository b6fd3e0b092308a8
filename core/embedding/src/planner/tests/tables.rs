//! The counting behind a cost, against what tables hold and ranks send.

use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::Solo;

use super::fixture::{machine, random_tables, resources, row_wise_adagrad, sgd, table};
use crate::planner::cost::Prices;
use crate::planner::share::{GRADIENTS, KEYS, RankShare, VALUES};
use crate::{
    EmbeddingCollection, FeatureOptions, Ids, IndexKind, KeyCurve, Layout, Mode, Pooling,
    Resources, RowsFrom, Sharding, TableLoad, TableOptions, TablePlanner, Wire, Wish,
};

#[test]
fn what_is_sent_arrives_and_what_is_held_is_whole() {
    let mut stream = Stream::new(8, &[]);
    let calibration = machine(4, 2, 1e6);
    let resources = Resources { ranks_per_node: 2, ..resources(4, None) };
    let loads = random_tables(&mut stream, 12);
    let prices = Prices::new(&calibration, resources, &loads);
    for load in &loads {
        let keys = load.keys.distinct(8_192.0 / 4.0);
        let dim = load.options.dim as f64;
        let (one, three) = (keys * 8.0, keys * dim * 4.0);
        // Sent by all ranks together: keys, values, gradients.
        let cases = [
            (Sharding::RowWise, [3.0 * one, 3.0 * three, 3.0 * three], 1.0),
            (Sharding::TableWise { rank: 2 }, [3.0 * one, 3.0 * three, 3.0 * three], 1.0),
            (
                Sharding::TableRowWise { first: 2, ranks: 2 },
                [3.0 * one, 3.0 * three, 3.0 * three],
                1.0,
            ),
            (Sharding::DataParallel, [12.0 * one, 0.0, 12.0 * three], 4.0),
            (
                Sharding::ColumnWise { ranks: vec![3, 0] },
                [6.0 * one, 3.0 * three, 3.0 * three],
                1.0,
            ),
        ];
        for (place, expected, copies) in cases {
            let shares = prices.shares(load, &place);
            for phase in 0..3 {
                let sum = |side: &dyn Fn(usize) -> [f64; 2]| -> f64 {
                    (0..4).map(|rank| side(rank).iter().sum::<f64>()).sum()
                };
                let sent = sum(&|rank| shares[rank].sent[phase]);
                let received = sum(&|rank| shares[rank].received[phase]);
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * a.max(1.0);
                assert!(close(sent, received), "{place:?}: {sent} sent, {received} received");
                assert!(close(sent, expected[phase]), "{place:?} {phase}: {sent}, {expected:?}");
            }
            let held: f64 = shares.iter().map(|share| share.bytes).sum();
            let whole = load.bytes() as f64 * copies;
            // Column parts each have a header, an index and an accumulator of their own.
            assert!(held >= whole && held <= whole * 1.9 + 1_000.0, "{place:?}: {held} of {whole}");
        }
    }
}

#[test]
fn predicted_bytes_are_those_of_real_tables() {
    for (index, optimizer) in [
        (IndexKind::Hash, sgd()),
        (IndexKind::Hash, row_wise_adagrad()),
        (IndexKind::Dense { rows: 40_000 }, row_wise_adagrad()),
    ] {
        let options = TableOptions { index, ..TableOptions::new("t", 32, optimizer) };
        let feature = FeatureOptions::new("f", "t", Pooling::Sum);
        let (tables, comm) = (vec![options.clone()], Arc::new(Solo));
        let mut real = EmbeddingCollection::new(tables, vec![feature], 1, comm).unwrap();
        let ids: Vec<i64> = (0..40_000).collect();
        let mut out = vec![0.0; 40_000 * 32];
        let ids = [Ids::Fixed { values: &ids, width: 1, at: 0 }];
        let mut batch = real.prepare(&ids, 40_000, 0).unwrap();
        real.forward(&mut batch, Mode::Train, &mut out, &Layout::packed([32])).unwrap();
        let keys = KeyCurve::zipf(40_000, 1.0, 1.0);
        let load = TableLoad {
            options,
            rows: 40_000,
            rows_from: RowsFrom::Index,
            ids_per_row: 1.0,
            new_per_row: 0.0,
            keys,
        };
        let (found, predicted) = (real.bytes() as f64, load.bytes() as f64);
        assert!((predicted / found - 1.0).abs() < 0.2, "{found} bytes, predicted {predicted}");
    }
}

/// Prices of one table on the made-up machine.
fn cost_of(load: &TableLoad, resources: Resources) -> RankShare {
    let calibration = machine(resources.ranks, resources.ranks, 1e6);
    let loads = std::slice::from_ref(load);
    Prices::new(&calibration, resources, loads).shares(load, &Sharding::RowWise)[0]
}

#[test]
fn rows_that_are_made_cost_their_making() {
    let old = table("t", 16, 1 << 18, 1.0);
    let new = TableLoad { new_per_row: 0.25, ..old.clone() };
    let (old, new) = (cost_of(&old, resources(1, None)), cost_of(&new, resources(1, None)));
    // 2,048 of 8,192 rows; 150 ns, as measured for a hashed index of this width.
    let extra_ms = new.lookup_ms - old.lookup_ms;
    assert!((extra_ms - 2_048.0 * 150.0 * 1e-6).abs() < 1e-9, "{extra_ms}");
    assert_eq!((new.update_ms, new.prepare_ms), (old.update_ms, old.prepare_ms));
}

#[test]
fn a_step_costs_something_without_ids() {
    let (calibration, loads) = (machine(1, 1, 1e6), [table("t", 16, 1_000, 0.0)]);
    let resources = resources(1, None);
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let cost = planner.plan(&[Wish::Any]).unwrap().ranks[0];
    let close = |ms: f64, ns: f64| (ms - ns * 1e-6).abs() < 1e-12;
    assert!(close(cost.prepare_ms, 2e3) && close(cost.lookup_ms, 3e3), "{cost:?}");
    assert!(close(cost.update_ms, 4e3), "{cost:?}");
}

#[test]
fn sixteen_bits_halve_what_travels() {
    let load = table("t", 64, 100_000, 2.0);
    let wide = cost_of(&load, resources(2, None));
    for wire in [Wire::F16, Wire::Bf16] {
        let half = cost_of(&load, Resources { wire, ..resources(2, None) });
        assert_eq!(half.sent[KEYS], wide.sent[KEYS]);
        for phase in [VALUES, GRADIENTS] {
            assert_eq!(half.sent[phase][0], wide.sent[phase][0] / 2.0);
            assert_eq!(half.received[phase][0], wide.received[phase][0] / 2.0);
        }
        // Rounding them takes time too.
        assert!(half.lookup_ms > wide.lookup_ms && half.update_ms > wide.update_ms);
    }
}
