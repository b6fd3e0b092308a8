//! Training and evaluation loops.

mod evaluate;
mod feed;
mod fit;
mod judged;
mod read;
mod state;
mod vote;
mod window;

pub use fit::{FitSummary, Stop, TrainJob, fit};
pub(crate) use read::positions;
pub use state::{Best, TrainingState};
pub(crate) use window::Window;
