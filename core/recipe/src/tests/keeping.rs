//! How tables keep their rows, as recipes say it.

use std::fs;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::{Comm, Solo, on_ranks};
use serde_json::Value;

use super::data::{Fixture, SMALL};
use crate::{RunOptions, Silent, check, run};

/// The small recipe with options of its tables; ids are read one by one.
fn with(tables: &str) -> String {
    let script = SMALL.replace("ids: [\"ids\"", &format!("tables: #{{{tables}}}, ids: [\"ids\""));
    assert_ne!(script, SMALL);
    script
}

#[test]
fn rows_are_admitted_given_up_and_counted() {
    let fixture = Fixture::new();
    let folder = fixture.path("rows");
    fs::create_dir(&folder).unwrap();
    let tables = format!(
        "user: #{{admission: #{{kind: \"count\", sightings: 2, window_steps: 100, cells: 4096}}, \
           expiry: #{{rows_max: 15, every_steps: 10}}, unadmitted: #{{kind: \"zero\"}}}}, \
         item: #{{storage: \"bf16\", clip_norm: 1.0, learning_rate: 0.05, folder: \"{}\"}}",
        folder.display()
    );
    let script = with(&tables);
    let options = |run_dir: &str| RunOptions {
        recipe: fixture.recipe(&script, &["epochs=2"]),
        run_dir: Some(fixture.path(run_dir)),
        threads: Some(1),
        ..RunOptions::default()
    };
    let solo: Arc<dyn Comm> = Arc::new(Solo);
    let alone = run(&options("alone"), &solo, Box::new(Silent)).unwrap();
    assert!(alone.metrics["test_auc"].as_f64().unwrap() > 0.6, "{:?}", alone.metrics);
    let text = fs::read_to_string(fixture.path("alone").join("result.json")).unwrap();
    let result: Value = serde_json::from_str(&text).unwrap();
    let user = &result["tables"][0];
    assert_eq!((&user["name"], &user["rows"]), (&"user".into(), &15.into()), "{user}");
    let count = |name: &str| user["counts"][name].as_u64().unwrap();
    assert!(count("admitted") >= 20 && count("rejected") >= 20, "{user}");
    assert!(count("expired_by_use") >= 5 && count("saturated") == 0, "{user}");
    let page = fs::read_to_string(&alone.report).unwrap();
    assert!(page.contains("Keys that came and went"));

    let two = options("two");
    let outcomes = on_ranks(2, |comm| run(&two, &comm, Box::new(Silent)).unwrap());
    let gap = alone.metrics["test_auc"].as_f64().unwrap()
        - outcomes[0].metrics["test_auc"].as_f64().unwrap();
    assert!(gap.abs() < 5e-3, "{gap}");
}

#[test]
fn every_optimizer_of_tables_learns() {
    let solo: Arc<dyn Comm> = Arc::new(Solo);
    for optimizer in
        ["rowwise_adam(#{learning_rate: 0.02})", "ftrl(#{learning_rate: 0.3, l2: 0.01})"]
    {
        let fixture = Fixture::new();
        let script = SMALL.replace("adagrad(#{learning_rate: 0.1})", optimizer);
        let options = RunOptions {
            recipe: fixture.recipe(&script, &["epochs=4"]),
            run_dir: Some(fixture.path("run")),
            threads: Some(1),
            ..RunOptions::default()
        };
        let outcome = run(&options, &solo, Box::new(Silent)).unwrap();
        let auc = outcome.metrics["test_auc"].as_f64().unwrap();
        assert!(auc > 0.75, "{optimizer}: {auc}");
    }
}

/// What `optimizer` became for tables and layers, as a checkpoint has it.
fn kept(optimizer: &str) -> [Value; 2] {
    let fixture = Fixture::new();
    let script = SMALL
        .replace("adagrad(#{learning_rate: 0.1})", optimizer)
        .replace("adam(#{learning_rate: 0.01})", optimizer);
    let options = RunOptions {
        recipe: fixture.recipe(&script, &["epochs=1"]),
        run_dir: Some(fixture.path("run")),
        threads: Some(1),
        ..RunOptions::default()
    };
    let solo: Arc<dyn Comm> = Arc::new(Solo);
    run(&options, &solo, Box::new(Silent)).unwrap();
    let checkpoint = rectool_model::latest(&fixture.path("run/checkpoints")).unwrap();
    let text = fs::read_to_string(checkpoint.join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    ["embedding_optimizer", "dense_optimizer"].map(|key| manifest["model"][key].clone())
}

#[test]
fn weights_decay_as_in_torch() {
    for (optimizer, expected) in
        [("adam(#{})", 0.0), ("adamw(#{})", 0.01), ("adamw(#{weight_decay: 0.0})", 0.0)]
    {
        for kept in kept(optimizer) {
            let decay = kept["weight_decay"].as_f64().unwrap();
            assert!((decay - expected).abs() < 1e-6, "{optimizer}: {kept}");
        }
    }
}

#[test]
fn sixteen_bits_on_the_wire_learn_nearly_the_same() {
    let auc = |wire: &str| {
        let fixture = Fixture::new();
        let script =
            SMALL.replace("eval_every: 40,", &format!("eval_every: 40, wire: \"{wire}\","));
        assert_ne!(script, SMALL);
        let options = RunOptions {
            recipe: fixture.recipe(&script, &[]),
            run_dir: Some(fixture.path("run")),
            threads: Some(1),
            ..RunOptions::default()
        };
        let outcomes = on_ranks(2, |comm| run(&options, &comm, Box::new(Silent)).unwrap());
        outcomes[0].metrics["test_auc"].as_f64().unwrap()
    };
    let exact = auc("f32");
    for wire in ["f16", "bf16"] {
        let rounded = auc(wire);
        assert!(rounded != exact && (rounded - exact).abs() < 5e-3, "{wire}: {rounded}, {exact}");
    }
}

#[test]
fn words_do_for_kinds_without_options() {
    for tables in [
        "user: #{admission: \"all\", unadmitted: \"zero\"}, item: #{unadmitted: \"initial\"}",
        "user: #{admission: #{kind: \"all\"}, unadmitted: #{kind: \"constant\", value: 1}}",
    ] {
        check(&Fixture::new().recipe(&with(tables), &[]), 1).expect(tables);
    }
}

#[test]
fn mistakes_are_named() {
    for (tables, message) in [
        ("user: #{storage: \"f8\"}", "storage"),
        ("user: #{admission: #{kind: \"count\", sightings: 2}}", "window_steps"),
        ("user: #{admission: #{kind: \"probability\", p: 1.5}}", "p' is 1.5, expected 0 to 1"),
        ("user: #{clip_norm: -1.0}", "clip_norm' is -1, expected"),
        ("user: #{expiry: #{after_steps: 0}}", "after_steps' is 0, expected at least 1"),
        ("user: #{clip: 1.0}", "clip"),
        (
            "user: #{admission: #{kind: \"all\", sightings: 3}}",
            "'tables.user.admission' has no option 'sightings'",
        ),
        (
            "user: #{unadmitted: #{kind: \"zero\", value: 3.0}}",
            "'tables.user.unadmitted' has no option 'value'",
        ),
        ("user: #{admission: \"count\"}", "'tables.user.admission' needs the option 'sightings'"),
    ] {
        let fixture = Fixture::new();
        let error = check(&fixture.recipe(&with(tables), &[]), 1).expect_err(tables);
        assert!(error.to_string().contains(message), "{tables}: {error} {:?}", error.hint());
        assert_eq!(error.exit_code(), 2, "{tables}");
    }
}

#[test]
fn numbers_of_tables_are_refused_where_they_stand() {
    let count = |numbers: &str| format!("admission: #{{kind: \"count\", {numbers}}}");
    for (option, path, found, hint) in [
        (
            count("window_steps: 9, cells: 9, sightings: 16"),
            "admission.sightings",
            "16, expected 1 to 15",
            "no more are counted",
        ),
        (
            count("sightings: 2, cells: 9, window_steps: 0"),
            "admission.window_steps",
            "0, expected at least 1",
            "such as 10000",
        ),
        (
            count("sightings: 2, window_steps: 9, cells: 0"),
            "admission.cells",
            "0, expected 1 to 2^40",
            "rare id",
        ),
        (
            "admission: #{kind: \"probability\", p: 1.5}".to_owned(),
            "admission.p",
            "1.5, expected 0 to 1",
            "one in ten",
        ),
        ("clip_norm: 0.0".to_owned(), "clip_norm", "0, expected a finite number above 0", "leave"),
        (
            "expiry: #{after_steps: 0}".to_owned(),
            "expiry.after_steps",
            "0, expected at least 1",
            "any age",
        ),
        (
            "expiry: #{rows_max: 9, every_steps: 0}".to_owned(),
            "expiry.every_steps",
            "0, expected at least 1",
            "1000 steps",
        ),
        ("learning_rate: -1.0".to_owned(), "learning_rate", "-1, expected a finite number", ""),
    ] {
        let fixture = Fixture::new();
        let script = with(&format!("user: #{{{option}}}"));
        let key = format!("{}:", path.rsplit('.').next().unwrap());
        let (line, text) =
            script.lines().enumerate().find(|(_, line)| line.contains("user:")).unwrap();
        let from = text.find("user:").unwrap();
        let column = from + text[from..].find(&key).unwrap();
        let error = check(&fixture.recipe(&script, &[]), 1).expect_err(&option);
        let place = format!("recipe.rhai:{}:{}", line + 1, column + 1);
        let message = format!("{place}: features: 'tables.user.{path}' is {found}");
        assert!(error.to_string().contains(&message), "{error}, expected {message}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{option}: {found}");
    }
}

#[test]
fn numbers_that_an_optimizer_refuses_are_found_with_their_table() {
    let fixture = Fixture::new();
    let script = with("user: #{learning_rate: 0.0}");
    check(&fixture.recipe(&script, &[]), 1).expect("a table may stand still");
    let script = script.replace("adagrad(#{learning_rate: 0.1})", "ftrl(#{})");
    let error = check(&fixture.recipe(&script, &[]), 1).unwrap_err().to_string();
    let line = script.lines().position(|line| line.contains("user:")).unwrap();
    let column = script.lines().nth(line).unwrap().find("learning_rate").unwrap();
    let place = format!("recipe.rhai:{}:{}: table `user`: ", line + 1, column + 1);
    assert!(error.contains(&place), "{error}, expected {place}");
}
