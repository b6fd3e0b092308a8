//! What is to be recommended to whom.

use super::{Ids, Interactions};

/// Share of the training pairs that the most popular items, the head, have.
const HEAD_SHARE: f64 = 0.5;
/// The same of head and torso together.
const TORSO_SHARE: f64 = 0.9;

/// How often each item of a catalogue occurs in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Popularity {
    /// Users of each item \[V\].
    pub counts: Vec<u32>,
    /// Share of the catalogue that is less popular, equal items counting half \[V\].
    pub percentiles: Vec<f64>,
    /// 0 head, 1 torso, 2 tail \[V\]. The head is the most popular items that together have half of
    /// the training pairs, the torso those up to 90 %; items that training never saw are tail.
    pub segments: Vec<u8>,
}

impl Popularity {
    /// Of items with these counts \[V\].
    pub fn new(counts: Vec<u32>) -> Self {
        let mut order: Vec<u32> = (0..counts.len() as u32).collect();
        order.sort_by_key(|item| std::cmp::Reverse(counts[*item as usize]));
        let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
        let (mut segments, mut percentiles) = (vec![2; counts.len()], vec![0.0; counts.len()]);
        let mut before = 0;
        for item in order.iter().map(|item| *item as usize) {
            let share = before as f64 / total.max(1) as f64;
            if counts[item] > 0 {
                segments[item] = u8::from(share >= HEAD_SHARE) + u8::from(share >= TORSO_SHARE);
            }
            before += u64::from(counts[item]);
        }
        let mut above = 0;
        for equal in order.chunk_by(|a, b| counts[*a as usize] == counts[*b as usize]) {
            let below = counts.len() - above - equal.len();
            let percentile = (below as f64 + 0.5 * equal.len() as f64) / counts.len() as f64;
            for item in equal {
                percentiles[*item as usize] = percentile;
            }
            above += equal.len();
        }
        Self { counts, percentiles, segments }
    }
}

/// Test users with what they have seen and what they are to be shown.
///
/// ```
/// use rectool_model::{Interactions, RetrievalTask};
/// let train = Interactions::new(vec![(1, 10), (2, 11)]).unwrap();
/// let test = Interactions::new(vec![(1, 11), (3, 10)]).unwrap();
/// let catalogue = train.items().union(test.items());
/// let task = RetrievalTask::new(&train, &test, &catalogue);
/// assert_eq!(task.users().as_slice(), [1, 3]);
/// assert_eq!(task.seen.items_of(0), [0]);
/// assert_eq!(task.positives.items_of(0), [1]);
/// ```
#[derive(Clone, Debug)]
pub struct RetrievalTask {
    /// Training pairs of the test users, by test user and catalogue number.
    pub seen: Interactions,
    /// Test pairs, numbered in the same way.
    pub positives: Interactions,
    /// For each test user the positives that the catalogue does not have: always missed.
    pub positives_beyond: Vec<u32>,
    /// Of the catalogue, in training.
    pub popularity: Popularity,
}

impl RetrievalTask {
    /// Brings both splits to the users of `test` and the items of `catalogue`.
    pub fn new(train: &Interactions, test: &Interactions, catalogue: &Ids) -> Self {
        let (positives, positives_beyond) = test.renumbered(test.users(), catalogue);
        let (seen, _) = train.renumbered(test.users(), catalogue);
        let mut counts = vec![0; catalogue.len()];
        for (id, count) in train.items().as_slice().iter().zip(train.item_counts()) {
            if let Some(item) = catalogue.index(*id) {
                counts[item as usize] = count;
            }
        }
        Self { seen, positives, positives_beyond, popularity: Popularity::new(counts) }
    }

    /// Test users, by number.
    pub fn users(&self) -> &Ids {
        self.positives.users()
    }

    /// Number of positives of a user, those beyond the catalogue included.
    pub(super) fn positives_of(&self, user: usize) -> usize {
        self.positives.items_of(user).len() + self.positives_beyond[user] as usize
    }
}
