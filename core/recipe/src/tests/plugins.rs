//! Plugins in recipes: what they are called, where they stand, what a run says of them.

use std::fs;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::{Solo, on_ranks};
use serde_json::Value;

use super::data::{Fixture, SMALL};
use super::native::Native;
use crate::library::Library;
use crate::run::{check_with, run_with};
use crate::{RecipeError, RunOptions, RunOutcome, Silent};

pub(super) fn native() -> Arc<dyn Library> {
    Arc::new(Native { build: "a" })
}

/// `SMALL` with a loss, and a column that a plugin makes.
fn with_plugins(loss: &str) -> String {
    let script = SMALL.replace("\"genres\"], chain: [", "\"genres\", \"cross\"], chain: [CROSS, ");
    let script = script.replace("CROSS", "apply(\"ids\", plugin(\"cross\", #{buckets: 50}))");
    script.replace("bottom: [8]", &format!("loss: {loss}, bottom: [8]"))
}

fn run_in(fixture: &Fixture, script: &str, folder: &str) -> Result<RunOutcome, RecipeError> {
    let options = options(fixture, script, folder);
    run_with(&options, &(Arc::new(Solo) as _), Box::new(Silent), native())
}

fn options(fixture: &Fixture, script: &str, folder: &str) -> RunOptions {
    let recipe = fixture.recipe(script, &[]);
    RunOptions {
        recipe,
        run_dir: Some(fixture.path(folder)),
        threads: Some(2),
        ..Default::default()
    }
}

fn result(fixture: &Fixture, folder: &str) -> Value {
    let text = fs::read_to_string(fixture.path(folder).join("result.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_plan_lists_plugins_and_the_columns_they_make() {
    let fixture = Fixture::new();
    let script = with_plugins("plugin(\"bce\", #{scale: 2.0})");
    let plan = check_with(&fixture.recipe(&script, &[]), 1, native()).unwrap();
    let named: Vec<_> = plan.plugins.iter().map(|one| (&*one.name, &*one.kind)).collect();
    assert_eq!(named, [("cross", "transform"), ("bce", "loss")]);
    // Nobody knows how many ids a plugin makes.
    let tables = &plan.trainings[0].tables;
    assert_eq!((&*tables[3].name, tables[3].rows_max), ("cross", None));
    let text = plan.to_text();
    let line = "  cross                  transform  1.2.3      cross-a       the tests";
    assert!(text.contains(line), "{text}");
}

#[test]
fn a_run_trains_with_plugins_and_records_them() {
    let fixture = Fixture::new();
    let outcome = run_in(&fixture, &with_plugins("plugin(\"bce\")"), "a").unwrap();
    let native = run_in(&fixture, &with_plugins("\"bce\""), "b").unwrap();
    assert_eq!(outcome.metrics["test_auc"], native.metrics["test_auc"]);
    assert!(outcome.metrics["test_auc"].as_f64().unwrap() > 0.7);
    assert!(outcome.metrics["test_loss"].is_f64() && !native.metrics.contains_key("test_loss"));
    let found = result(&fixture, "a");
    assert_eq!(found["plugins"]["bce"]["sha256"], "bce-a");
    assert_eq!(found["plugins"]["cross"]["version"], "1.2.3");
    let page = fs::read_to_string(&outcome.report).unwrap();
    assert!(page.contains("loss bce") && page.contains("transform cross"), "{page}");
    let checkpoint = rectool_model::latest(&fixture.path("a/checkpoints")).unwrap();
    assert_eq!(fs::read_to_string(checkpoint.join("plugins/cross-a.wat")).unwrap(), "cross-a");
    // Another build of the plugin is not the one that the weights were learnt with.
    let mut options = options(&fixture, &with_plugins("plugin(\"bce\")"), "c");
    options.resume = Some(crate::Resume::From(checkpoint));
    let other = Arc::new(Native { build: "b" });
    let error = run_with(&options, &(Arc::new(Solo) as _), Box::new(Silent), other).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("cross-a") && text.contains("cross-b"), "{text}");
}

#[test]
fn a_loss_of_values_has_its_own_metrics() {
    let fixture = Fixture::new();
    let script = SMALL.replace("bottom: [8]", "loss: plugin(\"squared\"), bottom: [8]");
    let script = script.replace("result.auc - test.auc", "result.rmse - test.rmse");
    let stop = "valid: data.valid, early_stop: #{patience: 5},";
    let script = script.replace("valid: data.valid,", stop);
    let outcome = run_in(&fixture, &script, "a").unwrap();
    let names: Vec<&String> = outcome.metrics.keys().collect();
    assert!(names.iter().all(|name| !name.contains("auc")), "{names:?}");
    assert!(outcome.metrics["test_rmse"].as_f64().unwrap() < 0.5, "{:?}", outcome.metrics);
    let page = fs::read_to_string(&outcome.report).unwrap();
    assert!(page.contains("Validation RMSE") && !page.contains("Calibration"), "{page}");
    assert!(!page.contains("NaN") && !page.contains("null"));
    let script = script.replace("patience: 5", "patience: 5, metric: \"auc\"");
    let error = run_in(&fixture, &script, "b").unwrap_err();
    assert!(error.to_string().contains("watches 'auc', which this model does not"), "{error}");
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let fixture = Fixture::new();
    for (script, message, hint) in [
        ("plugin(\"bcee\");", "1:1: there is no plugin `bcee`", "`bce`"),
        ("plugin(\"bce\",\n #{scal: 1});", "2:4: plugin `bce`: has no parameter `scal`", "`scale`"),
        ("plugin(\"bce\", #{scale: #{}});", "1:17: bce: 'scale' expects a number", ""),
        ("plugin(5);", "1:1: plugin does not take (int)", "write plugin(\"focal-loss\""),
        (
            "apply(\"a\", plugin(\"bce\"));",
            "1:1: apply expects a plugin that is a transform; 'bce' is a loss",
            "",
        ),
        ("apply(5, plugin(\"cross\"));", "1:1: apply expects a column or an array", "apply(["),
        ("apply([], plugin(\"cross\"));", "1:1: apply expects a column or an array", ""),
        (
            "let d = dataset(\"DATA\");\nfeatures(d, #{ids: [\"ids\", \"crss\"], \
             chain: [apply(\"ids\", plugin(\"cross\", #{buckets: 5}))]});",
            "2:15: features: 'ids' names 'crss', which neither the dataset nor the chain has; they \
             have `ids`, `user`, `item`, `genres`, `cross`",
            "'cross'",
        ),
        (
            "let d = dataset(\"DATA\");\nfeatures(d, #{ids: [\"ids\"], \
             chain: [apply(\"genres\", plugin(\"cross\", #{buckets: 5}))]});",
            "2:29: features: 'chain' cannot be: `cross` does not take column `genres`",
            "",
        ),
    ] {
        let Err(error) = check_with(&fixture.recipe(script, &[]), 1, native()) else {
            panic!("no error: {script}")
        };
        let folder = format!("{}/recipe.rhai:", fixture.folder.path().display());
        let text = error.to_string().replace(&folder, "");
        assert!(text.starts_with(message), "{script}: {text}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{script}: {found}");
        assert_eq!(error.exit_code(), 2, "{script}");
    }
    let script = SMALL.replace("bottom: [8]", "loss: plugin(\"cross\"), bottom: [8]");
    let error = check_with(&fixture.recipe(&script, &[]), 1, native()).unwrap_err();
    assert!(error.to_string().contains("'cross' is a transform"), "{error}");
    // What the plugin itself refuses is its fault to report.
    let script = with_plugins("\"bce\"").replace("buckets: 50", "buckets: -1");
    let error = check_with(&fixture.recipe(&script, &[]), 1, native()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.to_string().contains("transform plugin `cross 1.2.3`"), "{error}");
}

#[test]
fn ranks_must_run_the_same_plugins_and_fail_together() {
    let fixture = Fixture::new();
    let differ = options(&fixture, &with_plugins("\"bce\""), "a");
    let errors = on_ranks(2, |comm| {
        let build = if comm.rank() == 0 { "a" } else { "b" };
        run_with(&differ, &comm, Box::new(Silent), Arc::new(Native { build })).unwrap_err()
    });
    for error in &errors {
        assert!(error.to_string().contains("the plugin cross is not the same on every"), "{error}");
    }
    let broken = options(&fixture, &with_plugins("plugin(\"broken\")"), "b");
    let errors =
        on_ranks(2, |comm| run_with(&broken, &comm, Box::new(Silent), native()).unwrap_err());
    assert!(matches!(errors[0], RecipeError::Ranks(_)), "{}", errors[0]);
    assert!(errors[1].to_string().contains("loss plugin `broken 1.2.3`: no luck"), "{}", errors[1]);
    assert_eq!(errors[1].exit_code(), 3);
    assert_eq!(result(&fixture, "b")["status"], "failed");
}
