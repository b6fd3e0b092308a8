//! `--device`, of every command that computes with a model.

use clap::ValueEnum;
use rectool_model::DeviceChoice;

/// Where a model computes.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DeviceArgs {
    /// Where the dense layers compute, and where what is recommended is searched
    #[arg(long, value_enum, default_value_t = Device::Cpu)]
    device: Device,
}

/// A device as the command line names it.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Device {
    /// The CPU
    Cpu,
    /// The GPU of the rank
    Cuda,
    /// The GPU where there is one, else the CPU
    Auto,
}

impl DeviceArgs {
    /// As the model crate takes it.
    pub(crate) fn choice(self) -> DeviceChoice {
        match self.device {
            Device::Cpu => DeviceChoice::Cpu,
            Device::Cuda => DeviceChoice::Cuda,
            Device::Auto => DeviceChoice::Auto,
        }
    }
}
