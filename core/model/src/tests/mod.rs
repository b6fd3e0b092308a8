//! Whole trainings on small data, with losses and transforms that come from elsewhere.

mod groups;
mod head_losses;
mod heads;
mod losses;
pub(crate) mod native;
mod negatives;
mod overlap;
mod plugins;
mod sample;
mod tower_heads;
mod towers;
mod weights;
