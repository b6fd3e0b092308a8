//! Resuming: byte for byte on the same ranks, usable on others.

use std::path::Path;

use crate::harness::Dir;

const SMALL: [&str; 8] = [
    "--set",
    "batch_size=100",
    "--set",
    "embedding_dim=4",
    "--set",
    "bottom=[16]",
    "--set",
    "top=[16]",
];

/// All files below a folder with their bytes, by name.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn resumed_equals_uninterrupted() {
    let dir = Dir::new();
    dir.synth("log", 5_000);
    let script = Dir::script("dlrm.rhai");
    let run = |out: &str, more: &[&str]| {
        let first = ["run", &script, "--set", "data=log", "--run-dir", out];
        let threads = ["--threads", "1", "--set", "epochs=2", "--set", "checkpoint_every=17"];
        dir.rectool(&[&first[..], &SMALL, &threads, more].concat()).expect_success();
    };
    run("whole", &[]);
    // 80 steps in all; checkpoints at 68 and 80 are kept, among others.
    let middle = rectool_checkpoint(&dir, "whole", 68);
    let last = rectool_checkpoint(&dir, "whole", 80);
    run("again", &["--resume", middle.to_str().unwrap()]);
    let again = rectool_checkpoint(&dir, "again", 80);
    assert_eq!(content(&last), content(&again));
}

fn rectool_checkpoint(dir: &Dir, run: &str, step: u64) -> std::path::PathBuf {
    let path = dir.join(&format!("{run}/checkpoints/step-{step:08}"));
    assert!(path.exists(), "{}", path.display());
    path
}

#[test]
fn a_checkpoint_of_another_model_is_refused() {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "first"];
    dir.rectool(&[&run[..], &SMALL].concat()).expect_success();
    let other = ["run", &script, "--set", "data=log", "--run-dir", "second"];
    let wider = ["--set", "embedding_dim=8", "--set", "batch_size=100", "--resume", "first"];
    let ran = dir.rectool(&[&other[..], &wider].concat());
    assert!(matches!(ran.code, Some(1 | 2)), "{:?}: {}", ran.code, ran.stderr);
    ran.expect_stderr(&["embedding_dim", "4", "8", "hint:"]);
}

#[test]
fn damaged_checkpoint_is_named() {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--run-dir", "out"];
    dir.rectool(&[&run[..], &SMALL].concat()).expect_success();
    let checkpoint = rectool::model::Checkpoint::find(&dir.join("out")).unwrap();
    for (name, bytes) in content(&checkpoint) {
        let mut damaged = bytes.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        std::fs::write(checkpoint.join(&name), &damaged).unwrap();
        let ran = dir.rectool(&["ckpt", "verify", "out"]);
        if name != "manifest.json" {
            ran.expect_code(1).expect_stderr(&[&name]);
        }
        std::fs::write(checkpoint.join(&name), &bytes[..middle]).unwrap();
        dir.rectool(&["ckpt", "verify", "out"]).expect_code(1).expect_stderr(&[&name]);
        std::fs::write(checkpoint.join(&name), &bytes).unwrap();
    }
    dir.rectool(&["ckpt", "verify", "out"]).expect_success();
}

#[test]
fn an_earlier_checkpoint_is_named_where_the_latest_is_damaged() {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let script = Dir::script("dlrm.rhai");
    let first = ["run", &script, "--set", "data=log", "--run-dir", "out"];
    let run = [&first[..], &SMALL, &["--set", "checkpoint_every=5", "--resume"]].concat();
    dir.rectool(&[&run[..], &["auto"]].concat()).expect_success();
    let latest = rectool::model::Checkpoint::find(&dir.join("out")).unwrap();
    let steps: u64 =
        latest.file_name().unwrap().to_str().unwrap()["step-".len()..].parse().unwrap();
    let earlier = format!("out/checkpoints/step-{:08}", (steps - 1) / 5 * 5);
    // Where all are of another model, none helps.
    let wider = ["--set", "embedding_dim=8", "--set", "batch_size=100", "--resume", "auto"];
    let ran = dir.rectool(&[&first[..], &wider].concat());
    assert!(ran.code == Some(2) && !ran.stderr.contains("--resume"), "{}", ran.stderr);
    std::fs::write(latest.join("dense.safetensors"), "no").unwrap();
    let ran = dir.rectool(&[&run[..], &["auto"]].concat()).expect_code(2);
    let hint = format!("{earlier} is whole: move out/checkpoints/step-{steps:08} away");
    ran.expect_stderr(&["dense.safetensors", "size", &hint]);
    let ran = dir.rectool(&["ckpt", "verify", "out", "--json"]).expect_code(1);
    let told: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told["ok"], false);
    assert!(told["error"].as_str().unwrap().contains("dense.safetensors"), "{told}");
    let elsewhere = ["run", &script, "--set", "data=log", "--run-dir", "new", "--resume", &earlier];
    dir.rectool(&[&elsewhere[..], &SMALL].concat()).expect_success();
    let latest = latest.to_str().unwrap();
    let elsewhere = ["run", &script, "--set", "data=log", "--run-dir", "other", "--resume", latest];
    let ran = dir.rectool(&[&elsewhere[..], &SMALL].concat()).expect_code(2);
    ran.expect_stderr(&["an earlier one is whole: go on with `--resume ", "in another --run-dir"]);
}
