//! Several ranks against one.

use std::sync::Arc;

use proptest::prelude::*;
use rectool_comm::{Solo, on_ranks};

use super::case::{Case, assert_close, assert_contents_close, content, feature, sgd, share, table};
use crate::{EmbeddingCollection, EmbeddingError, Ids, Layout, Mode};

/// Ranks add up partial sums, so that gradients differ by a rounding, which a few steps of Adagrad on
/// small accumulators grow tenfold.
const TOLERANCE: f32 = 2e-5;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn ranks_together_do_what_one_does(seed in any::<u64>(), ranks in 2..5usize) {
        let case = Case::draw(seed, 24);
        let mut single = case.collection(Arc::new(Solo));
        let expected = case.train(&mut single, |rows| 0..rows);
        let parts = on_ranks(ranks, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection(comm);
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
        let rows: usize = parts.iter().map(|(_, content, _)| content.len()).sum();
        prop_assert_eq!(rows, expected.len(), "a row on two ranks");
        prop_assert!(parts.iter().all(|(.., total)| *total == expected.len() as u64));
        let found = parts.into_iter().flat_map(|(_, content, _)| content).collect();
        assert_contents_close(&found, &expected, TOLERANCE);
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
    let found = parts.into_iter().flatten().collect();
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
