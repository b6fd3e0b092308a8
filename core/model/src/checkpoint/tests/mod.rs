//! Checkpoints of small trainings, whole, in deltas, damaged, and on other numbers of ranks.

mod damage;
mod delta;
mod elastic;
mod format;
mod merge;
mod resume;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rectool_comm::{Comm, Solo};
use rectool_data::Dataset;

use super::Chain;
use super::read::{STEP_PREFIX, listed};
use crate::tests::native::{dataset, environment, model, training};
use crate::{
    Checkpoint, LossSpec, ModelSpec, Quiet, Ranker, RecipeEntry, TrainJob, TrainSpec,
    TrainingState, fit,
};

/// A model with a hashed and a dense table.
fn spec() -> ModelSpec {
    let mut spec = model(LossSpec::Bce, "dense", &["user", "item"], Vec::new());
    spec.tables[1].index = rectool_embedding::IndexKind::Dense { rows: 9 };
    spec
}

/// Thirty steps of a few rows, so that few keys come in each; a checkpoint after every fifth.
fn short(full_every: u64) -> TrainSpec {
    TrainSpec {
        batch_size: 2,
        epochs: 1,
        steps_max: 30,
        checkpoint_every: 5,
        checkpoints_kept: 100,
        checkpoint_full_every: full_every,
        report_every: 10,
        ..training()
    }
}

/// What trainings start from.
struct Fixture {
    folder: tempfile::TempDir,
    data: Dataset,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = dataset(folder.path());
        Self { folder, data }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ranker(&self, comm: Arc<dyn Comm>) -> Ranker {
        Ranker::new(spec(), self.data.schema(), environment(comm)).unwrap()
    }

    /// Trains `ranker`, writing checkpoints to the folder `name`.
    fn fit(&self, ranker: &mut Ranker, how: &TrainSpec, name: &str, resume: Option<TrainingState>) {
        let (train, folder) = (self.data.split("train").unwrap(), self.path(name));
        let recipe = Some(RecipeEntry::of(Path::new("a/short.rhai"), "train();"));
        let job = TrainJob {
            spec: how,
            train: &train,
            valid: None,
            checkpoints: Some(&folder),
            resume,
            recipe,
        };
        fit(ranker, &job, &mut Quiet).unwrap();
    }

    /// Trains a new model on one rank.
    fn train(&self, how: &TrainSpec, name: &str) {
        self.fit(&mut self.ranker(Arc::new(Solo)), how, name, None);
    }

    fn chain(&self, name: &str, step: u64) -> Chain {
        self.checkpoint(name, step).chain().unwrap()
    }

    fn checkpoint(&self, name: &str, step: u64) -> Checkpoint {
        Checkpoint::open(&self.path(name).join(format!("{STEP_PREFIX}{step:08}"))).unwrap()
    }

    fn steps(&self, name: &str) -> Vec<u64> {
        listed(&self.path(name), STEP_PREFIX).into_iter().map(|(step, _)| step).collect()
    }
}

/// Every file below a folder with its bytes, by name.
fn content(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                files.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}

/// Writes a changed manifest with a checksum that fits it.
fn write_sealed(path: &Path, text: &str) {
    let (place, seal) = super::manifest::seal(text).unwrap();
    let text = text[..place].to_owned() + &seal + &text[place + seal.len()..];
    std::fs::write(path, text).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for (name, bytes) in content(from) {
        let path = to.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}
