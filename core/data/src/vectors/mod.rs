//! Tables of vectors: Arrow IPC and Parquet files with a column of vectors, ids and attributes.

mod collect;
mod ipc;
mod parquet;
#[cfg(test)]
mod tests;
mod write;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use arrow_buffer::ScalarBuffer;

use crate::DataError;
use collect::Collector;
pub use write::{HitRow, write_hits};

/// Which columns of a file hold what.
///
/// ```
/// use rectool_data::VectorColumns;
/// let columns = VectorColumns { attributes: vec!["genre".into()], ..VectorColumns::default() };
/// assert_eq!((columns.vector.as_str(), columns.id.as_deref()), ("vector", Some("id")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorColumns {
    /// The vectors: a list of D floats per row.
    pub vector: String,
    /// The ids, whole numbers; none for a file whose rows are numbered.
    pub id: Option<String>,
    /// Numbers, texts or lists of texts.
    pub attributes: Vec<String>,
}

impl Default for VectorColumns {
    fn default() -> Self {
        Self { vector: "vector".into(), id: Some("id".into()), attributes: Vec::new() }
    }
}

/// The vectors of an Arrow IPC file, in place where it stores them as f32 without compression, or of a
/// Parquet file, in memory.
#[derive(Debug)]
pub struct VectorTable {
    dim: usize,
    rows: usize,
    ids: Option<Vec<u64>>,
    pieces: Vec<ScalarBuffer<f32>>,
    attributes: Vec<AttributeColumn>,
}

/// One attribute of every row.
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeColumn {
    /// The column's name.
    pub name: String,
    /// Its values \[N\].
    pub values: AttributeValues,
}

/// Values of an attribute by row.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValues {
    /// Texts; none where the file has null.
    Tokens(Vec<Vec<String>>),
    /// Numbers; NaN where the file has null.
    Numbers(Vec<f64>),
}

const ARROW: &[u8] = b"ARROW1";
const PARQUET: &[u8] = b"PAR1";

/// Whether a file starts as those do that [`VectorTable::open`] reads.
///
/// # Errors
/// [`DataError::Io`] if it cannot be read.
pub fn is_table(path: &Path) -> Result<bool, DataError> {
    let start = start_of(path)?;
    Ok(start.starts_with(ARROW) || start.starts_with(PARQUET))
}

fn start_of(path: &Path) -> Result<Vec<u8>, DataError> {
    let mut start = Vec::new();
    let file = File::open(path).map_err(DataError::io(path))?;
    file.take(ARROW.len() as u64).read_to_end(&mut start).map_err(DataError::io(path))?;
    Ok(start)
}

impl VectorTable {
    /// Reads a file.
    ///
    /// # Errors
    /// [`DataError::NoColumn`] for a name that it does not have; [`DataError::Vectors`] if it is damaged, a
    /// column has another type, a vector is missing or of another width, or an id is missing.
    pub fn open(path: &Path, columns: &VectorColumns) -> Result<Self, DataError> {
        let start = start_of(path)?;
        if start.starts_with(ARROW) {
            return ipc::read(path, columns);
        }
        if start.starts_with(PARQUET) {
            return parquet::read(path, columns);
        }
        Err(DataError::Vectors {
            path: path.to_owned(),
            what: "start of file".into(),
            expected: "`ARROW1` or `PAR1`".into(),
            found: format!("{:?}", String::from_utf8_lossy(&start)),
        })
    }

    /// Width D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number N of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The vectors [N, D] in pieces of whole rows.
    pub fn pieces(&self) -> impl Iterator<Item = &[f32]> {
        self.pieces.iter().map(|piece| &**piece)
    }

    /// Their ids \[N\], if the file was asked for them.
    pub fn ids(&self) -> Option<&[u64]> {
        self.ids.as_deref()
    }

    /// Attributes in the order in which they were asked for.
    pub fn attributes(&self) -> &[AttributeColumn] {
        &self.attributes
    }
}

/// The positions of the columns that are read, in the order id, vector, attributes.
fn positions(
    path: &Path,
    columns: &VectorColumns,
    known: &[String],
) -> Result<Vec<usize>, DataError> {
    let wanted = columns.id.iter().chain([&columns.vector]).chain(&columns.attributes);
    wanted
        .map(|name| {
            known.iter().position(|known| known == name).ok_or_else(|| DataError::NoColumn {
                path: path.to_owned(),
                name: name.clone(),
                known: known.to_vec(),
            })
        })
        .collect()
}

/// For `map_err` on what was found wrong in a file.
fn broken_in(path: &Path) -> impl Fn(crate::decode::Broken) -> DataError {
    let path: PathBuf = path.to_owned();
    move |broken| DataError::Vectors {
        path: path.clone(),
        what: broken.what,
        expected: broken.expected,
        found: broken.found,
    }
}
