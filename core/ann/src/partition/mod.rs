//! Cutting space into leaves: training of centroids and assignment of vectors to them.

mod assign;
mod group;
mod lloyd;
mod seed;
mod spill;
#[cfg(test)]
mod tests;
mod train;

pub(crate) use assign::{Assigned, Assigner, assign_one};
pub(crate) use group::Groups;
pub(crate) use spill::{LEAVES_PER_VECTOR, NO_LEAF, Spilling};
pub(crate) use train::train;
