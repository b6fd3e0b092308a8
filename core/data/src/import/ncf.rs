//! Leave-one-out splits as the authors of Neural Collaborative Filtering publish them.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rectool_base::{ColumnKind, ColumnSchema, Schema};

use super::chunks::Chunk;
use super::parsed::Parsed;
use super::recode::Recoding;
use super::text::{RowParser, TextFormat, TextImport, first_chunk, lines};
use super::value::{self, Refused, known_id};
use super::{ImportOptions, ImportSummary, OnProgress, SplitRule, input};
use crate::DataError;

/// The columns of a file, as many as it has.
const COLUMNS: [&str; 4] = ["user", "item", "rating", "time"];
/// The column of listed negatives.
const NEGATIVES: &str = "negatives";

/// The files of such a split.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NcfFiles {
    /// `user item [rating [time]]`, between tabs or spaces.
    pub train: PathBuf,
    /// The same for the test.
    pub test: PathBuf,
    /// `(user,item)` of a test row, then the items that the protocol ranks it among.
    pub negatives: Option<PathBuf>,
}

impl NcfFiles {
    /// The files in `folder` whose names end with `train.rating`, `test.rating` and, if there is
    /// one, `test.negative`, compressed or not.
    ///
    /// # Errors
    /// [`DataError::Option`] if one is not there or there are several; [`DataError::Io`].
    pub fn find(folder: &Path) -> Result<Self, DataError> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(DataError::io(folder))? {
            names.push(entry.map_err(DataError::io(folder))?.file_name());
        }
        names.sort();
        let find = |ending: &str| -> Result<Option<PathBuf>, DataError> {
            let fits = |name: &&std::ffi::OsString| {
                let name = name.to_string_lossy();
                let plain = name.strip_suffix(".gz").or(name.strip_suffix(".zst"));
                plain.unwrap_or(&name).ends_with(ending)
            };
            let mut found = names.iter().filter(fits);
            match (found.next(), found.next()) {
                (Some(first), Some(second)) => Err(DataError::Option {
                    option: "folder",
                    expected: format!("one file `*{ending}`"),
                    found: format!("`{}` and `{}`", first.display(), second.display()),
                }),
                (name, _) => Ok(name.map(|name| folder.join(name))),
            }
        };
        let need = |ending: &str| {
            find(ending)?.ok_or_else(|| DataError::Option {
                option: "folder",
                expected: format!("a file `*{ending}` in `{}`", folder.display()),
                found: "none".to_owned(),
            })
        };
        let (train, test) = (need("train.rating")?, need("test.rating")?);
        Ok(Self { train, test, negatives: find("test.negative")? })
    }
}

/// Imports such a split: plain, gzip or Zstandard files.
///
/// The splits are `train` and `test`; the columns `user` and `item`, `rating` and `time` where both
/// files have them, and `negatives`, a list that is empty in `train`, where negatives are listed. A
/// row is bad if it has not as many fields as its file's first line, an id is missing, or a rating or
/// time is no number.
///
/// # Errors
/// [`DataError::Input`] for a line of negatives that is not of the form above, or belongs to no test
/// row, or comes twice; and as [`super::criteo`]. A test row without negatives is a bad row.
pub fn ncf(
    files: &NcfFiles,
    out: &Path,
    options: &ImportOptions,
    on_progress: OnProgress,
) -> Result<ImportSummary, DataError> {
    let splits = SplitRule::Files(vec![
        ("train".to_owned(), vec![files.train.clone()]),
        ("test".to_owned(), vec![files.test.clone()]),
    ]);
    TextImport::new(&splits, out, options, on_progress).run(&Ncf::new(files)?)
}

struct Ncf<'a> {
    files: &'a NcfFiles,
    /// Of the first of [`COLUMNS`].
    columns: usize,
    negatives: Option<Negatives>,
    schema: Schema,
}

/// Listed items, by user and item of the test row.
type Negatives = HashMap<(i64, i64), Vec<i64>>;

impl<'a> Ncf<'a> {
    fn new(files: &'a NcfFiles) -> Result<Self, DataError> {
        let first_fields = |path: &Path| -> Result<usize, DataError> {
            let first = first_chunk(path, &Recoding::default())?;
            let line = lines(&first.bytes).find(|line| !line.trim_ascii().is_empty());
            let found = line.map_or(0, |line| fields(line).count());
            if (2..=COLUMNS.len()).contains(&found) {
                return Ok(found);
            }
            Err(input_error(path, 1, format!("expected 2 to 4 fields, found {found}")))
        };
        let columns = first_fields(&files.train)?.min(first_fields(&files.test)?);
        let negatives = files.negatives.as_ref();
        let negatives = negatives.map(|path| read_negatives(path, &files.test)).transpose()?;
        let kind = |name: &&str| match *name {
            "rating" => ColumnKind::F32 { width: 1 },
            _ => ColumnKind::I64 { width: 1 },
        };
        let plain = COLUMNS[..columns].iter();
        let mut schema: Vec<_> = plain.map(|name| ColumnSchema::plain(name, kind(name))).collect();
        if negatives.is_some() {
            schema.push(ColumnSchema::plain(NEGATIVES, ColumnKind::I64List));
        }
        Ok(Self { files, columns, negatives, schema: Schema::new(schema)? })
    }
}

fn input_error(path: &Path, line: u64, what: String) -> DataError {
    DataError::Input { file: path.to_owned(), line, what }
}

fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty())
}

/// The user and item of a row.
fn pair<'l>(fields: &mut impl Iterator<Item = &'l [u8]>) -> Result<(i64, i64), String> {
    let mut id = |name: &str| {
        let field =
            fields.next().ok_or_else(|| format!("expected a field `{name}`, found none"))?;
        known_id(field).map_err(|refused| refused.reason(name))
    };
    Ok((id("user")?, id("item")?))
}

/// Calls `take` with each line of a file that is not blank.
fn each_line(
    path: &Path,
    mut take: impl FnMut(&[u8]) -> Result<(), String>,
) -> Result<(), DataError> {
    let mut reader = BufReader::new(input::open(path, &Arc::default())?);
    let (mut line, mut number) = (Vec::new(), 0);
    while reader.read_until(b'\n', &mut line).map_err(DataError::io(path))? > 0 {
        number += 1;
        if !line.trim_ascii().is_empty() {
            take(&line).map_err(|what| input_error(path, number, what))?;
        }
        line.clear();
    }
    Ok(())
}

fn read_negatives(path: &Path, test: &Path) -> Result<Negatives, DataError> {
    let mut rows = HashSet::new();
    each_line(test, |line| {
        // A bad row is counted when the rows are imported.
        rows.extend(pair(&mut fields(line)));
        Ok(())
    })?;
    let mut negatives = Negatives::new();
    each_line(path, |line| {
        let mut fields = fields(line);
        let first = fields.next().unwrap_or_default();
        let inner = first.strip_prefix(b"(").and_then(|first| first.strip_suffix(b")"));
        let expected = || {
            let first = String::from_utf8_lossy(first);
            format!("expected `(user,item)` in the first field, found `{first}`")
        };
        let of = pair(&mut inner.ok_or_else(expected)?.split(|byte| *byte == b','))
            .map_err(|_| expected())?;
        if !rows.contains(&of) {
            return Err(format!("no test row of user {} and item {}", of.0, of.1));
        }
        let items = fields.map(|field| known_id(field).map_err(|refused| refused.reason("item")));
        let items = items.collect::<Result<Vec<i64>, String>>()?;
        match negatives.insert(of, items) {
            Some(_) => Err(format!("a second line for user {} and item {}", of.0, of.1)),
            None => Ok(()),
        }
    })?;
    Ok(negatives)
}

impl TextFormat for Ncf<'_> {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn quoted(&self) -> Option<u8> {
        None
    }

    fn parser(
        &self,
        path: &Path,
        first: &Chunk,
    ) -> Result<(Box<dyn RowParser + '_>, usize), DataError> {
        let line = lines(&first.bytes).find(|line| !line.trim_ascii().is_empty());
        let fields = line.map_or(0, |line| fields(line).count());
        Ok((Box::new(NcfRows { format: self, fields, is_test: path == self.files.test }), 0))
    }
}

struct NcfRows<'a> {
    format: &'a Ncf<'a>,
    fields: usize,
    is_test: bool,
}

impl NcfRows<'_> {
    fn row(&self, line: &[u8], parsed: &mut Parsed) -> Result<(), String> {
        let (columns, found) = (self.format.columns, fields(line).count());
        if found != self.fields {
            return Err(format!("expected {} fields, found {found}", self.fields));
        }
        let mut fields = fields(line);
        let (user, item) = pair(&mut fields)?;
        parsed.push_id(0, user);
        parsed.push_id(1, item);
        let (rating, time) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        if columns > 2 {
            let rating = value::float(rating).map_err(|refused| refused.reason("rating"))?;
            parsed.push_float(2, rating);
        }
        if columns > 3 {
            let time = whole(time).map_err(|refused| refused.reason("time"))?;
            parsed.push_id(3, time);
        }
        let Some(negatives) = &self.format.negatives else { return Ok(()) };
        let listed: &[i64] = match negatives.get(&(user, item)) {
            Some(listed) if self.is_test => listed,
            None if self.is_test => return Err("no line of negatives for this row".to_owned()),
            _ => &[],
        };
        parsed.push_ids(columns, listed.iter().copied());
        Ok(())
    }
}

fn whole(field: &[u8]) -> Result<i64, Refused> {
    let number = str::from_utf8(field).ok().and_then(|text| text.parse().ok());
    let shown = || format!("`{}`", String::from_utf8_lossy(field));
    number.ok_or_else(|| Refused::new("a whole number", shown()))
}

impl RowParser for NcfRows<'_> {
    fn parse(&self, chunk: &Chunk, parsed: &mut Parsed) {
        for (at, line) in lines(&chunk.bytes).enumerate() {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.row(line, parsed) {
                Ok(()) => parsed.accept(),
                Err(reason) => parsed.refuse(at as u64, reason, line),
            }
        }
    }

    fn count(&self, chunk: &Chunk) -> u64 {
        lines(&chunk.bytes).filter(|line| !line.trim_ascii().is_empty()).count() as u64
    }
}
