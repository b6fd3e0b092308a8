//! How values of `data` options are written, and how numbers are shown.

use std::path::PathBuf;

pub(super) use rectool_base::grouped;
use rectool_data::import::MaxBad;

/// `NAME=FILE[,FILE…]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SplitFiles {
    pub(super) name: String,
    pub(super) files: Vec<PathBuf>,
}

pub(super) fn split_files(text: &str) -> Result<SplitFiles, String> {
    let (name, files) = text.split_once('=').ok_or("expected NAME=FILE, as in train=a.tsv")?;
    let files: Vec<PathBuf> =
        files.split(',').filter(|file| !file.is_empty()).map(PathBuf::from).collect();
    if files.is_empty() {
        return Err(format!("no file for split `{name}`"));
    }
    Ok(SplitFiles { name: name.to_owned(), files })
}

/// Split names and fractions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fractions(pub(super) Vec<(String, f64)>);

pub(super) fn fractions(text: &str) -> Result<Fractions, String> {
    let items: Vec<&str> = text.split(',').collect();
    let names: &[&str] = match items.len() {
        1 => &["train"],
        2 => &["train", "test"],
        3 => &["train", "valid", "test"],
        _ => &[],
    };
    let parse = |(at, item): (usize, &&str)| {
        let (name, number) = match item.split_once('=') {
            Some((name, number)) => (name, number),
            None => (*names.get(at).ok_or("more than 3 fractions need names: a=0.5,b=…")?, *item),
        };
        let number = number.trim().parse().map_err(|_| format!("`{number}` is no number"))?;
        Ok((name.trim().to_owned(), number))
    };
    items.iter().enumerate().map(parse).collect::<Result<_, String>>().map(Fractions)
}

/// `100` rows, `1%` or `0.01` of the rows.
pub(super) fn max_bad(text: &str) -> Result<MaxBad, String> {
    let wrong = || format!("`{text}` is neither a number of rows nor a fraction like 0.01 or 1%");
    let fraction = |text: &str| text.parse::<f64>().map_err(|_| wrong());
    if let Some(percent) = text.strip_suffix('%') {
        return Ok(MaxBad::Fraction(fraction(percent)? / 100.0));
    }
    if text.contains('.') {
        return Ok(MaxBad::Fraction(fraction(text)?));
    }
    text.parse().map(MaxBad::Rows).map_err(|_| wrong())
}

/// `1000000`, `1_000_000`, `100k` or `1M`.
pub(super) fn count(text: &str) -> Result<u64, String> {
    let digits = text.replace('_', "");
    let (digits, factor) = match digits.strip_suffix(['k', 'K', 'm', 'M']) {
        Some(number) if digits.ends_with(['k', 'K']) => (number, 1_000),
        Some(number) => (number, 1_000_000),
        None => (digits.as_str(), 1),
    };
    let number: Option<u64> = digits.parse().ok();
    let number = number.and_then(|number| number.checked_mul(factor));
    number.ok_or_else(|| format!("`{text}` is no number of rows such as 100000, 100k or 1M"))
}

/// ASCII characters, or `tab`.
pub(super) fn delimiter(text: &str) -> Result<String, String> {
    match text {
        "tab" | "\\t" => Ok("\t".to_owned()),
        text if !text.is_empty() && text.is_ascii() => Ok(text.to_owned()),
        _ => Err("expected ASCII characters or `tab`".to_owned()),
    }
}

/// `1 shard`, `2 shards`.
pub(super) fn counted(number: usize, what: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{} {what}{ending}", grouped(number as u64))
}

/// `12.3 MB`.
pub(super) fn bytes(count: u64) -> String {
    let units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match units.into_iter().find(|(unit, _)| count as f64 >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", count as f64 / unit),
        None => format!("{count} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_have_the_usual_names() {
        let named = |list: &[(&str, f64)]| {
            Ok(Fractions(list.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect()))
        };
        assert_eq!(fractions("1"), named(&[("train", 1.0)]));
        assert_eq!(fractions("0.9,0.1"), named(&[("train", 0.9), ("test", 0.1)]));
        let three = named(&[("train", 0.8), ("valid", 0.1), ("test", 0.1)]);
        assert_eq!(fractions("0.8,0.1,0.1"), three);
        assert_eq!(fractions("a=0.5, b=0.5"), named(&[("a", 0.5), ("b", 0.5)]));
        assert!(fractions("x,0.1").is_err() && fractions("0.1,0.2,0.3,0.4").is_err());
    }

    #[test]
    fn numbers_are_read_as_people_write_them() {
        assert_eq!(count("1_000"), Ok(1_000));
        assert_eq!((count("100k"), count("2M")), (Ok(100_000), Ok(2_000_000)));
        assert!(count("M").is_err() && count("-1").is_err() && count("99999999999999M").is_err());
        assert_eq!(max_bad("7"), Ok(MaxBad::Rows(7)));
        assert_eq!(
            (max_bad("1%"), max_bad("0.01")),
            (Ok(MaxBad::Fraction(0.01)), Ok(MaxBad::Fraction(0.01)))
        );
        assert!(max_bad("few").is_err());
        assert_eq!(delimiter("tab").as_deref(), Ok("\t"));
        assert_eq!(delimiter("::").as_deref(), Ok("::"));
        assert!(delimiter("ä").is_err() && delimiter("").is_err());
    }

    #[test]
    fn files_belong_to_splits() {
        let split = split_files("train=a.tsv,b.tsv").unwrap();
        assert_eq!((split.name.as_str(), split.files.len()), ("train", 2));
        assert!(split_files("a.tsv").is_err() && split_files("train=").is_err());
    }

    #[test]
    fn numbers_are_shown_in_groups() {
        assert_eq!((grouped(7), grouped(1_000)), ("7".into(), "1,000".into()));
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(
            (bytes(999), bytes(1_500), bytes(2_340_000_000)),
            ("999 B".into(), "1.5 kB".into(), "2.3 GB".into())
        );
        assert_eq!(
            (counted(1, "shard"), counted(2_000, "shard")),
            ("1 shard".into(), "2,000 shards".into())
        );
    }
}
