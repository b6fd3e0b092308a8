//! Which files an index is made of.

use std::path::Path;

use rectool_base::write_whole;
use serde::{Deserialize, Serialize};

use crate::build::BuildOptions;
use crate::error::AnnError;

/// The file that makes a folder an index.
pub(crate) const MANIFEST_FILE: &str = "index.json";
const VERSION: u32 = 1;

/// The files of an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    version: u32,
    /// How its parts are built again.
    pub(super) options: BuildOptions,
    /// Names of part files; a log lies beside each.
    pub(super) parts: Vec<String>,
}

impl Manifest {
    pub(super) fn new(options: &BuildOptions, parts: Vec<String>) -> Self {
        Self { version: VERSION, options: options.clone(), parts }
    }

    pub(super) fn read(folder: &Path) -> Result<Self, AnnError> {
        let path = folder.join(MANIFEST_FILE);
        let text = std::fs::read(&path).map_err(AnnError::io("read", &path))?;
        let manifest: Self = serde_json::from_slice(&text).map_err(|error| {
            AnnError::corrupt(&path, "manifest", error, "what this version writes")
        })?;
        if manifest.version != VERSION {
            return Err(AnnError::corrupt(&path, "format version", manifest.version, VERSION));
        }
        let plain = |name: &String| !name.is_empty() && !name.contains(['/', '\\']) && name != "..";
        if manifest.parts.is_empty() || !manifest.parts.iter().all(plain) {
            let found = format!("{:?}", manifest.parts);
            return Err(AnnError::corrupt(&path, "parts", found, "names of files beside it"));
        }
        Ok(manifest)
    }

    /// Writes it so that a crash leaves the old or the new one.
    pub(super) fn write(&self, folder: &Path) -> Result<(), AnnError> {
        let path = folder.join(MANIFEST_FILE);
        let mut text = serde_json::to_vec_pretty(self).expect("a manifest is plain data");
        text.push(b'\n');
        write_whole(&path, &text).map_err(AnnError::io("write", &path))
    }
}

/// Name of a part's file.
pub(super) fn part_name(part: usize, generation: u64) -> String {
    format!("part-{part:05}-{generation:06}.ann")
}

/// Generation in a part's file name.
pub(super) fn generation_of(name: &str) -> u64 {
    let digits = name.rsplit_once('-').map_or("", |(_, rest)| rest.trim_end_matches(".ann"));
    digits.parse().unwrap_or(0)
}

/// Name of a part's log.
pub(super) fn log_name(part: &str) -> String {
    format!("{part}.log")
}
