//! Several labels at once, and classes.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{Batch, Column, ColumnKind, ColumnSchema, Hint, Prediction, Schema, Stream};
use rectool_comm::{Comm, Solo, on_ranks};
use rectool_data::{Dataset, DatasetWriter, WriterOptions};
use rectool_embedding::Rows;
use tch::{Kind, Tensor};

use super::native::{environment, model, training};
use crate::learning::{Outcome, Tally};
use crate::{
    Architecture, CrossStructure, DcnV2Spec, Evaluation, EvaluationReport, Evaluator, HeadSpec,
    LossSpec, ModelError, ModelSpec, Observer, Quiet, Ranker, StepReport, TrainJob, TrainSpec, fit,
    latest, softmax,
};

const CLASSES: usize = 4;
const FLOATS: [&str; 4] = ["dense", "click", "stars", "dwell"];
/// A label that no row has.
const NEVER: &str = "never";

/// Writes a dataset whose three labels go with one score; each lacks in some rows where `lacking`.
pub(super) fn dataset(folder: &Path, lacking: bool) -> Dataset {
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let f32 = |name: &str| ColumnSchema::plain(name, ColumnKind::F32 { width: 1 });
    let columns = ["user", "item"].map(i64).into_iter().chain(FLOATS.map(f32));
    let columns = columns.chain([i64("visit"), f32(NEVER)]).collect();
    let path = folder.join(format!("tasks-{lacking}"));
    let schema = Schema::new(columns).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 600, 1), ("valid", 150, 2)] {
        let mut stream = Stream::new(seed, &[]);
        let mut ids = || (0..rows).map(|_| stream.below(9) as i64).collect::<Vec<_>>();
        let (user, item) = (ids(), ids());
        let dense: Vec<f32> = (0..rows).map(|_| stream.next_f32() - 0.5).collect();
        let mut label = |of: &dyn Fn(f32) -> f32, every: usize| -> Vec<f32> {
            let of_row = |row: usize| {
                let score = (user[row] - item[row]) as f32 / 3.0 + dense[row];
                let value = of(score + 0.5 * stream.next_normal());
                if lacking && row.is_multiple_of(every) { f32::NAN } else { value }
            };
            (0..rows).map(of_row).collect()
        };
        let click = label(&|score| f32::from(score > 0.0), 3);
        let stars = label(&|score| (score + 2.0).floor().clamp(0.0, 3.0), 4);
        let dwell = label(&|score| 3.0 * score, 5);
        let i64 = |values| Column::I64 { width: 1, values };
        let f32 = |values| Column::F32 { width: 1, values };
        // Three rows each.
        let visit = i64((0..rows as i64).map(|row| row / 3).collect());
        let never = f32(vec![f32::NAN; rows]);
        let labels = [f32(dense), f32(click), f32(stars), f32(dwell), visit, never];
        let columns = [i64(user), i64(item)].into_iter().chain(labels).collect();
        writer.write(split, columns).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

pub(super) fn head(label: &str, loss: LossSpec, weight: f32) -> HeadSpec {
    HeadSpec::new(label, loss, weight)
}

fn stars() -> LossSpec {
    LossSpec::Softmax { classes: CLASSES }
}

/// A model of one label.
pub(super) fn plain(label: &str, loss: LossSpec) -> ModelSpec {
    let mut spec = model(loss, "dense", &["user", "item"], Vec::new());
    spec.features.label = Some(label.to_owned());
    spec
}

pub(super) fn with_heads(heads: Vec<HeadSpec>) -> ModelSpec {
    let mut spec = model(LossSpec::Bce, "dense", &["user", "item"], Vec::new());
    spec.features.label = None;
    ModelSpec { heads, ..spec }
}

/// What the outputs of [`three`] stand for.
const PREDICTIONS: [Prediction; 3] =
    [Prediction::Logit, Prediction::Classes(CLASSES), Prediction::Value];

/// All three labels.
pub(super) fn three() -> ModelSpec {
    with_heads(vec![
        head("click", LossSpec::Bce, 1.0),
        head("stars", stars(), 0.5),
        head("dwell", LossSpec::Mse, 0.1),
    ])
}

/// Everything that training changes: bits of the dense weights, and rows of the tables.
pub(super) type Content = (Vec<u32>, Vec<Rows>);

/// Trains, from the last checkpoint in `folder` if there is one.
pub(super) fn train(
    comm: Arc<dyn Comm>,
    data: &Dataset,
    spec: &ModelSpec,
    (how, folder): (&TrainSpec, Option<&Path>),
) -> Result<(Content, Evaluation, Vec<f32>), ModelError> {
    let (train, valid) = (data.split("train")?, data.split("valid")?);
    let checkpoint = folder.and_then(latest);
    let environment = environment(comm);
    let (mut ranker, resume) = match checkpoint {
        None => (Ranker::new(spec.clone(), data.schema(), environment)?, None),
        Some(path) => {
            let checkpoint = crate::Checkpoint::open(&path)?;
            assert_eq!(checkpoint.manifest().model, *spec);
            (checkpoint.ranker(environment)?, Some(checkpoint.manifest().state.clone()))
        }
    };
    let (valid_while, recipe) = (Some(&valid), None);
    let job = TrainJob {
        spec: how,
        train: &train,
        valid: valid_while,
        checkpoints: folder,
        resume,
        recipe,
    };
    fit(&mut ranker, &job, &mut Quiet)?;
    let evaluation = ranker.evaluate(&valid, 50, 0)?;
    let scores = ranker.predict(&valid, 0)?;
    let tables = 0..ranker.tables().tables().len();
    let rows = tables.flat_map(|t| ranker.tables().export(t, 100).unwrap().collect::<Vec<_>>());
    let rows = rows.collect();
    let weights = ranker.parameters.values().iter().map(|weight| weight.to_bits()).collect();
    Ok(((weights, rows), evaluation, scores))
}

pub(super) fn alone(data: &Dataset, spec: &ModelSpec) -> (Content, Evaluation, Vec<f32>) {
    train(Arc::new(Solo), data, spec, (&training(), None)).unwrap()
}

#[test]
fn one_head_is_the_plain_model_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    for (label, loss) in [("click", LossSpec::Bce), ("stars", stars()), ("dwell", LossSpec::Mse)] {
        let mut of_head = with_heads(vec![head(label, loss.clone(), 1.0)]);
        let mut of_label = plain(label, loss);
        for architecture in [Architecture::Dlrm, dcn()] {
            of_head.architecture = architecture.clone();
            of_label.architecture = architecture;
            let (one, other) = (alone(&data, &of_head), alone(&data, &of_label));
            assert!(one.0 == other.0, "{label}");
            assert_eq!(one.1.heads[0].evaluation, other.1);
            assert_eq!(one.2, other.2);
        }
    }
    // Stars do for the weights of rows as well.
    let mut of_head = with_heads(vec![head("click", LossSpec::Bce, 1.0)]);
    let mut of_label = plain("click", LossSpec::Bce);
    let unweighted = alone(&data, &of_label).0;
    of_head.features.weight = Some("stars".to_owned());
    of_label.features.weight = Some("stars".to_owned());
    assert!(alone(&data, &of_head).0 == alone(&data, &of_label).0);
    assert!(alone(&data, &of_head).0 != unweighted);
    let mut deep = with_heads(vec![head("click", LossSpec::Bce, 1.0)]);
    deep.architecture = Architecture::DeepFm;
    let plain = ModelSpec { architecture: Architecture::DeepFm, ..plain("click", LossSpec::Bce) };
    assert!(alone(&data, &deep).0 == alone(&data, &plain).0);
}

fn dcn() -> Architecture {
    let structure = CrossStructure::Parallel;
    Architecture::DcnV2(DcnV2Spec { cross_layers: 2, rank: None, structure })
}

/// What libtorch says of the sum over the heads of weight times mean over the rows with a label.
pub(super) fn by_torch(outputs: &[f32], [click, stars, dwell]: [&[f32]; 3]) -> Vec<f32> {
    let all = Tensor::from_slice(outputs).view([-1, 6]).set_requires_grad(true);
    let picked = |labels: &[f32], columns: [i64; 2]| {
        let rows: Vec<i64> =
            (0..labels.len() as i64).filter(|row| !labels[*row as usize].is_nan()).collect();
        let kept: Vec<f32> = rows.iter().map(|row| labels[*row as usize]).collect();
        let logits = all.narrow(1, columns[0], columns[1]);
        (logits.index_select(0, &Tensor::from_slice(&rows)), Tensor::from_slice(&kept))
    };
    let none = || None::<Tensor>;
    let mean = tch::Reduction::Mean;
    let (logits, labels) = picked(click, [0, 1]);
    let odds = logits.squeeze_dim(1);
    let first = odds.binary_cross_entropy_with_logits(&labels, none(), none(), mean);
    let (logits, labels) = picked(stars, [1, 4]);
    let second = logits.cross_entropy_loss(&labels.to_kind(Kind::Int64), none(), mean, -100, 0.0);
    let (logits, labels) = picked(dwell, [5, 1]);
    let third = logits.squeeze_dim(1).mse_loss(&labels, mean);
    (first + second * 0.5 + third * 0.1).backward();
    Vec::<f32>::try_from(all.grad().flatten(0, -1)).unwrap()
}

#[test]
fn gradients_are_those_of_weighted_means_over_rows_with_labels() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let rows = 40;
    let columns = data.split("train").unwrap();
    let all: Vec<u64> = (0..rows as u64).collect();
    let columns = columns.gather(&all, &[0, 1, 2, 3, 4, 5]).unwrap();
    let floats = |at: usize| {
        let Column::F32 { values, .. } = &columns[at] else { unreachable!("written as floats") };
        values.clone()
    };
    let mut stream = Stream::new(9, &[]);
    let outputs: Vec<f32> = (0..rows * 6).map(|_| 2.0 * stream.next_normal()).collect();
    let labels = [floats(3), floats(4), floats(5)];
    let expected = by_torch(&outputs, [&labels[0], &labels[1], &labels[2]]);
    for ranks in [1, 3] {
        let found = on_ranks(ranks, |comm| {
            let own = Batch::slice_of(rows, comm.rank(), ranks);
            let mut ranker =
                Ranker::new(three(), data.schema(), environment(comm.clone())).unwrap();
            let places: Vec<usize> = own.clone().collect();
            let columns = columns.iter().map(|column| column.picked(&places)).collect();
            let (rows, row_first) = (own.len(), own.start);
            let batch = Batch { rows, rows_global: 40, row_first, columns, ..Batch::default() };
            let mut tally = Tally::default();
            let outputs = &outputs[own.start * 6..own.end * 6];
            let outcome = Outcome { input: &ranker.input, batch: &batch, outputs };
            ranker.learning.learn(&*comm, outcome, &mut tally).unwrap();
            ranker.learning.gradients().to_vec()
        });
        for (found, expected) in found.concat().iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-6, "{ranks} ranks: {found}, not {expected}");
        }
    }
    assert!(expected.contains(&0.0), "rows without a label have no gradient");
}

#[test]
fn every_head_learns_and_is_judged_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    for lacking in [false, true] {
        let data = dataset(folder.path(), lacking);
        let (_, found, scores) = alone(&data, &three());
        let names = three().metric_names(&PREDICTIONS);
        let value = |name: &str| found.metric(name).unwrap();
        assert!(names.iter().all(|name| value(name).is_finite()), "{names:?} {found:?}");
        assert!(value("auc_click") > 0.8, "{found:?}");
        assert!(value("accuracy_stars") > 0.4 && value("rmse_dwell") < 3.0, "{found:?}");
        // As if each had been judged alone.
        let valid = data.split("valid").unwrap();
        let all: Vec<u64> = (0..valid.rows()).collect();
        let columns = valid.gather(&all, &[3, 4, 5]).unwrap();
        for (at, (column, outputs)) in columns.iter().zip([0..1, 1..5, 5..6]).enumerate() {
            let Column::F32 { values, .. } = column else { unreachable!("written as floats") };
            let loss = &three().heads[at].loss;
            let mut evaluator = Evaluator::of(loss.prediction().unwrap());
            for (row, label) in scores.chunks_exact(6).zip(values) {
                if !label.is_nan() {
                    evaluator.add(&row[outputs.clone()], &[*label]);
                }
            }
            let expected = evaluator.finish(&Solo).unwrap();
            assert_eq!(found.heads[at].evaluation, expected);
            assert_eq!(expected.rows < 150, lacking);
        }
        let chances = softmax(&scores[1..5], CLASSES);
        assert!((chances.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    }
}

#[test]
fn ranks_do_not_change_what_heads_learn() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let one = alone(&data, &three());
    for ranks in [2, 3] {
        let found =
            on_ranks(ranks, |comm| train(comm, &data, &three(), (&training(), None)).unwrap());
        assert!(found.iter().all(|other| other.0.0 == found[0].0.0));
        let near = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs() < 1e-4;
        assert!(one.0.0.iter().zip(&found[0].0.0).all(near), "{ranks} ranks");
        let (one, two) = (&one.1, &found[0].1);
        for name in three().metric_names(&PREDICTIONS) {
            let (a, b) = (one.metric(&name).unwrap(), two.metric(&name).unwrap());
            assert!((a - b).abs() < 1e-3, "{name}: {a} and {b}");
        }
    }
}

#[test]
fn heads_go_on_from_a_checkpoint_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    for ranks in [1, 2] {
        let early_stop = three().early_stop(Some("rmse_dwell"), &PREDICTIONS, 9);
        let mut how = TrainSpec { checkpoint_every: 7, eval_every: 5, early_stop, ..training() };
        let run = |how: &TrainSpec, name: &str| {
            let path = folder.path().join(format!("{name}-{ranks}"));
            on_ranks(ranks, |comm| train(comm, &data, &three(), (how, Some(&path))).unwrap().0)
        };
        let expected = run(&how, "whole");
        how.steps_max = 14;
        run(&how, "parts");
        how.steps_max = 0;
        assert!(run(&how, "parts") == expected, "{ranks} ranks");
    }
}

#[test]
fn a_head_of_weight_0_is_judged_and_not_learned() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    let mut spec = three();
    let (content, found, _) = {
        spec.heads[1].weight = 0.0;
        spec.heads[2].weight = 0.0;
        alone(&data, &spec)
    };
    assert_eq!(found.heads.len(), 3);
    // Heads that are not learned leave their rows of the last layer as they began.
    let mut begun = Ranker::new(spec.clone(), data.schema(), environment(Arc::new(Solo))).unwrap();
    let entry = begun.parameters.entries().iter().find(|entry| entry.name == "top.1.bias");
    let range = entry.unwrap().range();
    let start: Vec<u32> =
        begun.parameters.values_mut()[range.clone()].iter().map(|v| v.to_bits()).collect();
    assert_eq!(content.0[range.clone()][1..], start[1..]);
    assert_ne!(content.0[range][0], start[0]);
}

#[test]
fn a_label_that_no_row_has_is_not_learned() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    let never = || head(NEVER, LossSpec::Mse, 1.0);
    let (_, found, _) = alone(&data, &with_heads(vec![head("click", LossSpec::Bce, 1.0), never()]));
    assert!(found.metric("auc_click").unwrap() > 0.8 && found.rows == 150, "{found:?}");
    assert_eq!(found.heads[1].evaluation, Evaluation::default());
    let spec = with_heads(vec![never()]);
    let errors = on_ranks(2, |comm| train(comm, &data, &spec, (&training(), None)).unwrap_err());
    assert!(errors.iter().all(|error| error.to_string().contains("missing for every head")));
}

/// The steps that were reported.
#[derive(Default)]
struct Reported(Vec<u64>);

impl Observer for Reported {
    fn on_step(&mut self, report: &StepReport) {
        self.0.push(report.step);
    }

    fn on_evaluation(&mut self, _: &EvaluationReport) {}

    fn on_checkpoint(&mut self, _: &Path, _: u64) {}
}

#[test]
fn a_report_waits_for_a_label() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let spec = with_heads(vec![head("click", LossSpec::Bce, 1.0)]);
    let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
    // Row by row, of which every third lacks the label, the first and the last included.
    let how = TrainSpec { batch_size: 1, epochs: 1, steps_max: 10, report_every: 1, ..training() };
    let train = data.split("train").unwrap();
    let (valid, checkpoints, resume, recipe) = (None, None, None, None);
    let job = TrainJob { spec: &how, train: &train, valid, checkpoints, resume, recipe };
    let mut reported = Reported::default();
    let done = fit(&mut ranker, &job, &mut reported).unwrap();
    assert_eq!((done.state.steps, reported.0), (10, vec![2, 3, 5, 6, 8, 9]));
}

#[test]
fn labels_that_a_head_cannot_learn_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    for (label, loss, expected, hint) in [
        ("dwell", stars(), "expected the number of a class, from 0", "count classes from 0"),
        ("stars", LossSpec::Softmax { classes: 2 }, "the label `stars` is", "more `classes`"),
        ("stars", LossSpec::Bce, "expected 0 or 1", "another loss"),
    ] {
        let spec = with_heads(vec![head(label, loss.clone(), 1.0)]);
        let error = train(Arc::new(Solo), &data, &spec, (&training(), None)).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(error.hint().unwrap().contains(hint), "{:?}", error.hint());
        let error = train(Arc::new(Solo), &data, &plain(label, loss), (&training(), None));
        assert!(error.unwrap_err().to_string().contains("the label is"));
    }
    // Only heads may lack labels.
    let data = dataset(folder.path(), true);
    let spec = plain("click", LossSpec::Bce);
    let error = train(Arc::new(Solo), &data, &spec, (&training(), None)).unwrap_err();
    assert!(error.to_string().contains("the label is NaN"), "{error}");
}

/// Checks what is said of `spec` after a change that it must not have.
pub(super) fn refused(
    mut spec: ModelSpec,
    change: &dyn Fn(&mut ModelSpec),
    expected: &str,
    hint: &str,
) {
    change(&mut spec);
    let error = spec.check().unwrap_err();
    assert!(error.to_string().contains(expected), "{error}, not {expected}");
    assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
}

#[test]
fn heads_that_cannot_be_are_refused() {
    let refuse = |change: &dyn Fn(&mut ModelSpec), expected: &str, hint: &str| {
        refused(three(), change, expected, hint);
    };
    let weight = |weight| move |spec: &mut ModelSpec| spec.heads[1].weight = weight;
    refuse(&weight(-1.0), "head `stars`: `weight` is -1, expected", "not learned");
    refuse(&weight(f32::NAN), "`weight` is NaN", "");
    refuse(&weight(f32::INFINITY), "`weight` is inf", "");
    let loss = |loss: LossSpec| move |spec: &mut ModelSpec| spec.heads[1].loss = loss.clone();
    refuse(&loss(LossSpec::Softmax { classes: 1 }), "`classes` is 1, expected 2", "from 0");
    let twice = |spec: &mut ModelSpec| spec.heads[1].label = "click".to_owned();
    refuse(&twice, "head `click`: `label` is that of another head", "copy the column");
    refuse(&|spec| spec.loss = LossSpec::Mse, "`loss` is given, expected none", "");
    let label = |spec: &mut ModelSpec| spec.features.label = Some("click".to_owned());
    refuse(&label, "`label` is given, expected none", "");
    let deep = |spec: &mut ModelSpec| spec.architecture = Architecture::DeepFm;
    refuse(&deep, "a `deepfm` learns one label with one output", "`dlrm`, `dcnv2`, `din` may");
    let classes = |spec: &mut ModelSpec| {
        spec.architecture = Architecture::WideDeep;
        (spec.heads, spec.loss) = (Vec::new(), stars());
    };
    refuse(&classes, "a `wide_deep` learns one label", "`dlrm`");
    let few = |spec: &mut ModelSpec| {
        (spec.heads, spec.loss) = (Vec::new(), LossSpec::Softmax { classes: 1 });
    };
    refuse(&few, "`classes` is 1, expected 2 to", "");
}
