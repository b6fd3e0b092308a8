//! The part file. `FORMAT.md` is its specification; this is its code.

mod layout;
mod meta;
mod read;
mod write;

pub(crate) use layout::{Fact, Kind, Leaf};
pub use meta::{IndexKind, OperatingPoint};
pub(crate) use meta::{Meta, NamespaceMeta};
pub(crate) use read::Sections;
pub(crate) use write::PartWriter;
