//! Finding, checking and loading checkpoints.

use std::fs;
use std::path::{Component, Path, PathBuf};

use rectool_base::limits::MANIFEST_BYTES_MAX;
use serde_json::Value;

use super::files::measure;
use super::manifest::{CheckpointManifest, DENSE_FILE, FORMAT_NAME, FORMAT_VERSION, MANIFEST_FILE};
use super::{dense, plugins, table_part};
use crate::{DlrmSpec, Environment, ModelError, Ranker, TrainingState};

/// Names of checkpoints made every so many steps.
pub(super) const STEP_PREFIX: &str = "step-";
/// Name of the checkpoint of the best evaluation.
pub(super) const BEST_PREFIX: &str = "best-";

/// A checkpoint folder whose manifest was read.
///
/// ```no_run
/// use rectool_model::Checkpoint;
/// let checkpoint = Checkpoint::open("runs/latest/checkpoints/step-00000100".as_ref())?;
/// println!("{} steps", checkpoint.manifest().state.steps);
/// # Ok::<(), rectool_model::ModelError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checkpoint {
    path: PathBuf,
    manifest: CheckpointManifest,
}

/// The checkpoint of the most steps in `folder`, if there is any.
pub fn latest(folder: &Path) -> Option<PathBuf> {
    listed(folder, STEP_PREFIX).pop().map(|(_, path)| path)
}

/// Complete checkpoints whose names start with `prefix`, by rising steps.
pub(super) fn listed(folder: &Path, prefix: &str) -> Vec<(u64, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found: Vec<(u64, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let step = path.file_name()?.to_str()?.strip_prefix(prefix)?.parse().ok()?;
            path.join(MANIFEST_FILE).exists().then_some((step, path))
        })
        .collect();
    found.sort();
    found
}

impl Checkpoint {
    /// The checkpoint that `path` means: itself, or the latest one of a run's folder.
    pub fn find(path: &Path) -> Option<PathBuf> {
        if path.join(MANIFEST_FILE).exists() {
            return Some(path.to_owned());
        }
        latest(&path.join("checkpoints")).or_else(|| latest(path))
    }

    /// Reads and checks the manifest, and that every file has the size it names.
    ///
    /// # Errors
    /// [`ModelError::Io`] or [`ModelError::Checkpoint`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = path.join(MANIFEST_FILE);
        let size = fs::metadata(&file).map_err(ModelError::io("reading", &file))?.len();
        if size > MANIFEST_BYTES_MAX {
            let expected = format!("at most {MANIFEST_BYTES_MAX} bytes");
            return Err(misfit(&file, "size", format!("{size} bytes"), expected));
        }
        let text = fs::read(&file).map_err(ModelError::io("reading", &file))?;
        let unreadable = |error: serde_json::Error| {
            misfit(&file, "manifest", error.to_string(), "a checkpoint's manifest")
        };
        let value: Value = serde_json::from_slice(&text).map_err(unreadable)?;
        if value["format"] != FORMAT_NAME {
            return Err(misfit(&file, "`format`", value["format"].to_string(), FORMAT_NAME));
        }
        if value["version"] != FORMAT_VERSION {
            let expected = format!("{FORMAT_VERSION}, the version this rectool reads");
            return Err(misfit(&file, "`version`", value["version"].to_string(), expected));
        }
        let manifest: CheckpointManifest = serde_json::from_value(value).map_err(unreadable)?;
        let checkpoint = Self { path: path.to_owned(), manifest };
        checkpoint.check_sizes()?;
        Ok(checkpoint)
    }

    fn check_sizes(&self) -> Result<(), ModelError> {
        for entry in &self.manifest.files {
            let path = Path::new(&entry.file);
            if !path.components().all(|part| matches!(part, Component::Normal(_))) {
                let expected = "a path below the checkpoint";
                return Err(misfit(&self.path, "file name", entry.file.clone(), expected));
            }
            let path = self.path.join(path);
            let bytes = fs::metadata(&path).map_err(ModelError::io("reading", &path))?.len();
            if bytes != entry.bytes {
                let expected = format!("{} bytes", entry.bytes);
                return Err(misfit(&path, "size", format!("{bytes} bytes"), expected));
            }
        }
        Ok(())
    }

    /// What the checkpoint says about itself.
    pub fn manifest(&self) -> &CheckpointManifest {
        &self.manifest
    }

    /// Its folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Compares every file's checksum.
    ///
    /// # Errors
    /// The first file that cannot be read or differs.
    pub fn verify(&self) -> Result<(), ModelError> {
        self.manifest.files.iter().try_for_each(|entry| {
            let path = self.path.join(&entry.file);
            let (_, xxh3) = measure(&path).map_err(ModelError::io("reading", &path))?;
            if xxh3 == entry.xxh3 {
                return Ok(());
            }
            Err(misfit(&path, "checksum", xxh3, entry.xxh3.clone()))
        })
    }

    /// Builds the model it holds, with its weights.
    ///
    /// # Errors
    /// If a file is damaged or memory runs out.
    ///
    /// # Collective
    /// Every rank. Their number may differ from that of the ranks that wrote it.
    pub fn ranker(&self, environment: Environment) -> Result<Ranker, ModelError> {
        let spec = self.manifest.model.clone();
        let mut ranker = Ranker::new(spec, &self.manifest.schema, environment)?;
        self.load(&mut ranker)?;
        Ok(ranker)
    }

    /// Puts the weights and optimizer state into `ranker`, which must be of the same model; learning
    /// rates and dropout may differ. Gives the state of the training.
    ///
    /// # Errors
    /// If the model differs or a file is damaged; `ranker` is then of no further use.
    pub fn load(&self, ranker: &mut Ranker) -> Result<TrainingState, ModelError> {
        plugins::expect_same(self, &ranker.spec)?;
        self.expect_model(&ranker.spec)?;
        self.verify()?;
        dense::load(ranker, &self.path.join(DENSE_FILE), self.manifest.dense_optimizer_steps)?;
        ranker.tables.clear();
        for at in 0..ranker.tables.table_options().len() {
            let prefix = format!("tables/{}/", ranker.tables.table_options()[at].name);
            for entry in self.manifest.files.iter().filter(|file| file.file.starts_with(&prefix)) {
                table_part::read(&mut ranker.tables, at, &self.path.join(&entry.file))?;
            }
        }
        Ok(self.manifest.state.clone())
    }

    fn expect_model(&self, wanted: &DlrmSpec) -> Result<(), ModelError> {
        let json = |spec| serde_json::to_value(spec).expect("a spec is plain data");
        let (found, wanted) = (json(&self.manifest.model), json(wanted));
        match difference(String::new(), &found, &wanted) {
            None => Ok(()),
            Some((option, found, wanted)) => {
                Err(misfit(&self.path, &format!("model option `{option}`"), found, wanted))
            }
        }
    }
}

/// Loads the weights of a checkpoint written by this very training.
pub(crate) fn load_weights(ranker: &mut Ranker, path: &Path) -> Result<(), ModelError> {
    Checkpoint::open(path)?.load(ranker).map(drop)
}

/// Options that may change from one run to the next without making the weights useless.
const FREE_OPTIONS: [&str; 4] = ["learning_rate", "weight_decay", "dropout", "negatives"];

/// The first place where two option trees differ, and both values.
fn difference(at: String, found: &Value, wanted: &Value) -> Option<(String, String, String)> {
    let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
    match (found, wanted) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            let null = Value::Null;
            keys.filter(|key| !FREE_OPTIONS.contains(&key.as_str())).find_map(|key| {
                let side = |object: &'_ serde_json::Map<String, Value>| {
                    object.get(key).cloned().unwrap_or(null.clone())
                };
                difference(join(key), &side(a), &side(b))
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(index, (a, b))| difference(join(&index.to_string()), a, b)),
        _ if found == wanted => None,
        _ => Some((at, found.to_string(), wanted.to_string())),
    }
}

fn misfit(
    path: &Path,
    what: &str,
    found: impl Into<String>,
    expected: impl Into<String>,
) -> ModelError {
    ModelError::Checkpoint {
        path: path.to_owned(),
        what: what.to_owned(),
        found: found.into(),
        expected: expected.into(),
    }
}
