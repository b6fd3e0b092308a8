//! Writing checkpoints, rank by rank.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use rectool_comm::{Comm, agree};
use rectool_embedding::TableOptions;

use super::files::{HashedFile, sync_folder};
use super::manifest::{
    CheckpointManifest, DENSE_FILE, FORMAT_NAME, FORMAT_VERSION, FileEntry, MANIFEST_FILE,
    TableEntry,
};
use super::read::{BEST_PREFIX, STEP_PREFIX, listed};
use super::{dense, plugins, table_part};
use crate::{ModelError, Ranker, TrainingState};

/// A folder of checkpoints of one training.
pub(crate) struct CheckpointFolder {
    pub(crate) path: PathBuf,
    /// Checkpoints kept besides the best one.
    pub(crate) kept: usize,
}

impl CheckpointFolder {
    /// Where the checkpoint of a best evaluation lies.
    pub(crate) fn best_path(&self, step: u64) -> PathBuf {
        self.path.join(format!("{BEST_PREFIX}{step:08}"))
    }

    /// Writes a checkpoint and drops the oldest beyond `kept`.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn save(
        &self,
        ranker: &Ranker,
        state: &TrainingState,
    ) -> Result<PathBuf, ModelError> {
        let path = self.path.join(format!("{STEP_PREFIX}{:08}", state.steps));
        save(ranker, state, &path)?;
        self.prune(ranker, STEP_PREFIX, self.kept.max(1))?;
        Ok(path)
    }

    /// Writes the checkpoint of a best evaluation and drops the earlier best.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn save_best(
        &self,
        ranker: &Ranker,
        state: &TrainingState,
    ) -> Result<(), ModelError> {
        save(ranker, state, &self.best_path(state.steps))?;
        self.prune(ranker, BEST_PREFIX, 1)
    }

    fn prune(&self, ranker: &Ranker, prefix: &str, kept: usize) -> Result<(), ModelError> {
        if ranker.comm.rank() != 0 {
            return Ok(());
        }
        let old = listed(&self.path, prefix);
        for (_, path) in old.iter().rev().skip(kept) {
            fs::remove_dir_all(path).map_err(ModelError::io("removing", path))?;
        }
        Ok(())
    }
}

/// Writes the checkpoint `path`, replacing one of the same name.
///
/// # Collective
/// Every rank, with the same path and state, on a file system that all ranks see.
fn save(ranker: &Ranker, state: &TrainingState, path: &Path) -> Result<(), ModelError> {
    let comm = &*ranker.comm;
    let first = comm.rank() == 0;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let work = path.with_file_name(format!(".writing-{name}"));
    let prepared = if first { prepare(ranker, &work) } else { Ok(()) };
    agree(comm, prepared)?;
    let written = agree(comm, write_parts(ranker, &work));
    let finished = written.and_then(|files| {
        let files = gather(comm, &files)?;
        let finished = if first { finish(ranker, state, files, (&work, path)) } else { Ok(()) };
        agree(comm, finished)
    });
    if finished.is_err() && first {
        // The error itself is what matters; a leftover folder has no final name.
        let _ = fs::remove_dir_all(&work);
    }
    finished
}

fn prepare(ranker: &Ranker, work: &Path) -> Result<(), ModelError> {
    if work.exists() {
        fs::remove_dir_all(work).map_err(ModelError::io("removing", work))?;
    }
    for table in ranker.tables.table_options() {
        let folder = work.join("tables").join(&table.name);
        fs::create_dir_all(&folder).map_err(ModelError::io("creating", folder))?;
    }
    plugins::prepare(ranker, work)
}

/// Writes this rank's files.
fn write_parts(ranker: &Ranker, work: &Path) -> Result<Vec<FileEntry>, ModelError> {
    let rank = ranker.comm.rank();
    let mut files = Vec::new();
    if rank == 0 {
        let path = work.join(DENSE_FILE);
        let bytes = dense::serialize(ranker).map_err(|error| ModelError::Checkpoint {
            path: path.clone(),
            what: "dense weights".to_owned(),
            found: error.to_string(),
            expected: "a safetensors file".to_owned(),
        })?;
        let mut file = HashedFile::create(&path).map_err(ModelError::io("writing", &path))?;
        file.write_all(&bytes).map_err(ModelError::io("writing", &path))?;
        let (bytes, xxh3) = file.finish().map_err(ModelError::io("writing", &path))?;
        files.push(FileEntry { file: DENSE_FILE.to_owned(), bytes, xxh3, rows: None });
    }
    if rank == 0 {
        files.extend(plugins::write(ranker, work)?);
    }
    for (at, table) in ranker.tables.table_options().iter().enumerate() {
        let name = format!("tables/{}/part-{rank:05}.arrow", table.name);
        let path = work.join(&name);
        let mut file = HashedFile::create(&path).map_err(ModelError::io("writing", &path))?;
        let rows = table_part::write(&ranker.tables, at, &mut file).map_err(|error| {
            let source = match error {
                arrow_schema::ArrowError::IoError(_, source) => source,
                other => std::io::Error::other(other),
            };
            ModelError::io("writing", &path)(source)
        })?;
        let (bytes, xxh3) = file.finish().map_err(ModelError::io("writing", &path))?;
        files.push(FileEntry { file: name, bytes, xxh3, rows: Some(rows) });
    }
    Ok(files)
}

/// All ranks' entries, sorted by file name.
fn gather(comm: &dyn Comm, own: &[FileEntry]) -> Result<Vec<FileEntry>, ModelError> {
    let own = serde_json::to_vec(own).expect("file entries are plain strings and numbers");
    let mut all = Vec::new();
    let parts = comm.all_gather_bytes(&own, &mut all)?;
    let (mut files, mut at) = (Vec::new(), 0);
    for part in parts {
        let entries: Vec<FileEntry> = serde_json::from_slice(&all[at..at + part])
            .expect("every rank sends what `gather` serialised");
        files.extend(entries);
        at += part;
    }
    files.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(files)
}

/// Writes the manifest and gives the folder its name.
fn finish(
    ranker: &Ranker,
    state: &TrainingState,
    files: Vec<FileEntry>,
    (work, path): (&Path, &Path),
) -> Result<(), ModelError> {
    let table = |table: &TableOptions| {
        let prefix = format!("tables/{}/", table.name);
        let parts = files.iter().filter(|file| file.file.starts_with(&prefix));
        let rows = parts.filter_map(|file| file.rows).sum();
        let (name, dim) = (table.name.clone(), table.dim);
        TableEntry { name, dim, state_width: table.optimizer.state_width(dim), rows }
    };
    let manifest = CheckpointManifest {
        format: FORMAT_NAME.to_owned(),
        version: FORMAT_VERSION,
        model: ranker.spec.clone(),
        schema: ranker.schema.clone(),
        ranks: ranker.comm.size(),
        state: state.clone(),
        dense_optimizer_steps: ranker.optimizer.steps(),
        tables: ranker.tables.table_options().iter().map(table).collect(),
        plugins: plugins::entries(ranker, &files),
        files,
        written_by: concat!("rectool ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let text = serde_json::to_vec_pretty(&manifest).expect("the manifest is plain data");
    let manifest_path = work.join(MANIFEST_FILE);
    let write = || {
        let mut file = HashedFile::create(&manifest_path)?;
        file.write_all(&text)?;
        file.finish()?;
        for table in ranker.tables.table_options() {
            sync_folder(&work.join("tables").join(&table.name))?;
        }
        sync_folder(&work.join("tables"))?;
        plugins::sync(work)?;
        sync_folder(work)
    };
    write().map_err(ModelError::io("writing", &manifest_path))?;
    replace(work, path).map_err(ModelError::io("renaming to", path))
}

/// Renames `work` to `path`; an older folder of that name goes only once it is out of the way.
fn replace(work: &Path, path: &Path) -> std::io::Result<()> {
    let old = work.with_extension("old");
    if path.exists() {
        fs::rename(path, &old)?;
    }
    fs::rename(work, path)?;
    if let Some(parent) = path.parent() {
        sync_folder(parent)?;
    }
    if old.exists() {
        fs::remove_dir_all(&old)?;
    }
    Ok(())
}
