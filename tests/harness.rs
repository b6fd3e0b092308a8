//! What every integration test starts from: a fresh folder and a way to run rectool in it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Top of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of a test's own, gone when the test ends.
pub(crate) struct Dir(tempfile::TempDir);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// `rectool ARGUMENTS`, in this folder.
    pub(crate) fn rectool(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// The command that [`Dir::rectool`] runs.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rectool"));
        command.args(arguments).current_dir(self.path());
        command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
        command
    }

    /// `mpirun -n RANKS rectool ARGUMENTS`, in this folder; `None` where there is no mpirun.
    pub(crate) fn mpirun(&self, ranks: usize, arguments: &[&str]) -> Option<Ran> {
        self.mpirun_command(ranks, arguments).map(Ran::of)
    }

    pub(crate) fn mpirun_command(&self, ranks: usize, arguments: &[&str]) -> Option<Command> {
        let program = [&[env!("CARGO_BIN_EXE_rectool")], arguments].concat();
        self.mpirun_program(ranks, &program)
    }

    /// `mpirun -n RANKS sh -c SCRIPT`, where `"$@"` is `rectool ARGUMENTS`.
    pub(crate) fn mpirun_through(
        &self,
        script: &str,
        ranks: usize,
        arguments: &[&str],
    ) -> Option<Ran> {
        let shell = ["sh", "-c", script, "sh", env!("CARGO_BIN_EXE_rectool")];
        self.mpirun_program(ranks, &[&shell[..], arguments].concat()).map(Ran::of)
    }

    fn mpirun_program(&self, ranks: usize, program: &[&str]) -> Option<Command> {
        if Command::new("mpirun").arg("--version").output().is_err() {
            println!("skipped: mpirun is not installed");
            return None;
        }
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "-n", &ranks.to_string()]);
        command.args(program).current_dir(self.path());
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        command.stdin(Stdio::null()).env_remove("RUST_LOG").env_remove("RUST_BACKTRACE");
        Some(command)
    }

    /// A small Criteo-like dataset at `name`.
    pub(crate) fn synth(&self, name: &str, rows: usize) -> PathBuf {
        let rows = rows.to_string();
        let arguments = ["data", "synth", "criteo", "--rows", &rows, "--seed", "7", "--out", name];
        self.rectool(&arguments).expect_success();
        self.join(name)
    }

    /// A recipe of the repository.
    pub(crate) fn script(name: &str) -> String {
        root().join("scripts").join(name).to_str().unwrap().to_owned()
    }

    /// `result.json` of a run folder.
    pub(crate) fn result(&self, run: &str) -> serde_json::Value {
        let text = std::fs::read_to_string(self.join(run).join("result.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }
}

/// A command that ended.
pub(crate) struct Ran {
    pub(crate) shown: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    fn of(mut command: Command) -> Self {
        let shown = format!("{command:?}");
        let output = command.output().unwrap_or_else(|error| panic!("{shown}: {error}"));
        Self::from_output(shown, &output)
    }

    pub(crate) fn from_output(shown: String, output: &Output) -> Self {
        Self {
            shown,
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn expect_success(self) -> Self {
        self.expect_code(0)
    }

    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.code,
            Some(code),
            "{}\n--- stdout\n{}\n--- stderr\n{}",
            self.shown,
            self.stdout,
            self.stderr
        );
        self
    }

    /// All of `parts` stand in stderr; no panic does.
    #[track_caller]
    pub(crate) fn expect_stderr(self, parts: &[&str]) -> Self {
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "`{part}` is not in stderr of {}\n--- stderr\n{}",
                self.shown,
                self.stderr
            );
        }
        assert!(!self.stderr.contains("panicked"), "{}\n{}", self.shown, self.stderr);
        self
    }
}

/// A folder of real data beside the checkout, or `None` with a printed reason.
pub(crate) fn real_data(name: &str) -> Option<PathBuf> {
    let path = root().parent()?.join("shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not there", path.display());
    None
}

/// Polls until `done`, for at most `limit`.
pub(crate) fn wait_until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let started = std::time::Instant::now();
    while started.elapsed() < limit {
        if done() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
