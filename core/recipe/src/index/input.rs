//! Vectors with ids and attributes, from files.

use std::path::{Path, PathBuf};

use rectool_ann::{
    Attributes, Item, ItemAttributes, VectorFile, Vectors, read_attributes, read_ids,
};
use rectool_data::{AttributeValues, VectorColumns, VectorTable, is_table};

use super::IndexError;

/// Where ids come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowIds {
    /// A column of an Arrow or Parquet file; the rows of other files are numbered.
    Column(String),
    /// A `.npy` file of whole numbers.
    File(PathBuf),
    /// Rows are numbered from 0 on, over all files.
    Numbers,
}

/// What is read besides vectors.
///
/// ```
/// use rectool_recipe::index::{InputColumns, RowIds};
/// assert_eq!(InputColumns::default().ids, RowIds::Column("id".into()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumns {
    /// The column of vectors of an Arrow or Parquet file.
    pub vector: String,
    /// Where ids come from.
    pub ids: RowIds,
    /// Columns of an Arrow or Parquet file that filters may name.
    pub filters: Vec<String>,
    /// A file of attributes, a line of JSON for each vector.
    pub attributes: Option<PathBuf>,
}

impl Default for InputColumns {
    fn default() -> Self {
        let ids = RowIds::Column("id".into());
        Self { vector: "vector".into(), ids, filters: Vec::new(), attributes: None }
    }
}

impl InputColumns {
    /// Vectors alone, whose rows are numbered.
    pub fn of_queries() -> Self {
        Self { ids: RowIds::Numbers, ..Self::default() }
    }
}

/// Vectors from one file or several, with ids and attributes.
#[derive(Debug)]
pub struct VectorInput {
    files: Vec<Opened>,
    dim: usize,
    rows: usize,
    ids: Option<Vec<u64>>,
    attributes: Option<Attributes>,
}

#[derive(Debug)]
enum Opened {
    Plain(VectorFile),
    Table(VectorTable),
}

impl Opened {
    fn open(path: &Path, columns: &InputColumns) -> Result<Self, IndexError> {
        if !is_table(path)? {
            if let Some(name) = columns.filters.first() {
                return Err(IndexError::Differs {
                    path: path.to_owned(),
                    what: "kind of file",
                    expected: format!("Arrow or Parquet, which have a column `{name}`"),
                    found: "another".into(),
                });
            }
            return VectorFile::open(path).map(Self::Plain).map_err(IndexError::Ann);
        }
        let id = match &columns.ids {
            RowIds::Column(name) => Some(name.clone()),
            RowIds::File(_) | RowIds::Numbers => None,
        };
        let (vector, attributes) = (columns.vector.clone(), columns.filters.clone());
        let table = VectorTable::open(path, &VectorColumns { vector, id, attributes })?;
        Ok(Self::Table(table))
    }

    fn pieces(&self, path: &Path) -> Result<(usize, Vec<&[f32]>), IndexError> {
        match self {
            Self::Table(table) => Ok((table.dim(), table.pieces().collect())),
            Self::Plain(file) => {
                let vectors = file.vectors().map_err(IndexError::input(path))?;
                Ok((vectors.dim(), vectors.pieces().collect()))
            }
        }
    }
}

impl VectorInput {
    /// Opens files: `.npy`, `.fbin`, Arrow IPC or Parquet, known by their contents. `.npy`, `.fbin` and
    /// uncompressed Arrow files are used in place.
    ///
    /// # Errors
    /// If a file cannot be read, is damaged or of another kind, lacks a column, or files do not go together.
    pub fn open(paths: &[PathBuf], columns: &InputColumns) -> Result<Self, IndexError> {
        let files: Vec<Opened> =
            paths.iter().map(|path| Opened::open(path, columns)).collect::<Result<_, _>>()?;
        let mut input = Self { files, dim: 0, rows: 0, ids: None, attributes: None };
        for (path, file) in paths.iter().zip(&input.files) {
            let (dim, pieces) = file.pieces(path)?;
            if input.rows > 0 && dim != input.dim {
                return Err(differs(path, "width", input.dim, dim));
            }
            input.dim = dim;
            input.rows += pieces.iter().map(|piece| piece.len()).sum::<usize>() / dim;
        }
        input.ids = input.read_ids(paths, &columns.ids)?;
        input.attributes = match &columns.attributes {
            None => input.table_attributes(paths)?,
            Some(path) => {
                let items = read_attributes(path)?;
                if items.len() != input.rows {
                    return Err(differs(path, "lines", input.rows, items.len()));
                }
                Some(Attributes::of_items(&items)?)
            }
        };
        Ok(input)
    }

    fn read_ids(&self, paths: &[PathBuf], ids: &RowIds) -> Result<Option<Vec<u64>>, IndexError> {
        match ids {
            RowIds::Numbers => Ok(None),
            RowIds::File(path) => {
                let ids = read_ids(path)?;
                if ids.len() != self.rows {
                    return Err(differs(path, "ids", self.rows, ids.len()));
                }
                Ok(Some(ids))
            }
            RowIds::Column(_) => {
                let mut all = Vec::new();
                for (at, (path, file)) in paths.iter().zip(&self.files).enumerate() {
                    let own = match file {
                        Opened::Plain(_) => None,
                        Opened::Table(table) => table.ids(),
                    };
                    if own.is_some() != matches!(self.files[0], Opened::Table(_)) && at > 0 {
                        return Err(differs(path, "ids", "as in the first file", "not so"));
                    }
                    all.extend_from_slice(own.unwrap_or_default());
                }
                Ok(matches!(self.files.first(), Some(Opened::Table(_))).then_some(all))
            }
        }
    }

    fn table_attributes(&self, paths: &[PathBuf]) -> Result<Option<Attributes>, IndexError> {
        let tables: Vec<&VectorTable> = self.files.iter().filter_map(Opened::table).collect();
        let Some(first) = tables.first().filter(|table| !table.attributes().is_empty()) else {
            return Ok(None);
        };
        let mut attributes = Attributes::new(self.rows);
        for (at, column) in first.attributes().iter().enumerate() {
            let (mut tokens, mut numbers) = (Vec::new(), Vec::new());
            for table in &tables {
                match &table.attributes()[at].values {
                    AttributeValues::Tokens(own) => tokens.extend(own),
                    AttributeValues::Numbers(own) => numbers.extend_from_slice(own),
                }
            }
            let name = &column.name;
            if numbers.len() == self.rows {
                attributes.add_numbers(name, numbers)?;
            } else if tokens.len() == self.rows {
                attributes.add_tokens(name, &tokens)?;
            } else {
                let path = paths.last().map_or(Path::new(""), PathBuf::as_path);
                return Err(differs(path, "type of a filter column", "one type", "another"));
            }
        }
        Ok(Some(attributes))
    }

    /// Width D.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Number N of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The vectors [N, D].
    ///
    /// # Errors
    /// If their width is beyond the limit.
    pub fn vectors(&self) -> Result<Vectors<'_>, IndexError> {
        let mut pieces = Vec::new();
        for file in &self.files {
            match file {
                Opened::Table(table) => pieces.extend(table.pieces()),
                Opened::Plain(file) => pieces.extend(file.vectors()?.pieces()),
            }
        }
        Ok(Vectors::in_pieces(self.dim, pieces)?)
    }

    /// Their ids \[N\], or none where rows are numbered.
    pub fn ids(&self) -> Option<&[u64]> {
        self.ids.as_deref()
    }

    /// The id of a row.
    pub fn id(&self, row: usize) -> u64 {
        self.ids.as_ref().map_or(row as u64, |ids| ids[row])
    }

    /// Their attributes.
    pub fn attributes(&self) -> Option<&Attributes> {
        self.attributes.as_ref()
    }

    /// One row of `vectors`, which are this input's, as a change of an index.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn item(&self, vectors: &Vectors<'_>, row: usize) -> Item {
        let attributes =
            self.attributes.as_ref().map_or_else(ItemAttributes::default, |all| all.item(row));
        Item { id: self.id(row), vector: vectors.row(row).to_vec(), attributes }
    }
}

impl Opened {
    fn table(&self) -> Option<&VectorTable> {
        match self {
            Self::Plain(_) => None,
            Self::Table(table) => Some(table),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "callers have numbers and texts at hand")]
fn differs(
    path: &Path,
    what: &'static str,
    expected: impl ToString,
    found: impl ToString,
) -> IndexError {
    let (expected, found) = (expected.to_string(), found.to_string());
    IndexError::Differs { path: path.to_owned(), what, expected, found }
}
