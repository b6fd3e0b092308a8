//! Tests of whole parts against their definition.

mod damage;
mod exact;
pub(crate) mod world;
