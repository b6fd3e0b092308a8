//! Results of searches as an Arrow IPC file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, RecordBatch, UInt32Array, UInt64Array};
use arrow_ipc::writer::FileWriter;
use rectool_base::WholeFile;

use crate::{DataError, arrow_io_error};

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
    let file = WholeFile::at(path);
    let written = batch.map_err(arrow_io_error).and_then(|batch| write(file.partial(), &batch));
    written.and_then(|()| file.publish()).map_err(DataError::io(path))
}

fn write(path: &Path, batch: &RecordBatch) -> std::io::Result<()> {
    let file = BufWriter::new(File::create(path)?);
    let mut writer = FileWriter::try_new(file, &batch.schema()).map_err(arrow_io_error)?;
    writer.write(batch).map_err(arrow_io_error)?;
    writer.into_inner().map_err(arrow_io_error)?.flush()
}
