//! The command line itself: help, doctor, exit codes.

use crate::harness::Dir;

#[test]
fn help_names_every_command() {
    let ran = Dir::new().rectool(&["--help"]).expect_success();
    for command in ["run", "check", "data", "ckpt", "plugin", "doctor"] {
        assert!(ran.stdout.contains(&format!("\n  {command} ")), "{command}: {}", ran.stdout);
    }
}

#[test]
fn wrong_arguments_exit_2() {
    Dir::new().rectool(&["rnu"]).expect_code(2).expect_stderr(&["rnu", "--help"]);
    Dir::new().rectool(&["run"]).expect_code(2);
}

#[test]
fn doctor_finds_what_rectool_was_built_with() {
    let ran = Dir::new().rectool(&["doctor"]).expect_success();
    assert!(ran.stdout.contains("libtorch"), "{}", ran.stdout);
    assert!(ran.stdout.contains("2.11.0"), "{}", ran.stdout);
    let json = Dir::new().rectool(&["doctor", "--json"]).expect_success();
    serde_json::from_str::<serde_json::Value>(&json.stdout).unwrap();
}
