//! Numbers as people read them.

/// A number with its thousands apart.
///
/// ```
/// assert_eq!(rectool_base::grouped(1_234_567), "1,234,567");
/// assert_eq!(rectool_base::grouped(12), "12");
/// ```
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.3 MB`, in powers of 1000.
///
/// ```
/// assert_eq!(rectool_base::bytes_text(12_345_678), "12.3 MB");
/// assert_eq!(rectool_base::bytes_text(999), "999 B");
/// ```
pub fn bytes_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if value < 1000.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    format!("{value:.1} TB")
}
