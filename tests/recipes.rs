//! Recipes: what a run leaves, what `check` plans, and errors that say where.

use crate::harness::Dir;

#[test]
fn a_run_leaves_everything_it_promises() {
    let dir = Dir::new();
    dir.synth("log", 20_000);
    let script = Dir::script("dlrm.rhai");
    let set = ["--set", "data=log", "--set", "batch_size=256", "--set", "embedding_dim=4"];
    let run = ["run", &script, "--run-dir", "out"];
    let ran = dir.rectool(&[&run[..], &set].concat()).expect_success();
    assert!(ran.stdout.contains("test_auc"), "{}", ran.stdout);
    assert!(ran.stdout.contains("report.html"), "{}", ran.stdout);
    let result = dir.result("out");
    assert_eq!(result["status"], "ok");
    assert_eq!(result["ranks"], 1);
    assert_eq!(result["params"]["embedding_dim"], 4);
    let auc = result["metrics"]["test_auc"].as_f64().unwrap();
    assert!(auc > 0.6, "test AUC {auc}: the teacher's is 0.8");
    for key in ["test_logloss", "test_ne", "test_calibration", "test_accuracy"] {
        assert!(result["metrics"][key].is_f64(), "{key}: {result}");
    }
    assert!(result["samples_per_s"].as_f64().unwrap() > 0.0);
    assert!(dir.join("out/recipe.rhai").exists());
    let lines = std::fs::read_to_string(dir.join("out/metrics.jsonl")).unwrap();
    assert!(lines.lines().count() >= 2);
    let report = std::fs::read_to_string(dir.join("out/report.html")).unwrap();
    assert!(report.contains("<svg") && !report.contains("http-equiv") && !report.contains("src="));
    dir.rectool(&["ckpt", "verify", "out"]).expect_success();
    let shown = dir.rectool(&["ckpt", "inspect", "out"]).expect_success();
    assert!(shown.stdout.contains("C26"), "{}", shown.stdout);
}

#[test]
fn check_plans_without_training() {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let script = Dir::script("dlrm.rhai");
    let words = ["check", &script, "--set", "data=log", "--set", "batch_size=100"];
    let ran = dir.rectool(&[&words[..], &["--ranks", "4"]].concat());
    let ran = ran.expect_success();
    for part in ["top.0", "C1", "per rank", "steps"] {
        assert!(ran.stdout.contains(part), "{part}: {}", ran.stdout);
    }
    assert!(!dir.join("runs").exists());
}

/// Runs `body` as a recipe after the lines that open a dataset and its features.
fn refuse(body: &str, code: i32, parts: &[&str]) {
    let dir = Dir::new();
    dir.synth("log", 1_000);
    let head = "let data = dataset(\"log\");\n\
                let f = features(data, #{dense: [\"dense\"], ids: [\"ids\"], \
                chain: [impute(\"dense\", 0.0), log1p(\"dense\")]});\n";
    dir.write("r.rhai", &format!("{head}{body}"));
    dir.rectool(&["run", "r.rhai"]).expect_code(code).expect_stderr(parts);
}

#[test]
fn typos_name_the_place_and_the_nearest_name() {
    refuse("adagrad(#{lerning_rate: 0.1});", 2, &["r.rhai:3:", "lerning_rate", "'learning_rate'"]);
    refuse("adagrda(#{});", 2, &["r.rhai:3:", "adagrda", "adagrad"]);
    refuse("adagrad(#{learning_rate: \"high\"});", 2, &["r.rhai:3:", "learning_rate"]);
    refuse("let x = ;", 2, &["r.rhai:3:"]);
    refuse("dataset(\"nowhere\");", 2, &["nowhere", "hint:"]);
    refuse("features(data, #{dense: [\"dens\"], ids: [\"ids\"]});", 2, &["dens", "dense"]);
}

const MODEL: &str = "dlrm(#{features: f, embedding_dim: 4, bottom: [8], top: [8], \
                     embedding_optimizer: adagrad(#{learning_rate: 0.1}), \
                     dense_optimizer: adagrad(#{learning_rate: 0.01})})";

#[test]
fn impossible_numbers_are_refused() {
    let wide = MODEL.replace("embedding_dim: 4", "embedding_dim: 0");
    refuse(&format!("{wide};"), 2, &["r.rhai:3:", "embedding_dim", "1 to"]);
    let train = format!("train({MODEL}, #{{train: data.train, batch_size: 100000}});");
    refuse(&train, 2, &["batch_size", "100000", "800"]);
}

#[test]
fn unknown_set_is_refused() {
    let dir = Dir::new();
    dir.synth("log", 1_000);
    let script = Dir::script("dlrm.rhai");
    let arguments = ["run", &script, "--set", "data=log", "--set", "embeding_dim=8"];
    dir.rectool(&arguments).expect_code(2).expect_stderr(&["embeding_dim", "embedding_dim"]);
}
