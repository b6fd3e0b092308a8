//! Finding what is near.

mod batch;
mod flat;
mod leaves;
mod options;
mod part;
mod pool;
mod query;
mod rerank;
mod selection;
mod tree;
mod view;
mod way;

pub(crate) use batch::{Landmarks, search_batch};
pub(crate) use flat::search_all;
pub(crate) use leaves::LeafChoice;
pub(crate) use options::Reach;
pub use options::{Crowding, Effort, Hit, SearchOptions};
pub use part::Scratch;
pub(crate) use pool::{Pool, order_of, row_of};
pub(crate) use query::{Query, ordered, unordered};
pub(crate) use rerank::finalists;
pub(crate) use selection::Selection;
pub(crate) use tree::TreeScratch;
pub(crate) use view::View;
pub(crate) use way::Way;
