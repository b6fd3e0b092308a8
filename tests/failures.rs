//! Bad data and bad luck while training: a clear error, and nothing lost.

use std::process::Stdio;
use std::time::Duration;

use crate::harness::{Dir, Ran, root, wait_until};

const SMALL: [&str; 4] = ["--set", "batch_size=64", "--set", "embedding_dim=4"];

#[test]
fn missing_values_need_a_policy() {
    let dir = Dir::new();
    dir.synth("log", 1_000);
    dir.write(
        "r.rhai",
        "let data = dataset(\"log\");\n\
         let f = features(data, #{dense: [\"dense\"], ids: [\"ids\"]});\n\
         let m = dlrm(#{features: f, embedding_dim: 4, bottom: [8], top: [8],\n\
           embedding_optimizer: sgd(#{learning_rate: 0.1}),\n\
           dense_optimizer: sgd(#{learning_rate: 0.1})});\n\
         train(m, #{train: data.train, batch_size: 64});\n",
    );
    let expected = ["dense feature `I", "NaN", "row", "impute"];
    dir.rectool(&["run", "r.rhai"]).expect_code(1).expect_stderr(&expected);
}

/// Files on which the Parquet reader panics, in a table of the columns label, user and kind.
#[test]
fn a_file_that_a_reader_panics_on_is_damaged_and_no_bug() {
    let dir = Dir::new();
    for name in ["definition-levels.parquet", "column-range.parquet"] {
        let path = root().join("tests/hostile").join(name).to_str().unwrap().to_owned();
        let import = ["data", "import", "parquet", &path, "--out", "out", "--label", "label"];
        let index = ["index", "build", &path, "--out", "out", "--id-column", "user"];
        for words in [
            [&import[..], &["--ids", "user,kind"]].concat(),
            [&index[..], &["--vector-column", "label"]].concat(),
        ] {
            let place = format!("{name}`:1: expected sound Parquet, found the reader gives up: ");
            let parts = [place.as_str(), "hint: the file was damaged"];
            let ran = dir.rectool(&words).expect_code(1).expect_stderr(&parts);
            assert!(!ran.stderr.contains("bug"), "{}", ran.stderr);
            assert!(!dir.join("out").exists());
        }
    }
}

#[test]
fn labels_other_than_0_and_1_are_refused() {
    let dir = Dir::new();
    dir.write("t.csv", "label,x,id\n0,1,5\n2,1,6\n1,3,7\n");
    let csv = ["data", "import", "csv", "--split", "train=t.csv", "--label", "label"];
    let rest = ["--dense", "x", "--ids", "id", "--out", "d", "--max-bad", "0"];
    let strict = dir.rectool(&[&csv[..], &rest].concat());
    strict.expect_code(1).expect_stderr(&["t.csv", "3", "2"]);
}

#[test]
fn ids_beyond_an_unhashed_table_are_named() {
    let dir = Dir::new();
    dir.synth("log", 1_000);
    dir.write(
        "r.rhai",
        "let data = dataset(\"log\");\n\
         let f = features(data, #{dense: [\"dense\"],\n\
           ids: [\"ids\"], tables: #{C1: #{index: \"dense\", rows: 3}},\n\
           chain: [impute(\"dense\", 0.0)]});\n\
         let m = dlrm(#{features: f, embedding_dim: 4, bottom: [8], top: [8],\n\
           embedding_optimizer: sgd(#{learning_rate: 0.1}),\n\
           dense_optimizer: sgd(#{learning_rate: 0.1})});\n\
         train(m, #{train: data.train, batch_size: 64});\n",
    );
    dir.rectool(&["run", "r.rhai"]).expect_code(2).expect_stderr(&["C1", "0 to 2", "hint:"]);
}

#[test]
fn an_existing_run_is_never_overwritten() {
    let dir = Dir::new();
    dir.synth("log", 1_000);
    dir.write("out/result.json", "precious");
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "out"];
    dir.rectool(&[&run[..], &SMALL].concat()).expect_code(2).expect_stderr(&["out"]);
    assert_eq!(std::fs::read_to_string(dir.join("out/result.json")).unwrap(), "precious");
}

/// Starts a long run that writes checkpoints, waits for the first, and gives the process.
fn start_long(dir: &Dir) -> std::process::Child {
    dir.synth("log", 20_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "out", "--set", "epochs=500"];
    let mut command = dir.command(&[&run[..], &SMALL, &["--set", "checkpoint_every=5"]].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let checkpoints = dir.join("out/checkpoints");
    let first = || rectool::model::latest(&checkpoints).is_some();
    assert!(wait_until(Duration::from_mins(1), first), "no checkpoint within a minute");
    child
}

#[test]
fn interrupt_finishes_the_step_and_saves() {
    let dir = Dir::new();
    let child = start_long(&dir);
    let pid = child.id().to_string();
    std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    Ran::from_output("interrupted run".into(), &output).expect_code(130);
    assert_eq!(dir.result("out")["status"], "interrupted");
    dir.rectool(&["ckpt", "verify", "out"]).expect_success();
}

#[test]
fn kill_9_leaves_a_usable_checkpoint() {
    for wait_ms in [0, 3, 7, 15, 40] {
        let dir = Dir::new();
        let mut child = start_long(&dir);
        std::thread::sleep(Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        dir.rectool(&["ckpt", "verify", "out"]).expect_success();
    }
}

#[test]
fn full_disk_keeps_the_earlier_checkpoint() {
    let dir = Dir::new();
    let disk = dir.join("disk");
    std::fs::create_dir(&disk).unwrap();
    let mount = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"])
        .arg(&disk)
        .output();
    if !mount.is_ok_and(|output| output.status.success()) {
        println!("skipped: a small tmpfs cannot be mounted here");
        return;
    }
    dir.synth("log", 20_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "disk/out"];
    let more = ["--set", "checkpoint_every=1", "--set", "batch_size=512"];
    let ran = dir.rectool(&[&run[..], &more].concat());
    let checkpoint = rectool::model::latest(&disk.join("out/checkpoints"));
    let usable = checkpoint.map(|path| rectool::model::Checkpoint::open(&path)?.verify());
    std::process::Command::new("umount").arg("-l").arg(&disk).status().unwrap();
    ran.expect_code(1).expect_stderr(&["writing", "free some space"]);
    assert!(usable.is_none_or(|found| found.is_ok()));
}
