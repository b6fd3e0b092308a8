//! Networks of branches: both ways of computing agree, for every kind, and blocks are the batch.

use rectool_base::Stream;
use rectool_embedding::{IndexKind, Init, Keep, Pooling};
use tch::Device;

use super::{Network, Pass, Shape};
use crate::parameters::{Declaration, Parameters};
use crate::{
    Architecture, Compute, CrossSpec, CrossStructure, DcnV2Spec, DenseOptimizerOptions, DinSpec,
    FeatureSpec, HeadSpec, HistorySpec, IdFeatureSpec, Interaction, LossSpec, ModelError,
    ModelSpec, RowSpec, TableSpec, TowerSpec, TwoTowerSpec, dense_outline,
};

const LENGTH: usize = 6;
/// Widths of the dense columns `a` and `b`.
const DENSE: [usize; 2] = [2, 3];

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Features `x`, `y`, `z` and a `history` of `x`; dense columns `a` and `b`.
fn spec(architecture: Architecture) -> ModelSpec {
    let towers = matches!(architecture, Architecture::TwoTower(_));
    let retrieval = towers.then(|| crate::RetrievalSpec::new("x", "y"));
    let takes_history = matches!(architecture, Architecture::Din(_) | Architecture::TwoTower(_));
    let feature = |name: &&str| IdFeatureSpec {
        name: (*name).to_owned(),
        column: (*name).to_owned(),
        at: 0,
        table: (*name).to_owned(),
        pooling: Pooling::Sum,
        weights: None,
    };
    let mut ids: Vec<_> = ["x", "y", "z"].iter().map(feature).collect();
    if takes_history {
        let pooling = Pooling::Sequence { length: LENGTH, keep: Keep::Last };
        let history = IdFeatureSpec { table: "x".to_owned(), pooling, ..feature(&"history") };
        ids.insert(1, history);
    }
    let table = |name: &&str| TableSpec {
        name: (*name).to_owned(),
        index: IndexKind::Hash,
        init: Init::Uniform { bound: 0.1 },
        dim: None,
        rows: RowSpec::default(),
    };
    ModelSpec {
        features: FeatureSpec {
            label: Some("label".to_owned()),
            weight: None,
            negatives: None,
            dense: words(&["a", "b"]),
            ids,
            chain: rectool_data::ChainSpec::default(),
        },
        architecture,
        tables: ["x", "y", "z"].iter().map(table).collect(),
        embedding_dim: 5,
        bottom_mlp: Vec::new(),
        top_mlp: vec![9, 6],
        interaction: Interaction::Dot,
        dropout: 0.0,
        embedding_optimizer: rectool_embedding::OptimizerOptions::sgd(0.1),
        dense_optimizer: DenseOptimizerOptions::Sgd {
            learning_rate: 0.1,
            momentum: 0.0,
            weight_decay: 0.0,
        },
        loss: LossSpec::Bce,
        heads: Vec::new(),
        retrieval,
        seed: 11,
    }
}

fn towers(history: HistorySpec, mlp: &[usize], cross: Option<CrossSpec>) -> Architecture {
    let query = TowerSpec {
        ids: words(&["history", "y"]),
        dense: words(&["b"]),
        cross: cross.clone(),
        mlp: mlp.to_vec(),
        history: Some(history),
    };
    let ids = words(&["x", "z"]);
    let dense = words(&["b"]);
    let candidate = TowerSpec { ids, dense, cross, mlp: mlp.to_vec(), history: None };
    Architecture::TwoTower(TwoTowerSpec { query, candidate, normalize: false })
}

fn dcn(rank: Option<usize>, structure: CrossStructure) -> Architecture {
    Architecture::DcnV2(DcnV2Spec { cross_layers: 3, rank, structure })
}

fn din() -> Architecture {
    let (history, target) = ("history".to_owned(), "x".to_owned());
    Architecture::Din(DinSpec { history, target, attention_mlp: vec![7] })
}

fn normalized(mut architecture: Architecture) -> Architecture {
    if let Architecture::TwoTower(towers) = &mut architecture {
        towers.normalize = true;
    }
    architecture
}

/// Every kind and option.
fn cases() -> Vec<ModelSpec> {
    use HistorySpec::{Attention, Gru};
    let cross = |rank| Some(CrossSpec { layers: 2, rank });
    let kinds = [
        Architecture::DeepFm,
        Architecture::WideDeep,
        dcn(None, CrossStructure::Stacked),
        dcn(Some(4), CrossStructure::Stacked),
        dcn(None, CrossStructure::Parallel),
        din(),
        normalized(towers(Attention, &[8, 4], cross(Some(3)))),
        towers(Gru, &[7], cross(None)),
        normalized(towers(Attention, &[], None)),
        towers(Gru, &[], cross(None)),
    ];
    let mut cases: Vec<ModelSpec> = kinds.into_iter().map(spec).collect();
    for at in [0, 4, 5, 6] {
        cases.push(ModelSpec { dropout: 0.4, ..cases[at].clone() });
    }
    for at in [0, 1, 3, 5] {
        let mut without = cases[at].clone();
        without.features.dense.clear();
        cases.push(without);
    }
    let mut mixed = cases[1].clone();
    mixed.tables[2].dim = Some(16);
    cases.push(mixed);
    for (at, classes) in [(3, 3), (4, 17), (5, 6)] {
        cases.push(ModelSpec { loss: crate::LossSpec::Softmax { classes }, ..cases[at].clone() });
    }
    let stars = HeadSpec::new("stars", LossSpec::Mse, 1.0);
    let kinds = HeadSpec::new("kind", LossSpec::Softmax { classes: 3 }, 0.5);
    let heads = vec![stars, HeadSpec { layers: vec![7, 5], ..kinds }];
    // Beside vectors of length 1, as they come, and with dropout.
    for at in [6, 7, 13] {
        cases.push(ModelSpec { heads: heads.clone(), ..cases[at].clone() });
    }
    cases
}

fn widths(spec: &ModelSpec) -> &'static [usize] {
    &DENSE[..spec.features.dense.len()]
}

struct Built {
    network: Box<dyn Network>,
    parameters: Parameters,
    spec: ModelSpec,
    rows: usize,
}

fn build(spec: &ModelSpec, compute: Compute, rows: usize) -> Built {
    spec.check().unwrap();
    let mut declaration = Declaration::default();
    let shape = Shape::declare(spec, widths(spec), &mut declaration).unwrap();
    let work = shape.row_work();
    assert!(work.flops > 0.0 && work.bytes > 0.0);
    let mut parameters = Parameters::new(declaration, Device::Cpu).unwrap();
    let network = shape.build(&mut parameters, compute).unwrap();
    // Biases, and numbers that begin as 0, are to matter as well.
    let len = parameters.values().len();
    for (value, more) in parameters.values_mut().iter_mut().zip(noise(len, 7)) {
        *value += 0.1 * more;
    }
    Built { network, parameters, spec: spec.clone(), rows }
}

fn noise(len: usize, stream: u64) -> Vec<f32> {
    let mut stream = Stream::new(5, &[stream]);
    (0..len).map(|_| stream.next_normal()).collect()
}

const PASS: Pass = Pass::Train { step: 3, row_first: 2 };

impl Built {
    /// Outputs for fixed inputs. Histories end anywhere, some before they begin, and some have holes.
    fn forward(&mut self, pass: Pass) -> Vec<f32> {
        self.network.begin(self.rows).unwrap();
        let dense: usize = widths(&self.spec).iter().sum();
        self.network.dense_mut().copy_from_slice(&noise(self.rows * dense, 1));
        let (vectors, layout) = self.network.embeddings_mut();
        vectors.copy_from_slice(&noise(vectors.len(), 2));
        let at = self.spec.features.ids.iter().position(IdFeatureSpec::is_sequence);
        if let Some(at) = at {
            let dim = self.spec.embedding_dim;
            for (row, values) in vectors.chunks_exact_mut(layout.row_stride).enumerate() {
                let history = &mut values[layout.offsets[at]..][..LENGTH * dim];
                for (position, vector) in history.chunks_exact_mut(dim).enumerate() {
                    if position >= row % (LENGTH + 1) || (row % 5 == 3 && position == 1) {
                        vector.fill(0.0);
                    }
                }
            }
        }
        self.network.forward(&self.parameters, pass).unwrap().to_vec()
    }

    /// Outputs, and gradients of parameters and embeddings, as means over the rows.
    fn step(&mut self) -> [Vec<f32>; 3] {
        let outputs = self.forward(PASS);
        assert_eq!(outputs.len(), self.rows * self.network.width());
        self.network.backward(&mut self.parameters, &noise(outputs.len(), 3)).unwrap();
        let mut parameters = self.parameters.gradients_mut().to_vec();
        for sum in &mut parameters {
            *sum /= self.rows as f32;
        }
        [outputs, parameters, self.network.embedding_gradient().0.to_vec()]
    }
}

fn assert_near(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (at, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() <= 2e-5 * (1.0 + b.abs()), "{what}[{at}]: {a} and {b}");
    }
}

const PARTS: [&str; 3] = ["outputs", "parameter gradients", "embedding gradients"];

#[test]
fn fused_equals_tensor() {
    for (at, spec) in cases().iter().enumerate() {
        for rows in [9, 300] {
            let mut fused = build(spec, Compute::Fused, rows);
            let mut tensor = build(spec, Compute::Tensor(Device::Cpu), rows);
            let (left, right) = (fused.step(), tensor.step());
            for ((left, right), part) in left.iter().zip(&right).zip(PARTS) {
                let kind = spec.architecture.name();
                assert!(left.iter().any(|value| *value != 0.0), "case {at}, {kind}: {part}");
                assert_near(left, right, &format!("case {at}, {kind}, {rows} rows: {part}"));
            }
            let (left, right) = (fused.forward(Pass::Evaluate), tensor.forward(Pass::Evaluate));
            assert_near(&left, &right, &format!("case {at}, {rows} rows: evaluation"));
        }
    }
}

/// Batches of several groups of several blocks, and of one short block after them.
#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let all = cases();
    for spec in all.iter().take(14).chain(all.last()) {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut built = build(spec, Compute::Fused, 1500);
            pool.install(|| built.step())
        };
        assert!(run(1) == run(3), "{}", spec.architecture.name());
    }
}

#[test]
fn a_smaller_batch_after_a_larger_one_is_the_same() {
    for spec in &cases() {
        let mut built = build(spec, Compute::Fused, 300);
        built.step();
        built.rows = 37;
        let after = built.step();
        assert!(after == build(spec, Compute::Fused, 37).step(), "{}", spec.architecture.name());
    }
}

#[test]
fn a_batch_without_rows_is_no_trouble() {
    let all = cases();
    for spec in all.iter().take(10).chain(all.last()) {
        for compute in [Compute::Fused, Compute::Tensor(Device::Cpu)] {
            let mut built = build(spec, compute, 0);
            assert!(built.forward(PASS).is_empty());
            built.network.backward(&mut built.parameters, &[]).unwrap();
            assert!(built.parameters.gradients_mut().iter().all(|gradient| *gradient == 0.0));
        }
    }
}

#[test]
fn an_outline_counts_what_is_built() {
    for spec in &cases() {
        let outline = dense_outline(spec, widths(spec)).unwrap();
        let mut built = build(spec, Compute::Fused, 1);
        assert_eq!(outline.parameters, built.parameters.count());
        built.network.begin(1).unwrap();
        assert_eq!(outline.embedding_floats, built.network.embeddings_mut().0.len());
    }
    let outline = dense_outline(&cases()[3], &DENSE).unwrap();
    let [first, second, third] = [("cross.0.0", 20, 4), ("cross.0.1", 4, 20), ("cross.1.0", 20, 4)]
        .map(|(name, inputs, outputs)| (name.to_owned(), inputs, outputs));
    assert_eq!(outline.layers[..3], [first, second, third]);
}

#[test]
fn vectors_have_length_one_where_asked() {
    let mut built = build(&cases()[6], Compute::Fused, 50);
    let outputs = built.forward(PASS);
    for vector in outputs.chunks_exact(4) {
        let squared: f32 = vector.iter().map(|value| value * value).sum();
        assert!((squared - 1.0).abs() < 1e-4, "{squared}");
    }
}

#[test]
fn options_that_do_not_fit_are_refused() {
    let refuse = |change: &dyn Fn(&mut ModelSpec), architecture: Architecture, text: &str| {
        let mut spec = spec(architecture);
        change(&mut spec);
        let error = dense_outline(&spec, &DENSE).unwrap_err().to_string();
        assert!(error.contains(text), "{error}, not {text}");
    };
    let tower = |change: &'static dyn Fn(&mut TwoTowerSpec)| {
        move |spec: &mut ModelSpec| {
            let Architecture::TwoTower(towers) = &mut spec.architecture else { unreachable!() };
            change(towers);
        }
    };
    let both = || towers(HistorySpec::Gru, &[4], None);
    refuse(&tower(&|it| it.query.history = None), both(), "`query.history` is absent");
    refuse(&tower(&|it| it.query.ids.push("w".to_owned())), both(), "`query.ids` is w, expected");
    refuse(&tower(&|it| it.query.dense.push("c".to_owned())), both(), "`query.dense` is c,");
    refuse(&tower(&|it| it.query.ids.push("y".to_owned())), both(), "`y` twice");
    refuse(&tower(&|it| it.candidate.mlp = vec![5]), both(), "`candidate.mlp` is 5, expected a");
    refuse(&tower(&|it| it.candidate.mlp.clear()), both(), "`candidate.mlp` is 13, expected a");
    refuse(&tower(&|it| drop(it.candidate.ids.pop())), both(), "`ids` is `z` in no tower");
    refuse(&|spec| spec.tables[0].init = Init::Zero, both(), "`tables.x.init` is zero");
    refuse(&|spec| spec.tables[1].dim = Some(3), Architecture::DeepFm, "`tables.y.dim` is 3");
    let other = |spec: &mut ModelSpec| {
        spec.tables[1].dim = Some(3);
        let Architecture::Din(din) = &mut spec.architecture else { unreachable!() };
        din.target = "y".to_owned();
    };
    refuse(&other, din(), "`target` is y of width 3, expected a feature of width 5");
    let none = |spec: &mut ModelSpec| spec.features.ids.clear();
    refuse(&none, Architecture::WideDeep, "at least one id feature");
    let mut deep = dcn(Some(0), CrossStructure::Stacked);
    refuse(&|_| {}, deep.clone(), "`rank` is 0");
    if let Architecture::DcnV2(cross) = &mut deep {
        (cross.rank, cross.cross_layers) = (None, 0);
    }
    refuse(&|_| {}, deep, "`cross_layers` is 0, expected 1 to 32");
    let mut sequence = spec(din());
    sequence.architecture = Architecture::DeepFm;
    assert!(matches!(sequence.check(), Err(ModelError::Sequence { model: "deepfm", .. })));
}
