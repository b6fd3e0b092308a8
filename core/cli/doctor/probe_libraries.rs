//! rectool itself and the libraries it is linked with.

use std::fs;
use std::path::{Path, PathBuf};

use super::program::{ask, find, version_in};
use super::report::Finding;

/// rectool and its compiler.
pub(super) fn build() -> Vec<Finding> {
    let profile = if cfg!(debug_assertions) { ", debug build" } else { "" };
    let rectool = Finding::ok("rectool", format!("{}{profile}", env!("CARGO_PKG_VERSION")));
    let rectool = if cfg!(debug_assertions) {
        rectool.hint("for speed: `cargo build --release`")
    } else {
        rectool
    };
    let rustc = option_env!("RECTOOL_RUSTC").unwrap_or("unknown");
    vec![rectool, Finding::ok("rustc", rustc.trim_start_matches("rustc "))]
}

/// The libtorch of this process.
pub(super) struct Libtorch {
    pub(super) finding: Finding,
    /// Where its libraries are.
    pub(super) folder: Option<PathBuf>,
}

pub(super) fn libtorch() -> Libtorch {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let Some(library) = mapped(&maps, "libtorch_cpu.so") else {
        let finding = Finding::missing("libtorch", "not loaded: this binary can train no model")
            .hint("`make setup`, then build again")
            .required();
        return Libtorch { finding, folder: None };
    };
    let folder = library.parent().map(Path::to_path_buf);
    let version = folder.as_deref().and_then(version_beside);
    let version = version.unwrap_or_else(|| "unknown version".to_owned());
    let finding = Finding::ok("libtorch", format!("{version}, {}", library.display())).required();
    Libtorch { finding, folder }
}

/// The version that a libtorch or a Python torch carries beside its `lib` folder.
fn version_beside(lib: &Path) -> Option<String> {
    let root = lib.parent()?;
    if let Ok(version) = fs::read_to_string(root.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    python_version(&fs::read_to_string(root.join("version.py")).ok()?)
}

/// `2.11.0+cu130` out of `__version__ = '2.11.0+cu130'`.
fn python_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    Some(line.split(['\'', '"']).nth(1)?.to_owned())
}

/// The mapped file whose name starts with `name`.
fn mapped(maps: &str, name: &str) -> Option<PathBuf> {
    maps.lines()
        .filter_map(|line| line.find('/').map(|start| Path::new(&line[start..])))
        .find(|path| {
            path.file_name().and_then(|file| file.to_str()).is_some_and(|f| f.starts_with(name))
        })
        .map(Path::to_path_buf)
}

/// The MPI library and its launcher.
pub(super) fn mpi() -> Vec<Finding> {
    let Some(library) = rectool_comm::mpi_version() else {
        let missing = Finding::missing("MPI", "built without it: one rank only")
            .hint("rebuild with the default features: `cargo build --release`");
        return vec![missing];
    };
    // Open MPI tells packager and dates too, MPICH all its build options.
    let line = library.lines().next().unwrap_or_default();
    let short = line.split(", package").next().unwrap_or(line).trim();
    vec![Finding::ok("MPI", short), mpirun(short)]
}

fn mpirun(library: &str) -> Finding {
    let Some(path) = find("mpirun") else {
        return Finding::missing("mpirun", "not on PATH: one rank only")
            .hint("`apt-get install openmpi-bin`, or load your cluster's MPI module");
    };
    let Some(answer) = ask("mpirun", &["--version"]) else {
        return Finding::problem("mpirun", path.display().to_string())
            .meaning("`mpirun --version` fails")
            .hint("run it by hand to see why");
    };
    let answer = answer.lines().next().unwrap_or_default().to_owned();
    let found = format!("{answer}, {}", path.display());
    if !belong_together(library, &answer) {
        return Finding::problem("mpirun", found)
            .meaning("it is not that of the MPI library above, so ranks may not find each other")
            .hint("put the mpirun of that library first on PATH, or rebuild with the other mpicc");
    }
    if is_root() && answer.contains("Open MPI") && std::env::var_os(ALLOW_ROOT).is_none() {
        return Finding::ok("mpirun", found).hint(format!(
            "it refuses to run as root without `export {ALLOW_ROOT}=1 {ALLOW_ROOT}_CONFIRM=1`"
        ));
    }
    Finding::ok("mpirun", found)
}

const ALLOW_ROOT: &str = "OMPI_ALLOW_RUN_AS_ROOT";

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The second number is the effective one.
    line.and_then(|line| line.split_whitespace().nth(1)).is_some_and(|uid| uid == "0")
}

/// Whether library and launcher are of one MPI, as far as their words tell.
fn belong_together(library: &str, launcher: &str) -> bool {
    let open = |text: &str| text.contains("Open MPI");
    if open(library) != open(launcher) {
        return false;
    }
    // Launcher and library of Open MPI speak to each other within one major version.
    let major = |text: &str| version_in(text).and_then(|v| v.split('.').next().map(str::to_owned));
    !open(library) || major(library) == major(launcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loaded_library_is_found_in_the_memory_map() {
        let maps = "\
7f00-7f01 r-xp 00000000 08:01 5 /usr/lib/libmpi.so.40.30.4
7f02-7f03 rw-p 00000000 00:00 0
7f04-7f05 r-xp 00000000 08:01 6 /opt/my torch/lib/libtorch_cpu.so
7f06-7f07 r-xp 00000000 08:01 6 [heap]
";
        let expected = Path::new("/opt/my torch/lib/libtorch_cpu.so");
        assert_eq!(mapped(maps, "libtorch_cpu.so").as_deref(), Some(expected));
        assert_eq!(mapped(maps, "libtorch_cuda.so"), None);
    }

    #[test]
    fn torch_versions_are_read() {
        let text = "from typing import Optional\n__version__ = '2.11.0+cu130'\ndebug = False\n";
        assert_eq!(python_version(text).as_deref(), Some("2.11.0+cu130"));
        assert_eq!(python_version("debug = False"), None);
    }

    #[test]
    fn launchers_of_another_mpi_are_noticed() {
        let debian = "Open MPI v4.1.4";
        assert!(belong_together(debian, "mpirun (Open MPI) 4.1.4"));
        assert!(belong_together(debian, "mpirun (Open MPI) 4.0.3"));
        assert!(!belong_together(debian, "mpirun (Open MPI) 5.0.1"));
        assert!(!belong_together(debian, "HYDRA build details:"));
        assert!(belong_together("MPICH Version: 4.0.2", "HYDRA build details:"));
    }
}
