//! What a training that goes on finds, and which options it may change.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::Solo;
use rectool_embedding::{Expiry, OptimizerOptions};

use super::{Fixture, copy, short, spec};
use crate::checkpoint::read::{BEST_PREFIX, listed};
use crate::tests::native::{environment, training};
use crate::{
    Checkpoint, EarlyStop, EvaluationReport, FitSummary, ModelSpec, Observer, Quiet, Ranker,
    StepReport, Stop, StopMetric, TrainJob, TrainSpec, fit,
};

/// Evaluates and saves after every step, until three in a row found nothing better.
fn stopping() -> TrainSpec {
    let early_stop = Some(EarlyStop { metric: StopMetric::Auc, head: None, patience: 3 });
    let (batch_size, steps_max, epochs) = (16, 0, 50);
    let short = short(2);
    TrainSpec {
        batch_size,
        steps_max,
        epochs,
        eval_every: 1,
        checkpoint_every: 1,
        early_stop,
        ..short
    }
}

/// Trains in the folder `name`, from the checkpoint `from` if that is given.
fn go_on(
    fixture: &Fixture,
    how: &TrainSpec,
    name: &str,
    from: Option<&Path>,
) -> (FitSummary, Ranker) {
    let mut ranker = fixture.ranker(Arc::new(Solo));
    let (train, valid) =
        (fixture.data.split("train").unwrap(), fixture.data.split("valid").unwrap());
    let resume = from.map(|path| Checkpoint::open(path).unwrap().load(&mut ranker).unwrap());
    let job = TrainJob {
        spec: how,
        train: &train,
        valid: Some(&valid),
        checkpoints: Some(&fixture.path(name)),
        resume,
        recipe: None,
    };
    let summary = fit(&mut ranker, &job, &mut Quiet).unwrap();
    (summary, ranker)
}

fn bests(fixture: &Fixture, name: &str) -> Vec<u64> {
    listed(&fixture.path(name), BEST_PREFIX).into_iter().map(|(step, _)| step).collect()
}

fn weights(ranker: &Ranker) -> Vec<u32> {
    ranker.parameters.values().iter().map(|weight| weight.to_bits()).collect()
}

#[test]
fn the_best_weights_go_with_a_training() {
    let fixture = Fixture::new();
    let (whole, ranker) = go_on(&fixture, &stopping(), "whole", None);
    assert_eq!(whole.stop, Stop::Early);
    let best = whole.state.best.as_ref().unwrap().step;
    let last = whole.state.steps;
    assert_eq!(last, best + 3);
    // All that a kept checkpoint can go back to is there.
    for step in fixture.steps("whole") {
        let known = fixture.checkpoint("whole", step).manifest().state.best.clone().unwrap().step;
        assert!(bests(&fixture, "whole").contains(&known), "{known} of step {step}");
    }
    // Another folder.
    let from = fixture.checkpoint("whole", last - 1).path().to_owned();
    let (other, same) = go_on(&fixture, &stopping(), "other", Some(&from));
    assert_eq!((other.stop, &other.state), (Stop::Early, &whole.state));
    assert_eq!(bests(&fixture, "other"), [best]);
    assert!(weights(&ranker) == weights(&same));
    // Who uses a run means what its figures are of, who names a checkpoint means that one.
    let named = |path: &Path| Checkpoint::of_run(path).unwrap().manifest().state.steps;
    assert_eq!((named(&fixture.path("other")), named(&from)), (best, last - 1));
    // Weights that are damaged or lost do not count, and do not end a training at its end.
    let kept = fixture.path(&format!("whole/best-{best:08}"));
    let (weights, damaged) = (kept.join("dense.safetensors"), fixture.path("other"));
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&weights, bytes).unwrap();
    fs::remove_dir_all(damaged).unwrap();
    let (other, _) = go_on(&fixture, &stopping(), "other", Some(&from));
    assert!(other.state.best.unwrap().step >= last);
    fs::remove_dir_all(kept).unwrap();
    let (lost, _) = go_on(&fixture, &stopping(), "lost", Some(&from));
    assert!(lost.state.best.unwrap().step >= last);
}

#[test]
fn without_early_stopping_a_training_goes_back_to_nothing() {
    let fixture = Fixture::new();
    let (whole, _) = go_on(&fixture, &stopping(), "whole", None);
    let last = whole.state.steps;
    let from = fixture.checkpoint("whole", last - 1).path().to_owned();
    let how = TrainSpec { early_stop: None, steps_max: last + 3, ..stopping() };
    let (more, ranker) = go_on(&fixture, &how, "more", Some(&from));
    assert_eq!((more.state.best, more.state.steps), (None, last + 3));
    let mut latest = fixture.ranker(Arc::new(Solo));
    fixture.checkpoint("more", last + 3).load(&mut latest).unwrap();
    assert!(weights(&ranker) == weights(&latest));
}

#[test]
fn the_best_of_a_training_that_was_left_goes() {
    let fixture = Fixture::new();
    let (whole, _) = go_on(&fixture, &stopping(), "whole", None);
    let best = whole.state.best.unwrap().step;
    assert!(best > 2, "{best}");
    let from = fixture.checkpoint("whole", best - 2).path().to_owned();
    copy(&fixture.path("whole"), &fixture.path("again"));
    for step in fixture.steps("again").into_iter().filter(|step| *step > best - 2) {
        fs::remove_dir_all(fixture.path(&format!("again/step-{step:08}"))).unwrap();
    }
    assert!(bests(&fixture, "again").contains(&best));
    let how = TrainSpec { steps_max: best - 1, ..stopping() };
    go_on(&fixture, &how, "again", Some(&from));
    assert!(!bests(&fixture, "again").contains(&best));
    let state = fixture.checkpoint("again", best - 1).manifest().state.clone();
    assert!(bests(&fixture, "again").contains(&state.best.unwrap().step));
}

#[test]
fn early_stopping_counts_from_when_it_is_asked_for() {
    let fixture = Fixture::new();
    let without = TrainSpec { steps_max: 12, early_stop: None, ..stopping() };
    go_on(&fixture, &without, "run", None);
    let from = fixture.checkpoint("run", 12).path().to_owned();
    let (summary, _) = go_on(&fixture, &stopping(), "more", Some(&from));
    assert!(summary.state.steps >= 12 + 4, "{}", summary.state.steps);
}

#[test]
fn the_epochs_left_are_those_of_the_data_there_is() {
    let fixture = Fixture::new();
    let go_on = |split: &str, epochs, from: Option<&Path>, name: &str| {
        let how = TrainSpec { batch_size: 16, epochs, ..training() };
        let (mut ranker, folder) = (fixture.ranker(Arc::new(Solo)), fixture.path(name));
        let train = fixture.data.split(split).unwrap();
        let resume = from.map(|path| Checkpoint::open(path).unwrap().load(&mut ranker).unwrap());
        let (checkpoints, recipe) = (Some(&*folder), None);
        let job = TrainJob { spec: &how, train: &train, valid: None, checkpoints, resume, recipe };
        fit(&mut ranker, &job, &mut Quiet)
            .map(|summary| (summary.state, how.steps_per_epoch(train.rows())))
    };
    let (short, steps_short) = go_on("valid", 2, None, "short").unwrap();
    assert_eq!(
        (short.steps, short.reader.epoch, short.reader.step),
        (2 * steps_short, 1, steps_short)
    );
    let from = fixture.checkpoint("short", short.steps).path().to_owned();
    // What is left of the second epoch, now of more steps, and the third.
    let (long, steps_long) = go_on("train", 3, Some(&from), "long").unwrap();
    assert!(steps_long > steps_short, "{steps_long} and {steps_short}");
    assert_eq!(long.steps, short.steps + 2 * steps_long - steps_short);
    assert_eq!((long.reader.epoch, long.reader.step), (2, steps_long));
    // All epochs are over: there is nothing to train.
    let (over, _) = go_on("train", 1, Some(&from), "over").unwrap();
    assert_eq!(over.steps, short.steps);
    let from = fixture.checkpoint("long", long.steps).path().to_owned();
    let error = go_on("valid", 9, Some(&from), "fewer").unwrap_err();
    assert!(error.hint().unwrap().contains("the split has fewer rows"), "{error}");
}

/// Loads `checkpoint` into a model that `change` makes.
fn load_changed(
    fixture: &Fixture,
    checkpoint: &Checkpoint,
    change: impl Fn(&mut ModelSpec),
) -> Result<(), String> {
    let mut spec = checkpoint.manifest().model.clone();
    change(&mut spec);
    let mut ranker = Ranker::new(spec, fixture.data.schema(), environment(Arc::new(Solo))).unwrap();
    checkpoint.load(&mut ranker).map(drop).map_err(|error| error.to_string())
}

#[test]
fn options_change_where_weights_stay_right() {
    let fixture = Fixture::new();
    fixture.train(&short(2), "run");
    let kept = fixture.checkpoint("run", 10);
    let load = |change: fn(&mut ModelSpec)| load_changed(&fixture, &kept, change);
    // Though no table said anything of its rows before.
    load(|spec| spec.tables[0].rows.expiry = Expiry { after_steps: Some(5), ..Expiry::default() })
        .unwrap();
    load(|spec| spec.tables[0].rows.clip_norm = Some(1.0)).unwrap();
    load(|spec| spec.tables[0].rows.learning_rate = Some(0.5)).unwrap();
    load(|spec| spec.embedding_optimizer.set_learning_rate(0.5)).unwrap();
    let refused = load(|spec| spec.tables[1].init = rectool_embedding::Init::Zero).unwrap_err();
    assert!(refused.contains("model option `tables.item.init"), "{refused}");
    // FTRL keeps sums that belong to its rate.
    let mut ftrl = spec();
    ftrl.embedding_optimizer =
        OptimizerOptions::Ftrl { learning_rate: 0.1, beta: 1.0, l1: 0.0, l2: 0.0 };
    let mut ranker = Ranker::new(ftrl, fixture.data.schema(), environment(Arc::new(Solo))).unwrap();
    fixture.fit(&mut ranker, &short(2), "ftrl", None);
    let kept = fixture.checkpoint("ftrl", 10);
    let load = |change: fn(&mut ModelSpec)| load_changed(&fixture, &kept, change);
    load(|_| ()).unwrap();
    load(|spec| spec.tables[0].rows.clip_norm = Some(1.0)).unwrap();
    let rate = load(|spec| spec.embedding_optimizer.set_learning_rate(0.5)).unwrap_err();
    assert!(rate.contains("`embedding_optimizer.learning_rate`: found 0.1"), "{rate}");
    let rate = load(|spec| spec.tables[0].rows.learning_rate = Some(0.5)).unwrap_err();
    assert!(rate.contains("`tables.user.rows.learning_rate`"), "{rate}");
}

/// Removes a checkpoint once another one was written.
struct Remover<'a>(&'a Path, u64);

impl Observer for Remover<'_> {
    fn on_step(&mut self, _: &StepReport) {}

    fn on_evaluation(&mut self, _: &EvaluationReport) {}

    fn on_checkpoint(&mut self, _: &Path, step: u64) {
        if step == self.1 {
            fs::remove_dir_all(self.0).unwrap();
        }
    }

    fn interrupted(&self) -> bool {
        false
    }
}

#[test]
fn no_delta_is_made_on_a_broken_chain() {
    let fixture = Fixture::new();
    let (train, folder) = (fixture.data.split("train").unwrap(), fixture.path("run"));
    let how = short(10);
    let job = TrainJob {
        spec: &how,
        train: &train,
        valid: None,
        checkpoints: Some(&folder),
        resume: None,
        recipe: None,
    };
    let base = folder.join("step-00000005");
    let mut ranker = fixture.ranker(Arc::new(Solo));
    fit(&mut ranker, &job, &mut Remover(&base, 15)).unwrap();
    assert!(fixture.checkpoint("run", 15).chain().is_err());
    for step in [20, 25, 30] {
        fixture.chain("run", step).verify_rows().unwrap();
    }
}

#[test]
fn a_delta_is_found_by_any_path() {
    let fixture = Fixture::new();
    fixture.train(&short(10), "run");
    let link = fixture.path("link");
    std::os::unix::fs::symlink(fixture.path("run/step-00000010"), &link).unwrap();
    for path in [link, fixture.path("run/step-00000010/.")] {
        Checkpoint::open(&path).unwrap().chain().unwrap().verify_rows().unwrap();
    }
}
