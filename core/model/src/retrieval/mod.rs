//! How good recommendations are, and what simple methods reach on the same data.
//!
//! Nothing here knows a model: users and items are rows of slices, and a method is a [`Scorer`].
//! A caller goes through it in this order:
//!
//! 1. [`Interactions::read`] takes the user and item columns of the splits `train` and `test`.
//! 2. [`Ids::union`] of what can be recommended is the **catalogue**; item index V numbers it.
//! 3. [`RetrievalTask::new`] brings both splits to the test users and that catalogue: per user what
//!    was seen (never recommended), and the positives that are to be found.
//! 4. [`VectorScorer`] (a model's user and item vectors) or a baseline says what scores highest.
//! 5. [`evaluate_retrieval`] ranks the whole catalogue for each user, on any number of ranks, and
//!    [`evaluate_sampled`] ranks a positive among given negatives, as NCF does: other figures, under
//!    another name; [`read_cases`] or [`draw_cases`] gives these. [`gauc`] is for pointwise predictions with labels.
//!
//! [`LeakReport`] says beforehand whether the splits can be trusted. The baselines are
//! [`MostPopular`], [`ItemKnn`] and [`Als`].
//!
//! The definitions of all metrics are those of [`RetrievalEvaluation`].

mod baseline;
mod error;
mod evaluation;
mod ids;
mod interactions;
mod interval;
mod leak;
mod metrics;
mod plane;
mod pointwise;
mod sampled;
mod sampled_read;
mod scorer;
mod task;
#[cfg(test)]
mod tests;
mod top_k;
mod top_k_tensor;

pub use baseline::{Als, AlsOptions, ItemKnn, ItemKnnOptions, ItemKnnScorer, MostPopular};
pub use error::RetrievalError;
pub use evaluation::{RetrievalEvaluation, RetrievalOptions, SegmentFigures, evaluate_retrieval};
pub use ids::Ids;
pub use interactions::Interactions;
pub use interval::{Figure, figures};
pub use leak::{LeakReport, TimeLeaks, Timeline};
pub use plane::principal_plane;
pub use pointwise::{Gauc, gauc};
pub use sampled::{SampledCase, SampledEvaluation, draw_cases, evaluate_sampled};
pub use sampled_read::read_cases;
pub use scorer::{Scorer, VectorScorer};
pub use task::{Popularity, RetrievalTask};
pub use top_k::{Candidates, Recommended};
pub use top_k_tensor::TensorCandidates;
