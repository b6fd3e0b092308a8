//! Results of searches as an Arrow IPC file.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_ipc::writer::FileWriter;

use crate::DataError;

/// One result of one query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HitRow {
    /// Id or number of the query.
    pub query: u64,
    /// Its place among the query's results, from 0.
    pub rank: u32,
    /// Id of the item.
    pub id: u64,
    /// Its score.
    pub score: f32,
}

/// Writes results as columns `query: u64`, `rank: u32`, `id: u64`, `score: f32`. The file has its name once
/// it is whole.
///
/// # Errors
/// [`DataError::Io`].
pub fn write_hits(path: &Path, hits: &[HitRow]) -> Result<(), DataError> {
    let columns: [(&str, ArrayRef); 4] = [
        ("query", Arc::new(hits.iter().map(|hit| hit.query).collect::<UInt64Array>())),
        ("rank", Arc::new(hits.iter().map(|hit| hit.rank).collect::<UInt32Array>())),
        ("id", Arc::new(hits.iter().map(|hit| hit.id).collect::<UInt64Array>())),
        ("score", Arc::new(hits.iter().map(|hit| hit.score).collect::<Float32Array>())),
    ];
    let batch = RecordBatch::try_from_iter(columns);
    let batch = batch.map_err(|error| DataError::io(path)(std::io::Error::other(error)))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".tmp-{}", std::process::id()));
    let unnamed = path.with_file_name(name);
    let written = write(&unnamed, &batch).and_then(|()| fs::rename(&unnamed, path));
    written.map_err(|error| {
        // What could not be finished is of no use; if it cannot be removed, that does no harm.
        let _ = fs::remove_file(&unnamed);
        DataError::io(path)(error)
    })
}

fn write(path: &Path, batch: &RecordBatch) -> std::io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    let arrow = |error: arrow_schema::ArrowError| std::io::Error::other(error);
    let mut writer = FileWriter::try_new(file, &batch.schema()).map_err(arrow)?;
    writer.write(batch).map_err(arrow)?;
    let file = writer.into_inner().map_err(arrow)?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}
