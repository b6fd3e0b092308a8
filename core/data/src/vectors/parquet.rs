//! Parquet files, decoded into memory.

use std::fs::File;
use std::path::Path;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Collector, VectorColumns, VectorTable, broken_in, positions};
use crate::DataError;
use crate::guarded::guarded;

const BATCH_ROWS: usize = 65_536;

pub(super) fn read(path: &Path, columns: &VectorColumns) -> Result<VectorTable, DataError> {
    let broken = broken_in(path);
    let file = File::open(path).map_err(DataError::io(path))?;
    let builder = guarded(path, 0, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    let fields = builder.schema().fields();
    let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
    let wanted = positions(path, columns, &names)?;
    let mut reader = guarded(path, 0, || {
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build()
    })?;
    let (mut collector, mut rows) = (Collector::new(columns), 0);
    while let Some(batch) = guarded(path, rows, || reader.next().transpose())? {
        rows += batch.num_rows() as u64;
        let named = wanted.iter().filter_map(|at| batch.column_by_name(&names[*at]));
        collector.add(&named.collect::<Vec<_>>()).map_err(&broken)?;
    }
    collector.finish().map_err(broken)
}
