//! Sizes as people write them.

/// Bytes of `4GiB`, `500 MB` or `12_000`; `None` for anything else.
pub(crate) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = |c: char| c.is_ascii_digit() || c == '.' || c == '_';
    let end = text.find(|c: char| !digits(c)).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number: f64 = number.replace('_', "").parse().ok()?;
    let scale = match unit.trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "TB" => 1e12,
        "KiB" => f64::from(1_u32 << 10),
        "MiB" => f64::from(1_u32 << 20),
        "GiB" => f64::from(1_u32 << 30),
        "TiB" => (1_u64 << 40) as f64,
        _ => return None,
    };
    let bytes = number * scale;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::parse_bytes;

    #[test]
    fn units_are_those_of_ten_and_of_two() {
        for (text, bytes) in [
            ("4GiB", 4 << 30),
            ("500 MB", 500_000_000),
            ("1.5kB", 1_500),
            ("12_000", 12_000),
            ("0.5 TiB", 1 << 39),
            ("7B", 7),
        ] {
            assert_eq!(parse_bytes(text), Some(bytes), "{text}");
        }
        for text in ["", "GB", "4 gigs", "-1GB", "1.2.3MB", "1e99TB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
    }
}
