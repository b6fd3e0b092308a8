//! Tests of whole parts against their definition.

mod damage;
mod exact;
mod graph;
pub(crate) mod world;
