//! Memory, wishes and nodes.

use rectool_base::{Hint, Stream};

use super::fixture::{machine, random_tables, resources, row_wise_adagrad, table};
use crate::{
    Admission, EmbeddingError, Resources, Sharding, ShardingKind, TableLoad, TablePlanner, Wish,
};

fn place_of(plan: &crate::CostedPlan, table: usize) -> &Sharding {
    &plan.tables[table].sharding
}

#[test]
fn no_rank_holds_more_than_it_may() {
    let mut stream = Stream::new(6, &[]);
    for case in 0..60 {
        let ranks = 1 + stream.below(6) as usize;
        let calibration = machine(ranks, ranks, 1e6);
        let loads = random_tables(&mut stream, 1 + case % 12);
        let total: u64 = loads.iter().map(TableLoad::bytes).sum();
        let share = total as f64 / ranks as f64;
        let limit = (share * (0.8 + stream.next_f64())) as u64;
        let resources = Resources { reserved_bytes: limit / 20, ..resources(ranks, Some(limit)) };
        let room = (limit - resources.reserved_bytes) as f64;
        let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
        match planner.plan(&vec![Wish::Any; loads.len()]) {
            Ok(plan) => {
                for (rank, cost) in plan.ranks.iter().enumerate() {
                    assert!(cost.bytes as f64 <= room, "case {case}: rank {rank}, {cost:?}");
                    let held: u64 = plan.tables.iter().map(|table| table.bytes[rank]).sum();
                    assert!(held.abs_diff(cost.bytes) <= 1, "case {case}: {held} and {cost:?}");
                }
            }
            Err(EmbeddingError::PlanMemory { required, available, reserved, .. }) => {
                assert_eq!((available, reserved), (limit, limit / 20));
                assert!(required > available);
                // Row-wise is as even as it gets, to within a row of each table.
                let rows: u64 = loads.iter().map(|load| load.bytes() / load.rows).sum();
                assert!(share + rows as f64 > room, "case {case}: {share} fits into {room}");
            }
            Err(error) => panic!("case {case}: {error}"),
        }
    }
}

#[test]
fn too_little_memory_says_what_would_do() {
    let calibration = machine(2, 2, 1e6);
    let mut user = table("user", 16, 2_000_000, 1.0);
    user.options.optimizer = crate::OptimizerOptions::Adagrad {
        learning_rate: 0.1,
        epsilon: 1e-8,
        initial_accumulator: 0.0,
        weight_decay: 0.0,
    };
    let loads = [table("item", 16, 100_000, 1.0), user];
    let resources = Resources { reserved_bytes: 10_000_000, ..resources(2, Some(100_000_000)) };
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let error = planner.plan(&[Wish::Any, Wish::Any]).unwrap_err();
    // 2,000,000 × (8 + 32 × 4 + 16) and 100,000 × (8 + 16 × 4 + 16), by two.
    assert_eq!(
        error.to_string(),
        "sharding plan: rank 0 needs 166.4 MB (156.4 MB for tables, 10.0 MB for the rest), 100.0 MB \
         are available; largest tables: `user` 304.0 MB (2,000,000 rows, estimated from a sample); \
         `item` 8.8 MB (100,000 rows, estimated from a sample)"
    );
    assert_eq!(
        error.hint().unwrap(),
        "raise `memory_per_rank` to 158.7MiB, start 4 ranks, give `rows_expected` for 'user' if it \
         will have fewer rows, keep 'user' in a file (`folder`), use an optimizer with one number per \
         row, such as `rowwise_adagrad`, store 'user' in 16 bits (`storage: \"bf16\"`), or use a smaller \
         `embedding_dim`"
    );
    let whole = Wish::At(Sharding::TableWise { rank: 1 });
    let resources = Resources { memory_bytes_max: Some(200_000_000), ..resources };
    let planner = TablePlanner { resources, ..planner };
    let error = planner.plan(&[Wish::Any, whole]).unwrap_err();
    assert!(error.to_string().contains("rank 1 needs 314.0 MB (304.0 MB for tables"), "{error}");
    assert!(error.hint().unwrap().contains("let the planner choose"), "{:?}", error.hint());
    planner.plan(&[Wish::Any, Wish::Any]).unwrap();
}

#[test]
fn a_sketch_that_takes_the_memory_is_named() {
    let calibration = machine(1, 1, 1e6);
    let mut item = table("item", 16, 100, 1.0);
    item.options.admission = Admission::Count { sightings: 2, window_steps: 9, cells: 1 << 20 };
    let (loads, resources) = ([item], resources(1, Some(1 << 20)));
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let error = planner.plan(&[Wish::Any]).unwrap_err();
    let told = "4.2 MB (100 rows, estimated from a sample, and 4.2 MB to count ids that have none)";
    assert!(error.to_string().contains(told), "{error}");
    assert!(error.hint().unwrap().contains("lower the `cells` of 'item'"), "{:?}", error.hint());
}

#[test]
fn what_is_no_table_can_be_too_much_alone() {
    let calibration = machine(2, 2, 1e6);
    let loads = [table("item", 16, 100, 1.0)];
    let resources = Resources { reserved_bytes: 5 << 20, ..resources(2, Some(4 << 20)) };
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let error = planner.plan(&[Wish::Any]).unwrap_err();
    assert!(error.to_string().contains("5.2 MB for the rest), 4.2 MB are available"), "{error}");
    let hint = "raise `memory_per_rank` to 5.1MiB, lower `batch_size`, or make the layers smaller";
    assert_eq!(error.hint().unwrap(), hint);
}

#[test]
fn the_memory_asked_for_is_about_the_least_that_does() {
    let mut stream = Stream::new(9, &[]);
    for case in 0..30 {
        let calibration = machine(3, 3, 10_f64.powi(4 + case % 4));
        let loads = random_tables(&mut stream, 1 + case as usize % 5);
        // No plan fits, nor any rank of one.
        let resources = Resources { reserved_bytes: 1_000, ..resources(3, Some(1_000)) };
        let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
        let error = planner.plan(&vec![Wish::Any; loads.len()]).unwrap_err();
        let EmbeddingError::PlanMemory { required, .. } = error else { panic!("{error}") };
        let total: u64 = loads.iter().map(TableLoad::bytes).sum();
        let rows: u64 = loads.iter().map(|load| load.bytes() / load.rows).sum();
        let least = total / 3 + rows + 1_000;
        assert!(required <= least, "case {case}: {required}, row-wise needs {least}");
    }
}

#[test]
fn columns_are_cut_for_any_number_of_ranks() {
    let calibration = machine(3, 3, 1e6);
    let loads = [table("wide", 96, 1_000_000, 1.0)];
    // A third of the columns, with a header and an index of its own, and not half of them.
    let resources = resources(3, Some(loads[0].bytes() / 3 + 20_000_000));
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let plan = planner.plan(&[Wish::Kind(ShardingKind::ColumnWise)]).unwrap();
    let Sharding::ColumnWise { ranks } = place_of(&plan, 0) else { panic!("{plan:?}") };
    assert_eq!(ranks.len(), 3);
}

#[test]
fn wishes_are_fulfilled_or_refused() {
    let calibration = machine(4, 2, 1e6);
    let resources = Resources { ranks_per_node: 2, ..resources(4, None) };
    let mut joined = table("joined", 64, 5_000, 1.0);
    joined.options.optimizer = row_wise_adagrad();
    let loads = [table("free", 64, 1_000_000, 1.0), table("narrow", 8, 50, 2.0), joined];
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    for kind in ShardingKind::ALL {
        let plan = planner.plan(&[Wish::Kind(kind), Wish::Kind(kind), Wish::Any]).unwrap();
        for table in 0..2 {
            assert_eq!(ShardingKind::of(place_of(&plan, table)), kind);
        }
        assert_eq!(kind.name(), place_of(&plan, 0).kind());
    }
    let at = Sharding::TableWise { rank: 3 };
    let plan = planner.plan(&[Wish::At(at.clone()), Wish::Any, Wish::Any]).unwrap();
    assert_eq!(place_of(&plan, 0), &at);
    let columns = Wish::Kind(ShardingKind::ColumnWise);
    let error = planner.plan(&[Wish::Any, Wish::Any, columns]).unwrap_err();
    assert!(error.to_string().contains("table `joined`, column_wise"), "{error}");
    let beyond = Wish::At(Sharding::TableWise { rank: 4 });
    let error = planner.plan(&[beyond, Wish::Any, Wish::Any]).unwrap_err();
    assert!(error.to_string().contains("found rank 4, expected ranks below 4"), "{error}");
}

#[test]
fn every_other_kind_is_weighed() {
    let calibration = machine(4, 2, 1e6);
    let resources = Resources { ranks_per_node: 2, ..resources(4, Some(60_000_000)) };
    let mut joined = table("joined", 64, 500_000, 1.0);
    joined.options.optimizer = row_wise_adagrad();
    let loads = [joined, table("small", 16, 100, 1.0)];
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let plan = planner.plan(&[Wish::Any, Wish::Any]).unwrap();
    let chosen = plan.slowest_ms();
    for table in &plan.tables {
        assert_eq!(table.alternatives.len(), 4);
        for other in &table.alternatives {
            match (&other.slowest_ms, &other.refused) {
                (Some(ms), None) => assert!(*ms >= chosen * 0.99, "{other:?} against {chosen} ms"),
                (None, Some(why)) => assert!(!why.is_empty()),
                both => panic!("{both:?}"),
            }
        }
    }
    let refused = |kind| {
        let found = plan.tables[0].alternatives.iter().find(|other| other.kind == kind);
        found.and_then(|other| other.refused.clone()).unwrap()
    };
    assert!(refused(ShardingKind::ColumnWise).contains("joins the columns"));
    assert!(refused(ShardingKind::TableWise).contains("too little memory"));
}

#[test]
fn one_rank_needs_no_exchange() {
    let calibration = machine(1, 1, 1e6);
    let loads = [table("a", 16, 1_000, 1.0), table("b", 64, 100_000, 3.0)];
    let resources = resources(1, None);
    let planner = TablePlanner { calibration: &calibration, resources, loads: &loads };
    let plan = planner.plan(&[Wish::Any, Wish::Kind(ShardingKind::DataParallel)]).unwrap();
    assert_eq!(plan.ranks[0].exchange_ms, 0.0);
    assert_eq!(place_of(&plan, 0), &Sharding::RowWise);
    assert!(plan.ranks[0].lookup_ms > 0.0 && plan.ranks[0].update_ms > plan.ranks[0].lookup_ms);
    assert!(plan.tables.iter().all(|table| table.alternatives.is_empty()));
}
