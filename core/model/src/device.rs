//! Which device the dense part of a model runs on.

use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LAZY};
use serde::{Deserialize, Serialize};
use tch::Device;

use crate::ModelError;

/// What a user asks for with `--device`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceChoice {
    /// The CPU.
    #[default]
    Cpu,
    /// The GPU of this rank: local rank modulo the number of GPUs. An error where there is none.
    Cuda,
    /// The GPU where there is one, else the CPU.
    Auto,
}

/// How the dense part computes.
///
/// Both give the same numbers within rounding; tests compare them on the CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compute {
    /// Our own kernels around libtorch's GEMM, in host memory.
    Fused,
    /// libtorch's operations on a device, which may also be the CPU.
    Tensor(Device),
}

impl DeviceChoice {
    /// Settles the choice for the rank at `local_rank` of its machine, loading CUDA if it is asked
    /// for.
    ///
    /// # Errors
    /// [`ModelError::Device`] if `Cuda` is asked for and cannot be had.
    pub fn resolve(self, local_rank: usize) -> Result<Compute, ModelError> {
        match self {
            Self::Cpu => Ok(Compute::Fused),
            Self::Cuda => cuda(local_rank),
            Self::Auto => Ok(cuda(local_rank).unwrap_or(Compute::Fused)),
        }
    }
}

impl Compute {
    /// `cpu` or `cuda:1`.
    pub fn name(self) -> String {
        match self {
            Self::Fused | Self::Tensor(Device::Cpu) => "cpu".to_owned(),
            Self::Tensor(Device::Cuda(index)) => format!("cuda:{index}"),
            Self::Tensor(other) => format!("{other:?}").to_lowercase(),
        }
    }

    pub(crate) fn device(self) -> Device {
        match self {
            Self::Fused => Device::Cpu,
            Self::Tensor(device) => device,
        }
    }
}

fn cuda(local_rank: usize) -> Result<Compute, ModelError> {
    let refuse =
        |reason: String, hint| Err(ModelError::Device { device: "cuda".to_owned(), reason, hint });
    if !Path::new("/dev/nvidiactl").exists() && !Path::new("/dev/dxg").exists() {
        return refuse(
            "this machine shows no NVIDIA device".to_owned(),
            "use `--device cpu` or `--device auto`; `rectool doctor` shows what is found",
        );
    }
    if let Err(reason) = load_cuda_libraries() {
        return refuse(
            reason,
            "link `.libtorch` to a Python torch with CUDA: `pip install torch==2.11.0`, remove \
             `.libtorch`, then `make setup`",
        );
    }
    let count = tch::Cuda::device_count();
    if count < 1 {
        return refuse(
            "libtorch finds no usable GPU".to_owned(),
            "compare the driver's version with CUDA 13 in `rectool doctor`",
        );
    }
    Ok(Compute::Tensor(Device::Cuda(local_rank % count as usize)))
}

/// libtorch is linked through its CPU libraries only, so that one binary serves machines with and
/// without CUDA. Its CUDA part registers itself when it is loaded.
fn load_cuda_libraries() -> Result<(), String> {
    if tch::Cuda::is_available() {
        return Ok(());
    }
    let folder = libtorch_folder().ok_or("the folder of libtorch_cpu.so is not known")?;
    let path = folder.join("libtorch_cuda.so");
    if !path.exists() {
        return Err(format!("{} does not exist", path.display()));
    }
    // SAFETY: loading runs the library's initialisers, which register CUDA with the libtorch that
    // is already loaded from the same folder, hence of the same build.
    #[expect(unsafe_code, reason = "the CUDA part of libtorch is loaded at run time")]
    let library = unsafe { Library::open(Some(&path), RTLD_GLOBAL | RTLD_LAZY) };
    let library = library.map_err(|error| format!("{}: {error}", path.display()))?;
    // It stays loaded until the process ends: libtorch keeps pointers into it.
    std::mem::forget(library);
    if tch::Cuda::is_available() { Ok(()) } else { Err("CUDA is loaded but not available".into()) }
}

/// Threads of our kernels, for the whole process. Each of them calls libtorch's GEMM for its own part
/// of a product, so libtorch itself gets one thread.
///
/// The pool is made once: a second call changes nothing.
pub fn set_threads(threads: usize) {
    tch::set_num_threads(1);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .start_handler(|_| tch::set_num_threads(1));
    // An error means that the pool is there already.
    let _ = pool.build_global();
}

/// The folder that the running libtorch_cpu.so was loaded from.
pub fn libtorch_folder() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    Path::new(&line[line.find('/')?..]).parent().map(Path::to_owned)
}

/// The version of the libtorch in use, such as `2.11.0`, if its folder tells.
pub fn libtorch_version() -> Option<String> {
    let root = libtorch_folder()?.parent()?.to_owned();
    if let Ok(version) = std::fs::read_to_string(root.join("build-version")) {
        return Some(version.trim().to_owned());
    }
    let text = std::fs::read_to_string(root.join("version.py")).ok()?;
    let line = text.lines().find(|line| line.starts_with("__version__"))?;
    Some(line.split(['\'', '"']).nth(1)?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libtorch_is_the_version_that_tch_expects() {
        let version = libtorch_version().unwrap();
        assert!(version.starts_with("2.11."), "libtorch {version}");
    }

    #[test]
    fn auto_always_finds_a_device() {
        let compute = DeviceChoice::Auto.resolve(0).unwrap();
        assert!(compute.name() == "cpu" || compute.name().starts_with("cuda:"));
    }
}
