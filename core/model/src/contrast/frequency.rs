//! How often items come by, estimated while they do: what the softmax over a batch is corrected by.

use std::collections::HashMap;

/// Longest memory of the estimate, in sightings of one item: the first ones are averaged evenly, later
/// ones count with this share.
pub(crate) const RATE: f32 = 0.01;

/// One item's sightings.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sighting {
    /// Samples that had passed when it was last seen.
    last: u64,
    /// Mean number of samples from one sighting to the next.
    interval: f64,
    /// Sightings so far.
    count: u64,
}

/// The streaming frequency estimator of Yi et al. (2019), "Sampling-bias-corrected neural modeling for
/// large corpus item recommendations", with an entry per item instead of a hashed array, and time
/// counted in samples, so that the estimate does not depend on the batch size.
///
/// While an item is new its interval is the plain mean, which makes the estimate its exact share of the
/// samples so far; from 1 / [`RATE`] sightings on old intervals are forgotten, and it follows drift.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frequency {
    samples: u64,
    items: HashMap<i64, Sighting>,
}

/// The estimator's state as numbers that a checkpoint keeps, sorted by item.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct FrequencyState {
    /// Samples that passed.
    pub(crate) samples: u64,
    pub(crate) ids: Vec<i64>,
    pub(crate) last: Vec<u64>,
    pub(crate) interval: Vec<f64>,
    pub(crate) count: Vec<u64>,
}

impl Frequency {
    /// Takes in the items of a batch of all ranks, in any order: the estimate is the same.
    pub(crate) fn observe(&mut self, ids: impl Iterator<Item = i64>) {
        let mut ids: Vec<i64> = ids.collect();
        ids.sort_unstable();
        self.samples += ids.len() as u64;
        let now = self.samples;
        for same in ids.chunk_by(|a, b| a == b) {
            let times = same.len() as u64;
            let fresh = Sighting { last: 0, interval: 0.0, count: 0 };
            let item = self.items.entry(same[0]).or_insert(fresh);
            // Sightings within one batch have no order: they share its interval evenly.
            let interval = (now - item.last) as f64 / times as f64;
            for _ in 0..times {
                item.count += 1;
                let share = f64::from(RATE).max(1.0 / item.count as f64);
                item.interval += share * (interval - item.interval);
            }
            item.last = now;
        }
    }

    /// Natural logarithm of the share of samples that are of `id`. An item that never came by counts
    /// as if the next sample were it.
    pub(crate) fn log_probability(&self, id: i64) -> f32 {
        let interval = match self.items.get(&id) {
            Some(item) => item.interval.max(1.0),
            None => self.samples as f64 + 1.0,
        };
        -(interval.ln() as f32)
    }

    /// Everything it knows.
    pub(crate) fn state(&self) -> FrequencyState {
        let mut entries: Vec<(&i64, &Sighting)> = self.items.iter().collect();
        entries.sort_unstable_by_key(|(id, _)| **id);
        FrequencyState {
            samples: self.samples,
            ids: entries.iter().map(|(id, _)| **id).collect(),
            last: entries.iter().map(|(_, item)| item.last).collect(),
            interval: entries.iter().map(|(_, item)| item.interval).collect(),
            count: entries.iter().map(|(_, item)| item.count).collect(),
        }
    }

    /// The estimator that had this state, or what is wrong with it.
    pub(crate) fn from_state(state: &FrequencyState) -> Result<Self, String> {
        let items = state.ids.len();
        let lengths = [state.last.len(), state.interval.len(), state.count.len()];
        if lengths != [items; 3] {
            return Err(format!("{items} ids, but {lengths:?} values of them"));
        }
        let mut known = HashMap::with_capacity(items);
        for at in 0..items {
            let (last, interval) = (state.last[at], state.interval[at]);
            if last > state.samples || !(interval.is_finite() && interval >= 0.0) {
                let samples = state.samples;
                let id = state.ids[at];
                return Err(format!("item {id} seen at {last} of {samples}, every {interval}"));
            }
            known.insert(state.ids[at], Sighting { last, interval, count: state.count[at] });
        }
        if known.len() != items {
            return Err("an item twice".to_owned());
        }
        Ok(Self { samples: state.samples, items: known })
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::Stream;

    use super::*;

    #[test]
    fn new_items_have_their_exact_share() {
        let mut frequency = Frequency::default();
        frequency.observe([1, 2, 1, 1].into_iter());
        frequency.observe([2, 1, 3, 3].into_iter());
        let share = |id| f64::from(frequency.log_probability(id)).exp();
        assert!((share(1) - 4.0 / 8.0).abs() < 0.07, "{}", share(1));
        assert!((share(2) - 2.0 / 8.0).abs() < 1e-6, "{}", share(2));
        assert!((share(9) - 1.0 / 9.0).abs() < 1e-6, "{}", share(9));
    }

    #[test]
    fn the_estimate_comes_near_the_truth_and_follows_it() {
        let mut stream = Stream::new(5, &[1]);
        let mut frequency = Frequency::default();
        // Item k has probability 2^-(k + 1); then the order is reversed.
        for phase in 0..2 {
            for _ in 0..400 {
                let draw = |_| {
                    let k = (-stream.next_f64().max(1e-9).log2()).floor().min(5.0) as i64;
                    if phase == 0 { k } else { 5 - k }
                };
                let batch: Vec<i64> = (0..64).map(draw).collect();
                frequency.observe(batch.into_iter());
            }
            for k in 0..4 {
                let id = if phase == 0 { k } else { 5 - k };
                let found = f64::from(frequency.log_probability(id));
                let expected = -((k + 1) as f64) * std::f64::consts::LN_2;
                assert!((found - expected).abs() < 0.25, "{phase} {id}: {found}, not {expected}");
            }
        }
    }

    #[test]
    fn neither_the_order_nor_the_ranks_matter_and_the_state_comes_back() {
        let (mut one, mut other) = (Frequency::default(), Frequency::default());
        one.observe([7, 3, 3, -1].into_iter());
        other.observe([3, -1, 7, 3].into_iter());
        assert_eq!(one.state(), other.state());
        let back = Frequency::from_state(&one.state()).unwrap();
        assert_eq!(back.state(), one.state());
        let mut broken = one.state();
        broken.interval.pop();
        assert!(Frequency::from_state(&broken).is_err());
        let mut broken = one.state();
        broken.last[0] = 99;
        assert!(Frequency::from_state(&broken).unwrap_err().contains("seen at 99 of 4"));
    }
}
