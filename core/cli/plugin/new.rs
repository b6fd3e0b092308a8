//! `rectool plugin new`.

use std::path::PathBuf;

use clap::Args;
use rectool_plugin::project::{NewProject, languages};

use crate::failure::{Exit, Failure};
use crate::output::print;

#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// Name of the plugin: lower-case words joined by `-`
    name: String,

    /// Language of the template
    #[arg(long, short, value_name = "LANGUAGE", value_parser = languages())]
    lang: String,

    /// What the plugin is: transform, loss or sampler
    #[arg(long, value_name = "KIND", default_value = "transform")]
    kind: String,

    /// The new folder; by default named like the plugin
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl NewArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        let folder = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        let new = NewProject {
            name: self.name.clone(),
            language: self.lang.clone(),
            kind: self.kind.clone(),
            folder,
        };
        let project = new.create().map_err(Failure::usage)?;
        let folder = project.folder().display();
        print(&format!(
            "made {folder}: a {} in {}\nnext:\n  rectool plugin build {folder}\n  rectool plugin check {folder}\n",
            self.kind, self.lang
        ))?;
        Ok(Exit::Ok)
    }
}
