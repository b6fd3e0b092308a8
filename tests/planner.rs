//! `rectool plan`: where tables will live, for ranks that are there and ranks that are not.

use crate::harness::Dir;

/// A recipe on the dataset `log`, with further options of its model.
fn recipe(dir: &Dir, options: &str) {
    let text = format!(
        "let data = dataset(\"log\");\n\
         let model = dlrm(#{{\n\
         features: features(data, #{{dense: [\"dense\"], ids: [\"ids\"], \
         chain: [impute(\"dense\", 0.0), log1p(\"dense\")]}}),\n\
         embedding_dim: 8, bottom: [16], top: [16], {options}\n\
         embedding_optimizer: adagrad(#{{learning_rate: 0.05}}),\n\
         dense_optimizer: adam(#{{learning_rate: 0.001}}),\n}});\n\
         train(model, #{{train: data.train, batch_size: 256}});\n"
    );
    dir.write("r.rhai", &text);
}

#[test]
fn a_plan_shows_places_bytes_times_and_reasons() {
    let dir = Dir::new();
    dir.synth("log", 4_000);
    recipe(&dir, "memory_per_rank: \"2GB\",");
    let ran = dir.rectool(&["plan", "r.rhai", "--ranks", "2"]).expect_success();
    for part in [
        "placement",
        "row_wise",
        "why: a step takes",
        "if table_wise",
        "bytes/rank",
        "rank 1",
        "of 2.0 GB allowed",
        "predicted from a calibration",
    ] {
        assert!(ran.stdout.contains(part), "no {part} in\n{}", ran.stdout);
    }
    let json = dir.rectool(&["plan", "r.rhai", "--ranks", "2", "--json"]).expect_success();
    let plan: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let placed = &plan["trainings"][0]["placement"]["plan"];
    assert_eq!(placed["tables"].as_array().unwrap().len(), 26);
    assert_eq!(placed["ranks"].as_array().unwrap().len(), 2);
    // What is kept from the last time gives the same figures again.
    let again = dir.rectool(&["check", "r.rhai", "--ranks", "2", "--json"]).expect_success();
    assert_eq!(again.stdout, json.stdout);
}

#[test]
fn all_trainings_of_a_recipe_are_planned_by_one_calibration() {
    let dir = Dir::new();
    dir.synth("log", 4_000);
    recipe(&dir, "");
    let text = std::fs::read_to_string(dir.join("r.rhai")).unwrap();
    dir.write("r.rhai", &format!("{text}train(model, #{{train: data.valid, batch_size: 256}});\n"));
    let ran = dir.rectool(&["plan", "r.rhai", "--calibrate"]).expect_success();
    assert_eq!(ran.stdout.matches("predicted from a calibration").count(), 2, "{}", ran.stdout);
    assert_eq!(ran.stderr.matches("measuring this machine").count(), 1, "{}", ran.stderr);
}

#[test]
fn tables_that_do_not_fit_are_refused_with_numbers() {
    let dir = Dir::new();
    dir.synth("log", 4_000);
    recipe(&dir, "memory_per_rank: \"500kB\",");
    let words = ["plan", "r.rhai", "--ranks", "2"];
    let ran = dir.rectool(&words).expect_code(2);
    ran.expect_stderr(&[
        "r.rhai:4:",
        "500.0 kB are available",
        "largest tables",
        "hint: raise `memory_per_rank`",
    ]);
    recipe(&dir, "sharding: #{C1: \"row_wise\"},");
    let ran = dir.rectool(&words).expect_code(2);
    ran.expect_stderr(&["r.rhai:4:", "leaves out 25 of 26 tables", "hint: add C2"]);
}

#[test]
fn ranks_under_mpirun_plan_and_run_as_wished() {
    let dir = Dir::new();
    dir.synth("log", 4_000);
    recipe(&dir, "");
    let Some(ran) = dir.mpirun(2, &["plan", "r.rhai"]) else { return };
    let ran = ran.expect_success();
    assert_eq!(ran.stdout.matches("on 2 ranks").count(), 1, "{}", ran.stdout);
    recipe(&dir, "sharding: \"table_wise\",");
    let Some(ran) = dir.mpirun(2, &["run", "r.rhai", "--run-dir", "out"]) else { return };
    ran.expect_success();
    let placed = &dir.result("out")["embedding_plan"];
    let places: Vec<&str> = placed["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["place"].as_str().unwrap())
        .collect();
    assert!(places.iter().all(|place| place.starts_with("table_wise on ")), "{places:?}");
    assert!(places.contains(&"table_wise on 0") && places.contains(&"table_wise on 1"));
    for phase in placed["phases"].as_array().unwrap() {
        assert!(phase["measured_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{phase}");
    }
}
