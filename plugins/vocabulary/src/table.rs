//! The words, found by hash.

use rectool_plugin_sdk::{hash_text, mix64};

/// A table of known keys: open addressing, at most half full, so that a search looks at one or two
/// places. Texts are compared as well as their hashes.
pub(crate) struct Table {
    mask: usize,
    /// Place of a word, from 1; 0 where there is none.
    slots: Vec<u32>,
    keys: Vec<i64>,
    words: Vec<String>,
}

impl Table {
    /// A table of texts, or the first that occurs twice.
    pub(crate) fn of_words(words: &[String]) -> Result<Self, &str> {
        let keys = words.iter().map(|word| hash_text(word.as_bytes())).collect();
        let table = Self { words: words.to_vec(), ..Self::empty(keys) };
        table
            .filled(|table, at| table.find_text(words[at].as_bytes()).is_some())
            .map_err(|at| &*words[at])
    }

    /// A table of ids, or the first that occurs twice.
    pub(crate) fn of_ids(ids: &[i64]) -> Result<Self, i64> {
        Self::empty(ids.to_vec())
            .filled(|table, at| table.find_id(ids[at]).is_some())
            .map_err(|at| ids[at])
    }

    fn empty(keys: Vec<i64>) -> Self {
        let slots = (keys.len() * 2).next_power_of_two();
        Self { mask: slots - 1, slots: vec![0; slots], keys, words: Vec::new() }
    }

    fn filled(mut self, known: impl Fn(&Self, usize) -> bool) -> Result<Self, usize> {
        for at in 0..self.keys.len() {
            if known(&self, at) {
                return Err(at);
            }
            let mut slot = mix64(self.keys[at] as u64) as usize & self.mask;
            while self.slots[slot] != 0 {
                slot = (slot + 1) & self.mask;
            }
            self.slots[slot] = at as u32 + 1;
        }
        Ok(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn find_id(&self, id: i64) -> Option<usize> {
        self.find(id, |_| true)
    }

    pub(crate) fn find_text(&self, text: &[u8]) -> Option<usize> {
        self.find(hash_text(text), |at| self.words[at].as_bytes() == text)
    }

    #[inline]
    fn find(&self, key: i64, equal: impl Fn(usize) -> bool) -> Option<usize> {
        let mut slot = mix64(key as u64) as usize & self.mask;
        loop {
            let at = self.slots[slot].checked_sub(1)? as usize;
            if self.keys[at] == key && equal(at) {
                return Some(at);
            }
            slot = (slot + 1) & self.mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_found() {
        let ids: Vec<i64> = (0..5000).map(|id| id * id - 7000).collect();
        let Ok(table) = Table::of_ids(&ids) else { panic!("no id is there twice") };
        assert!(ids.iter().enumerate().all(|(at, id)| table.find_id(*id) == Some(at)));
        assert_eq!(table.find_id(-7001), None);
        assert_eq!(Table::of_ids(&[4, 5, 4]).err(), Some(4));
        let words = ["a", "", "b", "a"].map(str::to_owned);
        assert_eq!(Table::of_words(&words).err(), Some("a"));
        let Ok(table) = Table::of_words(&words[..3]) else { panic!("no word is there twice") };
        assert_eq!((table.find_text(b"b"), table.find_text(b"c")), (Some(2), None));
    }
}
