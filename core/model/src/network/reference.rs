//! The two-sample run that the reference implementation of DLRM prints: three batches of forward,
//! mean square error and SGD, tables included.

use std::sync::Arc;

use rectool_comm::Solo;
use rectool_embedding::{
    EmbeddingCollection, FeatureOptions, Ids, IndexKind, Mode, OptimizerOptions, Pooling, Rows,
    TableOptions,
};
use serde::Deserialize;
use tch::Device;

use super::{Dlrm, DlrmShape, Pass};
use crate::parameters::{Declaration, Parameters};
use crate::{
    Compute, DenseOptimizer, DenseOptimizerOptions, FeatureSpec, IdFeatureSpec, Interaction,
    ModelSpec, sigmoid,
};

#[derive(Deserialize)]
struct Golden {
    learning_rate: f32,
    batches: Vec<Batch>,
    start: Weights,
    logits: Vec<Vec<f32>>,
    losses: Vec<f32>,
    after: Weights,
}

#[derive(Deserialize)]
struct Batch {
    dense: Vec<Vec<f32>>,
    /// By table, by sample.
    ids: Vec<Vec<Vec<i64>>>,
    targets: Vec<f32>,
}

#[derive(Deserialize)]
struct Weights {
    tables: Vec<Vec<Vec<f32>>>,
    bottom: Vec<Linear>,
    top: Vec<Linear>,
}

#[derive(Deserialize)]
struct Linear {
    weight: Vec<Vec<f32>>,
    bias: Vec<f32>,
}

impl Weights {
    /// In the order in which a DLRM declares its entries.
    fn entries(&self) -> Vec<Vec<f32>> {
        let layers = self.bottom.iter().chain(&self.top);
        layers.flat_map(|layer| [layer.weight.concat(), layer.bias.clone()]).collect()
    }
}

fn hidden(layers: &[Linear]) -> Vec<usize> {
    layers[..layers.len() - 1].iter().map(|layer| layer.bias.len()).collect()
}

fn spec(golden: &Golden) -> ModelSpec {
    let sgd = golden.learning_rate;
    let feature = |at: usize| IdFeatureSpec {
        name: at.to_string(),
        column: "ids".to_owned(),
        at,
        table: at.to_string(),
        pooling: Pooling::Sum,
        weights: None,
    };
    ModelSpec {
        features: FeatureSpec {
            label: Some("label".to_owned()),
            weight: None,
            negatives: None,
            dense: vec!["dense".to_owned()],
            ids: (0..golden.start.tables.len()).map(feature).collect(),
            chain: rectool_data::ChainSpec::default(),
        },
        architecture: crate::Architecture::Dlrm,
        tables: Vec::new(),
        embedding_dim: golden.start.tables[0][0].len(),
        bottom_mlp: hidden(&golden.start.bottom),
        top_mlp: hidden(&golden.start.top),
        interaction: Interaction::Dot,
        dropout: 0.0,
        embedding_optimizer: OptimizerOptions::sgd(sgd),
        loss: crate::LossSpec::Bce,
        heads: Vec::new(),
        retrieval: None,
        dense_optimizer: DenseOptimizerOptions::Sgd {
            learning_rate: sgd,
            momentum: 0.0,
            weight_decay: 0.0,
        },
        seed: 1,
    }
}

fn tables(golden: &Golden, spec: &ModelSpec) -> EmbeddingCollection {
    let table = |(at, rows): (usize, &Vec<Vec<f32>>)| TableOptions {
        index: IndexKind::Dense { rows: rows.len() as u64 },
        ..TableOptions::new(at.to_string(), spec.embedding_dim, spec.embedding_optimizer.clone())
    };
    let options = golden.start.tables.iter().enumerate().map(table).collect();
    let feature = |feature: &IdFeatureSpec| {
        FeatureOptions::new(&feature.name, &feature.table, feature.pooling)
    };
    let features = spec.features.ids.iter().map(feature).collect();
    let mut tables = EmbeddingCollection::new(options, features, 1, Arc::new(Solo)).unwrap();
    for (at, rows) in golden.start.tables.iter().enumerate() {
        let keys: Vec<u64> = (0..rows.len() as u64).collect();
        let (last_seen, counts) = (vec![0; keys.len()], vec![0; keys.len()]);
        let (values, state) = (rows.concat(), Vec::new());
        let columns = 0..spec.embedding_dim;
        let rows = Rows { columns, keys, values, state, last_seen, counts };
        tables.import(at, &rows).unwrap();
    }
    tables
}

fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() <= 2e-6 * (1.0 + b.abs()), "{what}: {a}, expected {b}");
    }
}

fn replay(compute: Compute) {
    let text = include_str!("../../../../tests/golden/dlrm_reference.json");
    let golden: Golden = serde_json::from_str(text).unwrap();
    let spec = spec(&golden);
    let mut tables = tables(&golden, &spec);
    let mut declaration = Declaration::default();
    let shape = DlrmShape::declare(&spec, golden.batches[0].dense[0].len(), &mut declaration);
    let mut parameters = Parameters::new(declaration, Device::Cpu).unwrap();
    let mut network = Dlrm::build(shape, &mut parameters, compute).unwrap();
    for (at, values) in golden.start.entries().iter().enumerate() {
        let range = parameters.entries()[at].range();
        parameters.values_mut()[range].copy_from_slice(values);
    }
    let len = parameters.values().len();
    let mut optimizer = DenseOptimizer::new(&spec.dense_optimizer, len).unwrap();

    for (step, batch) in golden.batches.iter().enumerate() {
        let rows = batch.targets.len();
        let bags: Vec<(Vec<u32>, Vec<i64>)> = batch.ids.iter().map(|bags| flat(bags)).collect();
        let ids: Vec<Ids<'_>> = bags
            .iter()
            .map(|(offsets, values)| Ids::List { offsets, values, weights: None })
            .collect();
        let mut prepared = tables.prepare(&ids, rows, 0).unwrap();
        network.begin(rows).unwrap();
        network.dense_mut().copy_from_slice(&batch.dense.concat());
        let (vectors, layout) = network.embeddings_mut();
        tables.forward(&mut prepared, Mode::Train, vectors, layout).unwrap();
        let pass = Pass::Train { step: step as u64, row_first: 0 };
        let logits = network.forward(&parameters, pass).unwrap().to_vec();
        assert_near(&logits, &golden.logits[step], "logits");

        let errors: Vec<(f32, f32)> = logits
            .iter()
            .zip(&batch.targets)
            .map(|(&logit, &target)| (sigmoid(logit), sigmoid(logit) - target))
            .collect();
        let loss = errors.iter().map(|(_, error)| error * error).sum::<f32>() / rows as f32;
        assert_near(&[loss], &golden.losses[step..=step], "loss");
        let slope = |&(p, error): &(f32, f32)| 2.0 * error * p * (1.0 - p) / rows as f32;
        let gradient: Vec<f32> = errors.iter().map(slope).collect();
        network.backward(&mut parameters, &gradient).unwrap();
        let (values, gradients) = parameters.values_and_gradients();
        optimizer.step(values, gradients, 1.0);
        let (gradient, layout) = network.embedding_gradient();
        tables.backward(&mut prepared, gradient, layout, 1.0).unwrap();
    }

    for (at, values) in golden.after.entries().iter().enumerate() {
        assert_near(parameters.value(at), values, &parameters.entries()[at].name);
    }
    for (at, rows) in golden.after.tables.iter().enumerate() {
        let chunks = tables.export(at, 1000).unwrap();
        let mut found = vec![Vec::new(); rows.len()];
        for chunk in chunks {
            let values = chunk.values.chunks_exact(spec.embedding_dim);
            for (&key, values) in chunk.keys.iter().zip(values) {
                found[key as usize] = values.to_vec();
            }
        }
        assert_near(&found.concat(), &rows.concat(), &format!("table {at}"));
    }
}

fn flat(bags: &[Vec<i64>]) -> (Vec<u32>, Vec<i64>) {
    let mut offsets = vec![0];
    for bag in bags {
        offsets.push(offsets.last().unwrap() + bag.len() as u32);
    }
    (offsets, bags.concat())
}

#[test]
fn reference_run_is_reproduced() {
    replay(Compute::Fused);
    replay(Compute::Tensor(Device::Cpu));
}
