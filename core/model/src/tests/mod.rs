//! Whole trainings on small data, with losses and transforms that come from elsewhere.

mod losses;
mod native;
mod negatives;
mod plugins;
mod weights;
