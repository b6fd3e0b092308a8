//! Which vectors a query may find: tokens of namespaces, comparisons of numbers, crowding.

mod attributes;
mod expression;
mod parse;
mod rows;
mod selected;
mod store;
#[cfg(test)]
mod tests;

pub use attributes::{Attributes, ItemAttributes};
pub use expression::{Comparison, Filter, NumberRule, TokenRule};
pub(crate) use rows::Bits;
pub(crate) use selected::{Selected, SelectedChanges, Selections};
pub(crate) use store::{AttributeStore, write};
