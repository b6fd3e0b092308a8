//! Every maximum in one place, with why it is there.

/// Width D of a vector: that of embeddings.
pub const DIM_MAX: usize = rectool_base::limits::EMBEDDING_DIM_MAX;
/// Vectors of one part: their lanes, about two each, are numbered with 32 bits.
pub const PART_ROWS_MAX: usize = 1 << 30;
/// Results of one query.
pub const K_MAX: usize = 16_384;
/// Leaves of a partition: their centroids are compared one by one.
pub const LEAVES_MAX: usize = 1 << 20;
/// Links of a vector: with fewer there is no way to most, and more are only read.
pub const DEGREE_MIN: usize = 4;
/// See [`DEGREE_MIN`].
pub const DEGREE_MAX: usize = 256;
