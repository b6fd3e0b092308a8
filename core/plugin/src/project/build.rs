//! Builds a plugin with its language's own tool.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::embedded::{SDK, unpack};
use super::{Project, ProjectError, WORK_FOLDER};

/// Bytes of a failed command's output that are shown: the end holds the error.
const OUTPUT_BYTES_MAX: usize = 4_000;

/// A plugin that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The plugin: `<name>.wasm` in the folder.
    pub path: PathBuf,
    /// How long it took.
    pub elapsed: Duration,
}

impl Project {
    /// Runs the build command and puts what it made at [`Project::component`].
    ///
    /// `tools` are folders that are searched for programs before PATH.
    ///
    /// # Errors
    /// If the tool is missing, or the command fails or makes nothing.
    pub fn build(&self, tools: &[PathBuf]) -> Result<Built, ProjectError> {
        let started = Instant::now();
        let Some(build) = &self.manifest.build else {
            return Ok(Built { path: self.component(), elapsed: Duration::ZERO });
        };
        let sdk = Path::new(WORK_FOLDER).join("sdk");
        unpack(&SDK, Path::new(""), &self.folder.join(&sdk), &str::to_owned)?;
        let path = search_path(tools);
        if find_program(&build.tool, &path).is_none() {
            let (tool, language) = (build.tool.clone(), self.manifest.language.clone());
            return Err(ProjectError::Tool { tool, language, hint: build.hint.clone() });
        }
        let words: Vec<String> = build
            .command
            .iter()
            .map(|word| word.replace("{sdk}", &sdk.to_string_lossy()))
            .collect();
        let shown = words.join(" ");
        let program = find_program(&words[0], &path).unwrap_or_else(|| words[0].clone().into());
        let mut command = Command::new(program);
        command.args(&words[1..]).current_dir(&self.folder).env("PATH", &path);
        let output = command.output().map_err(|source| {
            let path = self.folder.join(&words[0]);
            ProjectError::Io { path, source }
        })?;
        if !output.status.success() {
            let (status, output) = (output.status.to_string(), end_of(&output));
            return Err(ProjectError::Command { command: shown, status, output });
        }
        self.take(&build.output, &shown)?;
        Ok(Built { path: self.component(), elapsed: started.elapsed() })
    }

    /// Puts the command's output where plugins are looked for.
    fn take(&self, output: &str, command: &str) -> Result<(), ProjectError> {
        let (made, wanted) = (self.folder.join(output), self.component());
        if !made.is_file() {
            return Err(ProjectError::NoOutput { command: command.to_owned(), path: made });
        }
        if made != wanted {
            std::fs::copy(&made, &wanted)
                .map_err(|source| ProjectError::Io { path: wanted.clone(), source })?;
        }
        Ok(())
    }
}

fn search_path(tools: &[PathBuf]) -> OsString {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    let folders = tools.iter().cloned().chain(std::env::split_paths(&inherited));
    std::env::join_paths(folders).unwrap_or(inherited)
}

fn find_program(name: &str, path: &OsString) -> Option<PathBuf> {
    std::env::split_paths(path).map(|folder| folder.join(name)).find(|place| place.is_file())
}

/// The end of what a command printed.
fn end_of(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    let mut start = text.len().saturating_sub(OUTPUT_BYTES_MAX);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].trim_end().to_owned()
}
