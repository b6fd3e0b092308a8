//! A plugin's source folder: made from a template, built with the language's own tool.

mod build;
mod create;
mod embedded;
mod error;
mod manifest;

use std::path::{Path, PathBuf};

pub use build::Built;
pub use create::{NewProject, languages};
pub use error::ProjectError;
pub use manifest::{BuildManifest, ProjectManifest};

/// The manifest's file name.
const MANIFEST_FILE: &str = "plugin.toml";
/// What a build unpacks and caches, inside the folder; not for version control.
const WORK_FOLDER: &str = ".rectool";

/// A folder with `plugin.toml`.
#[derive(Clone, Debug)]
pub struct Project {
    folder: PathBuf,
    manifest: ProjectManifest,
}

impl Project {
    /// Reads the manifest of `folder`.
    ///
    /// # Errors
    /// [`ProjectError::Io`] if there is none, [`ProjectError::Manifest`] if it makes no sense.
    pub fn open(folder: &Path) -> Result<Self, ProjectError> {
        let manifest = ProjectManifest::read(&folder.join(MANIFEST_FILE))?;
        Ok(Self { folder: folder.to_owned(), manifest })
    }

    /// Whether `folder` holds a manifest.
    pub fn is_at(folder: &Path) -> bool {
        folder.join(MANIFEST_FILE).is_file()
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it says about itself.
    pub fn manifest(&self) -> &ProjectManifest {
        &self.manifest
    }

    /// Where the plugin lies, once it is built.
    pub fn component(&self) -> PathBuf {
        let ending = if self.manifest.build.is_some() { "wasm" } else { "wat" };
        self.folder.join(format!("{}.{ending}", self.manifest.name))
    }

    /// Its golden cases.
    pub fn cases(&self) -> PathBuf {
        self.folder.join("cases.jsonl")
    }
}
