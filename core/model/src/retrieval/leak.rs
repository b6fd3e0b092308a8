//! What a training split gives away of a test split.

use std::collections::BTreeMap;

use rectool_base::grouped;
use serde::{Deserialize, Serialize};

use super::Interactions;

/// When users interacted, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Timeline<'a> {
    /// Ids of users \[B\].
    pub users: &'a [i64],
    /// Times in any unit \[B\].
    pub times: &'a [i64],
}

/// Test rows that are earlier than training rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeLeaks {
    /// Test rows before the same user's last training row.
    pub before_own: u64,
    /// Test rows before the last training row of anybody: a split by time has none.
    pub before_any: u64,
    /// Test rows.
    pub rows: u64,
}

/// How two splits overlap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakReport {
    /// Distinct test pairs.
    pub pairs: u64,
    /// Test pairs that are in training too. Where seen items are excluded, none can be hit.
    pub pairs_in_train: u64,
    /// Test users.
    pub users: u64,
    /// Test users that training does not have.
    pub users_absent: u64,
    /// Test items.
    pub items: u64,
    /// Test items that training does not have.
    pub items_absent: u64,
    /// Order in time, where times are known.
    pub times: Option<TimeLeaks>,
}

impl LeakReport {
    /// Compares `train` with `test`, and their times, in this order, if there are any.
    ///
    /// ```
    /// use rectool_model::{Interactions, LeakReport};
    /// let train = Interactions::new(vec![(1, 10), (2, 11)]).unwrap();
    /// let test = Interactions::new(vec![(1, 10), (3, 11)]).unwrap();
    /// let found = LeakReport::new(&train, &test, None);
    /// assert_eq!((found.pairs_in_train, found.users_absent, found.items_absent), (1, 1, 0));
    /// ```
    ///
    /// # Panics
    /// If a timeline has not one time for each user.
    pub fn new(
        train: &Interactions,
        test: &Interactions,
        times: Option<[Timeline<'_>; 2]>,
    ) -> Self {
        let (common, _) = train.renumbered(test.users(), test.items());
        let in_train = |user: usize| {
            let trained = common.items_of(user);
            test.items_of(user).iter().filter(|item| trained.binary_search(item).is_ok()).count()
        };
        let absent = |of: &super::Ids, from: &super::Ids| {
            of.as_slice().iter().filter(|id| from.index(**id).is_none()).count() as u64
        };
        Self {
            pairs: test.pairs() as u64,
            pairs_in_train: (0..test.users().len()).map(in_train).sum::<usize>() as u64,
            users: test.users().len() as u64,
            users_absent: absent(test.users(), train.users()),
            items: test.items().len() as u64,
            items_absent: absent(test.items(), train.items()),
            times: times.map(time_leaks),
        }
    }

    /// What a reader should know, one sentence each; nothing where nothing leaks.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |count: u64, of: u64, what: &str| {
            if count > 0 {
                warnings.push(format!("{} of {} {what}", grouped(count), grouped(of)));
            }
        };
        warn(self.pairs_in_train, self.pairs, "test pairs are in the training split too");
        warn(self.users_absent, self.users, "test users have no training row");
        warn(self.items_absent, self.items, "test items have no training row");
        if let Some(times) = self.times {
            let what = "test rows are earlier than their user's last training row";
            warn(times.before_own, times.rows, what);
            warn(times.before_any, times.rows, "test rows are earlier than the last training row");
        }
        warnings
    }
}

fn time_leaks([train, test]: [Timeline<'_>; 2]) -> TimeLeaks {
    for side in [train, test] {
        assert_eq!(side.users.len(), side.times.len(), "one time for each user");
    }
    let mut last: BTreeMap<i64, i64> = BTreeMap::new();
    for (user, time) in train.users.iter().zip(train.times) {
        last.entry(*user).and_modify(|last| *last = (*last).max(*time)).or_insert(*time);
    }
    let last_of_any = train.times.iter().max();
    let own = |(user, time): &(&i64, &i64)| last.get(user).is_some_and(|last| *time < last);
    let rows = || test.users.iter().zip(test.times);
    TimeLeaks {
        before_own: rows().filter(own).count() as u64,
        before_any: rows().filter(|(_, time)| last_of_any.is_some_and(|last| *time < last)).count()
            as u64,
        rows: test.times.len() as u64,
    }
}
