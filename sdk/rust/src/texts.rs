//! Texts of a column, packed one after the other.

use crate::Texts;

impl Texts {
    /// No texts.
    pub fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), validity: Vec::new() }
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether text `at` is there.
    pub fn is_valid(&self, at: usize) -> bool {
        self.validity.is_empty() || self.validity[at / 8] >> (at % 8) & 1 == 1
    }

    /// Text `at`, or `None` if it is missing.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, at: usize) -> Option<&str> {
        // `ok` keeps the error out of the message: it would bring the code for printing it into plugins.
        let text = |bytes| {
            let text = std::str::from_utf8(bytes).ok();
            text.expect("the host gives only UTF-8")
        };
        self.get_bytes(at).map(text)
    }

    /// The bytes of text `at`, or `None` if it is missing: faster than [`Texts::get`] where bytes
    /// are all that counts, as in hashing.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get_bytes(&self, at: usize) -> Option<&[u8]> {
        let range = self.offsets[at] as usize..self.offsets[at + 1] as usize;
        self.is_valid(at).then(|| &self.bytes[range])
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// The bytes of all of them, in order.
    pub fn iter_bytes(&self) -> impl ExactSizeIterator<Item = Option<&[u8]>> {
        (0..self.len()).map(|at| self.get_bytes(at))
    }

    /// Appends a text, or a missing one.
    pub fn push(&mut self, text: Option<&str>) {
        let at = self.len();
        if text.is_none() && self.validity.is_empty() {
            self.validity = vec![0xff; at / 8 + 1];
        }
        if !self.validity.is_empty() {
            self.validity.resize(at / 8 + 1, 0xff);
            let bit = 1 << (at % 8);
            match text {
                Some(_) => self.validity[at / 8] |= bit,
                None => self.validity[at / 8] &= !bit,
            }
        }
        self.bytes.extend_from_slice(text.unwrap_or_default().as_bytes());
        self.offsets.push(self.bytes.len() as u32);
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self::new()
    }
}

impl<'a> FromIterator<Option<&'a str>> for Texts {
    fn from_iter<I: IntoIterator<Item = Option<&'a str>>>(texts: I) -> Self {
        let mut packed = Self::new();
        texts.into_iter().for_each(|text| packed.push(text));
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        let given: Vec<Option<&str>> =
            (0..20).map(|at| [Some("straße"), None, Some("")][at % 3]).collect();
        let texts: Texts = given.iter().copied().collect();
        assert_eq!(texts.iter().collect::<Vec<_>>(), given);
        assert_eq!(texts.validity.len(), 3);
        let all: Texts = [Some("a"), Some("b")].into_iter().collect();
        assert!(all.validity.is_empty());
    }
}
