//! What lists become.

use std::sync::Arc;

use proptest::prelude::*;
use rectool_base::Hint;
use rectool_comm::Solo;

use super::case::{Batch, Case, content, rows, sgd, table};
use crate::{EmbeddingCollection, FeatureOptions, Ids, IndexKind, Keep, Layout, Mode, Pooling};

/// Table `t`, of width 2 and step size 1, where id i has the row [i, 10 i]; feature `f` of it.
fn collection(pooling: Pooling) -> EmbeddingCollection {
    let feature = FeatureOptions::new("f", "t", pooling);
    let mut options = table("t", 2, sgd(1.0));
    options.index = IndexKind::Dense { rows: 10 };
    let mut collection =
        EmbeddingCollection::new(vec![options], vec![feature], 1, Arc::new(Solo)).unwrap();
    let keys: Vec<u64> = (0..10).collect();
    let values: Vec<f32> = (0..10).flat_map(|id| [id as f32, 10.0 * id as f32]).collect();
    collection.import(0, &rows(&keys, &values, &[])).unwrap();
    collection
}

/// The output, and the first column of all rows after a backward pass with `gradient`.
fn pass(pooling: Pooling, ids: Ids<'_>, rows: usize, gradient: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let mut collection = collection(pooling);
    let mut batch = collection.prepare(&[ids], rows, 0).unwrap();
    let layout = Layout::packed(collection.widths().iter().copied());
    let mut out = vec![f32::NAN; rows * layout.row_stride];
    collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
    collection.backward(&mut batch, gradient, &layout, 1.0).unwrap();
    let after = content(&collection).into_values().map(|(values, _)| values[0]).collect();
    (out, after)
}

#[test]
fn every_pooling_does_what_it_says() {
    let (offsets, values) = (&[0, 2, 5][..], &[1, 2, 3, 1, 1][..]);
    let plain = Ids::List { offsets, values, weights: None };
    let weighted = Ids::List { offsets, values, weights: Some(&[2.0, -1.0, 3.0, 0.0, 4.0]) };
    let run = |pooling, ids| pass(pooling, ids, 2, &[1.0, 0.0, 10.0, 0.0]);
    let (out, after) = run(Pooling::Sum, plain);
    assert_eq!(out, [3.0, 30.0, 5.0, 50.0]);
    assert_eq!(after[..4], [0.0, 1.0 - 21.0, 2.0 - 1.0, 3.0 - 10.0]);
    let (out, after) = run(Pooling::Sum, weighted);
    assert_eq!(out, [0.0, 0.0, 13.0, 130.0]);
    assert_eq!(after[..4], [0.0, 1.0 - 42.0, 2.0 + 1.0, 3.0 - 30.0]);
    let (out, after) = run(Pooling::Mean, plain);
    assert_eq!(out[..2], [1.5, 15.0]);
    assert_eq!(after[2], 2.0 - 0.5);
    let (out, after) = run(Pooling::Mean, weighted);
    assert_eq!(out[..2], [0.0, 0.0]);
    assert_eq!(after[2], 2.0 + 1.0);
    let (out, after) = run(Pooling::SqrtN, plain);
    assert_eq!(out[..2], [3.0 / 2f32.sqrt(), 30.0 / 2f32.sqrt()]);
    assert_eq!(after[2], 2.0 - 1.0 / 2f32.sqrt());
    let (out, after) = run(Pooling::SqrtN, weighted);
    assert!((out[2] - 13.0 / 5.0).abs() < 1e-6);
    assert_eq!(after[3], 3.0 - 10.0 * 0.6);
}

#[test]
fn sequences_are_cut_and_filled_up() {
    let plain = Ids::List { offsets: &[0, 3, 4, 4], values: &[1, 2, 3, 4], weights: None };
    // Gradients of the filling are never read.
    let gradient = [1.0, 0.0, 10.0, 0.0, 100.0, 0.0, f32::NAN, f32::NAN, f32::NAN, 0.0, 0.0, 0.0];
    for (keep, kept, left) in [(Keep::First, [1.0, 2.0], 3), (Keep::Last, [2.0, 3.0], 1)] {
        let (out, after) = pass(Pooling::Sequence { length: 2, keep }, plain, 3, &gradient);
        let filled = [kept[0], 10.0 * kept[0], kept[1], 10.0 * kept[1], 4.0, 40.0];
        assert_eq!(out, [&filled[..], &[0.0; 6][..]].concat());
        assert_eq!(after[kept[0] as usize], kept[0] - 1.0);
        assert_eq!(after[kept[1] as usize], kept[1] - 10.0);
        assert_eq!((after[left], after[4]), (left as f32, 4.0 - 100.0));
    }
    let single = Ids::Fixed { values: &[5, 6], width: 1, at: 0 };
    let pooling = Pooling::Sequence { length: 2, keep: Keep::Last };
    let (out, after) = pass(pooling, single, 2, &[1.0, 0.0, 9.0, 9.0, 2.0, 0.0, 9.0, 9.0]);
    assert_eq!(out, [5.0, 50.0, 0.0, 0.0, 6.0, 60.0, 0.0, 0.0]);
    assert_eq!(after[5..7], [4.0, 4.0]);
}

#[test]
fn ids_that_are_cut_off_are_not_looked_up() {
    let feature = FeatureOptions::new("f", "t", Pooling::Sequence { length: 1, keep: Keep::Last });
    let tables = vec![table("t", 2, sgd(1.0))];
    let mut collection =
        EmbeddingCollection::new(tables, vec![feature], 5, Arc::new(Solo)).unwrap();
    let ids = [Ids::List { offsets: &[0, 2, 4], values: &[7, 8, 9, 8], weights: None }];
    let mut batch = collection.prepare(&ids, 2, 0).unwrap();
    assert_eq!((batch.lookups(), batch.keys_distinct()), (2, 1));
    let layout = Layout::packed([2]);
    collection.forward(&mut batch, Mode::Train, &mut [0.0; 4], &layout).unwrap();
    assert_eq!(collection.rows_total().unwrap(), 1);
}

const POOLINGS: [Pooling; 4] = [
    Pooling::Sum,
    Pooling::Mean,
    Pooling::SqrtN,
    Pooling::Sequence { length: 1, keep: Keep::First },
];

#[test]
fn empty_lists_and_weights_of_no_sum_give_zeros_and_no_gradient() {
    for pooling in POOLINGS {
        for weights in [None, Some(&[][..])] {
            let ids = Ids::List { offsets: &[0, 0, 0], values: &[], weights };
            let (out, after) = pass(pooling, ids, 2, &[f32::NAN; 4]);
            assert_eq!(out, [0.0; 4]);
            assert_eq!(after, (0..10).map(|id| id as f32).collect::<Vec<_>>());
        }
        let weights = [[0.0, 0.0], [1.0, -1.0]][usize::from(pooling == Pooling::Mean)];
        let ids = Ids::List { offsets: &[0, 2], values: &[1, 2], weights: Some(&weights) };
        let (out, after) = pass(pooling, ids, 1, &[5.0, 5.0]);
        assert_eq!((out, &after[1..3]), (vec![0.0; 2], &[1.0, 2.0][..]), "{pooling:?}");
    }
}

#[test]
fn weights_that_cannot_be_used_are_named() {
    let refused = |pooling, weights: &[f32]| {
        let ids = [Ids::List { offsets: &[0, 0, 3], values: &[1, 2, 3], weights: Some(weights) }];
        collection(pooling).prepare(&ids, 2, 100).err().unwrap()
    };
    assert_eq!(
        refused(Pooling::Sum, &[1.0, 2.0]).to_string(),
        "ids of feature `f`: found 2 weights, expected 3, one for each value"
    );
    let error = refused(Pooling::Sum, &[1.0, 2.0, f32::NAN]);
    assert_eq!(
        error.to_string(),
        "feature `f`, row 101 of the batch: a weight is NaN, expected a finite number"
    );
    assert!(error.hint().is_some());
    let error = refused(Pooling::Mean, &[3e38, -3e38, 1e-38]).to_string();
    assert!(error.contains("the sum of the weights is"), "{error}");
}

#[test]
fn lengths_out_of_range_are_refused() {
    for length in [0, 65_537] {
        let feature =
            FeatureOptions::new("f", "t", Pooling::Sequence { length, keep: Keep::First });
        let tables = vec![table("t", 2, sgd(1.0))];
        let error = EmbeddingCollection::new(tables, vec![feature], 1, Arc::new(Solo)).err();
        let expected = "expected 1 to 65536";
        assert!(error.unwrap().to_string().ends_with(expected), "{length}");
    }
}

/// Σ of output times gradient, over the first batch.
fn loss(collection: &mut EmbeddingCollection, case: &Case, batch: &Batch) -> f64 {
    let layout = case.layout();
    let mut out = vec![0.0; batch.gradient.len()];
    let mut prepared =
        batch.with_ids(0..batch.rows, |ids, rows| collection.prepare(ids, rows, 0).unwrap());
    collection.forward(&mut prepared, Mode::Evaluate, &mut out, &layout).unwrap();
    out.iter().zip(&batch.gradient).map(|(x, g)| f64::from(*x) * f64::from(*g)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn gradients_are_those_of_finite_differences(seed in any::<u64>()) {
        let mut case = Case::draw(seed, 6);
        case.steps.truncate(1);
        for table in &mut case.tables {
            (table.optimizer, table.clip_norm) = (sgd(1.0), None);
        }
        let batch = &case.steps[0];
        let mut trained = case.collection(Arc::new(Solo));
        case.train(&mut trained, |rows| 0..rows);
        let mut probed = case.collection(Arc::new(Solo));
        for ((t, key), (after, _)) in content(&trained) {
            let mut row = vec![0.0; after.len()];
            probed.import(t, &rows(&[key], &row, &[])).unwrap();
            let base = loss(&mut probed, &case, batch);
            let start = super::oracle::initial(&case.tables[t], case.seed, key).values;
            for j in [0, after.len() / 2, after.len() - 1] {
                // The loss is linear in a row, so that a step need not be small.
                row[j] = 1.0;
                probed.import(t, &rows(&[key], &row, &[])).unwrap();
                let slope = loss(&mut probed, &case, batch) - base;
                let taken = start[j] - f64::from(after[j]);
                prop_assert!((slope - taken).abs() < 2e-4, "{slope}, {taken}");
                row[j] = 0.0;
            }
        }
    }
}
