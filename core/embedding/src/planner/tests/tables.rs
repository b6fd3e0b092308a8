//! The counting behind a cost, against what tables hold and ranks send.

use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::Solo;

use super::fixture::{machine, random_tables, resources, row_wise_adagrad, sgd};
use crate::planner::cost::Prices;
use crate::{
    EmbeddingCollection, FeatureOptions, Ids, IndexKind, KeyCurve, Layout, Mode, Pooling,
    Resources, RowsFrom, Sharding, TableLoad, TableOptions,
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
        let load =
            TableLoad { options, rows: 40_000, rows_from: RowsFrom::Index, ids_per_row: 1.0, keys };
        let (found, predicted) = (real.bytes() as f64, load.bytes() as f64);
        assert!((predicted / found - 1.0).abs() < 0.2, "{found} bytes, predicted {predicted}");
    }
}
