//! A checkpoint written anew, for another number of ranks, without its model.

use std::fs;
use std::path::Path;

use rectool_embedding::{BUCKETS, Rows, bucket};

use super::chain::{Chain, index_of};
use super::manifest::{CheckpointManifest, DENSE_FILE, FORMAT_VERSION, FileEntry, TableEntry};
use super::part::PartLayout;
use super::part_write::PartWriter;
use super::staging::Staging;
use super::write::{WRITTEN_BY, count_rows};
use crate::{Checkpoint, ModelError};

impl Chain {
    /// Writes the same content to `path` as a checkpoint that stands alone, with a part of each table
    /// for each of `ranks` ranks. One record batch is in memory at a time.
    ///
    /// # Errors
    /// If a file is damaged, `path` is there already, or the disk is full; nothing of the name `path`
    /// is then left behind.
    pub fn reshard(&self, ranks: usize, path: &Path) -> Result<Checkpoint, ModelError> {
        if ranks == 0 || ranks > BUCKETS as usize {
            return Err(ModelError::option("ranks", ranks, format!("1 to {BUCKETS}")));
        }
        if path.exists() {
            return Err(ModelError::Exists { path: path.to_owned() });
        }
        self.verify()?;
        let staging = Staging::new(path);
        let written = self.write_anew(ranks, &staging);
        written.inspect_err(|_| staging.discard())?;
        Checkpoint::open(path)
    }

    fn write_anew(&self, ranks: usize, staging: &Staging) -> Result<(), ModelError> {
        let old = self.head().manifest();
        staging.prepare(old.tables.iter().map(|table| table.name.as_str()))?;
        let mut files = Vec::new();
        let listed = |file: &&str| old.files.iter().any(|entry| entry.file == *file);
        let components = old.plugins.iter().filter_map(|plugin| plugin.file.as_deref());
        // What admission knows is cut by buckets, and any rank takes its part of any cut.
        let filters = old.tables.iter().flat_map(|table| self.filter_files(&table.name));
        let others = components.filter(listed).chain(filters);
        for name in std::iter::once(DENSE_FILE).chain(others) {
            let from = self.head().path().join(name);
            let content = fs::read(&from).map_err(ModelError::io("reading", &from))?;
            files.push(staging.write(name, &content)?);
        }
        for table in &old.tables {
            self.write_table(table, ranks, staging, &mut files)?;
        }
        files.sort_by(|a, b| a.file.cmp(&b.file));
        files.dedup_by(|a, b| a.file == b.file);
        let mut manifest = CheckpointManifest {
            version: FORMAT_VERSION,
            ranks,
            delta: None,
            files,
            written_by: WRITTEN_BY.to_owned(),
            ..old.clone()
        };
        let tables = old.tables.iter().map(|table| count_rows(&manifest, table.clone()));
        manifest.tables = tables.collect();
        staging.finish(&manifest).map(drop)
    }

    /// Rank r gets the buckets from 4096 r / R up to 4096 (r + 1) / R; they come in this order.
    fn write_table(
        &self,
        table: &TableEntry,
        ranks: usize,
        staging: &Staging,
        files: &mut Vec<FileEntry>,
    ) -> Result<(), ModelError> {
        let index = index_of(self.head(), &table.name)?;
        let layout = PartLayout { dim: table.dim, state: table.state_width, dated: true };
        let name = |rank: usize| format!("tables/{}/part-{rank:05}.arrow", table.name);
        let create = |rank: usize| PartWriter::create(&staging.file(&name(rank)), layout);
        let (mut rank, mut writer) = (0, create(0)?);
        for rows in self.rows(table, layout.batch_rows())? {
            let mut rest = rows?;
            while !rest.keys.is_empty() {
                let end = (BUCKETS as usize * (rank + 1) / ranks) as u32;
                let own = rest.keys.partition_point(|key| bucket(index, *key) < end);
                let behind = split_off(&mut rest, own, table);
                let batch = std::mem::replace(&mut rest, behind);
                if !batch.keys.is_empty() {
                    writer.write(batch)?;
                }
                if !rest.keys.is_empty() {
                    files.push(writer.finish(name(rank))?);
                    rank += 1;
                    writer = create(rank)?;
                }
            }
        }
        files.push(writer.finish(name(rank))?);
        for rank in rank + 1..ranks {
            files.push(create(rank)?.finish(name(rank))?);
        }
        Ok(())
    }
}

/// Cuts off the rows from `at` on.
fn split_off(rows: &mut Rows, at: usize, table: &TableEntry) -> Rows {
    Rows {
        columns: rows.columns.clone(),
        keys: rows.keys.split_off(at),
        values: rows.values.split_off(at * table.dim),
        state: rows.state.split_off(at * table.state_width),
        last_seen: rows.last_seen.split_off(at),
        counts: rows.counts.split_off(at),
    }
}
