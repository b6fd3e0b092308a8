//! `run` trains, and leaves what it promises.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rectool_comm::{Comm, Solo, on_ranks};
use rectool_model::{Checkpoint, StepReport};
use serde_json::Value;

use super::data::{Fixture, SMALL};
use crate::{Progress, RecipeError, Resume, RunOptions, RunOutcome, Silent, run};

fn solo() -> Arc<dyn Comm> {
    Arc::new(Solo)
}

fn options(fixture: &Fixture, set: &[&str], run_dir: &str) -> RunOptions {
    RunOptions {
        recipe: fixture.recipe(SMALL, set),
        run_dir: Some(fixture.path(run_dir)),
        threads: Some(2),
        ..RunOptions::default()
    }
}

fn result(run_dir: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(run_dir.join("result.json")).unwrap()).unwrap()
}

fn auc(outcome: &RunOutcome) -> f64 {
    outcome.metrics["test_auc"].as_f64().unwrap()
}

#[test]
fn a_run_learns_and_leaves_its_files() {
    let fixture = Fixture::new();
    let outcome = run(&options(&fixture, &["epochs=4"], "out"), &solo(), Box::new(Silent)).unwrap();
    assert!(auc(&outcome) > 0.75, "AUC {}", auc(&outcome));
    let folder = fixture.path("out");
    let result = result(&folder);
    assert_eq!(result["status"], "ok");
    assert_eq!(result["metrics"]["test_auc"], outcome.metrics["test_auc"]);
    assert_eq!((&result["params"]["epochs"], &result["seed"]), (&4.into(), &5.into()));
    assert_eq!((&result["ranks"], &result["device"]), (&1.into(), &"cpu".into()));
    assert!(result["metrics"]["valid_minus_test"].is_f64(), "{result}");
    #[cfg(target_os = "linux")]
    assert!(result["page_faults"]["minor"].is_u64(), "{result}");
    assert!(result["versions"]["libtorch"].as_str().is_some_and(|text| text.starts_with("2.")));
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).collect::<Vec<_>>();
    assert_eq!((of("evaluation").len(), of("tables").len()), (4, 4), "{text}");
    let last = of("tables")[3];
    assert_eq!((&last["training"], &last["step"]), (&1.into(), &160.into()), "{last}");
    assert_eq!(last["tables"], result["tables"], "{last}");
    assert!(last["tables"][0]["counts"]["admitted"].as_u64() > Some(0), "{last}");
    assert_eq!(
        fs::read_to_string(folder.join("recipe.rhai")).unwrap().len(),
        SMALL.replace("DATA", &fixture.data()).len()
    );
    assert!(rectool_model::latest(&folder.join("checkpoints")).is_some());
    let page = fs::read_to_string(&outcome.report).unwrap();
    for part in ["Training loss", "Validation AUC", "Calibration", "embedding update", "genres"] {
        assert!(page.contains(part), "no {part}");
    }
    let again = run(&options(&fixture, &[], "out"), &solo(), Box::new(Silent));
    assert!(matches!(again, Err(RecipeError::RunDirUsed { .. })));
}

#[test]
fn ranks_give_the_same_result() {
    let fixture = Fixture::new();
    let alone = run(&options(&fixture, &[], "1"), &solo(), Box::new(Silent)).unwrap();
    let two = options(&fixture, &[], "2");
    let outcomes = on_ranks(2, |comm| run(&two, &comm, Box::new(Silent)).unwrap());
    assert_eq!(outcomes[0].metrics, outcomes[1].metrics);
    assert!(
        (auc(&alone) - auc(&outcomes[0])).abs() < 1e-3,
        "{} {}",
        auc(&alone),
        auc(&outcomes[0])
    );
    assert_eq!(result(&fixture.path("2"))["ranks"], 2);
}

#[test]
fn a_resume_from_nothing_leaves_nothing() {
    let fixture = Fixture::new();
    let mut options = options(&fixture, &[], "out");
    options.resume = Some(Resume::From(fixture.path("nowhere")));
    let error = run(&options, &solo(), Box::new(Silent)).unwrap_err();
    assert!(matches!(error, RecipeError::NoCheckpoint { .. }), "{error}");
    assert!(!fixture.path("out").exists());
    // What `latest` means is settled before a new run takes the name.
    options.resume = None;
    run(&options, &solo(), Box::new(Silent)).unwrap();
    let link = fixture.path("latest");
    std::os::unix::fs::symlink(fixture.path("out"), &link).unwrap();
    let found = Resume::From(link.clone()).found().unwrap();
    std::fs::remove_file(&link).unwrap();
    options.resume = Some(found);
    options.run_dir = Some(fixture.path("more"));
    run(&options, &solo(), Box::new(Silent)).unwrap();
}

#[test]
fn ranks_that_differ_are_told_so() {
    let fixture = Fixture::new();
    let options: Vec<RunOptions> =
        [5, 6].iter().map(|seed| options(&fixture, &[&format!("seed={seed}")], "out")).collect();
    let errors = on_ranks(2, |comm| {
        let rank = comm.rank();
        run(&options[rank], &comm, Box::new(Silent)).unwrap_err().to_string()
    });
    assert!(
        errors[0].contains("the set of parameters is not the same on every rank"),
        "{errors:?}"
    );
    // A rank that fails before the others speak does not leave them waiting.
    let mut options = options;
    options[1].recipe.recipe = fixture.path("none.rhai");
    let errors = on_ranks(2, |comm| {
        let rank = comm.rank();
        run(&options[rank], &comm, Box::new(Silent)).unwrap_err()
    });
    assert!(matches!(errors[0], RecipeError::Ranks(_)), "{:?}", errors[0]);
    assert!(matches!(errors[1], RecipeError::Read { .. }), "{:?}", errors[1]);
}

/// Asks to stop after some steps.
struct StopAt(u64, Arc<AtomicBool>);

impl Progress for StopAt {
    fn on_step(&mut self, report: &StepReport) {
        if report.step >= self.0 {
            self.1.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_where_it_stopped() {
    let fixture = Fixture::new();
    let whole = run(&options(&fixture, &[], "whole"), &solo(), Box::new(Silent)).unwrap();
    let mut options = options(&fixture, &[], "parts");
    options.resume = Some(Resume::Auto);
    let stop = StopAt(50, options.interrupted.clone());
    let error = run(&options, &solo(), Box::new(stop)).unwrap_err();
    let RecipeError::Interrupted { checkpoint: Some(checkpoint) } = &error else {
        panic!("{error}")
    };
    assert!(checkpoint.is_dir());
    assert_eq!(error.exit_code(), 130);
    assert_eq!(result(&fixture.path("parts"))["status"], "interrupted");
    options.interrupted = Arc::default();
    let resumed = run(&options, &solo(), Box::new(Silent)).unwrap();
    assert_eq!(resumed.metrics, whole.metrics);
    assert_eq!(result(&fixture.path("parts"))["status"], "ok");
    let steps = |run_dir: &str| {
        let text = fs::read_to_string(fixture.path(run_dir).join("metrics.jsonl")).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| (line["kind"].to_string(), line["step"].as_u64())).collect::<Vec<_>>()
    };
    assert_eq!(steps("parts"), steps("whole"));
    assert!(result(&fixture.path("parts"))["warnings"].is_null());
    // A finished run has nothing left to do, and says the same again.
    assert_eq!(run(&options, &solo(), Box::new(Silent)).unwrap().metrics, whole.metrics);
    let mut elsewhere = options.clone();
    elsewhere.run_dir = Some(fixture.path("elsewhere"));
    elsewhere.resume = Some(Resume::From(fixture.path("nowhere")));
    let error = run(&elsewhere, &solo(), Box::new(Silent)).unwrap_err();
    assert!(matches!(error, RecipeError::NoCheckpoint { .. }), "{error}");
}

#[test]
fn going_on_with_other_data_is_told() {
    let (fixture, other) = (Fixture::new(), Fixture::of(7));
    run(&options(&fixture, &[], "out"), &solo(), Box::new(Silent)).unwrap();
    let mut again = options(&other, &["epochs=2"], "again");
    again.resume = Some(Resume::From(fixture.path("out")));
    run(&again, &solo(), Box::new(Silent)).unwrap();
    let warnings = result(&other.path("again"))["warnings"].clone();
    let told = "was trained on other data: training goes on after step";
    assert!(warnings[0].as_str().is_some_and(|text| text.contains(told)), "{warnings}");
}

#[test]
fn a_recipe_that_trains_nothing_uses_the_weights_it_is_given() {
    let fixture = Fixture::new();
    let trained = run(&options(&fixture, &[], "out"), &solo(), Box::new(Silent)).unwrap();
    let judging =
        SMALL.split("let result").next().unwrap().to_owned() + "evaluate(model, data.test);";
    let judge = |script: &str, run_dir: &str| {
        let recipe = fixture.recipe(script, &[]);
        let run_dir = Some(fixture.path(run_dir));
        let resume = Some(Resume::From(fixture.path("out")));
        let how = RunOptions { recipe, run_dir, resume, threads: Some(2), ..RunOptions::default() };
        run(&how, &solo(), Box::new(Silent)).unwrap()
    };
    let judged = judge(&judging, "judged");
    assert!((auc(&judged) - auc(&trained)).abs() < 1e-9, "{} {}", auc(&judged), auc(&trained));
    assert!(result(&fixture.path("judged"))["warnings"].is_null());
    // Of another model they are of no use, which is told.
    judge(&judging.replace("embedding_dim: 4", "embedding_dim: 8"), "other");
    let warnings = result(&fixture.path("other"))["warnings"].clone();
    assert!(
        warnings[0].as_str().is_some_and(|text| text.contains("is of another model")),
        "{warnings}"
    );
}

#[test]
fn of_several_trainings_the_last_one_counts() {
    let fixture = Fixture::new();
    let more = "train(model, #{train: data.valid, epochs: 1, batch_size: 100});";
    let mut how = options(&fixture, &[], "out");
    how.recipe = fixture.recipe(&format!("{SMALL}{more}"), &[]);
    run(&how, &solo(), Box::new(Silent)).unwrap();
    let found = Checkpoint::of_run(&fixture.path("out")).unwrap();
    assert!(found.path().starts_with(fixture.path("out/checkpoints-2")), "{found:?}");
    let other = "let other = dlrm(#{features: features(data, #{dense: [\"dense\"], ids: [\"ids\"]}),\n\
                 embedding_dim: 2, bottom: [4], top: [4], embedding_optimizer: adagrad(#{}),\n\
                 dense_optimizer: adam(#{})});\n";
    how.recipe = fixture.recipe(&format!("{SMALL}{other}{}", more.replace("model", "other")), &[]);
    how.run_dir = Some(fixture.path("two"));
    run(&how, &solo(), Box::new(Silent)).unwrap();
    let error = Checkpoint::of_run(&fixture.path("two")).unwrap_err().to_string();
    assert!(error.contains("is of another model"), "{error}");
}

#[test]
fn a_failed_run_says_why() {
    let fixture = Fixture::new();
    let script = SMALL.replace("learning_rate: 0.01", "learning_rate: 1e30");
    let mut options = options(&fixture, &[], "out");
    options.recipe = fixture.recipe(&script, &[]);
    let error = run(&options, &solo(), Box::new(Silent)).unwrap_err();
    assert!(matches!(error, RecipeError::Failed { .. }), "{error}");
    assert_eq!(error.exit_code(), 1);
    let result = result(&fixture.path("out"));
    assert_eq!(result["status"], "failed");
    assert!(result["error"].as_str().is_some_and(|text| text.contains("the loss is")), "{result}");
    assert!(fs::read_to_string(fixture.path("out/report.html")).unwrap().contains("failed"));
    // A recipe that is wrong leaves no folder.
    options.recipe = fixture.recipe("let a = b;", &[]);
    options.run_dir = Some(fixture.path("wrong"));
    run(&options, &solo(), Box::new(Silent)).unwrap_err();
    assert!(!fixture.path("wrong").exists());
}
