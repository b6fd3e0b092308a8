//! Parquet files, decoded into memory.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use ::parquet::arrow::ProjectionMask;
use ::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{Collector, VectorColumns, VectorTable, broken_in, positions};
use crate::DataError;
use crate::decode::Broken;

const BATCH_ROWS: usize = 65_536;

pub(super) fn read(path: &Path, columns: &VectorColumns) -> Result<VectorTable, DataError> {
    let broken = broken_in(path);
    let file = File::open(path).map_err(DataError::io(path))?;
    // The Parquet crate may panic on a damaged file.
    let caught = catch_unwind(AssertUnwindSafe(|| {
        let damaged = |error: &dyn ToString| {
            broken(Broken::new("content", "a Parquet file", error.to_string()))
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file);
        let builder = builder.map_err(|error| damaged(&error))?;
        let fields = builder.schema().fields();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let wanted = positions(path, columns, &names)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted.iter().copied());
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let mut collector = Collector::new(columns);
        for batch in reader.map_err(|error| damaged(&error))? {
            let batch = batch.map_err(|error| damaged(&error))?;
            let named = wanted.iter().filter_map(|at| batch.column_by_name(&names[*at]));
            collector.add(&named.collect::<Vec<_>>()).map_err(&broken)?;
        }
        collector.finish().map_err(&broken)
    }));
    caught.unwrap_or_else(|_| {
        Err(broken(Broken::new("content", "a Parquet file", "one that the Parquet reader gave up")))
    })
}
