//! External ids and their dense numbers.

/// Distinct ids in rising order: an id's number is its place.
///
/// ```
/// use rectool_model::Ids;
/// let ids = Ids::new(vec![70, 5, 70]);
/// assert_eq!(ids.as_slice(), [5, 70]);
/// assert_eq!(ids.index(70), Some(1));
/// assert_eq!(ids.index(6), None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids(Vec<i64>);

impl Ids {
    /// The distinct ones of `ids`.
    pub fn new(mut ids: Vec<i64>) -> Self {
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }

    /// The ids that either holds.
    pub fn union(&self, other: &Self) -> Self {
        Self::new([self.as_slice(), other.as_slice()].concat())
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All ids, by number.
    pub fn as_slice(&self) -> &[i64] {
        &self.0
    }

    /// The number of `id`.
    pub fn index(&self, id: i64) -> Option<u32> {
        self.0.binary_search(&id).ok().map(|at| at as u32)
    }
}
