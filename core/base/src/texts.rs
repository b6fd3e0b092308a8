//! Texts of a column, packed as Arrow packs them.

use std::ops::Range;

/// Texts one after the other: text `i` is `bytes[offsets[i]..offsets[i + 1]]`.
///
/// Packed, a text costs a plugin call half a nanosecond; as a list of strings it would cost a
/// hundred.
///
/// ```
/// use rectool_base::Texts;
/// let mut texts = Texts::new();
/// texts.push(Some("running shoes"));
/// texts.push(None);
/// assert_eq!((texts.len(), texts.get(0), texts.get(1)), (2, Some("running shoes"), None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    offsets: Vec<u32>,
    bytes: Vec<u8>,
    /// Bit `i % 8` of byte `i / 8` says whether text `i` is there; empty if all are.
    validity: Vec<u8>,
}

/// Parts that do not make texts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {found}, expected {expected}")]
pub struct BrokenTexts {
    /// What does not hold.
    pub what: &'static str,
    /// What was found.
    pub found: String,
    /// What was expected.
    pub expected: String,
}

impl Texts {
    /// No texts.
    pub fn new() -> Self {
        Self { offsets: vec![0], bytes: Vec::new(), validity: Vec::new() }
    }

    /// Texts from their parts: offsets (one more than texts), UTF-8 bytes, and one bit per text that
    /// says whether it is there, least significant first (empty: all are).
    ///
    /// # Errors
    /// If offsets fall or leave the bytes, a text is not UTF-8, or there are too few bits.
    pub fn from_parts(
        offsets: Vec<u32>,
        bytes: Vec<u8>,
        validity: Vec<u8>,
    ) -> Result<Self, BrokenTexts> {
        let broken = |what, found: String, expected: String| BrokenTexts { what, found, expected };
        let (first, last) = (offsets.first().copied(), offsets.last().copied());
        if first != Some(0) {
            let found = first.map_or("none".to_owned(), |first| first.to_string());
            return Err(broken("first offset", found, "0".to_owned()));
        }
        if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
            let found = format!("{} after {}", offsets[at + 1], offsets[at]);
            return Err(broken("offsets", found, "no fall".to_owned()));
        }
        if last.map(|last| last as usize) != Some(bytes.len()) {
            let found = last.unwrap_or_default().to_string();
            return Err(broken("last offset", found, bytes.len().to_string()));
        }
        let texts = offsets.len() - 1;
        if !validity.is_empty() && validity.len() < texts.div_ceil(8) {
            let expected = format!("{} for {texts} texts", texts.div_ceil(8));
            return Err(broken("bytes of validity", validity.len().to_string(), expected));
        }
        check_utf8(&offsets, &bytes)?;
        Ok(Self { offsets, bytes, validity })
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
        self.validity.is_empty() || self.validity[at / 8] & (1 << (at % 8)) != 0
    }

    /// Text `at`, or `None` if it is missing.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn get(&self, at: usize) -> Option<&str> {
        let range = self.offsets[at] as usize..self.offsets[at + 1] as usize;
        let text = || std::str::from_utf8(&self.bytes[range]).expect("checked when it came in");
        self.is_valid(at).then(text)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// Appends a text, or a missing one.
    ///
    /// # Panics
    /// If all texts together pass 4 GiB, the range of an offset.
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
        let end = u32::try_from(self.bytes.len()).expect("texts of a batch stay below 4 GiB");
        self.offsets.push(end);
    }

    /// Appends the texts `range` of `other`.
    ///
    /// # Panics
    /// If there are not that many, or as [`Texts::push`].
    pub fn append(&mut self, other: &Self, range: Range<usize>) {
        if !self.validity.is_empty() || !other.validity.is_empty() {
            range.for_each(|at| self.push(other.get(at)));
            return;
        }
        let shift = self.bytes.len();
        let (start, end) = (other.offsets[range.start] as usize, other.offsets[range.end] as usize);
        let total = u32::try_from(shift + (end - start));
        total.expect("texts of a batch stay below 4 GiB");
        self.bytes.extend_from_slice(&other.bytes[start..end]);
        let ends = &other.offsets[range.start + 1..=range.end];
        self.offsets.extend(ends.iter().map(|end| (*end as usize - start + shift) as u32));
    }

    /// Keeps the first `count` texts.
    ///
    /// # Panics
    /// If there are not that many.
    pub fn truncate(&mut self, count: usize) {
        assert!(count <= self.len(), "the first {count} of {} texts", self.len());
        self.offsets.truncate(count + 1);
        self.bytes.truncate(self.offsets[count] as usize);
        if self.validity.is_empty() {
            return;
        }
        self.validity.truncate(count.div_ceil(8));
        if let Some(last) = self.validity.last_mut().filter(|_| !count.is_multiple_of(8)) {
            *last |= 0xff << (count % 8);
        }
        if self.validity.iter().all(|bits| *bits == 0xff) {
            self.validity.clear();
        }
    }

    /// Removes all texts and keeps the memory.
    pub fn clear(&mut self) {
        self.offsets.truncate(1);
        self.bytes.clear();
        self.validity.clear();
    }

    /// Offsets, bytes and validity, as [`Texts::from_parts`] takes them.
    pub fn into_parts(self) -> (Vec<u32>, Vec<u8>, Vec<u8>) {
        (self.offsets, self.bytes, self.validity)
    }

    /// Where each text starts; one more than texts.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// All texts, one after the other.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// One bit per text that says whether it is there; empty if all are.
    pub fn validity(&self) -> &[u8] {
        &self.validity
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

/// The bytes as a whole, and no text that starts inside a character.
fn check_utf8(offsets: &[u32], bytes: &[u8]) -> Result<(), BrokenTexts> {
    let of = |place: usize| offsets.partition_point(|start| *start as usize <= place) - 1;
    let broken = |place| BrokenTexts {
        what: "bytes",
        found: format!("invalid UTF-8 in text {}", of(place)),
        expected: "UTF-8".to_owned(),
    };
    let text = std::str::from_utf8(bytes).map_err(|error| broken(error.valid_up_to()))?;
    match offsets.iter().find(|start| !text.is_char_boundary(**start as usize)) {
        Some(start) => Err(broken(*start as usize)),
        None => Ok(()),
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
        let (offsets, bytes) = (texts.offsets().to_vec(), texts.bytes().to_vec());
        assert_eq!(Texts::from_parts(offsets, bytes, texts.validity().to_vec()).unwrap(), texts);
    }

    #[test]
    fn pieces_add_up_to_the_whole_and_can_be_taken_back() {
        let given = |missing: usize| -> Vec<Option<&str>> {
            (0..30).map(|at| (at != missing).then_some(["", "\u{e4}b", "cde"][at % 3])).collect()
        };
        for missing in [3, 12, 100] {
            let whole: Texts = given(missing).into_iter().collect();
            let mut joined = Texts::new();
            for (from, to) in [(0, 11), (11, 11), (11, 30)] {
                joined.append(&whole, from..to);
            }
            assert_eq!(joined, whole, "{missing}");
            for count in (0..=30).rev() {
                joined.truncate(count);
                assert_eq!(joined, given(missing)[..count].iter().copied().collect(), "{count}");
            }
        }
    }

    #[test]
    fn only_missing_texts_cost_bits() {
        let all: Texts = [Some("a"), Some("b")].into_iter().collect();
        assert!(all.validity().is_empty());
    }

    #[test]
    fn broken_parts_are_refused() {
        let error = |offsets: &[u32], bytes: &[u8], validity: &[u8]| {
            let parts = (offsets.to_vec(), bytes.to_vec(), validity.to_vec());
            Texts::from_parts(parts.0, parts.1, parts.2).unwrap_err().to_string()
        };
        assert_eq!(error(&[], b"", b""), "first offset: none, expected 0");
        assert_eq!(error(&[0, 2, 1], b"a", b""), "offsets: 1 after 2, expected no fall");
        assert_eq!(error(&[0, 2], b"a", b""), "last offset: 2, expected 1");
        let bits = "bytes of validity: 1, expected 2 for 9 texts";
        assert_eq!(error(&[0; 10], b"", &[0]), bits);
        let utf8 = "bytes: invalid UTF-8 in text 1, expected UTF-8";
        assert_eq!(error(&[0, 1, 2], &[b'a', 0xff], b""), utf8);
        assert_eq!(error(&[0, 1, 2], "\u{e4}".as_bytes(), b""), utf8);
    }
}
