//! Fused updates against torch: stored rows after each of five steps.

use std::sync::Arc;

use rectool_comm::Solo;
use serde::Deserialize;

use super::case::rows;
use crate::{
    EmbeddingCollection, FeatureOptions, Ids, IndexKind, Layout, Mode, OptimizerOptions, Pooling,
    TableOptions,
};

#[derive(Deserialize)]
struct Case {
    kind: String,
    pooling: Pooling,
    learning_rate: f32,
    weight_decay: f32,
    epsilon: f32,
    initial_accumulator: f32,
    /// [V, D].
    start: Vec<Vec<f32>>,
    /// By step, by row of the batch.
    ids: Vec<Vec<Vec<i64>>>,
    /// By step: gradient of the pooled output, [B, D].
    gradients: Vec<Vec<Vec<f32>>>,
    /// By step: all rows, [V, D].
    after: Vec<Vec<Vec<f32>>>,
}

impl Case {
    fn optimizer(&self) -> OptimizerOptions {
        let (learning_rate, weight_decay) = (self.learning_rate, self.weight_decay);
        let (epsilon, initial_accumulator) = (self.epsilon, self.initial_accumulator);
        match self.kind.as_str() {
            "sgd" => OptimizerOptions::Sgd { learning_rate, momentum: 0.0, weight_decay },
            "adagrad" => OptimizerOptions::Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
            "rowwise_adagrad" => OptimizerOptions::RowWiseAdagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
            other => panic!("unknown optimizer {other}"),
        }
    }

    fn replay(&self) {
        let dim = self.start[0].len();
        let optimizer = self.optimizer();
        let state = vec![self.initial_accumulator; self.start.len() * optimizer.state_width(dim)];
        let index = IndexKind::Dense { rows: self.start.len() as u64 };
        let table = TableOptions { index, ..TableOptions::new("t", dim, optimizer) };
        let feature = FeatureOptions::new("f", "t", self.pooling);
        let mut tables =
            EmbeddingCollection::new(vec![table], vec![feature], 1, Arc::new(Solo)).unwrap();
        let keys: Vec<u64> = (0..self.start.len() as u64).collect();
        tables.import(0, &rows(&keys, &self.start.concat(), &state)).unwrap();
        let layout = Layout::packed([dim]);
        for (step, bags) in self.ids.iter().enumerate() {
            let mut offsets = vec![0];
            for bag in bags {
                offsets.push(offsets.last().unwrap() + bag.len() as u32);
            }
            let values = bags.concat();
            let ids = [Ids::List { offsets: &offsets, values: &values, weights: None }];
            let mut prepared = tables.prepare(&ids, bags.len(), 0).unwrap();
            let mut out = vec![0.0; bags.len() * dim];
            tables.forward(&mut prepared, Mode::Train, &mut out, &layout).unwrap();
            let gradient = self.gradients[step].concat();
            tables.backward(&mut prepared, &gradient, &layout, 1.0).unwrap();
            for rows in tables.export(0, 100).unwrap() {
                for (key, values) in rows.keys.iter().zip(rows.values.chunks_exact(dim)) {
                    let expected = &self.after[step][*key as usize];
                    for (a, b) in values.iter().zip(expected) {
                        let what = (&self.kind, self.pooling, step, key);
                        assert!((a - b).abs() <= 1e-6 * (1.0 + b.abs()), "{what:?}: {a}, {b}");
                    }
                }
            }
        }
    }
}

#[test]
fn updates_equal_torch() {
    let text = include_str!("../../../../tests/golden/embedding_optimizers.json");
    let cases: Vec<Case> = serde_json::from_str(text).unwrap();
    assert_eq!(cases.len(), 12);
    cases.iter().for_each(Case::replay);
}
