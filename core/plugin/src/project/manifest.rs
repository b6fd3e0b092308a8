//! `plugin.toml`: what a plugin is called, and how it is built.

use std::path::Path;

use serde::Deserialize;

use super::ProjectError;
use crate::name::is_plugin_name;

/// `plugin.toml`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectManifest {
    /// The plugin's name: lower case, words joined by `-`.
    pub name: String,
    /// `transform`, `loss` or `sampler`.
    pub kind: String,
    /// The language it is written in, for `rectool plugin list` and messages.
    pub language: String,
    /// How it is built; without it, `<name>.wat` is the plugin.
    pub build: Option<BuildManifest>,
}

/// How a plugin is built.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildManifest {
    /// The program that must be there.
    pub tool: String,
    /// Program and arguments, run in the folder. `{sdk}` stands for the folder of rectool's SDKs and
    /// WIT files, unpacked for this build.
    pub command: Vec<String>,
    /// The file that the command makes, relative to the folder: a component, a core module, or
    /// WebAssembly text.
    pub output: String,
    /// The files that a person edits.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What to install where the tool is missing.
    pub hint: String,
}

impl ProjectManifest {
    /// Reads and checks a manifest.
    pub(super) fn read(path: &Path) -> Result<Self, ProjectError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ProjectError::Io { path: path.to_owned(), source })?;
        let broken = |found: String| ProjectError::Manifest { path: path.to_owned(), found };
        let manifest: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
            broken(format!("line {line}: {}", error.message()))
        })?;
        if !is_plugin_name(&manifest.name) {
            let name = &manifest.name;
            return Err(broken(format!(
                "`name` is `{name}`, expected lower-case words joined by `-`"
            )));
        }
        if manifest.build.as_ref().is_some_and(|build| build.command.is_empty()) {
            return Err(broken("`build.command` is empty".to_owned()));
        }
        if !["transform", "loss", "sampler"].contains(&manifest.kind.as_str()) {
            let kind = &manifest.kind;
            return Err(broken(format!(
                "`kind` is `{kind}`, expected `transform`, `loss` or `sampler`"
            )));
        }
        Ok(manifest)
    }
}
