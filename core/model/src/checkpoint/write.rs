//! Writing checkpoints, rank by rank.

use std::path::Path;

use rectool_comm::{Comm, CommExt, agree};
use rectool_embedding::{Rows, TableOptions, bucket};

use super::chain::table_files;
use super::files::hex;
use super::manifest::{
    CheckpointManifest, DENSE_FILE, DeltaEntry, FORMAT_NAME, FORMAT_VERSION, FileEntry, Link,
    RecipeEntry, TableEntry,
};
use super::part::PartLayout;
use super::part_write::PartWriter;
use super::saved::Saved;
use super::staging::Staging;
use super::table_rows::Says;
use super::{dense, filter, misfit, plugins};
use crate::{ModelError, Ranker, TrainingState};

/// What a checkpoint says besides the model.
pub(super) struct Content<'a> {
    pub(super) state: &'a TrainingState,
    /// Only what changed since.
    pub(super) delta: Option<DeltaEntry>,
    pub(super) recipe: Option<RecipeEntry>,
    /// \[T\]: keys that a delta must say are gone.
    pub(super) removed: Vec<Vec<u64>>,
}

/// Writes the checkpoint `path`, replacing one of the same name.
///
/// # Collective
/// Every rank, with the same path and content, on a file system that all ranks see.
pub(super) fn write(
    ranker: &Ranker,
    content: Content<'_>,
    path: &Path,
) -> Result<Saved, ModelError> {
    let comm = &*ranker.comm;
    let first = comm.rank() == 0;
    let staging = Staging::new(path);
    let names = ranker.tables.table_options().iter().map(|table| table.name.as_str());
    let prepared = if first { staging.prepare(names) } else { Ok(()) };
    agree(comm, prepared)?;
    let written = agree(comm, write_files(ranker, &content, &staging));
    let finished = written.and_then(|files| {
        let manifest = manifest(ranker, content, gather(comm, &files)?);
        let identity = if first { staging.finish(&manifest) } else { Ok(String::new()) };
        Ok((manifest, agree(comm, identity)?))
    });
    let (manifest, identity) = finished.inspect_err(|_| {
        if first {
            staging.discard();
        }
    })?;
    // Rank 0 alone knows it.
    let digest = u64::from_str_radix(&identity, 16).unwrap_or(0);
    let identity = hex(comm.max_u64(digest)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Saved::new(path, Link { name, identity }, &manifest))
}

/// Writes this rank's files.
fn write_files(
    ranker: &Ranker,
    content: &Content<'_>,
    staging: &Staging,
) -> Result<Vec<FileEntry>, ModelError> {
    let delta = content.delta.as_ref();
    let rank = ranker.comm.rank();
    let mut files = Vec::new();
    if rank == 0 {
        let bytes = dense::serialize(ranker).map_err(|error| {
            misfit(
                &staging.file(DENSE_FILE),
                "dense weights",
                error.to_string(),
                "a safetensors file",
            )
        })?;
        files.push(staging.write(DENSE_FILE, &bytes)?);
        files.extend(plugins::write(ranker, staging)?);
    }
    for (at, table) in ranker.tables.table_options().iter().enumerate() {
        files.extend(write_rows(ranker, at, delta, staging)?);
        if let Some(bytes) = filter::serialize(&ranker.tables.filter_state(at)?) {
            files.push(staging.write(&filter::name(&table.name, rank), &bytes)?);
        }
        let removed = content.removed.get(at).filter(|keys| !keys.is_empty() && delta.is_some());
        if let Some(keys) = removed {
            let mut keys = keys.clone();
            keys.sort_unstable_by_key(|key| (bucket(&table.index, *key), *key));
            let name = format!("tables/{}/removed-{rank:05}.arrow", table.name);
            let mut writer = PartWriter::create(&staging.file(&name), PartLayout::KEYS)?;
            writer.write(Rows { keys, ..Rows::default() })?;
            files.push(writer.finish(name)?);
        }
    }
    Ok(files)
}

/// Writes this rank's part of a table, if it holds any of it.
fn write_rows(
    ranker: &Ranker,
    at: usize,
    delta: Option<&DeltaEntry>,
    staging: &Staging,
) -> Result<Option<FileEntry>, ModelError> {
    let table = &ranker.tables.table_options()[at];
    let rows_max = PartLayout::of(table, table.dim).batch_rows();
    let rows = match delta {
        None => ranker.tables.export(at, rows_max)?,
        Some(delta) => ranker.tables.export_since(at, delta.since_step, rows_max)?,
    };
    let columns = rows.columns();
    if columns.is_empty() {
        return Ok(None);
    }
    let name = format!("tables/{}/part-{:05}.arrow", table.name, ranker.comm.rank());
    let layout = PartLayout::of(table, columns.len());
    let mut writer = PartWriter::create(&staging.file(&name), layout)?;
    rows.into_iter().try_for_each(|rows| writer.write(rows))?;
    let mut entry = writer.finish(name)?;
    entry.columns = (columns.len() < table.dim).then_some([columns.start, columns.end]);
    Ok(Some(entry))
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

fn manifest(ranker: &Ranker, content: Content<'_>, files: Vec<FileEntry>) -> CheckpointManifest {
    let mut manifest = CheckpointManifest {
        format: FORMAT_NAME.to_owned(),
        version: FORMAT_VERSION,
        model: ranker.spec.clone(),
        schema: ranker.schema.clone(),
        ranks: ranker.comm.size(),
        state: content.state.clone(),
        dense_optimizer_steps: ranker.optimizer.steps(),
        table_steps: ranker.tables.steps(),
        tables: Vec::new(),
        plugins: plugins::entries(ranker, &files),
        recipe: content.recipe,
        delta: content.delta,
        files,
        written_by: WRITTEN_BY.to_owned(),
        manifest_xxh3: String::new(),
    };
    let table = |table: &TableOptions| {
        let (name, dim) = (table.name.clone(), table.dim);
        let state_width = table.optimizer.state_width(dim);
        count_rows(&manifest, TableEntry { name, dim, state_width, rows: 0, removed: 0 })
    };
    manifest.tables = ranker.tables.table_options().iter().map(table).collect();
    manifest
}

/// Who writes.
pub(super) const WRITTEN_BY: &str = concat!("rectool ", env!("CARGO_PKG_VERSION"));

/// The entry with the rows that the manifest's files hold.
pub(super) fn count_rows(manifest: &CheckpointManifest, mut table: TableEntry) -> TableEntry {
    (table.rows, table.removed) = (0, 0);
    for (says, file) in table_files(manifest, &table.name) {
        let rows = file.rows.unwrap_or_default();
        match says {
            // Of parts that share out the columns of the same rows only the first counts.
            Says::Rows if file.columns.is_none_or(|[first, _]| first == 0) => {
                table.rows = table.rows.saturating_add(rows);
            }
            Says::Rows => {}
            Says::Removed => table.removed = table.removed.saturating_add(rows),
        }
    }
    table
}
