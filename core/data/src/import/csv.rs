//! Delimited text with named columns.

use std::path::Path;
use std::sync::Arc;

use ::csv::{ByteRecord, ReaderBuilder};
use rectool_base::Schema;

use super::chunks::{CHUNK_BYTES, Chunk, Chunks};
use super::columns::{ColumnSpec, LabelRule, Layout, Meaning, Target};
use super::parsed::Parsed;
use super::recode::{Recoding, UNIT_SEPARATOR};
use super::sink::Inputs;
use super::text::{RowParser, TextFormat, TextImport, first_chunk, line_ends, lines};
use super::value::{self, Refused};
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule, input};
use crate::DataError;

/// Where the names of the columns come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Header {
    /// The first row of each file.
    #[default]
    FirstRow,
    /// Given here; the first row is data.
    Names(Vec<String>),
}

/// What a `"` means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quotes {
    /// A field that begins with `"` ends with `"`, may hold delimiters and line ends, and doubles
    /// its quotes (RFC 4180).
    #[default]
    Fields,
    /// Nothing: a character like others.
    Literal,
}

/// What the bytes of a text stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    #[default]
    Utf8,
    /// ISO 8859-1, one byte per character.
    Latin1,
}

/// How delimited text is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CsvSpec {
    /// What is taken from it.
    pub columns: ColumnSpec,
    /// An ASCII character, or several such as `::`, beside which quotes mean nothing; `None` is a tab
    /// if the first line has one, else a comma.
    pub delimiter: Option<String>,
    /// What the bytes stand for.
    pub encoding: Encoding,
    /// Where the names of the columns come from.
    pub header: Header,
    /// What a `"` means.
    pub quotes: Quotes,
}

/// Imports delimited text: plain, gzip or Zstandard.
///
/// Blank lines are no rows. A row is bad if its number of fields differs from the header's, a number
/// is none or infinite, its label is missing or not what [`LabelRule`] takes, or a text is not
/// UTF-8.
///
/// # Errors
/// [`DataError::Schema`] for columns that do not exist or are named twice; [`DataError::Option`] for
/// a delimiter that is none; and as [`super::criteo`].
///
/// # Determinism
/// The same shards for any number of threads.
pub fn csv(
    spec: &CsvSpec,
    splits: &SplitRule,
    out: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<ImportSummary, DataError> {
    let text = TextImport::new(splits, out, options, on_progress);
    import(spec, &text)
}

pub(super) fn import(spec: &CsvSpec, text: &TextImport) -> Result<ImportSummary, DataError> {
    let format = CsvFormat::new(spec, &Inputs::new(text.splits)?)?;
    let mut summary = text.run(&format)?;
    summary.left_out = format.layout.left_out;
    Ok(summary)
}

struct CsvFormat<'a> {
    spec: &'a CsvSpec,
    delimiter: u8,
    quotes: Quotes,
    recoding: Recoding,
    layout: Layout,
}

impl<'a> CsvFormat<'a> {
    /// The format of the first file, which all others must share.
    fn new(spec: &'a CsvSpec, inputs: &Inputs) -> Result<Self, DataError> {
        let path = &inputs.files[0].path;
        spec.delimiter.as_deref().map_or(Ok(()), check_delimiter)?;
        let several = spec.delimiter.as_ref().filter(|delimiter| delimiter.len() > 1);
        let recoding = Recoding {
            latin1: spec.encoding == Encoding::Latin1,
            delimiter: several.map(|delimiter| delimiter.clone().into_bytes()),
        };
        // Which bytes of the first line are quoted matters only once the delimiter is known.
        let first = first_chunk(path, &recoding)?;
        let line = lines(&first.bytes).find(|line| !line.trim_ascii().is_empty());
        let delimiter = match spec.delimiter.as_deref().map(str::as_bytes) {
            Some([byte]) => *byte,
            Some(_) => UNIT_SEPARATOR,
            None if line.is_some_and(|line| line.contains(&b'\t')) => b'\t',
            None => b',',
        };
        let quotes = if several.is_some() { Quotes::Literal } else { spec.quotes };
        let layout = match &spec.header {
            Header::Names(names) => Layout::resolve(&spec.columns, names)?,
            Header::FirstRow => {
                let first = match quotes {
                    Quotes::Literal => first,
                    Quotes::Fields => {
                        let reader = input::open(path, &Arc::default())?;
                        let mut chunks = Chunks::new(reader, CHUNK_BYTES, Some(delimiter));
                        match chunks.next().ok().flatten() {
                            Some(chunk) => Chunk { bytes: recoding.apply(chunk.bytes), ..chunk },
                            None => first,
                        }
                    }
                };
                let (names, _) = read_header(&first, path, delimiter, quotes)?;
                Layout::resolve(&spec.columns, &names)?
            }
        };
        Ok(Self { spec, delimiter, quotes, recoding, layout })
    }
}

fn input_error(path: &Path, line: u64, what: &str) -> DataError {
    DataError::Input { file: path.to_owned(), line, what: what.to_owned() }
}

fn check_delimiter(delimiter: &str) -> Result<(), DataError> {
    let good = |byte: u8| byte.is_ascii() && !b"\n\r\"".contains(&byte);
    if !delimiter.is_empty() && delimiter.bytes().all(good) {
        return Ok(());
    }
    Err(DataError::Option {
        option: "delimiter",
        expected: "ASCII characters other than a line end or a quote".into(),
        found: format!("`{}`", delimiter.escape_default()),
    })
}

fn reader(bytes: &[u8], delimiter: u8, quotes: Quotes) -> ::csv::Reader<&[u8]> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quoting(quotes == Quotes::Fields)
        .from_reader(bytes)
}

fn read(reader: &mut ::csv::Reader<&[u8]>, record: &mut ByteRecord) -> bool {
    reader.read_byte_record(record).expect("bytes in memory with any number of fields are readable")
}

/// The names in the first row and its length in bytes.
fn read_header(
    chunk: &Chunk,
    path: &Path,
    delimiter: u8,
    quotes: Quotes,
) -> Result<(Vec<String>, usize), DataError> {
    let mut reader = reader(&chunk.bytes, delimiter, quotes);
    let mut record = ByteRecord::new();
    if !read(&mut reader, &mut record) {
        return Err(input_error(path, 1, "no header: the file has only blank lines"));
    }
    let name = |field: &[u8]| str::from_utf8(field).map(|name| name.trim().to_owned());
    let names: Result<Vec<String>, _> = record.iter().map(name).collect();
    let names = names.map_err(|_| input_error(path, 1, "the header is not UTF-8"))?;
    // The reader stops before the `\n` of `\r\n`.
    let mut end = reader.position().byte() as usize;
    if chunk.bytes[..end].ends_with(b"\r") && chunk.bytes.get(end) == Some(&b'\n') {
        end += 1;
    }
    Ok((names, end))
}

impl TextFormat for CsvFormat<'_> {
    fn schema(&self) -> &Schema {
        &self.layout.schema
    }

    fn quoted(&self) -> Option<u8> {
        (self.quotes == Quotes::Fields).then_some(self.delimiter)
    }

    fn recoding(&self) -> Recoding {
        self.recoding.clone()
    }

    fn parser(
        &self,
        path: &Path,
        first: &Chunk,
    ) -> Result<(Box<dyn RowParser + '_>, usize), DataError> {
        let (names, end) = match &self.spec.header {
            Header::Names(names) => (names.clone(), 0),
            Header::FirstRow => read_header(first, path, self.delimiter, self.quotes)?,
        };
        let positions = self
            .layout
            .positions(&names)
            .map_err(|error| input_error(path, 1, &error.to_string()))?;
        let rows = CsvRows { format: self, positions, fields: names.len() };
        Ok((Box::new(rows), end))
    }
}

struct CsvRows<'a> {
    format: &'a CsvFormat<'a>,
    positions: Vec<usize>,
    fields: usize,
}

impl CsvRows<'_> {
    fn reader<'c>(&self, chunk: &'c Chunk) -> ::csv::Reader<&'c [u8]> {
        reader(&chunk.bytes, self.format.delimiter, self.format.quotes)
    }

    fn row(&self, record: &ByteRecord, parsed: &mut Parsed) -> Result<(), String> {
        if record.len() != self.fields {
            return Err(format!("expected {} fields, found {}", self.fields, record.len()));
        }
        let layout = &self.format.layout;
        for (target, &at) in layout.targets.iter().zip(&self.positions) {
            push(&record[at], target, layout, parsed)
                .map_err(|refused| refused.reason(&target.source))?;
        }
        Ok(())
    }
}

fn push(
    field: &[u8],
    target: &Target,
    layout: &Layout,
    parsed: &mut Parsed,
) -> Result<(), Refused> {
    let column = target.column;
    let text = || str::from_utf8(field).map_err(|_| Refused::new("UTF-8", "other bytes"));
    match target.meaning {
        Meaning::Label => {
            let label = value::float(field)?;
            parsed.push_float(column, check_label(label, layout.labels)?);
        }
        Meaning::Float => parsed.push_float(column, value::float(field)?),
        Meaning::Id => parsed.push_id(column, value::id(field)?),
        Meaning::Text => parsed.push_text(column, Some(text()?).filter(|text| !text.is_empty())),
        Meaning::IdList | Meaning::FloatList | Meaning::TextList => {
            push_list(text()?, target, layout.list_separator, parsed)?;
        }
    }
    Ok(())
}

/// The values between separators; nothing between two of them is no value.
pub(super) fn push_list(
    text: &str,
    target: &Target,
    separator: char,
    parsed: &mut Parsed,
) -> Result<(), Refused> {
    let values = text.split(separator).filter(|value| !value.is_empty());
    match target.meaning {
        Meaning::FloatList => {
            let floats = values.map(|value| value::float(value.as_bytes()));
            let floats = floats.collect::<Result<Vec<f32>, Refused>>()?;
            parsed.push_floats(target.column, &floats);
        }
        Meaning::TextList => parsed.push_texts(target.column, values.map(Some)),
        _ => parsed.push_ids(target.column, values.map(value::id_of_text)),
    }
    Ok(())
}

/// A label that the rule takes.
pub(super) fn check_label(label: f32, rule: LabelRule) -> Result<f32, Refused> {
    match rule {
        _ if label.is_nan() => Err(Refused::new("a label", "none")),
        LabelRule::ZeroOne if label != 0.0 && label != 1.0 => {
            Err(Refused::new("0 or 1", format!("`{label}`")))
        }
        _ => Ok(label),
    }
}

impl RowParser for CsvRows<'_> {
    fn parse(&self, chunk: &Chunk, parsed: &mut Parsed) {
        let bytes = &chunk.bytes;
        let mut reader = self.reader(chunk);
        let mut record = ByteRecord::new();
        let (mut counted, mut line) = (0, 0);
        while read(&mut reader, &mut record) {
            let end = reader.position().byte() as usize;
            let row = if chunk.unclosed && end == bytes.len() {
                Err("expected a closing quote, found the end of the file".to_owned())
            } else {
                self.row(&record, parsed)
            };
            let Err(reason) = row else {
                parsed.accept();
                continue;
            };
            // The record's position may be that of the line ends before it.
            let mut start = record.position().map_or(0, |position| position.byte() as usize);
            start += bytes[start..end].iter().take_while(|byte| b"\r\n".contains(byte)).count();
            line += line_ends(&bytes[counted..start]);
            counted = start;
            let text = self.format.recoding.restore(bytes[start..end].trim_ascii_end());
            parsed.refuse(line, reason, &text);
        }
    }

    fn count(&self, chunk: &Chunk) -> u64 {
        let mut reader = self.reader(chunk);
        let mut record = ByteRecord::new();
        let mut count = 0;
        while read(&mut reader, &mut record) {
            count += 1;
        }
        count
    }
}
