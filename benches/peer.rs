//! What the benches share: flags in the form that the peer drivers pass them, the peers' data as a
//! dataset of ours, and the one JSON line at the end.
#![expect(clippy::print_stdout, reason = "the result is a line on stdout")]

use std::path::{Path, PathBuf};

/// `--name value` flags.
pub(crate) struct Flags(Vec<String>);

impl Flags {
    pub(crate) fn new() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|flag| flag == name)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let at = self.0.iter().position(|flag| flag == name)?;
        self.0.get(at + 1).map(String::as_str)
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        match self.text(name) {
            None => default,
            Some(text) => text.parse().unwrap_or_else(|_| panic!("{name} {text}: not a number")),
        }
    }

    pub(crate) fn all(&self) -> &[String] {
        &self.0
    }
}

/// High-water resident memory of this process in MB.
pub(crate) fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}

/// The quantile `q` of `values`, by nearest rank.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 - 1.0) * q).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// Prints the result line.
pub(crate) fn emit(value: &serde_json::Value) {
    println!("{value}");
}

/// The dataset made of `<data>/<file>.parquet` for each split, imported once.
pub(crate) fn dataset(data: &Path, splits: &[(&str, PathBuf)]) -> PathBuf {
    let out = data.join("rectool");
    if out.join("dataset.json").exists() {
        return out;
    }
    let program = env!("CARGO_BIN_EXE_rectool");
    let mut command = std::process::Command::new(program);
    command.args(["data", "import", "parquet", "--label", "label"]);
    command.args(["--dense", "i*", "--ids", "c*", "--out"]).arg(&out);
    for (split, file) in splits {
        command.arg("--split").arg(format!("{split}={}", file.display()));
    }
    let status = command.stdout(std::process::Stdio::null()).status().expect("rectool starts");
    assert!(status.success(), "importing {}", data.display());
    out
}
