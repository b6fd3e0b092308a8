//! What can go wrong in and between embedding tables.

use rectool_base::{Hint, bytes_text};
use rectool_comm::CommError;

/// An embedding collection that could not be built, fed, updated or loaded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddingError {
    /// A width of 0 or beyond the limit.
    #[error(
        "table `{table}`: `dim` is {found}, expected 1 to {}",
        rectool_base::limits::EMBEDDING_DIM_MAX
    )]
    Dim {
        /// The table.
        table: String,
        /// Its width D.
        found: usize,
    },
    /// A sequence of no ids or of too many.
    #[error(
        "feature `{feature}`: the sequence's `length` is {found}, expected 1 to {}",
        rectool_base::limits::SEQUENCE_LENGTH_MAX
    )]
    Length {
        /// The feature.
        feature: String,
        /// Its length L.
        found: usize,
    },
    /// A feature names a table that is not there.
    #[error("feature `{feature}` uses table `{table}`, which is not defined")]
    UnknownTable {
        /// The feature.
        feature: String,
        /// The name it gives.
        table: String,
        /// The name it may have meant.
        nearest: Option<String>,
    },
    /// Two tables or two features of the same name.
    #[error("two {what} are named `{name}`")]
    Duplicate {
        /// `tables` or `features`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A number that a table cannot work with.
    #[error("table `{table}`: `{option}` is {found}, expected {expected}")]
    Option {
        /// The table.
        table: String,
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// The allowed range.
        expected: &'static str,
    },
    /// An id outside of a dense table.
    #[error(
        "feature `{feature}`, row {row} of the batch: id {id} is not in 0..{rows} of table `{table}`"
    )]
    IdOutOfRange {
        /// The feature.
        feature: String,
        /// Its table.
        table: String,
        /// Row of the global batch.
        row: usize,
        /// The id.
        id: i64,
        /// Rows V of the table.
        rows: u64,
    },
    /// A weight that nothing can be pooled with.
    #[error("feature `{feature}`, row {row} of the batch: {what} is {found}, expected {expected}")]
    Weight {
        /// The feature.
        feature: String,
        /// Row of the global batch.
        row: usize,
        /// A weight of that row, or what they are divided by.
        what: &'static str,
        /// Its value.
        found: f64,
        /// What fits.
        expected: &'static str,
    },
    /// Ids whose shape does not fit the batch.
    #[error("ids of {what}: found {found}, expected {expected}")]
    Ids {
        /// The feature, or `the batch`.
        what: String,
        /// What was passed.
        found: String,
        /// What fits.
        expected: String,
    },
    /// A buffer or layout that does not fit the features.
    #[error("embedding {what}: found {found}, expected {expected}")]
    Layout {
        /// The buffer or the part of the layout.
        what: &'static str,
        /// Its size.
        found: usize,
        /// What fits.
        expected: String,
    },
    /// More rows on one rank than row numbers can tell apart.
    #[error("table `{table}`: {rows} rows on one rank, expected at most {}", u32::MAX)]
    Full {
        /// The table.
        table: String,
        /// Rows asked for.
        rows: u64,
    },
    /// The system gives no more memory.
    #[error("table `{table}`: no memory for a row after {rows} rows of {bytes} bytes together")]
    Memory {
        /// The table.
        table: String,
        /// Its rows on this rank.
        rows: usize,
        /// Their memory, with the index.
        bytes: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no memory for the counts of rare keys.
    #[error("table `{table}`: no memory for the sketch of its `admission`, {} over all ranks", bytes_text(*bytes))]
    SketchMemory {
        /// The table.
        table: String,
        /// Memory of the sketch.
        bytes: u64,
    },
    /// A file for rows that could not be made or has no place.
    #[error("table `{table}`: no place in a file in `{}` after {rows} rows", folder.display())]
    File {
        /// The table.
        table: String,
        /// The folder of its files.
        folder: std::path::PathBuf,
        /// Its rows on this rank.
        rows: usize,
        /// What the system says.
        source: std::io::Error,
    },
    /// Rows to load that do not fit the table.
    #[error("table `{table}`: cannot load rows: {what}: found {found}, expected {expected}")]
    Import {
        /// The table.
        table: String,
        /// What does not fit.
        what: &'static str,
        /// What was passed.
        found: u64,
        /// What fits.
        expected: u64,
    },
    /// No table has this position.
    #[error("there is no table {found}, expected below {tables}")]
    NoTable {
        /// The position asked for.
        found: usize,
        /// Number of tables.
        tables: usize,
    },
    /// A batch used out of turn.
    #[error("{call}: the batch {found}, expected one that {expected}")]
    Phase {
        /// The call.
        call: &'static str,
        /// What was last done with it.
        found: &'static str,
        /// What must have been done.
        expected: &'static str,
    },
    /// Ranks do not hold the same tables.
    #[error("rank {rank} exchanges {found}, expected the tables of this rank")]
    Peer {
        /// The other rank.
        rank: usize,
        /// What came from it.
        found: &'static str,
    },
    /// A key to load that is not one of a dense table's.
    #[error(
        "table `{table}`: cannot load rows: key outside of 0..rows: found {key}, expected below {rows}"
    )]
    Key {
        /// The table.
        table: String,
        /// The key.
        key: u64,
        /// Rows V of the table.
        rows: u64,
    },
    /// A sharding plan that does not fit the tables or the ranks.
    #[error("sharding plan: {what}: found {found}, expected {expected}")]
    Sharding {
        /// The table, and the kind of its place.
        what: String,
        /// What the plan says.
        found: String,
        /// What fits.
        expected: String,
        /// What to do.
        remedy: String,
    },
    /// A sharding plan with more on a rank than it may hold.
    #[error(
        "sharding plan: rank {rank} needs {} ({} for tables, {} for the rest), {} are available; \
         largest tables: {largest}",
        bytes_text(*required), bytes_text(required - reserved), bytes_text(*reserved),
        bytes_text(*available)
    )]
    PlanMemory {
        /// The fullest rank.
        rank: usize,
        /// Bytes it would hold.
        required: u64,
        /// Bytes it may hold.
        available: u64,
        /// Part of `required` that is no table.
        reserved: u64,
        /// The largest tables with their sizes.
        largest: String,
        /// What to do.
        remedies: String,
    },
    /// An exchange failed.
    #[error(transparent)]
    Comm(#[from] CommError),
}

impl Hint for EmbeddingError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::UnknownTable { nearest: Some(name), .. } => {
                Some(format!("did you mean `{name}`?"))
            }
            Self::IdOutOfRange { id: -1, .. } => Some(
                "-1 stands for a missing value: use a `hash` table, or map it in the feature chain"
                    .to_owned(),
            ),
            Self::IdOutOfRange { .. } => {
                Some("raise the table's `rows`, use a `hash` table, or map the ids".to_owned())
            }
            Self::Weight { .. } => {
                Some("leave ids without a usable weight out, or give them the weight 0".to_owned())
            }
            Self::Full { .. } => Some("use more ranks, or split the table".to_owned()),
            Self::Memory { .. } => Some(
                "start more ranks, or keep the table in a file on a local disk (`folder`)"
                    .to_owned(),
            ),
            Self::SketchMemory { .. } => Some(
                "lower `cells`: one for each rare key of half a window is enough; a cell takes 4 bytes"
                    .to_owned(),
            ),
            Self::File { .. } => {
                Some("name an existing folder on a local disk with room for the table".to_owned())
            }
            Self::Peer { .. } => {
                Some("start every rank with the same recipe and the same options".to_owned())
            }
            Self::Sharding { remedy, .. } => Some(remedy.clone()),
            Self::PlanMemory { remedies, .. } => Some(remedies.clone()),
            Self::Comm(source) => source.hint(),
            _ => None,
        }
    }
}
