//! Files of vectors on the command line.

use std::path::PathBuf;

use clap::Args;
use rectool_recipe::index::{InputColumns, RowIds};

/// Which columns of the input hold what.
#[derive(Debug, Args)]
pub(super) struct ColumnArgs {
    /// Column of the vectors, in Arrow and Parquet files
    #[arg(long, value_name = "NAME", default_value = "vector")]
    vector_column: String,

    /// Column of the ids, in Arrow and Parquet files
    #[arg(long, value_name = "NAME", default_value = "id")]
    id_column: String,

    /// Number the rows from 0 on instead
    #[arg(long, conflicts_with_all = ["id_column", "ids"])]
    row_ids: bool,

    /// Take the ids from a .npy file of whole numbers
    #[arg(long, value_name = "FILE", conflicts_with = "id_column")]
    ids: Option<PathBuf>,

    /// Columns that filters may name: numbers, texts, lists of texts, dictionaries of them
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    filter_columns: Vec<String>,

    /// Take attributes from a file with a line of JSON for each vector, as `upsert` takes them
    #[arg(long, value_name = "FILE", conflicts_with = "filter_columns")]
    attributes: Option<PathBuf>,
}

impl ColumnArgs {
    pub(super) fn columns(&self) -> InputColumns {
        let ids = match &self.ids {
            Some(file) => RowIds::File(file.clone()),
            None if self.row_ids => RowIds::Numbers,
            None => RowIds::Column(self.id_column.clone()),
        };
        InputColumns {
            vector: self.vector_column.clone(),
            ids,
            filters: self.filter_columns.clone(),
            attributes: self.attributes.clone(),
        }
    }
}

/// Columns of a file of queries: vectors alone.
pub(super) fn query_columns(vector: &str, id: Option<&str>) -> InputColumns {
    let ids = id.map_or(RowIds::Numbers, |id| RowIds::Column(id.to_owned()));
    InputColumns { vector: vector.to_owned(), ids, ..InputColumns::of_queries() }
}
