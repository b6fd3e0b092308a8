//! What models make of data, as files for other programs.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, UInt32Array, UInt64Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use rectool_base::WholeFile;
use rectool_data::{arrow_io_error, parquet_io_error};

use crate::ModelError;

/// A column of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputColumn {
    /// `int64`.
    Ids(Vec<i64>),
    /// `uint64`.
    Rows(Vec<u64>),
    /// `uint32`.
    Counts(Vec<u32>),
    /// `float32`.
    Floats(Vec<f32>),
    /// `fixed_size_list<float32>` of this width.
    Vectors(Vec<f32>, usize),
}

impl OutputColumn {
    fn array(self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Self::Ids(values) => Arc::new(Int64Array::from(values)),
            Self::Rows(values) => Arc::new(UInt64Array::from(values)),
            Self::Counts(values) => Arc::new(UInt32Array::from(values)),
            Self::Floats(values) => Arc::new(Float32Array::from(values)),
            Self::Vectors(values, width) => {
                let item = Arc::new(Field::new("item", DataType::Float32, false));
                let values = Arc::new(Float32Array::from(values));
                Arc::new(FixedSizeListArray::try_new(item, width as i32, values, None)?)
            }
        })
    }
}

/// Fails if no file of the name `path` could be written: its ending says the format.
///
/// # Errors
/// If it ends otherwise than in `.arrow` or `.parquet`, or is there already.
pub fn check_output(path: &Path) -> Result<(), ModelError> {
    let ending = path.extension().and_then(|ending| ending.to_str());
    if !matches!(ending, Some("arrow" | "parquet")) {
        let found = path.display();
        return Err(ModelError::option("out", found, "a name that ends in .arrow or .parquet"));
    }
    if path.exists() {
        return Err(ModelError::Exists { path: path.to_owned() });
    }
    Ok(())
}

/// Writes columns of equal lengths as an Arrow IPC or Parquet file, by the ending of `path`.
///
/// # Errors
/// As [`check_output`], or if the disk is full; nothing of the name `path` is then left behind.
pub fn write_columns(
    path: &Path,
    columns: Vec<(impl Into<String>, OutputColumn)>,
) -> Result<(), ModelError> {
    check_output(path)?;
    let is_arrow = path.extension().is_some_and(|ending| ending == "arrow");
    let write = || {
        let batch = record_batch(columns).map_err(arrow_io_error)?;
        let whole = WholeFile::at(path);
        let file = File::create(whole.partial())?;
        if is_arrow {
            arrow(&file, &batch).map_err(arrow_io_error)?;
        } else {
            parquet(&file, &batch).map_err(parquet_io_error)?;
        }
        whole.publish()
    };
    write().map_err(ModelError::io("writing", path))
}

fn record_batch(
    columns: Vec<(impl Into<String>, OutputColumn)>,
) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (name, column) in columns {
        let array = column.array()?;
        fields.push(Field::new(name, array.data_type().clone(), false));
        arrays.push(array);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

fn arrow(file: &File, batch: &RecordBatch) -> Result<(), ArrowError> {
    let mut writer = FileWriter::try_new(file, &batch.schema())?;
    writer.write(batch)?;
    writer.finish()
}

fn parquet(file: &File, batch: &RecordBatch) -> Result<(), ParquetError> {
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None)?;
    writer.write(batch)?;
    writer.close().map(drop)
}

#[cfg(test)]
mod tests {
    use arrow_ipc::reader::FileReader;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    #[test]
    fn columns_come_back_from_either_format() {
        let folder = tempfile::tempdir().unwrap();
        let columns = || {
            vec![
                ("id", OutputColumn::Ids(vec![-7, 5])),
                ("rank", OutputColumn::Counts(vec![1, 2])),
                ("vector", OutputColumn::Vectors(vec![1.0, 2.0, 3.0, 4.0], 2)),
            ]
        };
        let expected = record_batch(columns()).unwrap();
        let path = folder.path().join("a.arrow");
        write_columns(&path, columns()).unwrap();
        let mut found = FileReader::try_new(File::open(&path).unwrap(), None).unwrap();
        assert_eq!(found.next().unwrap().unwrap(), expected);
        let parquet = folder.path().join("a.parquet");
        write_columns(&parquet, columns()).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(parquet).unwrap());
        let found = reader.unwrap().build().unwrap().next().unwrap().unwrap();
        assert_eq!(found.columns(), expected.columns());
        assert!(matches!(write_columns(&path, columns()), Err(ModelError::Exists { .. })));
        let error = write_columns(&folder.path().join("a.csv"), columns()).unwrap_err();
        assert!(error.to_string().contains(".parquet"), "{error}");
        let error = write_columns(&folder.path().join("none/a.arrow"), columns()).unwrap_err();
        assert!(matches!(error, ModelError::Io { .. }), "{error}");
    }
}
