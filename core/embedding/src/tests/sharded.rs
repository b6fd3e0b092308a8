//! Several ranks against one.

use std::sync::Arc;

use proptest::prelude::*;
use rectool_base::Stream;
use rectool_comm::{Solo, on_ranks};

use super::case::{
    Case, assert_close, assert_contents_close, content, feature, join, sgd, share, table,
};
use crate::table::Table;
use crate::{EmbeddingCollection, EmbeddingError, Ids, Layout, Mode, Sharding, ShardingPlan, Wire};

/// Ranks add up partial sums, so that gradients differ by a rounding, which a few steps of Adagrad on
/// small accumulators grow tenfold.
const TOLERANCE: f32 = 2e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranks_together_do_what_one_does(seed in any::<u64>(), ranks in 1..6usize) {
        let case = Case::draw(seed, 24);
        let plan = case.draw_plan(&mut Stream::new(seed, &[1]), ranks);
        let mut single = case.collection(Arc::new(Solo));
        let expected = case.train(&mut single, |rows| 0..rows);
        let parts = on_ranks(ranks, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection_with(comm, &plan);
            let outputs = case.train(&mut collection, |rows| share(rank, ranks, rows));
            let total = collection.rows_total().unwrap();
            (outputs, content(&collection), total)
        });
        for (step, expected) in expected.iter().enumerate() {
            let found: Vec<f32> =
                parts.iter().flat_map(|(outputs, ..)| outputs[step].iter().copied()).collect();
            assert_close(&found, expected, TOLERANCE, &format!("output of step {step}"));
        }
        let expected = content(&single);
        prop_assert!(parts.iter().all(|(.., total)| *total == expected.len() as u64));
        let found = join(parts.into_iter().map(|(_, content, _)| content));
        assert_contents_close(&found, &expected, TOLERANCE);
    }

    #[test]
    fn places_change_no_byte(seed in any::<u64>(), ranks in 1..6usize, wire in 0..3usize) {
        let case = Case::draw(seed, 24);
        let wire = [Wire::F32, Wire::F16, Wire::Bf16][wire];
        let run = |plan: &ShardingPlan| {
            let (outputs, contents): (Vec<_>, Vec<_>) = on_ranks(ranks, |comm| {
                let rank = comm.rank();
                let mut collection = case.collection_with(comm, plan);
                collection.set_wire(wire);
                let outputs = case.train(&mut collection, |rows| share(rank, ranks, rows));
                (format!("{outputs:?}"), content(&collection))
            })
            .into_iter()
            .unzip();
            (outputs, join(contents))
        };
        let plan = case.draw_plan(&mut Stream::new(seed, &[2]), ranks);
        let (found, expected) = (run(&plan), run(&ShardingPlan::row_wise(&case.tables)));
        if wire == Wire::F16 {
            // A message's scale is that of its largest number, and the messages are others.
            let (found, expected) = (found.1, expected.1);
            assert_contents_close(&found, &expected, 1e-3);
        } else {
            prop_assert_eq!(found, expected, "{:?}", plan);
        }
    }

    #[test]
    fn replicas_stay_the_same(seed in any::<u64>(), ranks in 2..5usize, wire in 0..3usize) {
        let case = Case::draw(seed, 24);
        let places = case.tables.iter().map(|t| (t.name.clone(), Sharding::DataParallel));
        let plan = ShardingPlan { tables: places.collect() };
        let rows = on_ranks(ranks, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection_with(comm, &plan);
            collection.set_wire([Wire::F32, Wire::F16, Wire::Bf16][wire]);
            case.train(&mut collection, |rows| share(rank, ranks, rows));
            let rows = |table: &Table| -> Vec<(u64, Vec<u32>)> {
                let entries = table.index.sorted(&table.options.index).into_iter();
                entries.map(|(key, row)| (key, table.slab.row(row).to_vec())).collect()
            };
            collection.tables.iter().map(rows).collect::<Vec<_>>()
        });
        prop_assert!(rows.iter().all(|other| *other == rows[0]));
    }

    #[test]
    fn the_first_forward_has_the_same_bytes_on_any_number_of_ranks(seed in any::<u64>()) {
        let mut case = Case::draw(seed, 24);
        case.steps.truncate(1);
        let run = |ranks: usize| -> Vec<u32> {
            let parts = on_ranks(ranks, |comm| {
                let rank = comm.rank();
                case.train(&mut case.collection(comm), |rows| share(rank, ranks, rows))
            });
            parts.iter().flatten().flatten().map(|x| x.to_bits()).collect()
        };
        prop_assert_eq!(run(1), run(3));
    }
}

#[test]
fn more_ranks_than_rows() {
    let mut case = Case::draw(3, 9);
    case.tables.iter_mut().for_each(|table| {
        table.index = crate::IndexKind::Dense { rows: super::case::ROWS };
    });
    let parts = on_ranks(50, |comm| {
        let rank = comm.rank();
        let mut collection = case.collection(comm);
        case.train(&mut collection, |rows| share(rank, 50, rows));
        content(&collection)
    });
    let mut single = case.collection(Arc::new(Solo));
    case.train(&mut single, |rows| 0..rows);
    let found = join(parts);
    assert_contents_close(&found, &content(&single), TOLERANCE);
}

#[test]
fn ranks_with_other_tables_are_refused() {
    let errors = on_ranks(2, |comm| {
        let tables = vec![table("t", 2 + comm.rank(), sgd(0.1))];
        let mut collection =
            EmbeddingCollection::new(tables, vec![feature("f", "t")], 1, comm).unwrap();
        let ids = [Ids::Fixed { values: &[1, 2], width: 1, at: 0 }];
        let mut batch = collection.prepare(&ids, 2, 0).unwrap();
        let layout = Layout::packed([3]);
        collection.forward(&mut batch, Mode::Train, &mut [0.0; 6], &layout).unwrap_err()
    });
    assert!(errors.iter().any(|error| matches!(error, EmbeddingError::Peer { .. })));
}
