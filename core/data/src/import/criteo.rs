//! The click logs of Criteo: label, 13 integers, 26 categories in hexadecimal, tab-separated.

use std::path::Path;

use rectool_base::{ColumnKind, ColumnSchema, MISSING_ID, Schema};

use super::chunks::Chunk;
use super::parsed::Parsed;
use super::text::{RowParser, TextFormat, TextImport, lines};
use super::value::Refused;
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule};
use crate::DataError;

/// Integer features.
const INTEGERS: usize = 13;
/// Categorical features.
const CATEGORIES: usize = 26;
const FIELDS: usize = 1 + INTEGERS + CATEGORIES;

/// The columns of a Criteo dataset: `label` f32, `dense` `f32[13]` (I1 to I13), `ids` `i64[26]` (C1 to
/// C26).
///
/// ```
/// let schema = rectool_data::import::criteo_schema();
/// assert_eq!(schema.column("ids")?.members[25], "C26");
/// # Ok::<(), rectool_base::SchemaError>(())
/// ```
#[expect(clippy::missing_panics_doc, reason = "the schema is a constant")]
pub fn criteo_schema() -> Schema {
    let members = |letter, count| (1..=count).map(|at| format!("{letter}{at}")).collect();
    Schema::new(vec![
        ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
        ColumnSchema::packed("dense", ColumnKind::F32 { width: INTEGERS }, members('I', INTEGERS)),
        ColumnSchema::packed(
            "ids",
            ColumnKind::I64 { width: CATEGORIES },
            members('C', CATEGORIES),
        ),
    ])
    .expect("the names differ and the widths fit")
}

/// Imports Criteo click logs: TSV without header, 40 fields, plain, gzip or Zstandard.
///
/// Values stay as they are: integers as floats without a logarithm, categories as the value of their
/// hexadecimal number, empty as missing. Blank lines are no rows. A row is bad if it has not 40
/// fields, its label is not 0 or 1, an integer is none, or a category is not 1 to 8 hexadecimal
/// digits.
///
/// # Errors
/// As [`crate::DatasetWriter::create`]; [`DataError::TooManyBad`]; [`DataError::Io`] for a file that
/// cannot be read or decompressed. Then nothing is left at `out`.
///
/// # Determinism
/// The same shards for any number of threads.
pub fn criteo(
    splits: &SplitRule,
    out: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<ImportSummary, DataError> {
    TextImport::new(splits, out, options, on_progress).run(&Criteo::new())
}

pub(super) struct Criteo {
    schema: Schema,
}

impl Criteo {
    pub(super) fn new() -> Self {
        Self { schema: criteo_schema() }
    }
}

impl TextFormat for Criteo {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn quoted(&self) -> Option<u8> {
        None
    }

    fn parser(&self, _: &Path, _: &Chunk) -> Result<(Box<dyn RowParser + '_>, usize), DataError> {
        Ok((Box::new(CriteoRows), 0))
    }
}

struct CriteoRows;

impl RowParser for CriteoRows {
    fn parse(&self, chunk: &Chunk, parsed: &mut Parsed) {
        for (at, line) in lines(&chunk.bytes).enumerate().filter(|(_, line)| !line.is_empty()) {
            match parse_line(line, parsed) {
                Ok(()) => parsed.accept(),
                Err(reason) => parsed.refuse(at as u64, reason, line),
            }
        }
    }

    fn count(&self, chunk: &Chunk) -> u64 {
        lines(&chunk.bytes).filter(|line| !line.is_empty()).count() as u64
    }
}

fn parse_line(line: &[u8], parsed: &mut Parsed) -> Result<(), String> {
    let mut count = 0;
    for field in line.split(|&byte| byte == b'\t') {
        let refused = |refused: Refused| refused.reason(&field_name(count));
        match count {
            0 => parsed.push_float(0, label(field).map_err(refused)?),
            1..=INTEGERS => parsed.push_float(1, integer(field).map_err(refused)?),
            _ if count < FIELDS => parsed.push_id(2, hexadecimal(field).map_err(refused)?),
            _ => {}
        }
        count += 1;
    }
    if count == FIELDS {
        return Ok(());
    }
    Err(format!("expected {FIELDS} fields, found {count}"))
}

fn field_name(at: usize) -> String {
    match at {
        0 => "label".to_owned(),
        1..=INTEGERS => format!("I{at}"),
        _ => format!("C{}", at - INTEGERS),
    }
}

fn shown(field: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(field).chars().take(60).collect();
    format!("`{text}`")
}

fn label(field: &[u8]) -> Result<f32, Refused> {
    match field {
        b"0" => Ok(0.0),
        b"1" => Ok(1.0),
        _ => Err(Refused::new("0 or 1", shown(field))),
    }
}

fn integer(field: &[u8]) -> Result<f32, Refused> {
    if field.is_empty() {
        return Ok(f32::NAN);
    }
    let digits = field.strip_prefix(b"-").unwrap_or(field);
    let value = digits.iter().try_fold(0i64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(i64::from(byte - b'0')),
        _ => None,
    });
    match value.filter(|_| !digits.is_empty()) {
        Some(value) if digits.len() < field.len() => Ok(-value as f32),
        Some(value) => Ok(value as f32),
        None => Err(Refused::new("an integer", shown(field))),
    }
}

fn hexadecimal(field: &[u8]) -> Result<i64, Refused> {
    if field.is_empty() {
        return Ok(MISSING_ID);
    }
    let value = field.iter().try_fold(0i64, |value, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        Some(value << 4 | i64::from(digit))
    });
    match value.filter(|_| field.len() <= 8) {
        Some(value) => Ok(value),
        None => Err(Refused::new("1 to 8 hexadecimal digits", shown(field))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_mean_what_criteo_says() {
        assert_eq!(hexadecimal(b"68fd1e64"), Ok(0x68fd_1e64));
        assert_eq!(hexadecimal(b"FFFFFFFF"), Ok(0xffff_ffff));
        assert_eq!(hexadecimal(b""), Ok(MISSING_ID));
        assert!(hexadecimal(b"123456789").is_err() && hexadecimal(b"5bg").is_err());
        assert_eq!((integer(b"-2"), integer(b"1382")), (Ok(-2.0), Ok(1382.0)));
        assert!(integer(b"").unwrap().is_nan());
        assert!(integer(b"-").is_err() && integer(b"1.5").is_err());
        assert!(integer(b"99999999999999999999").is_err());
        assert!(label(b"").is_err() && label(b"2").is_err() && label(b"1") == Ok(1.0));
    }

    #[test]
    fn reasons_name_the_field() {
        let mut parsed = Parsed::new(&criteo_schema());
        let line = ["0"; FIELDS].join("\t");
        assert_eq!(parse_line(line.as_bytes(), &mut parsed), Ok(()));
        let mut fields = ["0"; FIELDS];
        fields[39] = "xyz";
        let error = parse_line(fields.join("\t").as_bytes(), &mut parsed).unwrap_err();
        assert_eq!(error, "`C26`: expected 1 to 8 hexadecimal digits, found `xyz`");
        let error = parse_line(b"1\t2", &mut parsed).unwrap_err();
        assert_eq!(error, "expected 40 fields, found 2");
    }
}
