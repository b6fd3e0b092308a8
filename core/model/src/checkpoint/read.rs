//! Finding, checking and loading checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use rectool_base::limits::MANIFEST_BYTES_MAX;
use rectool_embedding::{Backing, OptimizerOptions, TableOptions};
use serde_json::Value;

use super::chain::Chain;
use super::manifest::{CheckpointManifest, DENSE_FILE, Link, MANIFEST_FILE, TableEntry};
use super::saved::Saved;
use super::{dense, manifest_check, misfit, plugins};
use crate::{Environment, ModelError, ModelSpec, Ranker, RowSpec, TrainingState};

/// Rows that go to the tables in one call.
const ROWS_AT_ONCE: usize = 1 << 14;

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
    identity: String,
}

/// Name of the checkpoint of the best evaluation, made after `step` steps.
pub(super) fn best_name(step: u64) -> String {
    format!("{BEST_PREFIX}{step:08}")
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
    /// The checkpoint that `path` means: itself, or the latest one of a run's folder; of its first training if there are
    /// several.
    pub fn find(path: &Path) -> Option<PathBuf> {
        if path.join(MANIFEST_FILE).exists() {
            return Some(path.to_owned());
        }
        latest(&path.join("checkpoints")).or_else(|| latest(path))
    }

    /// As [`Checkpoint::find`], but of the last training if there are several.
    pub fn find_last(path: &Path) -> Option<PathBuf> {
        let later = (2..).map(|number| path.join(format!("checkpoints-{number}")));
        let later = later.take_while(|folder| folder.is_dir()).filter_map(|folder| latest(&folder));
        later.last().filter(|_| !path.join(MANIFEST_FILE).exists()).or_else(|| Self::find(path))
    }

    /// If the checkpoint at `path` is not whole: the latest one beside it, of fewer steps, that is, and is of the model
    /// `spec`.
    pub fn whole_before(path: &Path, spec: &ModelSpec) -> Option<PathBuf> {
        let whole = |path: &Path| {
            Self::open(path).and_then(|checkpoint| checkpoint.expect_whole(spec)).is_ok()
        };
        if whole(path) {
            return None;
        }
        let own: u64 = path.file_name()?.to_str()?.strip_prefix(STEP_PREFIX)?.parse().ok()?;
        let earlier = listed(path.parent()?, STEP_PREFIX);
        let mut earlier = earlier.into_iter().rev().filter(|(step, _)| *step < own);
        earlier.find(|(_, path)| whole(path)).map(|(_, path)| path)
    }

    /// The checkpoint that `path` means to who uses the model: itself, or of a run's folder the one that the run's
    /// own figures are of. That is the best one where the latest knows of a better one than itself, as early stopping
    /// does, and otherwise the latest. Of several trainings it is the last one, which must be of the model of the first.
    ///
    /// # Errors
    /// As [`Checkpoint::open`], and if the trainings are of different models.
    pub fn of_run(path: &Path) -> Result<Self, ModelError> {
        let Some(found) = Self::find_last(path) else { return Self::open(path) };
        let latest = Self::open(&found)?;
        if let Some(first) = Self::find(path).filter(|first| *first != found) {
            let model = Self::open(&first)?.manifest.model;
            if let Err(differs) = latest.expect_model(&model) {
                let text = format!("{differs}; {} is of another model", first.display());
                return Err(ModelError::option(
                    "run",
                    text,
                    "one model, or the path of a checkpoint",
                ));
            }
        }
        let state = &latest.manifest.state;
        let best = state.best.as_ref().filter(|best| best.step != state.steps && found != path);
        let best = best.map(|best| latest.beside(&best_name(best.step)));
        match best.filter(|best| best.join(MANIFEST_FILE).exists()) {
            Some(best) => Self::open(&best),
            None => Ok(latest),
        }
    }

    /// Reads and checks the manifest, and that every file has the size it names.
    ///
    /// # Errors
    /// [`ModelError::Io`], [`ModelError::CheckpointVersion`] or [`ModelError::Checkpoint`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let file = path.join(MANIFEST_FILE);
        let size = fs::metadata(&file).map_err(ModelError::io("reading", &file))?.len();
        if size > MANIFEST_BYTES_MAX {
            let expected = format!("at most {MANIFEST_BYTES_MAX} bytes");
            return Err(misfit(&file, "size", format!("{size} bytes"), expected));
        }
        let text = fs::read(&file).map_err(ModelError::io("reading", &file))?;
        let (manifest, identity) = manifest_check::parse(&file, &text)?;
        let checkpoint = Self { path: path.to_owned(), manifest, identity };
        checkpoint.check_sizes()?;
        Ok(checkpoint)
    }

    fn check_sizes(&self) -> Result<(), ModelError> {
        for entry in &self.manifest.files {
            let path = self.path.join(&entry.file);
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

    /// The folder of this name beside its own.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        // A path such as `.` or a link says nothing about what lies beside it.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        path.with_file_name(name)
    }

    /// Its folder's name.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    /// The checksum of its manifest, which holds those of all its files: 16 hex digits.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// How a delta on it would name it.
    pub(super) fn link(&self) -> Link {
        Link { name: self.name().to_owned(), identity: self.identity.clone() }
    }

    /// With what it builds on, if it is a delta.
    ///
    /// # Errors
    /// As [`Chain::open`].
    pub fn chain(&self) -> Result<Chain, ModelError> {
        Chain::open(self.clone())
    }

    /// Compares every file's checksum, also of what a delta builds on.
    ///
    /// # Errors
    /// The first file that cannot be read or differs, or what is wrong with the chain.
    pub fn verify(&self) -> Result<(), ModelError> {
        self.chain()?.verify()
    }

    /// Builds the model it holds, with its weights. Tables in files of a folder that is not there are held in memory.
    ///
    /// # Errors
    /// If a file is damaged or memory runs out.
    ///
    /// # Collective
    /// Every rank. Their number may differ from that of the ranks that wrote it.
    pub fn ranker(&self, environment: Environment) -> Result<Ranker, ModelError> {
        let mut spec = self.manifest.model.clone();
        for table in &mut spec.tables {
            // The folder is one of the machine that trained.
            if matches!(&table.rows.backing, Backing::File { folder } if !folder.is_dir()) {
                table.rows.backing = Backing::Memory;
            }
        }
        let mut ranker = Ranker::new(spec, &self.manifest.schema, environment)?;
        self.load(&mut ranker)?;
        Ok(ranker)
    }

    /// Puts the weights and optimizer state into `ranker`, which must be of the same model; learning rates (but for those
    /// of FTRL tables), weight decay, dropout, clipping, negatives, expiry and where rows are kept may differ. Gives the
    /// state of the training.
    ///
    /// # Errors
    /// If the model differs or a file is damaged; `ranker` is then of no further use.
    pub fn load(&self, ranker: &mut Ranker) -> Result<TrainingState, ModelError> {
        let chain = self.expect_whole(&ranker.spec)?;
        dense::load(ranker, &self.path.join(DENSE_FILE), self.manifest.dense_optimizer_steps)?;
        ranker.tables.clear();
        ranker.tables.set_steps(self.manifest.table_steps);
        for at in 0..ranker.tables.table_options().len() {
            let entry = self.table_of(&ranker.tables.table_options()[at])?;
            for rows in chain.rows(entry, ROWS_AT_ONCE)? {
                ranker.tables.import(at, &rows?)?;
            }
            for state in chain.filters(&entry.name) {
                ranker.tables.set_filter_state(at, &state?)?;
            }
            // The next delta is about what goes from here on.
            ranker.tables.take_removed(at)?;
        }
        ranker.saved = Some(Saved::of(self));
        Ok(self.manifest.state.clone())
    }

    /// The entry of a table, which must be of the width that the engine gives it.
    fn table_of(&self, options: &TableOptions) -> Result<&TableEntry, ModelError> {
        let (name, dim) = (&options.name, options.dim);
        let state = options.optimizer.state_width(dim);
        let shape = |dim, state| format!("D {dim} and {state} floats of state");
        let entry = self.manifest.tables.iter().find(|entry| entry.name == *name);
        let found = entry.map(|entry| (entry.dim, entry.state_width));
        match (entry, found) {
            (Some(entry), Some(found)) if found == (dim, state) => Ok(entry),
            (_, found) => {
                let found = found.map_or("none".to_owned(), |(dim, state)| shape(dim, state));
                Err(misfit(&self.path, &format!("table `{name}`"), found, shape(dim, state)))
            }
        }
    }

    /// Whether a model of `spec` can take its weights.
    pub fn is_of(&self, spec: &ModelSpec) -> bool {
        self.expect_model(spec).is_ok()
    }

    /// Its chain, once all files are found to be whole and of the model `wanted`.
    fn expect_whole(&self, wanted: &ModelSpec) -> Result<Chain, ModelError> {
        plugins::expect_same(self, wanted)?;
        self.expect_model(wanted)?;
        let chain = self.chain()?;
        chain.verify()?;
        Ok(chain)
    }

    fn expect_model(&self, wanted: &ModelSpec) -> Result<(), ModelError> {
        let free = Free {
            rates_of_tables: !matches!(wanted.embedding_optimizer, OptimizerOptions::Ftrl { .. }),
        };
        match free.difference(String::new(), &options(&self.manifest.model), &options(wanted)) {
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

/// Options that may change from one run to the next without making the weights useless, most of them for all models:
/// see [`Free`].
const FREE_OPTIONS: [&str; 7] =
    ["learning_rate", "weight_decay", "dropout", "negatives", "clip_norm", "backing", "expiry"];

/// A model's options, those that are left out where they are the defaults included.
fn options(spec: &ModelSpec) -> Value {
    let json = |value: Result<Value, serde_json::Error>| value.expect("a spec is plain data");
    let mut options = json(serde_json::to_value(spec));
    for table in options["tables"].as_array_mut().into_iter().flatten() {
        if table["rows"].is_null() {
            table["rows"] = json(serde_json::to_value(RowSpec::default()));
        }
    }
    options
}

/// Which options may change.
struct Free {
    /// Learning rates of tables, too: not those of FTRL, which keeps sums that belong to one rate.
    rates_of_tables: bool,
}

impl Free {
    fn contains(&self, at: &str, key: &str) -> bool {
        let of_tables = at.starts_with("tables") || at.starts_with("embedding_optimizer");
        let fixed = key == "learning_rate" && of_tables && !self.rates_of_tables;
        FREE_OPTIONS.contains(&key) && !fixed
    }

    /// The first place where two option trees differ, and both values.
    fn difference(
        &self,
        at: String,
        found: &Value,
        wanted: &Value,
    ) -> Option<(String, String, String)> {
        let join = |key: &str| if at.is_empty() { key.to_owned() } else { format!("{at}.{key}") };
        match (found, wanted) {
            (Value::Object(a), Value::Object(b)) => {
                let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
                let side = |object: &serde_json::Map<String, Value>, key: &str| {
                    object.get(key).cloned().unwrap_or(Value::Null)
                };
                keys.filter(|key| !self.contains(&at, key))
                    .find_map(|key| self.difference(join(key), &side(a, key), &side(b, key)))
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                a.iter().zip(b).enumerate().find_map(|(index, (a, b))| {
                    let named = a["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                    self.difference(join(&named), a, b)
                })
            }
            _ if found == wanted => None,
            _ => Some((at, found.to_string(), wanted.to_string())),
        }
    }
}
