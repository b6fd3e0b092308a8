//! Splits of interactions, drawn again: held-out rows, and the history that each row has.
//!
//! A [`Division`] reads who chose what and when, decides which split each row goes to, and then
//! writes a dataset with the same columns. It does not touch the rows of other splits than the one
//! that is divided.

mod events;
mod history;
mod rule;
#[cfg(test)]
mod tests;

use std::path::Path;

use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};

use crate::writer::{DatasetWriter, WriterOptions};
use crate::{DataError, Dataset, Manifest};
use events::Events;

/// Rows written at a time.
const CHUNK_ROWS: u64 = 1 << 16;

/// Which row of a user is held out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pick {
    /// The last one in time, or in the split's order where there are no times.
    #[default]
    Last,
    /// Any, drawn by the seed and the user's id.
    Random,
}

/// Which rows are held out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum DivideRule {
    /// One row of each user for each held-out split, the last for the last of them. A user needs one
    /// row more than there are held-out splits; all rows of one who has fewer stay.
    LeaveOneOut(Pick),
    /// This fraction of the pairs of user and item for each held-out split, drawn by the seed and the
    /// pair: rows of the same pair stay together.
    Random(f64),
    /// This fraction of the rows for each held-out split, the latest for the last of them. All rows of
    /// the time of the cut are held out, so that every row that stays is earlier.
    Time(f64),
    /// None: only histories are added.
    Keep,
}

/// A column of each row's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryOptions {
    /// Name of the column, `i64 list`.
    pub name: String,
    /// Items per row: L, the latest ones; 1 or more.
    pub length_max: usize,
}

/// Everything that [`Division::plan`] needs to know.
#[derive(Clone, Debug, PartialEq)]
pub struct DivideOptions {
    /// The split that is divided; what stays keeps its name.
    pub from: String,
    /// Names of the held-out splits, in the order of time; none with [`DivideRule::Keep`].
    pub into: Vec<String>,
    /// Which rows are held out.
    pub rule: DivideRule,
    /// The id column of width 1, or the member of a packed one, that holds the user.
    pub user: String,
    /// The same for the item.
    pub item: String,
    /// The same for the time, in any unit.
    pub time: Option<String>,
    /// Seed of what is drawn.
    pub seed: u64,
    /// The history column, if one is added.
    pub history: Option<HistoryOptions>,
}

/// Which row goes to which split.
///
/// The splits are ordered: the divided one, the held-out ones, then the others of the dataset. A row's
/// **history** holds items of its user in rows before it: in time, rows of one time and all rows where
/// there are no times in the order of the splits. Of these it has, for a row that stays, those in
/// rows that stay too; for any other row those in splits before its own. So a test row's history never
/// holds an item of the test.
///
/// Memory: about 40 bytes per row of the dataset, and a sort's worth while planning.
///
/// ```
/// use rectool_base::{Column, ColumnKind, ColumnSchema, Schema};
/// use rectool_data::divide::{DivideOptions, DivideRule, Division, HistoryOptions, Pick};
/// use rectool_data::{Dataset, DatasetWriter, WriterOptions};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (data, out) = (folder.path().join("a"), folder.path().join("b"));
/// let id = |name| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
/// let schema = Schema::new(vec![id("user"), id("item")])?;
/// let mut writer = DatasetWriter::create(&data, schema, WriterOptions::default())?;
/// let ids = |values: [i64; 4]| Column::I64 { width: 1, values: values.to_vec() };
/// writer.write("train", vec![ids([1, 1, 2, 1]), ids([10, 11, 12, 13])])?;
/// writer.finish()?;
///
/// let options = DivideOptions {
///     from: "train".into(),
///     into: vec!["test".into()],
///     rule: DivideRule::LeaveOneOut(Pick::Last),
///     user: "user".into(),
///     item: "item".into(),
///     time: None,
///     seed: 1,
///     history: Some(HistoryOptions { name: "seen".into(), length_max: 50 }),
/// };
/// let division = Division::plan(&Dataset::open(&data)?, &options)?;
/// assert_eq!(division.rows(), [("train", 3), ("test", 1)]);
/// assert_eq!(division.users_whole(), 1);
/// division.write(&out, WriterOptions::default(), &|_| ())?;
/// let test = Dataset::open(&out)?.split("test")?;
/// let Column::I64List(seen) = &test.gather(&[0], &[2])?[0] else { unreachable!() };
/// assert_eq!(seen.row(0), [10, 11]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Division {
    dataset: Dataset,
    schema: Schema,
    history: Option<HistoryOptions>,
    /// Names of the splits there will be, in their order.
    splits: Vec<String>,
    /// Splits that are read, in the order of their rows: the divided one, then the others.
    sources: Vec<String>,
    events: Events,
    /// The split that each row goes to.
    to: Vec<u8>,
    users_whole: u64,
}

impl Division {
    /// Reads users, items and times, and decides.
    ///
    /// # Errors
    /// [`DataError::Option`] for an option out of range, a column of another type, a held-out split
    /// that there is already, or a cut in time that leaves no row; [`DataError::UnknownSplit`];
    /// [`DataError::Schema`] for an unknown column or a history named like another column;
    /// [`DataError::Row`] for a row without user, item or time; or if rows cannot be read.
    ///
    /// # Determinism
    /// A function of the dataset and the options.
    pub fn plan(dataset: &Dataset, options: &DivideOptions) -> Result<Self, DataError> {
        let sources = sources(dataset, &options.from)?;
        let splits = splits(&sources, options)?;
        let mut columns = dataset.schema().columns().to_vec();
        if let Some(HistoryOptions { name, length_max }) = &options.history {
            if *length_max == 0 {
                return Err(option_error("length", "1 or more", "0".to_owned()));
            }
            columns.push(ColumnSchema::plain(name, ColumnKind::I64List));
        }
        let schema = Schema::new(columns)?;
        let events = Events::read(dataset, &sources, options)?;
        let divided = dataset.split(&options.from)?.rows() as usize;
        let mut to = vec![0; events.rows()];
        let mut first = divided;
        for (at, source) in sources.iter().enumerate().skip(1) {
            let rows = dataset.split(source)?.rows() as usize;
            to[first..first + rows].fill((at + options.into.len()) as u8);
            first += rows;
        }
        let users_whole = rule::hold_out(&events, options, &mut to[..divided])?;
        Ok(Self {
            dataset: dataset.clone(),
            schema,
            history: options.history.clone(),
            splits,
            sources,
            events,
            to,
            users_whole,
        })
    }

    /// The splits there will be, in their order, with their rows; one without rows will not be written.
    pub fn rows(&self) -> Vec<(&str, u64)> {
        let mut rows = vec![0; self.splits.len()];
        self.to.iter().for_each(|to| rows[usize::from(*to)] += 1);
        self.splits.iter().map(String::as_str).zip(rows).collect()
    }

    /// Users with too few rows to hold one out, under [`DivideRule::LeaveOneOut`].
    pub fn users_whole(&self) -> u64 {
        self.users_whole
    }

    /// User and item of each row that goes to the split at position `split`.
    pub fn pairs(&self, split: usize) -> Vec<(i64, i64)> {
        let rows = self.rows_to(split);
        rows.map(|row| (self.events.users[row], self.events.items[row])).collect()
    }

    /// Time of each row that goes to the split at position `split`, in the order of
    /// [`Division::pairs`]; `None` where there are no times.
    pub fn times(&self, split: usize) -> Option<Vec<i64>> {
        let times = self.events.times.as_ref()?;
        Some(self.rows_to(split).map(|row| times[row]).collect())
    }

    fn rows_to(&self, split: usize) -> impl Iterator<Item = usize> {
        let rows = self.to.iter().enumerate();
        rows.filter(move |(_, to)| usize::from(**to) == split).map(|(row, _)| row)
    }

    /// Writes the dataset at `out`. Rows of a split stand in the order in which they were read;
    /// `on_rows` gets their number now and then.
    ///
    /// # Errors
    /// As [`DatasetWriter::create`], and if rows cannot be read.
    pub fn write(
        &self,
        out: &Path,
        options: WriterOptions,
        on_rows: &dyn Fn(u64),
    ) -> Result<Manifest, DataError> {
        let mut writer = DatasetWriter::create(out, self.schema.clone(), options)?;
        let places = self.history.as_ref().map(|_| self.events.places());
        let columns: Vec<usize> = (0..self.dataset.schema().columns().len()).collect();
        let mut source_first = 0;
        for source in &self.sources {
            let source = self.dataset.split(source)?;
            for first in (0..source.rows()).step_by(CHUNK_ROWS as usize) {
                let rows = first..source.rows().min(first + CHUNK_ROWS);
                for (split, name) in self.splits.iter().enumerate() {
                    let goes =
                        |row: &u64| usize::from(self.to[(source_first + row) as usize]) == split;
                    let rows: Vec<u64> = rows.clone().filter(goes).collect();
                    if rows.is_empty() {
                        continue;
                    }
                    let mut values = source.gather(&rows, &columns)?;
                    if let (Some(history), Some(places)) = (&self.history, &places) {
                        let rows = rows.iter().map(|row| (source_first + row) as usize);
                        let seen =
                            self.events.histories(rows, &self.to, places, history.length_max);
                        values.push(Column::I64List(seen));
                    }
                    writer.write(name, values)?;
                }
                on_rows(source_first + rows.end);
            }
            source_first += source.rows();
        }
        writer.finish()
    }
}

fn option_error(option: &'static str, expected: &str, found: String) -> DataError {
    DataError::Option { option, expected: expected.to_owned(), found }
}

/// The divided split, then the others in the order of the dataset.
fn sources(dataset: &Dataset, from: &str) -> Result<Vec<String>, DataError> {
    dataset.split(from)?;
    let others = dataset.splits().filter(|name| *name != from);
    Ok(std::iter::once(from).chain(others).map(str::to_owned).collect())
}

/// The splits there will be.
fn splits(sources: &[String], options: &DivideOptions) -> Result<Vec<String>, DataError> {
    let (into, keeps) = (&options.into, options.rule == DivideRule::Keep);
    if keeps != into.is_empty() {
        let expected = if keeps { "none, as all rows keep their split" } else { "1 or more" };
        return Err(option_error("into", expected, into.len().to_string()));
    }
    let mut splits = vec![sources[0].clone()];
    for name in into {
        if sources.contains(name) || splits.contains(name) {
            let expected = "names of new splits, each once";
            return Err(option_error("into", expected, format!("`{name}`")));
        }
        splits.push(name.clone());
    }
    splits.extend_from_slice(&sources[1..]);
    if splits.len() > usize::from(u8::MAX) {
        return Err(option_error("into", "up to 255 splits in all", splits.len().to_string()));
    }
    Ok(splits)
}
