//! Whole scripts: what they may say, what they plan, what they train.

mod data;
mod errors;
mod heads;
mod indexing;
mod joining;
mod keeping;
mod native;
mod negatives;
mod placing;
mod planning;
mod plugins;
mod pooling;
mod rankers;
mod running;
mod tower_heads;
mod towers;
