//! A graph: every row is linked with rows near to it, and a search goes from row to row.

mod beam;
mod links;
mod near;
mod ordered;
mod prune;
mod search;
mod view;
mod visited;
mod way;

pub(crate) use links::{each_piece, forward};
pub(crate) use near::Leaves;
pub(crate) use ordered::Ordered;
pub(crate) use search::GraphScratch;
pub(crate) use way::{choose, grown, step_cost};
