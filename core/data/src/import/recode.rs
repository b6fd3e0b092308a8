//! What is changed in text before it is cut into fields.

/// Stands for a delimiter of several characters: ASCII's unit separator, which text does not hold.
pub(super) const UNIT_SEPARATOR: u8 = 0x1f;

/// Changes to the bytes of whole rows; no change touches a line end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Recoding {
    /// Bytes are ISO 8859-1 and become UTF-8.
    pub(super) latin1: bool,
    /// Becomes [`UNIT_SEPARATOR`]. Not empty.
    pub(super) delimiter: Option<Vec<u8>>,
}

impl Recoding {
    pub(super) fn apply(&self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = match &self.delimiter {
            Some(delimiter) => replace(&bytes, delimiter, &[UNIT_SEPARATOR]),
            None => bytes,
        };
        if !self.latin1 || bytes.is_ascii() {
            return bytes;
        }
        // The first 256 characters of Unicode are those of ISO 8859-1.
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        text.into_bytes()
    }

    /// The delimiter back in its place, for people.
    pub(super) fn restore(&self, bytes: &[u8]) -> Vec<u8> {
        match &self.delimiter {
            Some(delimiter) => replace(bytes, &[UNIT_SEPARATOR], delimiter),
            None => bytes.to_vec(),
        }
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == from[0]) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix(from) {
            out.extend_from_slice(to);
            rest = after;
        } else {
            out.push(rest[0]);
            rest = &rest[1..];
        }
    }
    out.extend_from_slice(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delimiters_come_and_go_back() {
        let recoding = Recoding { latin1: false, delimiter: Some(b"::".to_vec()) };
        let recoded = recoding.apply(b"1::a:b:::c\n::".to_vec());
        assert_eq!(recoded, b"1\x1fa:b\x1f:c\n\x1f");
        assert_eq!(recoding.restore(&recoded), b"1::a:b:::c\n::");
    }

    #[test]
    fn latin1_becomes_utf8() {
        let recoding = Recoding { latin1: true, delimiter: None };
        assert_eq!(recoding.apply(b"Mis\xe9rables\n".to_vec()), "Mis\u{e9}rables\n".as_bytes());
        assert_eq!(Recoding::default().apply(b"\xe9".to_vec()), b"\xe9");
    }
}
