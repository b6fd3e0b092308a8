//! What a user chose before a row.

use rectool_base::Jagged;

use super::events::Events;

impl Events {
    /// Where each row stands in the order.
    pub(super) fn places(&self) -> Vec<u32> {
        let mut places = vec![0; self.order.len()];
        for (place, row) in self.order.iter().enumerate() {
            places[*row as usize] = place as u32;
        }
        places
    }

    /// The history of each of `rows`: at most `length_max` items, oldest first. `to` are the splits
    /// of all rows, `places` is [`Events::places`].
    pub(super) fn histories(
        &self,
        rows: impl Iterator<Item = usize>,
        to: &[u8],
        places: &[u32],
        length_max: usize,
    ) -> Jagged<i64> {
        let mut histories = Jagged::new();
        let mut seen = Vec::new();
        for row in rows {
            let user = self.users[row];
            let before = self.order[..places[row] as usize].iter().rev().map(|row| *row as usize);
            let own = before.take_while(|other| self.users[*other] == user);
            // Rows of the divided split see each other; all others see only splits before theirs.
            let visible = |other: &usize| to[*other] < to[row].max(1);
            seen.clear();
            seen.extend(own.filter(visible).take(length_max).map(|other| self.items[other]));
            seen.reverse();
            histories.push_row(&seen);
        }
        histories
    }
}
