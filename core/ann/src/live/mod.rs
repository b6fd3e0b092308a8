//! An index that changes while it is searched.

mod change;
mod delta;
#[cfg(test)]
mod filter_tests;
mod index;
mod manifest;
mod merge;
#[cfg(test)]
mod merge_tests;
mod part;
mod rebuild;
mod stats;
#[cfg(test)]
mod tests;
mod wal;

pub use change::Item;
pub(crate) use delta::{ChangedLeaf, Delta};
pub use index::{Index, Maintenance, build_part, publish};
pub(crate) use manifest::MANIFEST_FILE;
pub use rebuild::Rebuild;
pub use stats::{IndexStats, PartStats};
