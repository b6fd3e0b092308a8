//! The README is true: its files exist, its Python snippet runs.

use crate::data::python;
use crate::harness::{Dir, root};

fn readme() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

#[test]
fn python_opens_a_shard_and_a_table() {
    let Some(mut python) = python() else { return };
    let dir = Dir::new();
    dir.synth("data/demo", 3_000);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=data/demo", "--run-dir", "runs/latest"];
    dir.rectool(&[&run[..], &["--set", "batch_size=256"]].concat()).expect_success();
    let snippets = blocks(&readme(), "python");
    assert_eq!(snippets.len(), 1, "the README has one Python snippet");
    let path = dir.write("snippet.py", &snippets[0]);
    let output = python.arg(path).current_dir(dir.path()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{shown}");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.contains("2400 rows"), "{printed}");
}

#[test]
fn every_command_in_the_readme_exists() {
    for line in blocks(&readme(), "sh").concat().lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let Some(at) = words.iter().position(|word| word.ends_with("rectool")) else { continue };
        let Some(command) = words.get(at + 1) else { continue };
        let mut arguments = vec![*command];
        if ["data", "ckpt", "index", "plugin"].contains(command) {
            arguments.push(words[at + 2]);
        }
        arguments.push("--help");
        Dir::new().rectool(&arguments).expect_success();
        let script = words.iter().find(|word| word.starts_with("scripts/"));
        assert!(script.is_none_or(|script| root().join(script).exists()), "{line}");
    }
}

#[test]
fn every_file_the_readme_links_to_exists() {
    for part in readme().split("](").skip(1) {
        let target = part.split(')').next().unwrap();
        if !target.contains("://") {
            assert!(root().join(target).exists(), "{target}");
        }
    }
}
