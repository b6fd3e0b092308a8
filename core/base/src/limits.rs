//! Every maximum in one place, each with its unit and why it is there.

/// Columns of a dataset: beyond this a schema is surely wrong, and messages would be unreadable.
pub const COLUMNS_MAX: usize = 4_096;
/// Values per row of a fixed-width column.
pub const COLUMN_WIDTH_MAX: usize = 65_536;
/// Rows of a global batch: row numbers inside a batch are `u32` in jagged offsets.
pub const BATCH_ROWS_MAX: usize = 1 << 24;
/// Embedding width.
pub const EMBEDDING_DIM_MAX: usize = 4_096;
/// Ids of one row that a feature may hand on unpooled: a batch of 64 rows of this length and of
/// width 16 takes 256 MiB.
pub const SEQUENCE_LENGTH_MAX: usize = 65_536;
/// Bytes of a manifest: a dataset of 100,000 shards needs about 20 MB.
pub const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// Width of an MLP's layer: a square layer of this width takes 16 GiB.
pub const MLP_WIDTH_MAX: usize = 65_536;
