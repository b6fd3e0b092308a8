//! Which rows of a table are given up.

use rectool_comm::{Comm, CommExt, Reduce, Values};
use serde::{Deserialize, Serialize};

use crate::EmbeddingError;

/// When rows of a table are given up. The key of such a row reads what [`crate::Unadmitted`] says; if
/// it comes back, it starts anew, admission included.
///
/// Once half of a table's memory has room for its rows, they move together, and chunks of memory (32 MiB or more)
/// without rows go back to the system; rows of a dense index stay where they are.
///
/// Rows are looked through after every `every_steps` steps, so that there can be more of them, and
/// older ones, in between. A row that was made but not updated yet stays.
///
/// # Determinism
/// The same rows go on any number of threads and ranks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiry {
    /// Rows go that so many steps did not update.
    #[serde(default)]
    pub after_steps: Option<u32>,
    /// Most rows, over all ranks. Of more, those go that the fewest batches updated; of equals the
    /// ones that were updated longest ago, then those of the lowest keys.
    #[serde(default)]
    pub rows_max: Option<u64>,
    /// Steps from one look through the rows to the next.
    #[serde(default = "every_steps")]
    pub every_steps: u32,
}

fn every_steps() -> u32 {
    Expiry::default().every_steps
}

impl Default for Expiry {
    /// Rows stay.
    fn default() -> Self {
        // To look through ten million rows takes as long as a few steps.
        Self { after_steps: None, rows_max: None, every_steps: 1_000 }
    }
}

impl Expiry {
    /// Whether rows can be given up at all.
    pub(crate) fn is_on(&self) -> bool {
        self.after_steps.is_some() || self.rows_max.is_some()
    }

    /// Whether they are looked through after so many steps.
    pub(crate) fn is_due(&self, steps: u64) -> bool {
        self.is_on() && steps.is_multiple_of(u64::from(self.every_steps))
    }
}

/// How much a row is used. The least used is the lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Usage {
    pub(crate) count: u32,
    pub(crate) last_seen: u32,
    pub(crate) key: u64,
}

impl Usage {
    /// One number with the order of all of it.
    fn order(self) -> u128 {
        u128::from(self.count) << 96 | u128::from(self.last_seen) << 64 | u128::from(self.key)
    }
}

/// The keys of rows to be given up, in order.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Expired {
    pub(crate) by_age: Vec<u64>,
    pub(crate) by_use: Vec<u64>,
}

impl Expiry {
    /// Chooses among the rows `used`, of this rank's `rows`, after step `now`. Of ranks that hold the
    /// same rows, or columns of the same, one `counts` them; all choose alike.
    ///
    /// # Collective
    /// Every rank must call it.
    pub(crate) fn choose(
        &self,
        comm: &dyn Comm,
        mut used: Vec<Usage>,
        rows: usize,
        (now, counts): (u32, bool),
    ) -> Result<Expired, EmbeddingError> {
        let mut expired = Expired::default();
        if let Some(after) = self.after_steps {
            let aged = |usage: &mut Usage| now.saturating_sub(usage.last_seen) >= after;
            expired.by_age.extend(used.extract_if(.., aged).map(|usage| usage.key));
            expired.by_age.sort_unstable();
        }
        if let Some(rows_max) = self.rows_max {
            let own = if counts { (rows - expired.by_age.len()) as u64 } else { 0 };
            let total = comm.sum_u64(own)?;
            let excess = total.saturating_sub(rows_max);
            if excess > 0 {
                let excess = usize::try_from(excess).unwrap_or(usize::MAX);
                expired.by_use = least_used(comm, used, (excess, counts))?;
            }
        }
        Ok(expired)
    }
}

/// This rank's keys among the `count` least used of all ranks, in order.
fn least_used(
    comm: &dyn Comm,
    mut used: Vec<Usage>,
    (count, counts): (usize, bool),
) -> Result<Vec<u64>, EmbeddingError> {
    if count < used.len() {
        used.select_nth_unstable(count);
        used.truncate(count);
    }
    if comm.size() > 1 {
        let told: &[Usage] = if counts { &used } else { &[] };
        // Keys differ, so exactly `count` are below this one.
        if let Some(first_kept) = nth(comm, told, count as u64)? {
            used.retain(|usage| usage.order() < first_kept);
        }
    }
    let mut keys: Vec<u64> = used.iter().map(|usage| usage.key).collect();
    keys.sort_unstable();
    Ok(keys)
}

/// Bits of a digit of [`Usage::order`].
const DIGIT_BITS: u32 = 8;

/// The [`Usage::order`] of the row that has `before` rows of any rank before it, if there are so many. It is found digit
/// by digit, from counts of the digits of all ranks: these rows may be more than a rank has memory for.
///
/// # Collective
/// Every rank.
fn nth(comm: &dyn Comm, own: &[Usage], mut before: u64) -> Result<Option<u128>, EmbeddingError> {
    let mut orders: Vec<u128> = own.iter().map(|usage| usage.order()).collect();
    let mut known = 0;
    for shift in (0..u128::BITS).step_by(DIGIT_BITS as usize).rev() {
        let digit = |order: u128| (order >> shift) as usize & ((1 << DIGIT_BITS) - 1);
        let mut counts = [0; 1 << DIGIT_BITS];
        for order in &orders {
            counts[digit(*order)] += 1;
        }
        comm.all_reduce(Values::U64(&mut counts), Reduce::Sum)?;
        let mut next = 0;
        while let Some(count) = counts.get(next).filter(|count| **count <= before) {
            before -= count;
            next += 1;
        }
        if next == counts.len() {
            return Ok(None);
        }
        orders.retain(|order| digit(*order) == next);
        known = known << DIGIT_BITS | next as u128;
    }
    Ok(Some(known))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rectool_comm::on_ranks;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn ranks_together_choose_what_a_sorted_list_says(
            used in prop::collection::btree_map(0..200u64, (1..4u32, 0..20u32), 0..100),
            after_steps in prop::option::of(1..20u32),
            rows_max in prop::option::of(0..100u64),
            ranks in 1..4u64,
        ) {
            let expiry = Expiry { after_steps, rows_max, every_steps: 1 };
            let used: Vec<Usage> = used
                .into_iter()
                .map(|(key, (count, last_seen))| Usage { count, last_seen, key })
                .collect();
            let aged = |usage: &Usage| after_steps.is_some_and(|after| 20 - usage.last_seen >= after);
            let by_age: Vec<u64> =
                used.iter().filter(|usage| aged(usage)).map(|usage| usage.key).collect();
            let mut rest: Vec<Usage> = used.iter().filter(|usage| !aged(usage)).copied().collect();
            rest.sort_by_key(|usage| (usage.count, usage.last_seen, usage.key));
            let excess = rest.len().saturating_sub(rows_max.map_or(usize::MAX, |max| max as usize));
            let mut by_use: Vec<u64> = rest[..excess].iter().map(|usage| usage.key).collect();
            by_use.sort_unstable();

            let found = on_ranks(ranks as usize, |comm| {
                let own = used.iter().filter(|usage| usage.key % ranks == comm.rank() as u64);
                let own: Vec<Usage> = own.copied().collect();
                let rows = own.len();
                expiry.choose(&*comm, own, rows, (20, true)).unwrap()
            });
            let joined = |part: fn(&Expired) -> &Vec<u64>| {
                let mut keys: Vec<u64> = found.iter().flat_map(part).copied().collect();
                keys.sort_unstable();
                keys
            };
            prop_assert_eq!(joined(|found| &found.by_age), by_age);
            prop_assert_eq!(joined(|found| &found.by_use), by_use);
        }
    }
}
