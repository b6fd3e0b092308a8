//! `rectool plugin build`.

use std::path::PathBuf;

use clap::Args;
use rectool_plugin::project::{Project, ProjectError};

use super::target::{host, tools};
use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Folder with `plugin.toml`
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

impl BuildArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let project = Project::open(&self.folder).map_err(Failure::usage)?;
        let built = project.build(&tools()).map_err(failure)?;
        let bytes = std::fs::metadata(&built.path).map_or(0, |file| file.len());
        // What was built must load: the host says best what is wrong with it.
        let plugin = host()?.load(&built.path).map_err(Failure::failed)?;
        print(&format!(
            "built {}: {} {} {}, {:.1} KiB, in {:.1} s\n",
            built.path.display(),
            plugin.kind().name(),
            plugin.description().name,
            plugin.description().version,
            bytes as f64 / 1024.0,
            built.elapsed.as_secs_f64(),
        ))?;
        Ok(Exit::Ok)
    }
}

/// A missing tool is for the user to mend; all else failed while being done.
fn failure(error: ProjectError) -> Failure {
    match error {
        ProjectError::Tool { .. } | ProjectError::Manifest { .. } => Failure::usage(error),
        other => Failure::failed(other),
    }
}
