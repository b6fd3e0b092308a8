//! Two towers: learning, encoding, retrieval.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};
use rectool_comm::{Comm, Solo, on_ranks};
use rectool_data::{ChainOp, ChainStep, Dataset, DatasetWriter, WriterOptions};
use rectool_embedding::OptimizerOptions;
use tch::Device;

use super::native::{call, choices, environment, model, training};
use crate::{
    Architecture, Checkpoint, Compute, DenseOptimizerOptions, EarlyStop, Environment, Evaluation,
    EvaluationReport, LossSpec, ModelError, ModelSpec, NegativeSpec, Observer, Quiet, Ranker,
    RetrievalJob, RetrievalObjective, RetrievalOptions, RetrievalSpec, Scorer, Side, StopMetric,
    TowerSpec, TrainJob, TrainSpec, TwoTowerSpec, fit,
};

const NAMES: [&str; 3] = ["user", "item", "kind"];

/// Users on one side, items and their kinds on the other; `dense` belongs to users.
pub(super) fn spec(objective: RetrievalObjective) -> ModelSpec {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let tower = |ids: &[&str], dense: &[&str]| TowerSpec {
        ids: names(ids),
        dense: names(dense),
        mlp: vec![12, 6],
        ..TowerSpec::default()
    };
    let mut spec = model(LossSpec::Bce, "dense", &NAMES, Vec::new());
    spec.features.label = (!objective.is_contrastive()).then(|| "click".to_owned());
    spec.architecture = Architecture::TwoTower(TwoTowerSpec {
        query: tower(&["user"], &["dense"]),
        candidate: tower(&["item", "kind"], &[]),
        normalize: true,
    });
    let retrieval = RetrievalSpec::new("item", "user");
    spec.retrieval = Some(RetrievalSpec { objective, temperature: 0.2, ..retrieval });
    spec
}

pub(super) fn uniform() -> NegativeSpec {
    NegativeSpec {
        sampler: call("uniform", "a"),
        item: "item".to_owned(),
        per_row: 2,
        item_columns: vec!["kind".to_owned()],
        score: None,
        seed: 5,
        log_q: Some("log_q".to_owned()),
        label: None,
        group: None,
    }
}

/// Keeps evaluations and losses.
#[derive(Default)]
pub(super) struct Told(pub(super) Vec<f64>, pub(super) Vec<EvaluationReport>);

impl Observer for Told {
    fn on_step(&mut self, report: &crate::StepReport) {
        self.0.push(report.loss);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.1.push(report.clone());
    }

    fn on_checkpoint(&mut self, _: &Path, _: u64) {}
}

pub(super) fn train(
    comm: Arc<dyn Comm>,
    data: &Dataset,
    spec: ModelSpec,
    how: &TrainSpec,
) -> Result<(Ranker, Told), ModelError> {
    let (train, valid) = (data.split("train")?, data.split("valid")?);
    let mut ranker = Ranker::new(spec, data.schema(), environment(comm))?;
    let folder = tempfile::tempdir().unwrap();
    let job = TrainJob {
        spec: how,
        train: &train,
        valid: Some(&valid),
        checkpoints: how.early_stop.is_some().then_some(folder.path()),
        resume: None,
        recipe: None,
    };
    let mut told = Told::default();
    fit(&mut ranker, &job, &mut told)?;
    Ok((ranker, told))
}

/// What a model makes of the validation split.
pub(super) fn recall(ranker: &mut Ranker, data: &Dataset) -> f64 {
    let (train, valid) = (data.split("train").unwrap(), data.split("valid").unwrap());
    // Nothing is seen: all of the few items would be.
    let job = RetrievalJob { test: &valid, seen: &[], items: &[&train], loader_threads: 0 };
    let options = RetrievalOptions { ks: vec![3], seed: 1 };
    ranker.evaluate_retrieval(&job, &options).unwrap().metrics["recall@3"].mean
}

pub(super) fn long() -> TrainSpec {
    TrainSpec { epochs: 12, report_every: 1, ..training() }
}

/// Vectors, lists and figures, by our kernels and by libtorch's operations.
#[test]
fn a_device_retrieves_what_the_kernels_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let (train, valid) = (data.split("train").unwrap(), data.split("valid").unwrap());
    let run = |compute| {
        let environment = Environment { compute, ..environment(Arc::new(Solo)) };
        let spec = spec(RetrievalObjective::Softmax);
        let mut ranker = Ranker::new(spec, data.schema(), environment).unwrap();
        let job =
            RetrievalJob { test: &valid, seen: &[&valid], items: &[&train], loader_threads: 0 };
        let retrieval = ranker.retrieval(&job).unwrap();
        let task = &retrieval.task;
        let users: Vec<u32> = (0..task.users().len() as u32).collect();
        let lists = retrieval.scorer().unwrap().top_k(&users, 4, &task.seen).unwrap();
        (lists, recall(&mut ranker, &data))
    };
    let (fused, tensor) = (run(Compute::Fused), run(Compute::Tensor(Device::Cpu)));
    assert!(fused.0.iter().any(|list| !list.is_empty()));
    assert_eq!(fused.1, tensor.1);
    for (a, b) in fused.0.iter().zip(&tensor.0) {
        let numbers = |list: &[(u32, f32)]| list.iter().map(|(item, _)| *item).collect::<Vec<_>>();
        assert_eq!(numbers(a), numbers(b));
        assert!(a.iter().zip(b).all(|((_, a), (_, b))| (a - b).abs() < 1e-5), "{a:?} {b:?}");
    }
}

#[test]
fn every_objective_finds_what_users_take() {
    use RetrievalObjective::{Bpr, Ccl, Pairs, Softmax};
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut before =
        Ranker::new(spec(Softmax), data.schema(), environment(Arc::new(Solo))).unwrap();
    assert!(recall(&mut before, &data) < 0.7);
    for objective in [Softmax, Bpr, Ccl { margin: 0.3, negative_weight: 1.0 }, Pairs] {
        let mut spec = spec(objective);
        if objective == Pairs {
            // Each row by itself has to be told what was not taken.
            spec.features.negatives = Some(uniform());
        }
        let (mut ranker, told) = train(Arc::new(Solo), &data, spec, &long()).unwrap();
        let found = recall(&mut ranker, &data);
        let least = if objective == Pairs { 0.75 } else { 0.9 };
        assert!(found > least, "{objective:?}: {found}");
        let (first, last) = (told.0[0], told.0[told.0.len() - 1]);
        assert!(last < first, "{objective:?}: {first} {last}");
        let evaluation = &told.1.last().unwrap().evaluation;
        assert_eq!(evaluation.recall.is_some(), objective != Pairs);
        assert_eq!(evaluation.auc.is_some(), objective == Pairs);
        assert_eq!(evaluation.rows, if objective == Pairs { 450 } else { 150 });
    }
}

#[test]
fn ranks_share_their_candidates_and_learn_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    for negatives in [false, true] {
        let mut spec = spec(RetrievalObjective::Softmax);
        spec.features.negatives = negatives.then(uniform);
        // Others scale the least gradient up, and with it what is rounded.
        spec.embedding_optimizer = OptimizerOptions::sgd(2.0);
        spec.dense_optimizer =
            DenseOptimizerOptions::Sgd { learning_rate: 0.2, momentum: 0.0, weight_decay: 0.0 };
        let how = TrainSpec { report_every: 1, ..training() };
        let alone = train(Arc::new(Solo), &data, spec.clone(), &how).unwrap();
        for ranks in [2, 4] {
            let found = on_ranks(ranks, |comm| {
                let (mut ranker, told) = train(comm, &data, spec.clone(), &how).unwrap();
                (ranker.encode(Side::Query, &[&data.split("valid").unwrap()], 0).unwrap(), told)
            });
            for (vectors, told) in &found {
                assert_eq!(*vectors, found[0].0);
                for (one, many) in alone.1.0.iter().zip(&told.0) {
                    assert!((one - many).abs() < 1e-5, "{ranks} ranks: {many}, not {one}");
                }
                let last = |told: &Told| told.1.last().unwrap().evaluation.clone();
                let (one, many) = (last(&alone.1), last(told));
                assert!((one.loss.unwrap() - many.loss.unwrap()).abs() < 1e-4);
                assert!((one.recall.unwrap() - many.recall.unwrap()).abs() < 0.02);
            }
        }
    }
}

#[test]
fn an_interrupted_training_goes_on_with_what_it_knew_of_frequencies() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let split = data.split("train").unwrap();
    let spec = spec(RetrievalObjective::Softmax);
    let run = |steps_max, resume: Option<&Path>, into: &Path| {
        let how = TrainSpec { steps_max, ..training() };
        let environment = environment(Arc::new(Solo));
        let mut ranker = Ranker::new(spec.clone(), data.schema(), environment).unwrap();
        let resume = resume.map(|path| Checkpoint::open(path).unwrap().load(&mut ranker).unwrap());
        let job = TrainJob {
            spec: &how,
            train: &split,
            valid: None,
            checkpoints: Some(into),
            resume,
            recipe: None,
        };
        fit(&mut ranker, &job, &mut Quiet).unwrap().checkpoint.unwrap()
    };
    let whole = run(20, None, &folder.path().join("whole"));
    let part = run(9, None, &folder.path().join("part"));
    let resumed = run(20, Some(&part), &folder.path().join("part"));
    let bytes = |path: &Path| std::fs::read(path.join("dense.safetensors")).unwrap();
    assert_eq!(bytes(&whole), bytes(&resumed));
    let frequency = |path: &Path| {
        let ranker = Checkpoint::open(path).unwrap().ranker(environment(Arc::new(Solo))).unwrap();
        ranker.learning.contrast().unwrap().frequency.state()
    };
    assert!(!frequency(&whole).ids.is_empty());
    assert_eq!(frequency(&whole), frequency(&resumed));
}

/// Items with their kinds alone, some of which training never saw.
fn catalogue(folder: &Path) -> Dataset {
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let schema = Schema::new(vec![i64("item"), i64("kind")]).unwrap();
    let path = folder.join("items");
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    let item: Vec<i64> = vec![4, 70, 8, 4, 73, 8];
    let kind = item.iter().map(|item| 100 + item % 3).collect();
    let i64 = |values| Column::I64 { width: 1, values };
    writer.write("all", vec![i64(item), i64(kind)]).unwrap();
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

#[test]
fn a_tower_encodes_what_it_needs_and_items_it_never_saw() {
    let folder = tempfile::tempdir().unwrap();
    let (data, items) = (choices(folder.path()), catalogue(folder.path()));
    let (valid, all) = (data.split("valid").unwrap(), items.split("all").unwrap());
    let spec = spec(RetrievalObjective::Softmax);
    let (mut ranker, _) = train(Arc::new(Solo), &data, spec.clone(), &training()).unwrap();
    let known = ranker.encode(Side::Candidate, &[&valid], 0).unwrap();
    let found = ranker.encode(Side::Candidate, &[&all], 1).unwrap();
    assert_eq!((found.ids.as_slice(), found.width), (&[4, 8, 70, 73][..], 6));
    assert_eq!(found.of(&found.ids), found.values);
    let vector = |vectors: &crate::Vectors, id| {
        let at = vectors.ids.index(id).unwrap() as usize * 6;
        vectors.values[at..at + 6].to_vec()
    };
    assert_eq!(vector(&found, 4), vector(&known, 4));
    // Of one kind, and otherwise unknown: nearly the same vector of length 1.
    let pair = vector(&found, 70).into_iter().zip(vector(&found, 73));
    let cosine: f32 = pair.map(|(a, b)| a * b).sum();
    assert!((0.95..1.00001).contains(&cosine), "{cosine}");
    // The first split that has an item says what it is.
    let both = ranker.encode(Side::Candidate, &[&all, &valid], 0).unwrap();
    assert_eq!(both.ids.len(), 11);

    let error = ranker.encode(Side::Query, &[&all], 0).unwrap_err();
    assert!(error.to_string().contains("no column `dense`"), "{error}");
    let mut other = model(LossSpec::Bce, "dense", &NAMES, Vec::new());
    other.seed = 4;
    let mut other = Ranker::new(other, data.schema(), environment(Arc::new(Solo))).unwrap();
    let error = other.encode(Side::Query, &[&valid], 0).unwrap_err();
    assert!(error.to_string().contains("two_tower"), "{error}");
    let parts = on_ranks(3, |comm| {
        let mut ranker = Ranker::new(spec.clone(), data.schema(), environment(comm)).unwrap();
        ranker.encode(Side::Candidate, &[&all, &valid], 0).unwrap()
    });
    let alone = Ranker::new(spec, data.schema(), environment(Arc::new(Solo)));
    let alone = alone.unwrap().encode(Side::Candidate, &[&all, &valid], 0).unwrap();
    assert!(parts.iter().all(|part| *part == alone));
}

#[test]
fn ids_need_not_be_embedded() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut spec = spec(RetrievalObjective::Softmax);
    let Architecture::TwoTower(towers) = &mut spec.architecture else { unreachable!() };
    // Items are known by their kind alone.
    towers.candidate.ids = vec!["kind".to_owned()];
    spec.features.ids.retain(|feature| feature.name != "item");
    spec.tables.retain(|table| table.name != "item");
    let (mut ranker, _) = train(Arc::new(Solo), &data, spec, &training()).unwrap();
    let items = ranker.encode(Side::Candidate, &[&data.split("valid").unwrap()], 0).unwrap();
    assert_eq!(items.ids.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(items.values[..6], items.values[18..24]);
}

#[test]
fn early_stopping_watches_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let early_stop = Some(EarlyStop { metric: StopMetric::Ndcg, head: None, patience: 2 });
    let how = TrainSpec { epochs: 50, early_stop, eval_k: 3, ..training() };
    let (_, told) = train(Arc::new(Solo), &data, spec(RetrievalObjective::Softmax), &how).unwrap();
    let ndcg = |report: &EvaluationReport| report.evaluation.ndcg.unwrap();
    let best = told.1.iter().map(ndcg).fold(0.0, f64::max);
    let marked = told.1.iter().rfind(|report| report.best).unwrap();
    assert_eq!(ndcg(marked), best);
    assert!(told.1.len() < 50, "{} evaluations", told.1.len());
}

type Change<'a> = &'a dyn Fn(&mut ModelSpec);

#[test]
fn towers_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let refused = |change: &dyn Fn(&mut ModelSpec)| {
        let mut spec = spec(RetrievalObjective::Softmax);
        change(&mut spec);
        let made = Ranker::new(spec, data.schema(), environment(Arc::new(Solo)));
        made.map(drop).unwrap_err().to_string()
    };
    let modulo = |column: &str| ChainStep::on(column, ChainOp::Modulo { buckets: 4 });
    let cases: [(Change<'_>, &str); 8] = [
        (&|spec| spec.retrieval = None, "`retrieval` is absent"),
        (&|spec| spec.architecture = Architecture::Dlrm, "`retrieval` is given"),
        (&|spec| spec.loss = LossSpec::Mse, "`loss` is given"),
        (&|spec| spec.retrieval.as_mut().unwrap().temperature = 0.0, "`temperature` is 0"),
        (&|spec| spec.retrieval.as_mut().unwrap().item = "itme".into(), "itme"),
        (&|spec| spec.retrieval.as_mut().unwrap().query = "dense".into(), "`query.id`"),
        (&|spec| spec.features.chain.steps.push(modulo("item")), "`candidate.id` is `item`"),
        (
            &|spec| {
                spec.retrieval.as_mut().unwrap().objective = RetrievalObjective::Pairs;
            },
            "`label` is absent",
        ),
    ];
    for (change, words) in cases {
        let error = refused(change);
        assert!(error.contains(words), "{error}, not {words}");
    }
}

#[test]
fn a_log_without_choices_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut spec = spec(RetrievalObjective::Softmax);
    spec.features.label = Some("dense".to_owned());
    spec.features.chain.steps.push(ChainStep::on("dense", ChainOp::Clip { min: -1.0, max: 0.0 }));
    for ranks in [1, 2] {
        let errors = on_ranks(ranks, |comm| {
            train(comm, &data, spec.clone(), &training()).map(drop).unwrap_err().to_string()
        });
        assert!(errors[0].contains("`label` is 0 or less in all rows up to step"), "{errors:?}");
    }
}

#[test]
fn labels_say_which_rows_are_queries() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut labelled = spec(RetrievalObjective::Softmax);
    labelled.features.label = Some("click".to_owned());
    let plain = spec(RetrievalObjective::Softmax);
    let how = TrainSpec { epochs: 1, ..training() };
    let evaluation = |spec| -> Evaluation {
        train(Arc::new(Solo), &data, spec, &how).unwrap().1.1.pop().unwrap().evaluation
    };
    // All labels are 1.
    assert_eq!(evaluation(labelled), evaluation(plain));
}

#[test]
fn scores_of_rows_are_those_that_are_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let valid = data.split("valid").unwrap();
    let mut pairs = spec(RetrievalObjective::Pairs);
    pairs.retrieval.as_mut().unwrap().temperature = 0.5;
    let dlrm = ModelSpec {
        architecture: Architecture::Dlrm,
        retrieval: None,
        ..spec(RetrievalObjective::Pairs)
    };
    for spec in [pairs, dlrm] {
        let predict = |comm: Arc<dyn Comm>| {
            let mut ranker = Ranker::new(spec.clone(), data.schema(), environment(comm)).unwrap();
            ranker.predict(&valid, 0).unwrap()
        };
        let scores = predict(Arc::new(Solo));
        assert!(on_ranks(3, predict).iter().all(|found| *found == scores));
        let mut ranker =
            Ranker::new(spec.clone(), data.schema(), environment(Arc::new(Solo))).unwrap();
        let evaluation = ranker.evaluate(&valid, 40, 0).unwrap();
        // All rows are clicks.
        let losses = scores.iter().map(|score| f64::from((-score).exp()).ln_1p());
        let mean = losses.sum::<f64>() / scores.len() as f64;
        assert!((mean - evaluation.logloss.unwrap()).abs() < 1e-6);
    }
    let softmax = spec(RetrievalObjective::Softmax);
    let mut ranker = Ranker::new(softmax, data.schema(), environment(Arc::new(Solo))).unwrap();
    let error = ranker.predict(&valid, 0).unwrap_err();
    assert!(error.to_string().contains("one that scores rows"), "{error}");
}
