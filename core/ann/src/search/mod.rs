//! Finding what is near.

mod flat;
mod options;
mod part;
mod pool;
mod query;
mod rerank;
mod selection;
mod tree;
mod view;

pub(crate) use flat::search_all;
pub(crate) use options::Reach;
pub use options::{Crowding, Effort, Hit, SearchOptions};
pub use part::Scratch;
pub(crate) use part::search_batch;
pub(crate) use query::Query;
pub(crate) use selection::Selection;
pub(crate) use tree::TreeScratch;
pub(crate) use view::View;
