//! How a search goes about it.

use super::options::Reach;

/// A way to the nearest rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Every row that may be found is compared with.
    All,
    /// The rows that satisfy the filter in so many leaves are compared with.
    Rows { leaves: usize },
    /// The rows of this reach.
    Reach(Reach),
}
