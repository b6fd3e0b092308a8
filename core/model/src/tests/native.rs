//! Plugins that are not WebAssembly, and data to train on.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{
    BatchPlace, Column, ColumnKind, ColumnSchema, ItemStatistics, Labels, Loss, LossDemands,
    LossInput, PluginCall, PluginFault, PluginSource, Prediction, Sampler, Samples, Schema, Stream,
    Transform, TransformError,
};
use rectool_comm::Comm;
use rectool_data::{ChainOp, ChainStep, Dataset, DatasetWriter, Shuffle, WriterOptions};
use rectool_embedding::{IndexKind, Init, OptimizerOptions, Pooling, Wire};

use crate::{
    Architecture, Bce, DenseOptimizerOptions, DeviceChoice, Environment, FeatureSpec,
    IdFeatureSpec, Interaction, LossSpec, ModelSpec, Overlap, RowSpec, Schedule, TableSpec,
    TrainSpec,
};

/// A call of the plugin `name`; its hash is made of name and `build`.
pub(crate) fn call(name: &str, build: &str) -> PluginCall {
    PluginCall {
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        sha256: format!("{name}-{build}"),
        parameters: [("build".to_owned(), rectool_base::ParameterValue::Text(build.to_owned()))]
            .into(),
    }
}

/// Knows a few transforms and losses, and a component for each of the former.
pub(super) struct Native;

fn fault(kind: &'static str, call: &PluginCall, message: &str) -> PluginFault {
    let plugin = format!("{} {}", call.name, call.version);
    PluginFault { kind, plugin, place: None, message: message.to_owned(), hint: None }
}

impl PluginSource for Native {
    fn transform(&self, call: &PluginCall) -> Result<Arc<dyn Transform>, PluginFault> {
        match call.name.as_str() {
            "double" => Ok(Arc::new(Double)),
            "cross" => Ok(Arc::new(Cross)),
            "length" => Ok(Arc::new(Length)),
            _ => Err(fault("transform", call, "not here")),
        }
    }

    fn loss(&self, call: &PluginCall, _: &Schema) -> Result<Arc<dyn Loss>, PluginFault> {
        let (prediction, labels) = match call.name.as_str() {
            "bce" | "fails-on-rank-1" => (Prediction::Logit, Labels::Binary),
            "squared" => (Prediction::Value, Labels::Any),
            "rate" => (Prediction::LogRate, Labels::NonNegative),
            "grouped" | "sampled" | "pairs" => (Prediction::Score, Labels::Binary),
            "confused" => (Prediction::Logit, Labels::Any),
            _ => return Err(fault("loss", call, "not here")),
        };
        let columns = match call.name.as_str() {
            "grouped" => vec!["group".to_owned()],
            "pairs" => vec!["visit".to_owned()],
            "sampled" => vec!["row".to_owned(), "log_q".to_owned(), "kind".to_owned()],
            _ => Vec::new(),
        };
        let demands = LossDemands { prediction, labels, columns };
        Ok(Arc::new(NativeLoss { call: call.clone(), demands }))
    }

    fn sampler(
        &self,
        call: &PluginCall,
        items: &ItemStatistics,
    ) -> Result<Arc<dyn Sampler>, PluginFault> {
        if call.name != "uniform" {
            return Err(fault("sampler", call, "not here"));
        }
        Ok(Arc::new(Uniform(items.ids.clone())))
    }

    fn content(&self, sha256: &str) -> Option<Arc<[u8]>> {
        sha256.starts_with("double").then(|| sha256.as_bytes().into())
    }
}

/// Doubles floats in place.
struct Double;

impl Transform for Double {
    fn name(&self) -> &'static str {
        "double"
    }

    fn outputs(&self, inputs: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(inputs.to_vec())
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        mut columns: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        for column in &mut columns {
            let Column::F32 { values, .. } = column else { unreachable!("given floats") };
            for value in values {
                *value *= 2.0;
            }
        }
        Ok(columns)
    }
}

/// Makes the column `cross` of two id columns.
struct Cross;

impl Transform for Cross {
    fn name(&self) -> &'static str {
        "cross"
    }

    fn outputs(&self, _: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(vec![ColumnSchema::plain("cross", ColumnKind::I64 { width: 1 })])
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        let [Column::I64 { values: a, .. }, Column::I64 { values: b, .. }] = &columns[..] else {
            unreachable!("given two id columns")
        };
        let values = a.iter().zip(b).map(|(a, b)| a * 1000 + b).collect();
        Ok(vec![Column::I64 { width: 1, values }])
    }
}

/// Makes the column `length` of a text column.
struct Length;

impl Transform for Length {
    fn name(&self) -> &'static str {
        "length"
    }

    fn outputs(&self, _: &[ColumnSchema]) -> Result<Vec<ColumnSchema>, TransformError> {
        Ok(vec![ColumnSchema::plain("length", ColumnKind::I64 { width: 1 })])
    }

    fn apply(
        &self,
        _: &[ColumnSchema],
        columns: Vec<Column>,
        _: BatchPlace,
    ) -> Result<Vec<Column>, TransformError> {
        let [Column::Text { width: 1, values }] = &columns[..] else { unreachable!("a text") };
        let length = |at| values.get(at).map_or(-1, |text| text.len() as i64);
        Ok(vec![Column::I64 { width: 1, values: (0..values.len()).map(length).collect() }])
    }
}

/// Every item alike.
struct Uniform(Vec<i64>);

impl Sampler for Uniform {
    fn name(&self) -> &'static str {
        "uniform"
    }

    fn sample(
        &self,
        positives: &[i64],
        count: usize,
        seed: u64,
        _: BatchPlace,
    ) -> Result<Samples, PluginFault> {
        let (mut stream, items) = (Stream::new(seed, &[]), self.0.len() as u64);
        let drawn = positives.len() * count;
        let ids = (0..drawn).map(|_| self.0[stream.below(items) as usize]).collect();
        Ok(Samples { ids, log_probabilities: vec![-(items as f32).ln(); drawn] })
    }
}

struct NativeLoss {
    call: PluginCall,
    demands: LossDemands,
}

impl Loss for NativeLoss {
    fn name(&self) -> &str {
        &self.call.name
    }

    fn demands(&self) -> &LossDemands {
        &self.demands
    }

    fn evaluate(
        &self,
        input: LossInput<'_>,
        losses: &mut [f32],
        gradients: &mut [f32],
    ) -> Result<(), PluginFault> {
        let LossInput { place, logits, labels, weights, columns } = input;
        if self.call.name == "fails-on-rank-1" && place.row_first > 0 && place.step == 2 {
            let fault = fault("loss", &self.call, "no luck");
            return Err(PluginFault { place: Some(place), ..fault });
        }
        if self.call.name == "grouped" {
            let [Column::I64 { width: 1, values }] = columns else { panic!("{columns:?}") };
            assert_eq!(values.len(), logits.len());
            // What the dataset has, though no feature uses it.
            assert!(values.iter().all(|group| (7..10).contains(group)), "{values:?}");
        }
        if self.call.name == "pairs" {
            let [Column::I64 { width: 1, values }] = columns else { panic!("{columns:?}") };
            assert_eq!(values.len(), logits.len());
            let of_visit = |visit: &i64| values.iter().filter(|other| *other == visit).count();
            assert!(values.iter().all(|visit| of_visit(visit) <= 2), "{values:?}");
        }
        if self.call.name == "sampled" {
            check_sampled(place, labels, columns);
        }
        let rows = logits.iter().zip(labels).zip(losses.iter_mut().zip(&mut *gradients));
        match self.call.name.as_str() {
            "squared" => rows.for_each(|((z, y), (loss, gradient))| {
                (*loss, *gradient) = ((z - y) * (z - y), 2.0 * (z - y));
            }),
            "rate" => rows.for_each(|((z, y), (loss, gradient))| {
                (*loss, *gradient) = (z.exp() - y * z, z.exp() - y);
            }),
            _ => return Bce.evaluate(input, losses, gradients),
        }
        for (at, weight) in weights.iter().enumerate() {
            losses[at] *= weight;
            gradients[at] *= weight;
        }
        Ok(())
    }
}

/// Each row stands before its two negatives, with what describes their items.
fn check_sampled(place: BatchPlace, labels: &[f32], columns: &[&Column]) {
    let [
        Column::I64 { values: rows, .. },
        Column::F32 { values: log_q, .. },
        Column::I64 { values: kinds, .. },
    ] = columns
    else {
        panic!("{columns:?}")
    };
    assert!(kinds.iter().all(|kind| (100..103).contains(kind)), "{kinds:?}");
    for (at, label) in labels.iter().enumerate() {
        assert_eq!(*label, f32::from(at % 3 == 0));
        assert_eq!(rows[at] as usize, (place.row_first + at) / 3);
        assert_eq!(log_q[at] < 0.0, at % 3 > 0);
    }
}

/// Writes a dataset of choices: users take items that are near them, one in each visit.
pub(super) fn choices(folder: &Path) -> Dataset {
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let f32 = |name: &str| ColumnSchema::plain(name, ColumnKind::F32 { width: 1 });
    let ids = ["user", "item", "kind"].map(i64).into_iter();
    let floats = ["dense", "click", "visit_length"].map(f32);
    let columns = ids.chain(floats).chain([i64("visit")]).collect();
    let path = folder.join("choices");
    let schema = Schema::new(columns).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 600, 1), ("valid", 150, 2)] {
        let mut stream = Stream::new(seed, &[]);
        let user: Vec<i64> = (0..rows).map(|_| stream.below(9) as i64).collect();
        let item: Vec<i64> = user.iter().map(|user| (user + stream.below(3) as i64) % 9).collect();
        let kind = item.iter().map(|item| 100 + item % 3).collect();
        // Longer with items that are nearer.
        let far = |(user, item): (&i64, &i64)| (item - user).rem_euclid(9) as f32;
        let length = user.iter().zip(&item).map(|pair| 2.0 - far(pair)).collect();
        let dense = (0..rows).map(|_| stream.next_f32()).collect();
        let i64 = |values| Column::I64 { width: 1, values };
        let f32 = |values| Column::F32 { width: 1, values };
        let click = f32(vec![1.0; rows]);
        let visit = i64((0..rows as i64).collect());
        let columns = vec![i64(user), i64(item), i64(kind), f32(dense), click, f32(length), visit];
        writer.write(split, columns).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

/// Writes a dataset with ids, floats, a group, a weight, clicks, counts and a text.
pub(crate) fn dataset(folder: &Path) -> Dataset {
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let f32 = |name: &str| ColumnSchema::plain(name, ColumnKind::F32 { width: 1 });
    let columns = vec![
        i64("user"),
        i64("item"),
        i64("group"),
        f32("dense"),
        f32("halved"),
        f32("weight"),
        f32("click"),
        f32("count"),
        ColumnSchema::plain("city", ColumnKind::Text { width: 1 }),
    ];
    let path = folder.join("data");
    let schema = Schema::new(columns).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 600, 1), ("valid", 150, 2)] {
        let mut stream = Stream::new(seed, &[]);
        let mut ids = || (0..rows).map(|_| stream.below(9) as i64).collect::<Vec<_>>();
        let (user, item) = (ids(), ids());
        let group = (0..rows).map(|at| 7 + at as i64 / 4 % 3).collect();
        let dense: Vec<f32> = (0..rows).map(|_| stream.next_f32() - 0.5).collect();
        let halved = dense.iter().map(|value| value / 2.0).collect();
        let weight = (0..rows).map(|at| (at % 3) as f32).collect();
        let score = |at: usize| (user[at] - item[at]) as f32 / 3.0 + dense[at];
        let click = (0..rows).map(|at| f32::from(score(at) > stream.next_normal())).collect();
        let count = (0..rows).map(|at| (user[at] + item[at]) as f32 / 4.0 + dense[at].abs());
        let count = count.collect();
        let i64 = |values| Column::I64 { width: 1, values };
        let f32 = |values| Column::F32 { width: 1, values };
        let city = (0..rows).map(|at| [Some("Oslo"), None, Some("Rome!")][at % 3]).collect();
        let columns = vec![
            i64(user.clone()),
            i64(item.clone()),
            i64(group),
            f32(dense.clone()),
            f32(halved),
            f32(weight),
            f32(click),
            f32(count),
            Column::Text { width: 1, values: city },
        ];
        writer.write(split, columns).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

/// A small model with `loss`, on users, items and the column `dense`.
pub(crate) fn model(loss: LossSpec, dense: &str, ids: &[&str], chain: Vec<ChainStep>) -> ModelSpec {
    let feature = |name: &&str| IdFeatureSpec {
        name: (*name).to_owned(),
        column: (*name).to_owned(),
        at: 0,
        table: (*name).to_owned(),
        pooling: Pooling::Sum,
        weights: None,
    };
    let table = |name: &&str| TableSpec {
        name: (*name).to_owned(),
        index: IndexKind::Hash,
        init: Init::Uniform { bound: 0.05 },
        dim: None,
        rows: RowSpec::default(),
    };
    ModelSpec {
        features: FeatureSpec {
            label: Some("click".to_owned()),
            weight: None,
            negatives: None,
            dense: vec![dense.to_owned()],
            ids: ids.iter().map(feature).collect(),
            chain: rectool_data::ChainSpec { steps: chain },
        },
        architecture: Architecture::Dlrm,
        tables: ids.iter().map(table).collect(),
        embedding_dim: 4,
        bottom_mlp: vec![8],
        top_mlp: vec![8],
        interaction: Interaction::Dot,
        dropout: 0.0,
        embedding_optimizer: OptimizerOptions::Adagrad {
            learning_rate: 0.1,
            epsilon: 1e-6,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        },
        dense_optimizer: DenseOptimizerOptions::Adagrad {
            learning_rate: 0.05,
            epsilon: 1e-6,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        },
        loss,
        heads: Vec::new(),
        retrieval: None,
        seed: 3,
    }
}

/// A step of the plugin `name`.
pub(super) fn step(name: &str, inputs: &[&str]) -> ChainStep {
    let inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
    ChainStep { inputs, op: ChainOp::Plugin(call(name, "a")) }
}

pub(crate) fn environment(comm: Arc<dyn Comm>) -> Environment {
    Environment { comm, compute: DeviceChoice::Cpu.resolve(0).unwrap(), plugins: Arc::new(Native) }
}

/// Three epochs of batches of 64 rows.
pub(crate) fn training() -> TrainSpec {
    TrainSpec {
        batch_size: 64,
        epochs: 3,
        steps_max: 0,
        shuffle: Shuffle::None,
        seed: 3,
        schedule: Schedule::default(),
        clip_norm: 0.0,
        eval_every: 0,
        eval_k: 20,
        group_by: None,
        early_stop: None,
        checkpoint_every: 0,
        checkpoints_kept: 2,
        checkpoint_full_every: 0,
        report_every: 5,
        loader_threads: 1,
        overlap: Overlap::default(),
        wire: Wire::default(),
    }
}
