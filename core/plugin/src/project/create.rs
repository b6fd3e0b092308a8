//! A new plugin folder from a template.

use std::path::PathBuf;

use super::embedded::{SDK, unpack};
use super::{Project, ProjectError};
use crate::name::is_plugin_name;

/// A folder to be made.
#[derive(Clone, Debug)]
pub struct NewProject {
    /// The plugin's name: lower-case words joined by `-`.
    pub name: String,
    /// One of [`languages`].
    pub language: String,
    /// `transform`, `loss` or `sampler`.
    pub kind: String,
    /// The folder, which must not exist.
    pub folder: PathBuf,
}

/// The languages there are templates for, in alphabetical order.
pub fn languages() -> Vec<&'static str> {
    let folders = SDK.dirs().filter_map(|folder| folder.path().to_str());
    let mut names: Vec<_> =
        folders.chain([TYPESCRIPT]).filter(|name| !kinds(name).is_empty()).collect();
    names.sort_unstable();
    names
}

/// TypeScript shares the SDK of JavaScript.
const TYPESCRIPT: &str = "ts";

/// The kinds of plugin that a language has templates for.
fn kinds(language: &str) -> Vec<&'static str> {
    let kinds = ["transform", "loss", "sampler"].into_iter();
    kinds.filter(|kind| SDK.get_dir(template(language, kind)).is_some()).collect()
}

/// The folder of a language's template for a kind.
fn template(language: &str, kind: &str) -> String {
    let folder =
        if language == TYPESCRIPT { "js/template-ts" } else { &format!("{language}/template") };
    if kind == "transform" { folder.to_owned() } else { format!("{folder}-{kind}") }
}

impl NewProject {
    /// Makes the folder.
    ///
    /// # Errors
    /// If the name is no plugin name, there is no such template, or the folder exists.
    pub fn create(&self) -> Result<Project, ProjectError> {
        if !is_plugin_name(&self.name) {
            return Err(ProjectError::Name { name: self.name.clone() });
        }
        let known = languages();
        if !known.contains(&self.language.as_str()) {
            return Err(ProjectError::Language { name: self.language.clone(), known });
        }
        let Some(template) = SDK.get_dir(template(&self.language, &self.kind)) else {
            let (kind, language) = (self.kind.clone(), self.language.clone());
            let known = kinds(&self.language);
            return Err(ProjectError::Kind { kind, language, known });
        };
        if self.folder.exists() {
            return Err(ProjectError::Exists { path: self.folder.clone() });
        }
        unpack(template, template.path(), &self.folder, &|text| self.fill(text))?;
        Project::open(&self.folder)
    }

    /// Puts the name where the template has a place for it.
    fn fill(&self, text: &str) -> String {
        text.replace("{{name}}", &self.name)
            .replace("{{name_snake}}", &self.name.replace('-', "_"))
            // A name that keeps tools from taking a template's file for their own.
            .replace("_gitignore", ".gitignore")
    }
}
