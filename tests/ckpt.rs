//! `rectool ckpt`: other forms of a checkpoint, and what Python makes of them.

use std::path::PathBuf;

use crate::data::python;
use crate::harness::{Dir, root};

/// A run with a base and two deltas, and one that stands alone behind them.
fn trained() -> Dir {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "out", "--set", "batch_size=10"];
    let sizes = ["--set", "embedding_dim=4", "--set", "bottom=[8]", "--set", "top=[8]"];
    let every = ["--set", "checkpoint_every=50", "--set", "checkpoint_full_every=3"];
    dir.rectool(&[&run[..], &sizes, &every].concat()).expect_success();
    dir
}

const BASE: &str = "out/checkpoints/step-00000050";
const DELTA: &str = "out/checkpoints/step-00000100";

#[test]
fn a_resharded_checkpoint_is_equal_and_another_one_is_not() {
    let dir = trained();
    let shown = dir.rectool(&["ckpt", "inspect", DELTA]).expect_success().stdout;
    for part in ["builds on", "step-00000050", "base", "this delta", "dlrm.rhai", "format 2"] {
        assert!(shown.contains(part), "`{part}` is not in\n{shown}");
    }
    let ran = dir.rectool(&["ckpt", "verify", DELTA]).expect_success();
    assert!(ran.stdout.contains("and the 1 it builds on"), "{}", ran.stdout);
    for (ranks, out) in [("1", "one"), ("3", "three")] {
        let reshard = ["ckpt", "reshard", DELTA, "--ranks", ranks, "--out", out];
        dir.rectool(&reshard).expect_success();
        dir.rectool(&["ckpt", "verify", out]).expect_success();
        let ran = dir.rectool(&["ckpt", "diff", DELTA, out]).expect_success();
        assert!(ran.stdout.starts_with("equal: 26 tables"), "{}", ran.stdout);
        dir.rectool(&reshard).expect_code(1).expect_stderr(&[out, "is there already", "hint:"]);
    }
    assert!(dir.join("three/tables/C1/part-00002.arrow").exists());
    let ran = dir.rectool(&["ckpt", "diff", BASE, "three"]).expect_code(1);
    for part in ["state", "table C1", "only in B", "values differ in", "different;"] {
        assert!(ran.stdout.contains(part), "`{part}` is not in\n{}", ran.stdout);
    }
    let ran = dir.rectool(&["ckpt", "diff", BASE, "three", "--json"]).expect_code(1);
    let diff: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(diff["equal"], false);
    assert_eq!(diff["tables"].as_array().unwrap().len(), 26);
    assert!(diff["tables"][0]["rows_only_b"].as_u64().is_some());
    assert!(diff["tables"][0]["values_difference_max"].as_f64().unwrap() > 0.0);
    for ranks in ["0", "4097"] {
        let reshard = ["ckpt", "reshard", DELTA, "--ranks", ranks, "--out", "zero"];
        dir.rectool(&reshard).expect_code(2).expect_stderr(&["--ranks", "is not in 1..=4096"]);
    }
    assert!(!dir.join("zero").exists());
}

#[test]
fn a_delta_without_its_base_is_refused_by_name() {
    let dir = trained();
    std::fs::rename(dir.join(BASE), dir.join("away")).unwrap();
    let commands: [&[&str]; 4] = [
        &["ckpt", "verify", DELTA],
        &["ckpt", "diff", DELTA, "away"],
        &["ckpt", "reshard", DELTA, "--ranks", "2", "--out", "two"],
        &["ckpt", "export", DELTA, "--table", "C1", "--format", "arrow", "--out", "C1.arrow"],
    ];
    for command in commands {
        let ran = dir.rectool(command).expect_code(1);
        ran.expect_stderr(&["step-00000100", "step-00000050", "nothing there", "hint:"]);
    }
    let shown = dir.rectool(&["ckpt", "inspect", DELTA]).expect_success().stdout;
    assert!(shown.contains("what is not there"), "{shown}");
    let ran = dir.rectool(&["ckpt", "inspect", "nowhere"]).expect_code(1);
    ran.expect_stderr(&["nowhere/manifest.json", "hint: a checkpoint is a folder"]);
}

#[test]
fn damage_is_named_before_anything_is_written() {
    let dir = trained();
    let part = dir.join(BASE).join("tables/C2/part-00000.arrow");
    let mut bytes = std::fs::read(&part).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, &bytes).unwrap();
    let commands: [&[&str]; 4] = [
        &["ckpt", "verify", DELTA],
        &["ckpt", "diff", "out", DELTA],
        &["ckpt", "reshard", DELTA, "--ranks", "2", "--out", "new"],
        &["ckpt", "export", DELTA, "--table", "C1", "--format", "parquet", "--out", "new"],
    ];
    for command in commands {
        let ran = dir.rectool(command).expect_code(1);
        ran.expect_stderr(&["C2/part-00000.arrow", "checksum", "expected"]);
        assert!(!dir.join("new").exists());
    }
}

#[test]
fn exported_tables_open_in_python() {
    let dir = trained();
    dir.rectool(&["ckpt", "reshard", DELTA, "--ranks", "1", "--out", "one"]).expect_success();
    for (format, state) in
        [("parquet", true), ("arrow", true), ("safetensors", true), ("parquet", false)]
    {
        let name = if state { format.to_owned() } else { format!("values.{format}") };
        let out = format!("C1.{name}");
        let export = ["ckpt", "export", DELTA, "--table", "C1", "--format", format, "--out", &out];
        let state: &[&str] = if state { &["--state"] } else { &[] };
        let ran = dir.rectool(&[&export[..], state].concat()).expect_success();
        assert!(ran.stdout.contains("rows of C1"), "{}", ran.stdout);
    }
    let wrong = ["ckpt", "export", DELTA, "--table", "c1", "--format", "arrow", "--out", "x"];
    dir.rectool(&wrong).expect_code(1).expect_stderr(&["no table `c1`", "did you mean"]);
    let Some(mut python) = python() else { return };
    let script: PathBuf = root().join("tests/exported.py");
    let output = python.arg(script).current_dir(dir.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{shown}");
}
