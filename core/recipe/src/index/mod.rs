//! From files of vectors to an index, on one rank or many, and back to results.

mod build;
mod error;
mod input;
mod job;
mod script;
mod search;
mod updates;

pub use build::{BuildIndex, BuiltIndex, Existing, build_index};
pub use error::IndexError;
pub use input::{InputColumns, RowIds, VectorInput};
pub(crate) use job::{IndexJob, SearchJob};
pub(crate) use script::{BuiltByScript, register};
pub(crate) use search::{Searched, search};
pub use updates::{read_delete, read_update};
