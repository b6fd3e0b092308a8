//! Parts of checkpoints.

mod merge;
