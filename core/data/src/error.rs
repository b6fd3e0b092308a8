//! What can go wrong with datasets: importing, reading, ordering, loading.

use std::io;
use std::path::{Path, PathBuf};

use rectool_base::{BatchPlace, Hint, SchemaError, TransformError, nearest_name, quoted_list};

/// A dataset, shard, input file or option that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is no dataset at the path.
    #[error("`{}`: no dataset here: {found}, expected a folder with `dataset.json`", path.display())]
    Missing {
        /// Where one was expected.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The address of an object store.
    #[error("`{found}`: expected a local folder, found an address of kind `{scheme}`")]
    Remote {
        /// The address as given.
        found: String,
        /// What stands before `://`.
        scheme: String,
    },
    /// The operating system refused to read or write.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `dataset.json` is not the JSON that it should be.
    #[error("`{}`: not a dataset manifest: {source}", path.display())]
    Json {
        /// The manifest.
        path: PathBuf,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// `dataset.json` breaks a rule of the format.
    #[error("`{}`: {field}: expected {expected}, found {found}", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// The field, such as ``shard `train/00000.arrow`: rows``.
        field: String,
        /// What the rule asks for.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The dataset was written by a newer rectool.
    #[error("`{}`: expected dataset format up to {expected}, found {found}", path.display())]
    TooNew {
        /// The manifest.
        path: PathBuf,
        /// The newest version that can be read.
        expected: u32,
        /// The version of the dataset.
        found: u32,
    },
    /// A shard is not what the manifest says.
    #[error("`{}`: {what}: expected {expected}, found {found}", path.display())]
    Shard {
        /// The shard.
        path: PathBuf,
        /// What was compared, such as `rows`, or where in the file it is broken.
        what: String,
        /// What the manifest or the format says.
        expected: String,
        /// What the file holds.
        found: String,
    },
    /// The bytes of a shard are not those that were written.
    #[error("`{}`: checksum (xxh3): expected {expected}, found {found}", path.display())]
    Checksum {
        /// The shard.
        path: PathBuf,
        /// The manifest's checksum.
        expected: String,
        /// The file's checksum.
        found: String,
    },
    /// A split that the dataset does not have.
    #[error(
        "`{}`: no split `{name}`; there are {}",
        path.display(), quoted_list(known.iter().map(String::as_str))
    )]
    UnknownSplit {
        /// The dataset folder.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A file of vectors is not what it should be.
    #[error("`{}`: {what}: expected {expected}, found {found}", path.display())]
    Vectors {
        /// The file.
        path: PathBuf,
        /// What was compared, or where in the file it is broken.
        what: String,
        /// What it should be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// A file of vectors has no such column.
    #[error("`{}`: no column `{name}`; there are {}", path.display(),
             quoted_list(known.iter().map(String::as_str)))]
    NoColumn {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A row or column number beyond the end.
    #[error("split `{split}`: {what} {found}, expected below {expected}")]
    OutOfRange {
        /// The split.
        split: String,
        /// `row` or `column`.
        what: &'static str,
        /// How many there are.
        expected: u64,
        /// The number.
        found: u64,
    },
    /// A row with a value that it must not have.
    #[error("split `{split}`, row {row}: column `{column}`: expected {expected}, found {found}")]
    Row {
        /// The split.
        split: String,
        /// Row within it, from 0.
        row: u64,
        /// The column, or member of a packed one.
        column: String,
        /// What a row must have there.
        expected: String,
        /// What it has.
        found: String,
    },
    /// A split of which training gives something away.
    #[error("split `{split}` leaks: {found}")]
    Leak {
        /// The split.
        split: String,
        /// What is in training too.
        found: String,
    },
    /// A side table with two rows of one key.
    #[error("`{}`: column `{column}`: key {key} in rows {} and {}, expected it once",
            path.display(), rows[0], rows[1])]
    DuplicateKey {
        /// The table's dataset.
        path: PathBuf,
        /// The column of keys.
        column: String,
        /// The key.
        key: i64,
        /// The rows, from 0.
        rows: [u64; 2],
    },
    /// An option out of range.
    #[error("`{option}`: expected {expected}, found {found}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// The allowed range.
        expected: String,
        /// Its value.
        found: String,
    },
    /// A global batch of more rows than there are.
    #[error("`batch_size`: expected at most the {expected} rows of split `{split}`, found {found}")]
    BatchTooLarge {
        /// The split.
        split: String,
        /// Its rows.
        expected: u64,
        /// The batch size.
        found: u64,
    },
    /// A loader thread panicked: a bug, in rectool or in a transform.
    #[error("loader thread panicked at epoch {epoch}, step {step}: {found}")]
    Panicked {
        /// The epoch of the batch being made.
        epoch: u64,
        /// Its step.
        step: u64,
        /// The panic's message.
        found: String,
    },
    /// A loader thread could not be started.
    #[error("loader thread {found} of {expected} could not be started: {source}")]
    Thread {
        /// Threads asked for.
        expected: usize,
        /// The one that failed, from 1.
        found: usize,
        /// Why.
        source: io::Error,
    },
    /// The state to resume from belongs to another run.
    #[error("reader state: `{field}`: expected {expected}, found {found}")]
    State {
        /// The field.
        field: &'static str,
        /// What this run uses.
        expected: u64,
        /// What the state says.
        found: u64,
    },
    /// A transform returned another column than its own output schema says.
    #[error("`{transform}`: output column `{column}`: expected {expected}, found {found}")]
    Output {
        /// The transform.
        transform: String,
        /// The column.
        column: String,
        /// Type and rows that were announced.
        expected: String,
        /// Type and rows that came.
        found: String,
    },
    /// A transform returned more or fewer columns than it announced.
    #[error("`{transform}` returned {found} columns, expected {expected}")]
    OutputCount {
        /// The transform.
        transform: String,
        /// Columns that were announced.
        expected: usize,
        /// Columns that came.
        found: usize,
    },
    /// A step of a chain failed on a batch.
    #[error("epoch {epoch}, step {step}: {source}")]
    Step {
        /// The batch's epoch.
        epoch: u64,
        /// Its step.
        step: u64,
        /// What failed.
        source: Box<DataError>,
    },
    /// A row that no negatives can be drawn for.
    #[error("epoch {}, step {}, row {row} of the batch: column `{column}`: expected {expected}, \
             found {found}", place.epoch, place.step)]
    Positive {
        /// The rows that negatives were drawn for.
        place: BatchPlace,
        /// Row within the global batch, before negatives were added.
        row: usize,
        /// The column.
        column: String,
        /// What a row must have there.
        expected: &'static str,
        /// What it has.
        found: String,
    },
    /// A sampler returned something else than samples of items.
    #[error("sampler `{sampler}` ({place}): {what}: expected {expected}, found {found}")]
    Samples {
        /// The sampler.
        sampler: String,
        /// The rows it was asked for, before negatives were added.
        place: BatchPlace,
        /// What was compared.
        what: &'static str,
        /// What it should have been.
        expected: String,
        /// What it was.
        found: String,
    },
    /// An importer's input is broken as a whole at some place.
    #[error("`{}`:{line}: {what}", file.display())]
    Input {
        /// The input file.
        file: PathBuf,
        /// Line or record, from 1.
        line: u64,
        /// What is wrong, with expected and found.
        what: String,
    },
    /// A file that the Parquet reader cannot read, or not to its end.
    #[error("`{}`:{row}: expected sound Parquet, found {found}", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// Row up to which it may be sound, from 1.
        row: u64,
        /// What the reader says.
        found: String,
    },
    /// An importer met more bad rows than allowed.
    #[error("`{}`: {bad} bad rows, expected at most {max}; the first: {first}", file.display())]
    TooManyBad {
        /// The input file.
        file: PathBuf,
        /// Bad rows so far.
        bad: u64,
        /// How many are allowed.
        max: u64,
        /// Line and reason of the first one.
        first: String,
        /// Where the bad rows stand with line number and reason.
        rejects: PathBuf,
    },
    /// The place to write to is taken.
    #[error("`{}` already exists", path.display())]
    OutputExists {
        /// The folder.
        path: PathBuf,
    },
    /// A schema that cannot be, or an unknown column.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// A chain step that could not be built or refused a value.
    #[error(transparent)]
    Transform(#[from] TransformError),
}

impl DataError {
    /// The error with the batch it arose in, unless it names one itself.
    pub(crate) fn at_step(self, epoch: u64, step: u64) -> Self {
        match self {
            Self::Transform(TransformError::Plugin(_)) => self,
            other => Self::Step { epoch, step, source: Box::new(other) },
        }
    }

    /// A map from an I/O error at `path`, for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

impl Hint for DataError {
    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing { .. } => "make a dataset with `rectool data import` or `data synth`",
            Self::Remote { .. } => "copy the dataset to this machine and pass its folder",
            Self::Json { .. } | Self::Manifest { .. } => {
                "the manifest was damaged or edited; import the data again"
            }
            Self::TooNew { .. } => "use a newer rectool, or import the data again with this one",
            Self::Shard { .. } | Self::Checksum { .. } => {
                "the shard was damaged or replaced; copy or import the data again; \
                 `rectool data verify` lists every bad shard"
            }
            Self::UnknownSplit { name, known, .. } | Self::NoColumn { name, known, .. } => {
                let near = nearest_name(name, known.iter().map(String::as_str))?;
                return Some(format!("did you mean `{near}`?"));
            }
            Self::Parquet { .. } => {
                "the file was damaged, or is no Parquet: copy or write it again"
            }
            Self::BatchTooLarge { expected, .. } => {
                return Some(format!("set `batch_size` to {expected} or less"));
            }
            Self::State { field: "step", .. } => {
                "the split has fewer rows than the one that the state is of, or batches have more"
            }
            Self::State { .. } => "resume with the options of the run that wrote the state",
            Self::Thread { .. } => "ask for fewer loader threads",
            Self::TooManyBad { rejects, .. } => {
                let rejects = rejects.display();
                return Some(format!(
                    "the bad rows are in `{rejects}`; mend the input or raise --max-bad"
                ));
            }
            Self::DuplicateKey { .. } => {
                "leave one row per key in the table, or name the column that tells its rows apart"
            }
            Self::Leak { .. } => {
                "leave out --strict to write the splits all the same, or divide by another rule: \
                 `random` keeps rows of one pair together"
            }
            Self::OutputExists { .. } => "choose another folder or remove it first",
            Self::Positive { .. } => {
                "negatives are drawn for rows that chose an item: leave the others out of the dataset"
            }
            Self::Step { source, .. } => return source.hint(),
            Self::Schema(error) => return error.hint(),
            Self::Transform(error) => return error.hint(),
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => "free some disk space or choose another disk",
                io::ErrorKind::PermissionDenied => "check the permissions of the file",
                _ => return None,
            },
            Self::OutOfRange { .. }
            | Self::Row { .. }
            | Self::Vectors { .. }
            | Self::Option { .. }
            | Self::Panicked { .. }
            | Self::Output { .. }
            | Self::OutputCount { .. }
            | Self::Samples { .. }
            | Self::Input { .. } => return None,
        };
        Some(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_split_names_the_nearest() {
        let known = vec!["train".to_owned(), "valid".to_owned()];
        let error = DataError::UnknownSplit { path: "d".into(), name: "trian".into(), known };
        assert_eq!(error.to_string(), "`d`: no split `trian`; there are `train`, `valid`");
        assert_eq!(error.hint().as_deref(), Some("did you mean `train`?"));
    }

    #[test]
    fn hints_of_sources_come_through() {
        let unknown = SchemaError::Unknown { name: "dens".into(), known: vec!["dense".into()] };
        assert_eq!(DataError::from(unknown).hint().as_deref(), Some("did you mean `dense`?"));
    }
}
