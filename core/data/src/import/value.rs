//! The meaning of a text field.

use rectool_base::{MISSING_ID, hash_text};

/// Why a field, and with it its row, is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) expected: &'static str,
    pub(super) found: String,
}

impl Refused {
    pub(super) fn new(expected: &'static str, found: impl Into<String>) -> Self {
        Self { expected, found: found.into() }
    }

    fn text(expected: &'static str, text: &[u8]) -> Self {
        let shown: String = String::from_utf8_lossy(text).chars().take(60).collect();
        Self { expected, found: format!("`{shown}`") }
    }

    /// `column: expected …, found …`.
    pub(super) fn reason(&self, column: &str) -> String {
        format!("`{column}`: expected {}, found {}", self.expected, self.found)
    }
}

/// A canonical decimal `i64` is itself, empty is missing, any other text is hashed.
pub(super) fn id(text: &[u8]) -> Result<i64, Refused> {
    if text.is_empty() {
        return Ok(MISSING_ID);
    }
    let text = str::from_utf8(text).map_err(|_| Refused::text("UTF-8", text))?;
    Ok(id_of_text(text))
}

/// [`id`] where none may be missing.
pub(super) fn known_id(text: &[u8]) -> Result<i64, Refused> {
    match id(text)? {
        MISSING_ID => Err(Refused::text("an id", text)),
        id => Ok(id),
    }
}

/// [`id`] of text that is not empty.
pub(super) fn id_of_text(text: &str) -> i64 {
    match canonical_integer(text) {
        Some(id) => id,
        None => hash_text(text),
    }
}

/// The number whose only decimal spelling is `text`: `7` and `-7`, but not `+7`, `07` or `-0`. Two
/// different texts never become one id this way.
fn canonical_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let canonical = match digits {
        [] => false,
        [b'0'] => text.len() == 1,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    if canonical { text.parse().ok() } else { None }
}

/// A finite number; empty or `nan` is missing.
pub(super) fn float(text: &[u8]) -> Result<f32, Refused> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return Ok(f32::NAN);
    }
    let number = str::from_utf8(text).ok().and_then(|text| text.parse::<f32>().ok());
    match number {
        Some(number) if !number.is_infinite() => Ok(number),
        Some(_) => Err(Refused::text("a number in the range of f32", text)),
        None => Err(Refused::text("a number", text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_themselves_and_texts_are_hashed() {
        assert_eq!(id(b""), Ok(MISSING_ID));
        for number in [0, 7, -7, 1_000_000, i64::MAX, i64::MIN] {
            assert_eq!(id(number.to_string().as_bytes()), Ok(number));
        }
        for text in ["+7", "07", "-0", "7.0", " 7", "-", "shoes", "9223372036854775808"] {
            assert_eq!(id(text.as_bytes()), Ok(hash_text(text)), "{text}");
        }
        assert_eq!(id(b"\xff").unwrap_err().expected, "UTF-8");
        assert_eq!((known_id(b"0"), known_id(b"-1").unwrap_err().expected), (Ok(0), "an id"));
    }

    #[test]
    fn numbers_are_finite_or_missing() {
        assert_eq!(float(b" 1.5 "), Ok(1.5));
        assert!(float(b"").unwrap().is_nan() && float(b"NaN").unwrap().is_nan());
        assert!(float(b"1e50").is_err() && float(b"inf").is_err() && float(b"x").is_err());
    }
}
