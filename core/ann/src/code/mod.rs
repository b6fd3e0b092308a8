//! 4-bit codes of residuals: training, encoding, and the table of a query.

mod codebook;
mod encode;
mod layout;
mod table;
#[cfg(test)]
mod tests;
mod train;

pub(crate) use codebook::{BIAS_POSITIONS, COLUMNS_MAX, Codebook, Entries};
pub(crate) use encode::{Encoder, pack, unpack};
pub(crate) use layout::choose;
pub(crate) use table::Table;
pub(crate) use train::train;
