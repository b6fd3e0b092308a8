//! Numbers and text for the page.

/// `text` for use between tags and within double quotes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Four significant digits, as short as possible; `–` if it is not a number.
pub(super) fn short(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let size = value.abs();
    if size >= 10_000.0 {
        let sign = if value < 0.0 { "-" } else { "" };
        return format!("{sign}{}", crate::plan::grouped(size.round() as u64));
    }
    let text = match size {
        s if s >= 1000.0 => format!("{value:.0}"),
        s if s >= 100.0 => format!("{value:.1}"),
        s if s >= 10.0 => format!("{value:.2}"),
        s if s >= 0.001 => format!("{value:.4}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2e}"),
    };
    if text.contains('.') && !text.contains('e') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// `1 h 02 min`, `3 min 20 s`, `4.2 s`.
pub(super) fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.80275, "0.8027"),
            (0.5, "0.5"),
            (12.345, "12.35"),
            (1234.5, "1234"),
            (26_412.7, "26,413"),
            (-20_000.0, "-20,000"),
            (0.000_012, "1.20e-5"),
            (f64::NAN, "–"),
        ] {
            assert_eq!(short(value), text);
        }
        assert_eq!(duration(4.2), "4.2 s");
        assert_eq!(duration(200.4), "3 min 20 s");
        assert_eq!(duration(3725.0), "1 h 02 min");
    }

    #[test]
    fn markup_cannot_get_in() {
        assert_eq!(escaped("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
    }
}
