//! How an index is.

use serde::Serialize;

/// Facts about an index.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IndexStats {
    /// Vectors that can be found.
    pub vectors: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Each part.
    pub parts: Vec<PartStats>,
}

/// Facts about one part.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartStats {
    /// The file.
    pub file: String,
    /// `flat`, `ivf` or `graph`.
    pub kind: &'static str,
    /// Vectors of the build.
    pub built_rows: usize,
    /// Those of them that were replaced or deleted.
    pub dead_rows: usize,
    /// Vectors that came since.
    pub changed_rows: usize,
    /// Leaves; 0 for a flat part.
    pub leaves: usize,
    /// Mean squared distance of the changes from their centroids, over that of the build; 1 where
    /// nothing changed. Above 1.5 the partition no longer suits what comes in.
    pub drift: f64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// Whether a rebuild is due.
    pub rebuild_due: bool,
}
