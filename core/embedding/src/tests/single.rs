//! One rank.

use std::sync::Arc;

use proptest::prelude::*;
use rectool_comm::Solo;

use super::case::{Case, ROWS, assert_close, assert_contents_close, content, feature, sgd, table};
use super::oracle::{Oracle, initial};
use crate::{EmbeddingCollection, Ids, IndexKind, Init, Layout, Mode, OptimizerOptions};

fn solo(case: &Case) -> EmbeddingCollection {
    case.collection(Arc::new(Solo))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn training_matches_the_oracle(seed in any::<u64>()) {
        let case = Case::draw(seed, 24);
        let mut collection = solo(&case);
        let outputs = case.train(&mut collection, |rows| 0..rows);
        let (expected, rows) = Oracle::new(&case).train();
        for (step, (found, expected)) in outputs.iter().zip(&expected).enumerate() {
            assert_close(found, expected, 1e-5, &format!("output of step {step}"));
        }
        assert_contents_close(&content(&collection), &rows, 1e-5);
    }

    #[test]
    fn dense_and_hashed_tables_hold_the_same_bytes(seed in any::<u64>()) {
        let mut case = Case::draw(seed, 24);
        let mut runs = Vec::new();
        for index in [IndexKind::Hash, IndexKind::Dense { rows: ROWS }] {
            case.tables.iter_mut().for_each(|table| table.index = index.clone());
            let mut collection = solo(&case);
            let outputs = case.train(&mut collection, |rows| 0..rows);
            runs.push((bits(&outputs), format!("{:?}", content(&collection))));
        }
        prop_assert_eq!(&runs[0], &runs[1]);
    }
}

fn bits(outputs: &[Vec<f32>]) -> Vec<u32> {
    outputs.iter().flatten().map(|x| x.to_bits()).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bytes() {
    for seed in 0..6 {
        let case = Case::draw(seed, 4_000);
        let mut runs = Vec::new();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            runs.push(pool.install(|| {
                let mut collection = solo(&case);
                let outputs = case.train(&mut collection, |rows| 0..rows);
                (bits(&outputs), format!("{:?}", content(&collection)))
            }));
        }
        assert!(runs[0] == runs[1] && runs[0] == runs[2], "case {seed}");
    }
}

/// One table of width 3 with ids 0..5, and what a key's row is after gradients (1, 2, 3) and
/// (-1, 1, 0) in one batch.
fn one_step(optimizer: OptimizerOptions) -> (Vec<f64>, Vec<f32>, Vec<f32>) {
    let options = table("t", 3, optimizer);
    let start = initial(&options, 9, 4).values;
    let mut collection =
        EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 9, Arc::new(Solo))
            .unwrap();
    let layout = Layout::packed([3]);
    let ids = [Ids::Fixed { values: &[4, 4], width: 1, at: 0 }];
    let mut batch = collection.prepare(&ids, 2, 0).unwrap();
    collection.forward(&mut batch, Mode::Train, &mut [0.0; 6], &layout).unwrap();
    let gradient = [1.0, 2.0, 3.0, -1.0, 1.0, 0.0];
    collection.backward(&mut batch, &gradient, &layout, 0.5).unwrap();
    let rows = collection.export(0, 10).unwrap().next().unwrap();
    (start, rows.values, rows.state)
}

#[test]
fn sgd_adagrad_and_row_wise_adagrad_take_the_published_steps() {
    let summed = [0.0, 3.0, 3.0];
    let (start, values, _) = one_step(sgd(0.2));
    for j in 0..3 {
        assert!((f64::from(values[j]) - (start[j] - 0.1 * summed[j])).abs() < 1e-6);
    }
    let (learning_rate, epsilon, initial_accumulator, weight_decay) = (0.2, 1e-8, 0.0, 0.0);
    let adagrad =
        OptimizerOptions::Adagrad { learning_rate, epsilon, initial_accumulator, weight_decay };
    let (start, values, state) = one_step(adagrad);
    assert_eq!(state, [0.0, 9.0, 9.0]);
    for j in 0..3 {
        assert!((f64::from(values[j]) - (start[j] - 0.1 * summed[j] / 3.0)).abs() < 1e-6);
    }
    let initial_accumulator = 3.0;
    let row_wise = OptimizerOptions::RowWiseAdagrad {
        learning_rate,
        epsilon,
        initial_accumulator,
        weight_decay,
    };
    let (start, values, state) = one_step(row_wise);
    assert_eq!(state, [9.0]);
    for j in 0..3 {
        assert!((f64::from(values[j]) - (start[j] - 0.1 * summed[j] / 3.0)).abs() < 1e-6);
    }
}

#[test]
fn evaluation_reads_initial_values_and_changes_nothing() {
    for index in [IndexKind::Hash, IndexKind::Dense { rows: 100 }] {
        let mut options = table("t", 4, sgd(0.1));
        options.index = index;
        let expected: Vec<f32> = [7, 99]
            .iter()
            .flat_map(|key| initial(&options, 3, *key).values)
            .map(|x| x as f32)
            .collect();
        let mut collection =
            EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 3, Arc::new(Solo))
                .unwrap();
        let layout = Layout::packed([4]);
        let ids = [Ids::Fixed { values: &[7, 99], width: 1, at: 0 }];
        let mut out = [0.0; 8];
        let mut batch = collection.prepare(&ids, 2, 0).unwrap();
        collection.forward(&mut batch, Mode::Evaluate, &mut out, &layout).unwrap();
        assert_eq!(out[..], expected);
        assert_eq!(collection.rows_total().unwrap(), 0);
        collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
        assert_eq!(out[..], expected);
        assert_eq!(collection.rows_total().unwrap(), 2);
        assert_eq!((batch.lookups(), batch.keys_distinct()), (2, 2));
    }
}

#[test]
fn initial_values_have_the_asked_spread() {
    let spread = |init| {
        let mut options = table("t", 16, sgd(0.1));
        options.init = init;
        let values: Vec<f64> =
            (0..1_000).flat_map(|key| initial(&options, 1, key).values).collect();
        let mut collection =
            EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 1, Arc::new(Solo))
                .unwrap();
        let ids: Vec<i64> = (0..1_000).collect();
        let ids = [Ids::Fixed { values: &ids, width: 1, at: 0 }];
        let mut out = vec![0.0; 16_000];
        let mut batch = collection.prepare(&ids, 1_000, 0).unwrap();
        collection.forward(&mut batch, Mode::Train, &mut out, &Layout::packed([16])).unwrap();
        assert!(out.iter().zip(&values).all(|(found, expected)| f64::from(*found) == *expected));
        let largest = out.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        (largest, (out.iter().map(|x| x * x).sum::<f32>() / 16_000.0).sqrt())
    };
    assert_eq!(spread(Init::Zero), (0.0, 0.0));
    let (largest, deviation) = spread(Init::Uniform { bound: 3.0 });
    assert!((2.9..=3.0).contains(&largest) && (deviation - 3f32.sqrt()).abs() < 0.05);
    assert!((spread(Init::Normal { std: 0.2 }).1 - 0.2).abs() < 0.01);
}

#[test]
fn every_64_bit_key_has_a_row_of_its_own() {
    let keys = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX, -1, 1 << 32, 1 << 63];
    let mut collection = EmbeddingCollection::new(
        vec![table("t", 2, sgd(1.0))],
        vec![feature("f", "t")],
        5,
        Arc::new(Solo),
    )
    .unwrap();
    let layout = Layout::packed([2]);
    let ids = [Ids::Fixed { values: &keys, width: 1, at: 0 }];
    let mut batch = collection.prepare(&ids, keys.len(), 0).unwrap();
    let mut before = [0.0; 18];
    collection.forward(&mut batch, Mode::Train, &mut before, &layout).unwrap();
    let gradient: Vec<f32> = (0..18).map(|n| (n / 2) as f32).collect();
    collection.backward(&mut batch, &gradient, &layout, 1.0).unwrap();
    let mut after = [0.0; 18];
    collection.forward(&mut batch, Mode::Evaluate, &mut after, &layout).unwrap();
    assert_eq!(collection.tables()[0].rows, 7);
    for (n, key) in keys.iter().enumerate() {
        let sum: f32 = (0..9).filter(|m| keys[*m] == *key).map(|m| m as f32).sum();
        assert_eq!(after[2 * n], before[2 * n] - sum, "key {key}");
    }
}

#[test]
fn keys_that_are_equal_modulo_the_rows_share_a_row() {
    let run = |index, keys: &[i64]| {
        let mut options = table("t", 2, sgd(1.0));
        options.index = index;
        let mut collection =
            EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 5, Arc::new(Solo))
                .unwrap();
        let layout = Layout::packed([2]);
        let mut out = vec![0.0; 2 * keys.len()];
        let ids = [Ids::Fixed { values: keys, width: 1, at: 0 }];
        let mut batch = collection.prepare(&ids, keys.len(), 0).unwrap();
        collection.forward(&mut batch, Mode::Train, &mut out, &layout).unwrap();
        let gradient: Vec<f32> = (0..out.len()).map(|n| n as f32).collect();
        collection.backward(&mut batch, &gradient, &layout, 1.0).unwrap();
        (out, content(&collection))
    };
    // -1 stands for 2^64 - 1.
    let keys = [1, 1_001, -1, 7, i64::MIN, 7_007];
    let folded: Vec<i64> = keys.iter().map(|key| (*key as u64 % 1_000) as i64).collect();
    assert_eq!(folded[..3], [1, 1, 615]);
    let dense = run(IndexKind::Dense { rows: 1_000 }, &folded);
    assert_eq!(run(IndexKind::Modulo { rows: 1_000 }, &keys), dense);
    assert_eq!(dense.1.len(), 4);
}
