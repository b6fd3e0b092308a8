//! NVIDIA driver, devices, and the CUDA part of libtorch.

use std::fs;
use std::path::Path;

use super::program::{ask, version_in};
use super::report::Finding;

const DRIVER: &str = "/proc/driver/nvidia/version";

/// `libtorch` is the folder of the loaded libtorch's libraries.
pub(super) fn probe(libtorch: Option<&Path>) -> Vec<Finding> {
    let Some(version) = fs::read_to_string(DRIVER).ok().as_deref().and_then(driver_version) else {
        return vec![Finding::missing("CUDA", "no NVIDIA driver: models train on the CPU")];
    };
    vec![Finding::ok("CUDA driver", version), devices(), libtorch_cuda(libtorch)]
}

fn devices() -> Finding {
    let visible = fs::read_dir("/dev").into_iter().flatten().flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("nvidia"));
        name.is_some_and(|rest| rest.parse::<u32>().is_ok())
    });
    if !visible {
        return Finding::problem("GPUs", "")
            .meaning("the driver is there, but no device `/dev/nvidia0`")
            .hint("in a container: start it with `--gpus all`");
    }
    let listed = ask("nvidia-smi", &["--query-gpu=name,memory.total", "--format=csv,noheader"]);
    let names = listed.map_or_else(names_in_proc, |text| text.lines().map(str::to_owned).collect());
    Finding::ok("GPUs", grouped(&names))
}

fn names_in_proc() -> Vec<String> {
    let folders = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let texts = folders.filter_map(|at| fs::read_to_string(at.path().join("information")).ok());
    texts.filter_map(|text| model(&text)).collect()
}

fn libtorch_cuda(libtorch: Option<&Path>) -> Finding {
    const NAME: &str = "libtorch_cuda";
    let search = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    let file = libtorch
        .map(Path::to_path_buf)
        .into_iter()
        .chain(std::env::split_paths(&search))
        .map(|folder| folder.join("libtorch_cuda.so"))
        .find(|file| file.is_file());
    match file {
        Some(file) => Finding::ok(NAME, file.display().to_string()),
        None => Finding::problem(NAME, "")
            .meaning("not found: there is a GPU, but `--device cuda` cannot use it")
            .hint(
                "`pip install torch` of the version above, remove `.libtorch`, then `make setup` and \
                 build again",
            ),
    }
}

/// `580.65.06` out of the driver's own line.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version"))?;
    line.split_whitespace().find_map(|word| version_in(word).filter(|v| v.len() == word.len()))
}

/// `NVIDIA H200` out of a device's information file.
fn model(text: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix("Model:"))?;
    Some(line.trim().to_owned())
}

/// `8 × NVIDIA H200`, for names that follow each other.
fn grouped(names: &[String]) -> String {
    let groups: Vec<String> = names
        .chunk_by(|a, b| a == b)
        .map(|group| match group.len() {
            1 => group[0].clone(),
            count => format!("{count} × {}", group[0]),
        })
        .collect();
    if groups.is_empty() { "names unknown".to_owned() } else { groups.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_lines_are_read() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 2023\n\
                      GCC version:  gcc version 12.2.0\n";
        assert_eq!(driver_version(closed).as_deref(), Some("535.104.05"));
        let open =
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build";
        assert_eq!(driver_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_version("GCC version: 12.2.0"), None);
    }

    #[test]
    fn devices_are_named_and_counted() {
        let text = "Model: \t\t NVIDIA H200\nIRQ:   \t\t 120\n";
        assert_eq!(model(text).as_deref(), Some("NVIDIA H200"));
        let names = ["A", "A", "B"].map(str::to_owned);
        assert_eq!(grouped(&names), "2 × A; B");
        assert_eq!(grouped(&[]), "names unknown");
    }
}
