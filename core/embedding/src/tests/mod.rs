//! The collection against an oracle that does everything the slow way.

mod admission;
mod beyond_memory;
mod case;
mod checkpoint;
mod golden;
mod inputs;
mod oracle;
mod pooling;
mod sharded;
mod single;
mod steps;
mod storage;
mod torch;
