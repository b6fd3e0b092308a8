//! Heads beside the objective of two towers.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{Batch, Column, Hint, Prediction, Stream};
use rectool_comm::{CommError, Solo, on_ranks};
use rectool_data::Dataset;
use rectool_embedding::OptimizerOptions;
use tch::Device;

use super::heads::{Content, alone, by_torch, dataset, refused, train};
use super::native::{call, choices, environment, training};
use super::towers::{self, long, recall, uniform};
use crate::RetrievalObjective::{Bpr, Pairs, Softmax};
use crate::learning::{Outcome, Tally};
use crate::{
    Architecture, Checkpoint, Compute, DenseOptimizerOptions, Environment, Evaluator, HeadSpec,
    LossSpec, ModelError, ModelSpec, Observer, Ranker, RetrievalObjective, Side, StepReport,
    TrainJob, TrainSpec, fit, latest,
};

/// Width E of a tower's vector.
const WIDTH: usize = 6;
/// What the heads of [`three`] give of a row.
const OUTPUTS: usize = 6;

fn stars() -> HeadSpec {
    let loss = LossSpec::Softmax { classes: 4 };
    HeadSpec { layers: vec![8], ..HeadSpec::new("stars", loss, 0.5) }
}

fn three() -> Vec<HeadSpec> {
    let (click, dwell) = (LossSpec::Bce, LossSpec::Mse);
    vec![HeadSpec::new("click", click, 1.0), stars(), HeadSpec::new("dwell", dwell, 0.1)]
}

/// Users and items, without kinds.
fn spec(objective: RetrievalObjective, heads: Vec<HeadSpec>) -> ModelSpec {
    let mut spec = towers::spec(objective);
    spec.features.ids.retain(|feature| feature.name != "kind");
    spec.tables.retain(|table| table.name != "kind");
    let Architecture::TwoTower(towers) = &mut spec.architecture else { unreachable!() };
    towers.candidate.ids = vec!["item".to_owned()];
    if !heads.is_empty() {
        spec.retrieval.as_mut().unwrap().weight = 0.7;
    }
    ModelSpec { heads, ..spec }
}

/// With optimizers that do not scale the least gradient up, and with it what is rounded.
fn plainly(mut spec: ModelSpec) -> ModelSpec {
    spec.embedding_optimizer = OptimizerOptions::sgd(2.0);
    spec.dense_optimizer =
        DenseOptimizerOptions::Sgd { learning_rate: 0.2, momentum: 0.0, weight_decay: 0.0 };
    spec
}

fn visits() -> HeadSpec {
    HeadSpec { layers: vec![8], ..HeadSpec::new("visit_length", LossSpec::Mse, 0.3) }
}

/// The choices of users, and how long their visits are.
fn with_visits() -> ModelSpec {
    let mut spec = towers::spec(Softmax);
    spec.retrieval.as_mut().unwrap().weight = 0.7;
    ModelSpec { heads: vec![visits()], ..spec }
}

/// The gradient of `outputs`, rows of a batch that ranks share.
fn gradients(data: &Dataset, spec: &ModelSpec, outputs: &[f32], ranks: usize) -> Vec<f32> {
    let split = data.split("train").unwrap();
    let parts = on_ranks(ranks, |comm| {
        let mut ranker =
            Ranker::new(spec.clone(), data.schema(), environment(comm.clone())).unwrap();
        let width = ranker.outputs();
        let rows_global = outputs.len() / width;
        let own = Batch::slice_of(rows_global, comm.rank(), ranks);
        let read: Vec<usize> = ranker
            .schema
            .columns()
            .iter()
            .map(|column| split.schema().position(&column.name).unwrap())
            .collect();
        let rows: Vec<u64> = own.clone().map(|row| row as u64).collect();
        let columns = split.gather(&rows, &read).unwrap();
        let (rows, row_first) = (own.len(), own.start);
        let batch = Batch { rows, rows_global, row_first, columns, ..Batch::default() };
        let outputs = &outputs[own.start * width..own.end * width];
        let outcome = Outcome { input: &ranker.input, batch: &batch, outputs };
        ranker.learning.learn(&*comm, outcome, &mut Tally::default()).unwrap();
        ranker.learning.gradients().to_vec()
    });
    parts.concat()
}

#[test]
fn gradients_are_those_of_the_objective_and_of_weighted_means() {
    let rows = 40;
    for objective in [Softmax, Bpr, Pairs] {
        let folder = tempfile::tempdir().unwrap();
        // A label that says which rows are clicks is not to lack.
        let data = dataset(folder.path(), objective != Pairs);
        let mut stream = Stream::new(9, &[]);
        let mut noise = |width: usize| -> Vec<f32> {
            (0..rows * width).map(|_| 2.0 * stream.next_normal()).collect()
        };
        let (vectors, heads) = (noise(2 * WIDTH), noise(OUTPUTS));
        let split = data.split("train").unwrap();
        let all: Vec<u64> = (0..rows as u64).collect();
        let labels = split.gather(&all, &[3, 4, 5]).unwrap();
        let floats = |at: usize| match &labels[at] {
            Column::F32 { values, .. } => values.as_slice(),
            _ => unreachable!("written as floats"),
        };
        let of_heads = by_torch(&heads, [floats(0), floats(1), floats(2)]);
        let of_vectors = gradients(&data, &spec(objective, Vec::new()), &vectors, 1);
        let expected = of_vectors.chunks_exact(2 * WIDTH).zip(of_heads.chunks_exact(OUTPUTS));
        let expected = expected.flat_map(|(vectors, heads)| {
            vectors.iter().map(|value| value * 0.7).chain(heads.iter().copied())
        });
        let expected: Vec<f32> = expected.collect();
        let outputs = vectors.chunks_exact(2 * WIDTH).zip(heads.chunks_exact(OUTPUTS));
        let outputs: Vec<f32> =
            outputs.flat_map(|(vectors, heads)| [vectors, heads].concat()).collect();
        for ranks in [1, 3] {
            let found = gradients(&data, &spec(objective, three()), &outputs, ranks);
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let near = (found - expected).abs() < 1e-5 * (1.0 + expected.abs());
                assert!(near, "{objective:?}, {ranks} ranks: {found}, not {expected}");
            }
        }
        // Rows without a label have no gradient.
        assert!(of_heads.contains(&0.0) == (objective != Pairs));
    }
}

/// Keeps what is told of steps.
#[derive(Default)]
struct Steps(Vec<StepReport>);

impl Observer for Steps {
    fn on_step(&mut self, report: &StepReport) {
        self.0.push(report.clone());
    }

    fn on_evaluation(&mut self, _: &crate::EvaluationReport) {}

    fn on_checkpoint(&mut self, _: &Path, _: u64) {}
}

#[test]
fn heads_are_learned_and_judged_beside_what_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let (mut ranker, told) = towers::train(Arc::new(Solo), &data, with_visits(), &long()).unwrap();
    assert!(recall(&mut ranker, &data) > 0.9);
    let found = &told.1.last().unwrap().evaluation;
    let names = with_visits().metric_names(&ranker.predictions());
    let expected = ["recall", "ndcg", "hit_rate", "loss", "rmse_visit_length", "mae_visit_length"];
    assert_eq!(names, expected);
    assert!(names.iter().all(|name| found.metric(name).unwrap().is_finite()), "{found:?}");
    // The mean alone would be off by 0.8.
    assert!(found.metric("rmse_visit_length").unwrap() < 0.4, "{found:?}");
    assert_eq!((found.rows, found.heads[0].evaluation.rows), (150, 150));
    let line = found.summary();
    assert!(line.starts_with("recall ") && line.contains("; visit_length: RMSE 0."), "{line}");
    // Row by row nothing is found, but everything else is judged.
    let again = ranker.evaluate(&data.split("valid").unwrap(), 64, 0).unwrap();
    assert_eq!((again.loss, &again.heads, again.recall), (found.loss, &found.heads, None));
    assert_eq!(with_visits().row_metric_names(&ranker.predictions()), expected[3..]);
    let scores = ranker.predict(&data.split("valid").unwrap(), 0).unwrap();
    let Column::F32 { values, .. } =
        data.split("valid").unwrap().gather(&(0..150).collect::<Vec<_>>(), &[5]).unwrap().remove(0)
    else {
        unreachable!("written as floats")
    };
    let mut evaluator = Evaluator::of(Prediction::Value);
    evaluator.add(&scores, &values);
    assert_eq!(evaluator.finish(&Solo).unwrap(), found.heads[0].evaluation);
}

/// Trains, and gives the reports of the steps.
fn reports(ranker: &mut Ranker, data: &Dataset) -> Vec<StepReport> {
    let (train, mut steps) = (data.split("train").unwrap(), Steps::default());
    let job = TrainJob {
        spec: &training(),
        train: &train,
        valid: None,
        checkpoints: None,
        resume: None,
        recipe: None,
    };
    fit(ranker, &job, &mut steps).unwrap();
    steps.0
}

#[test]
fn reports_have_every_loss() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    for (objective, ranks) in [(Softmax, 1), (Softmax, 2), (Bpr, 1)] {
        let told = on_ranks(ranks, |comm| {
            let spec = spec(objective, three());
            let mut ranker = Ranker::new(spec, data.schema(), environment(comm)).unwrap();
            reports(&mut ranker, &data)
        });
        for report in told.iter().flatten() {
            let labels: Vec<&str> = report.heads.iter().map(|head| head.label.as_str()).collect();
            assert_eq!(labels, ["click", "stars", "dwell"]);
            let losses: Vec<f64> = report.heads.iter().map(|head| head.loss.unwrap()).collect();
            let total =
                0.7 * report.objective.unwrap() + losses[0] + 0.5 * losses[1] + 0.1 * losses[2];
            assert!((report.loss - total).abs() < 1e-6 * total, "{report:?}");
        }
    }
}

#[test]
fn heads_of_weight_0_leave_the_towers_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let unlearned = three().into_iter().map(|head| HeadSpec { weight: 0.0, ..head }).collect();
    let mut headed = spec(Softmax, unlearned);
    headed.retrieval.as_mut().unwrap().weight = 1.0;
    let how = TrainSpec { clip_norm: 0.5, ..training() };
    let run = |spec: ModelSpec| towers::train(Arc::new(Solo), &data, spec, &how).unwrap();
    let (mut plain, told) = run(spec(Softmax, Vec::new()));
    let (mut with, told_with) = run(headed);
    let weights = plain.parameters.values();
    assert_eq!(*weights, with.parameters.values()[..weights.len()]);
    let last = |told: &towers::Told| {
        let found = &told.1.last().unwrap().evaluation;
        (found.recall, found.ndcg, found.loss, found.rows)
    };
    assert_eq!(last(&told), last(&told_with));
    assert_eq!(told_with.1.last().unwrap().evaluation.heads.len(), 3);
    for side in [Side::Query, Side::Candidate] {
        let of = |ranker: &mut Ranker| ranker.encode(side, &[&data.split("valid").unwrap()], 0);
        assert_eq!(of(&mut plain).unwrap(), of(&mut with).unwrap());
    }
    // And what is learned by heads alone does change them.
    let mut alone = spec(Softmax, three());
    alone.retrieval.as_mut().unwrap().weight = 0.0;
    let (taught, told) = run(alone);
    assert_ne!(plain.parameters.values(), &taught.parameters.values()[..weights_of(&plain)]);
    let found = &told.1.last().unwrap().evaluation;
    assert!(found.metric("auc_click").unwrap() > 0.8, "{found:?}");
}

fn weights_of(ranker: &Ranker) -> usize {
    ranker.parameters.values().len()
}

fn near(one: &Content, other: &Content, tolerance: f32) -> bool {
    let pairs = one.0.iter().zip(&other.0);
    pairs
        .map(|(a, b)| (f32::from_bits(*a), f32::from_bits(*b)))
        .all(|(a, b)| (a - b).abs() < tolerance)
}

#[test]
fn ranks_do_not_change_what_towers_and_heads_learn() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let spec = plainly(spec(Softmax, three()));
    let one = alone(&data, &spec);
    for ranks in [2, 3] {
        let found = on_ranks(ranks, |comm| train(comm, &data, &spec, (&training(), None)).unwrap());
        assert!(found.iter().all(|other| other.0.0 == found[0].0.0 && other.1 == found[0].1));
        assert!(near(&one.0, &found[0].0, 1e-4), "{ranks} ranks");
        for (a, b) in one.2.iter().zip(&found[0].2) {
            assert!((a - b).abs() < 1e-3, "{ranks} ranks: {a} and {b}");
        }
    }
}

#[test]
fn the_tensor_path_learns_what_the_fused_one_does() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let run = |compute| {
        let environment = Environment { compute, ..environment(Arc::new(Solo)) };
        let spec = plainly(ModelSpec { dropout: 0.2, ..spec(Softmax, three()) });
        let mut ranker = Ranker::new(spec, data.schema(), environment).unwrap();
        reports(&mut ranker, &data);
        ranker.predict(&data.split("valid").unwrap(), 0).unwrap()
    };
    let (fused, tensor) = (run(Compute::Fused), run(Compute::Tensor(Device::Cpu)));
    assert_eq!(fused.len(), 150 * OUTPUTS);
    for (a, b) in fused.iter().zip(&tensor) {
        assert!((a - b).abs() < 1e-3 * (1.0 + b.abs()), "{a} and {b}");
    }
}

#[test]
fn towers_and_heads_go_on_from_a_checkpoint_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let spec = spec(Softmax, three());
    let environment = || environment(Arc::new(Solo));
    let predictions =
        Ranker::new(spec.clone(), data.schema(), environment()).unwrap().predictions();
    for ranks in [1, 2] {
        let early_stop = spec.early_stop(Some("rmse_dwell"), &predictions, 9);
        let mut how = TrainSpec { checkpoint_every: 7, eval_every: 5, early_stop, ..training() };
        let run = |how: &TrainSpec, name: &str| {
            let path = folder.path().join(format!("{name}-{ranks}"));
            on_ranks(ranks, |comm| train(comm, &data, &spec, (how, Some(&path))).unwrap())
        };
        let expected = run(&how, "whole");
        how.steps_max = 14;
        run(&how, "parts");
        how.steps_max = 0;
        let resumed = run(&how, "parts");
        for (one, other) in resumed.iter().zip(&expected) {
            assert!(one.0 == other.0 && one.2 == other.2, "{ranks} ranks");
        }
    }
    // What one rank wrote or two is read by any number of them.
    let valid = data.split("valid").unwrap();
    for written in ["whole-1", "whole-2"] {
        let path = latest(&folder.path().join(written)).unwrap();
        let scores = |ranks| {
            on_ranks(ranks, |comm| {
                let environment = super::native::environment(comm);
                let checkpoint = Checkpoint::open(&path).unwrap();
                checkpoint.ranker(environment).unwrap().predict(&valid, 0).unwrap()
            })
        };
        let one = scores(1).remove(0);
        assert_eq!(one.len(), 150 * OUTPUTS);
        assert!(scores(3).iter().all(|other| *other == one));
    }
    let checkpoint = Checkpoint::open(&latest(&folder.path().join("whole-1")).unwrap()).unwrap();
    let refuse = |change: &dyn Fn(&mut ModelSpec), expected: &str| {
        let mut other = spec.clone();
        change(&mut other);
        let mut ranker = Ranker::new(other, data.schema(), environment()).unwrap();
        let error = checkpoint.load(&mut ranker).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}, not {expected}");
    };
    refuse(&|spec| spec.heads[0].label = "never".to_owned(), "`heads.0.label`: found \"click\"");
    refuse(&|spec| spec.heads[1].layers = vec![9], "`heads.1.layers");
    refuse(&|spec| drop(spec.heads.pop()), "`heads`");
    refuse(&|spec| spec.retrieval.as_mut().unwrap().weight = 0.5, "`retrieval.weight`: found 0.69");
}

#[test]
fn towers_without_heads_are_written_as_before() {
    let text = serde_json::to_value(spec(Softmax, Vec::new())).unwrap();
    assert!(text.get("heads").is_none() && text["retrieval"].get("weight").is_none(), "{text}");
    assert_eq!(serde_json::from_value::<ModelSpec>(text).unwrap(), spec(Softmax, Vec::new()));
    let text = serde_json::to_value(HeadSpec::new("click", LossSpec::Bce, 1.0)).unwrap();
    assert!(text.get("layers").is_none(), "{text}");
}

#[test]
fn heads_do_not_learn_from_negatives() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut spec = with_visits();
    spec.features.negatives = Some(uniform());
    let (mut ranker, told) = towers::train(Arc::new(Solo), &data, spec, &long()).unwrap();
    assert!(recall(&mut ranker, &data) > 0.9);
    let found = &told.1.last().unwrap().evaluation;
    assert_eq!((found.rows, found.heads[0].evaluation.rows), (150, 150));
    assert!(found.metric("rmse_visit_length").unwrap() < 0.5, "{found:?}");
}

#[test]
fn a_score_of_their_own_stands_before_those_of_heads() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let valid = data.split("valid").unwrap();
    let mut pairs = towers::spec(Pairs);
    pairs.features.negatives = Some(uniform());
    // The label that negatives lack may be a head's as well.
    pairs.heads = vec![visits(), HeadSpec::new("click", LossSpec::Bce, 0.1)];
    let (ranker, told) = towers::train(Arc::new(Solo), &data, pairs, &long()).unwrap();
    let found = &told.1.last().unwrap().evaluation;
    assert_eq!((found.rows, found.heads[0].evaluation.rows), (450, 150));
    assert_eq!(found.heads[1].evaluation.positives, Some(150));
    for (name, least) in [("auc", 0.75), ("auc_click", 0.7)] {
        assert!(found.metric(name).unwrap() > least, "{found:?}");
    }
    let outputs = ranker.scored();
    let names: Vec<Option<&str>> = outputs.iter().map(|it| it.head.as_deref()).collect();
    assert_eq!(names, [None, Some("visit_length"), Some("click")]);
    // Of the rows that were read alone, all of which are clicks.
    let mut spec = ranker.spec().clone();
    spec.features.negatives = None;
    let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
    let found = ranker.evaluate(&valid, 64, 0).unwrap();
    let scores = ranker.predict(&valid, 0).unwrap();
    assert_eq!(scores.len(), 150 * 3);
    let loss = |at: usize| {
        let losses =
            scores.iter().skip(at).step_by(3).map(|score| f64::from((-score).exp()).ln_1p());
        losses.sum::<f64>() / 150.0
    };
    assert!((loss(0) - found.logloss.unwrap()).abs() < 1e-6, "{found:?}");
    assert!((loss(2) - found.metric("logloss_click").unwrap()).abs() < 1e-6, "{found:?}");
    assert!((loss(0) - loss(2)).abs() > 1e-4);
}

#[test]
fn a_plugins_loss_teaches_a_head_of_towers_as_the_native_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let mut by_plugin = spec(Softmax, three());
    by_plugin.heads[0].loss = LossSpec::Plugin(call("bce", "a"));
    let (native, plugin) = (alone(&data, &spec(Softmax, three())), alone(&data, &by_plugin));
    assert!(native.0 == plugin.0 && native.2 == plugin.2, "bit for bit");
    let click = &plugin.1.heads[0].evaluation;
    assert!((click.loss.unwrap() - click.logloss.unwrap()).abs() < 1e-6);
    assert_eq!((plugin.1.loss, &plugin.1.heads[1..]), (native.1.loss, &native.1.heads[1..]));

    by_plugin.heads[0].loss = LossSpec::Plugin(call("fails-on-rank-1", "a"));
    let errors = on_ranks(2, |comm| {
        train(comm, &data, &by_plugin, (&training(), None)).map(drop).unwrap_err()
    });
    assert!(matches!(&errors[0], ModelError::Comm(CommError::PeerFailed { .. })), "{errors:?}");
    assert!(errors[1].to_string().contains("no luck"), "{errors:?}");
    // Nothing is learned of this one, so that it fails only when rows are judged.
    let errors = on_ranks(2, |comm| {
        let mut ranker = Ranker::new(by_plugin.clone(), data.schema(), environment(comm)).unwrap();
        ranker.evaluate(&data.split("train").unwrap(), 64, 0).unwrap_err()
    });
    assert!(errors[1].to_string().contains("no luck"), "{errors:?}");
}

#[test]
fn a_head_of_towers_has_an_auc_within_groups() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let valid = data.split("valid").unwrap();
    let made =
        |heads| Ranker::new(spec(Softmax, heads), data.schema(), environment(Arc::new(Solo)));
    let found = made(three()).unwrap().evaluate_by(Some("user"), &valid, 64, 0).unwrap();
    assert!(found.heads[0].evaluation.gauc.is_some() && found.gauc.is_none());
    for heads in [Vec::new(), vec![stars()]] {
        let error = made(heads).unwrap().evaluate_by(Some("user"), &valid, 64, 0).unwrap_err();
        assert!(error.to_string().contains("has an AUC"), "{error}");
    }
}

#[test]
fn what_cannot_be_beside_towers_is_refused() {
    let refuse = |change: &dyn Fn(&mut ModelSpec), expected: &str, hint: &str| {
        refused(spec(Softmax, three()), change, expected, hint);
    };
    let weight = |weight| move |spec: &mut ModelSpec| spec.heads[1].weight = weight;
    refuse(&weight(-1.0), "head `stars`: `weight` is -1, expected", "not learned");
    refuse(&weight(f32::NAN), "`weight` is NaN", "");
    let own = |weight| move |spec: &mut ModelSpec| spec.retrieval.as_mut().unwrap().weight = weight;
    refuse(&own(-1.0), "`objective_weight` is -1, expected a number, 0 or more", "");
    refuse(&own(f32::INFINITY), "`objective_weight` is inf", "");
    refuse(
        &|spec| spec.heads.clear(),
        "`objective_weight` is 0.7, expected 1, as there are no",
        "",
    );
    refuse(&|spec| spec.heads[2].label = "click".to_owned(), "that of another head", "copy");
    refuse(&|spec| spec.heads[1].layers = vec![8, 0], "`heads.stars.layers` is 0, expected", "");
    refuse(&|spec| spec.loss = LossSpec::Mse, "`loss` is given", "");
    let pairs = |spec: &mut ModelSpec| spec.retrieval.as_mut().unwrap().objective = Pairs;
    refuse(&pairs, "`label` is absent", "");
    let classes = |spec: &mut ModelSpec| {
        pairs(spec);
        spec.features.label = Some("click".to_owned());
        spec.loss = LossSpec::Softmax { classes: 3 };
    };
    refuse(&classes, "a `two_tower` learns one label with one output", "`dlrm`");
    let mut ranker = super::heads::three();
    ranker.heads[0].layers = vec![8];
    let error = ranker.check().unwrap_err();
    assert!(error.to_string().contains("head `click`: `layers` is [8], expected none"), "{error}");
    assert!(error.hint().unwrap().contains("two_tower"), "{:?}", error.hint());
}
