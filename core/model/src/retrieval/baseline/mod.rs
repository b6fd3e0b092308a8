//! Simple methods, to be beaten on the same data in the same run.
//!
//! All are fitted on training pairs numbered by the catalogue
//! (`train.renumbered(train.users(), &catalogue).0`), and score the users of a
//! [`RetrievalTask`](super::RetrievalTask) from what these have seen.

mod als;
mod item_knn;
mod popular;

pub use als::{Als, AlsOptions};
pub use item_knn::{ItemKnn, ItemKnnOptions, ItemKnnScorer};
pub use popular::MostPopular;
