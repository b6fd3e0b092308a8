//! The folder a run leaves behind.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rectool_base::write_whole;
use rectool_comm::{Comm, CommExt, agree};
use rectool_model::Checkpoint;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::error::RecipeError;

/// Where runs go unless a folder is named.
const RUNS: &str = "runs";
/// The link to the newest run, within [`RUNS`].
const LATEST: &str = "latest";
/// A file of a run's folder that the run has locked.
const LOCK: &str = ".lock";
/// How long a run waits for one in the same folder: ranks of a job that was killed take a moment to be gone.
const BUSY_WAIT: Duration = Duration::from_secs(10);

/// Where to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resume {
    /// From the latest checkpoint of the run folder, or of the newest run of the same recipe; from
    /// the beginning if there is none.
    Auto,
    /// From this checkpoint, or the latest one of this run.
    From(PathBuf),
}

impl Resume {
    /// With the checkpoint itself in the place of a run's folder, whatever `runs/latest` is made to mean later.
    ///
    /// # Errors
    /// If there is no checkpoint.
    pub(crate) fn found(self) -> Result<Self, RecipeError> {
        let Self::From(path) = self else { return Ok(self) };
        match Checkpoint::find(&path) {
            Some(found) => Ok(Self::From(fs::canonicalize(&found).unwrap_or(found))),
            None => Err(RecipeError::NoCheckpoint { path }),
        }
    }

    /// The checkpoint or run that the user named, whatever `runs/latest` is made to mean later.
    pub(crate) fn named(&self) -> Option<PathBuf> {
        match self {
            Self::Auto => None,
            Self::From(path) => fs::canonicalize(path).ok(),
        }
    }
}

/// A run's folder, the same on every rank; rank 0 writes what is not a checkpoint.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    /// Keeps other runs out, as long as rank 0 has it open.
    _lock: Option<Arc<File>>,
}

impl RunDir {
    /// Chooses and makes the folder.
    ///
    /// # Collective
    /// Every rank; rank 0 decides.
    pub(crate) fn create(
        comm: &Arc<dyn Comm>,
        recipe: &Path,
        named: Option<&Path>,
        resume: Option<&Resume>,
    ) -> Result<Self, RecipeError> {
        let chosen = if comm.rank() == 0 {
            choose(recipe, named, resume).and_then(|path| {
                let lock = lock(&path, BUSY_WAIT)?;
                // Another run may have been there meanwhile.
                check_free(named, resume)?;
                Ok((path.display().to_string(), lock.map(Arc::new)))
            })
        } else {
            Ok((String::new(), None))
        };
        let (chosen, lock) = agree(&**comm, chosen)?;
        Ok(Self { path: PathBuf::from(from_rank_0(&**comm, &chosen)?), _lock: lock })
    }

    /// A folder that is there already.
    pub(crate) fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), _lock: None }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Checkpoints of the training `at`, counted from 0: `checkpoints`, `checkpoints-2` and so on.
    pub(crate) fn checkpoints(&self, at: usize) -> PathBuf {
        match at {
            0 => self.path.join("checkpoints"),
            _ => self.path.join(format!("checkpoints-{}", at + 1)),
        }
    }

    /// Where the index `number` of the run, counted from 1, goes.
    pub(crate) fn index(&self, number: usize) -> PathBuf {
        let name = if number == 1 { "index".to_owned() } else { format!("index-{number}") };
        self.path.join(name)
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), RecipeError> {
        let path = self.path.join(name);
        let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
        let written = folder.and_then(|()| write_whole(&path, content));
        written.map_err(|source| RecipeError::Write { path, source })
    }
}

/// The text that rank 0 has, on every rank.
///
/// # Collective
/// Every rank.
pub(crate) fn from_rank_0(comm: &dyn Comm, own: &str) -> Result<String, RecipeError> {
    // The length first, for a broadcast is of the same length everywhere.
    let length = if comm.rank() == 0 { own.len() as u64 } else { 0 };
    let length = comm.max_u64(length)? as usize;
    let mut bytes = own.as_bytes().to_vec();
    bytes.resize(length, 0);
    if length > 0 {
        comm.broadcast_bytes(&mut bytes, 0)?;
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Waits until no other run has `folder`, `wait` at most; `None` where files cannot be locked.
fn lock(folder: &Path, wait: Duration) -> Result<Option<File>, RecipeError> {
    let path = folder.join(LOCK);
    let file = File::create(&path).map_err(|source| RecipeError::Write { path, source })?;
    let end = Instant::now() + wait;
    let mut told = false;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < end => {
                if !told {
                    tracing::info!("waiting for another run in {}", folder.display());
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(RecipeError::RunDirBusy { path: folder.to_owned() });
            }
            Err(TryLockError::Error(error)) => {
                tracing::info!("{} cannot be locked: {error}", folder.display());
                return Ok(None);
            }
        }
    }
}

/// Fails if a named folder holds anything and is not resumed.
pub(crate) fn check_free(named: Option<&Path>, resume: Option<&Resume>) -> Result<(), RecipeError> {
    match named {
        Some(path) if resume != Some(&Resume::Auto) && !is_empty(path)? => {
            Err(RecipeError::RunDirUsed { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

fn choose(
    recipe: &Path,
    named: Option<&Path>,
    resume: Option<&Resume>,
) -> Result<PathBuf, RecipeError> {
    check_free(named, resume)?;
    if let Some(path) = named {
        fs::create_dir_all(path)
            .map_err(|source| RecipeError::Write { path: path.to_owned(), source })?;
        return Ok(path.to_owned());
    }
    let name = recipe_name(recipe);
    let runs = Path::new(RUNS);
    if resume == Some(&Resume::Auto) {
        if let Some(newest) = newest_run(runs, &name) {
            return Ok(newest);
        }
        tracing::info!("no run of {name} in {} to go on with", runs.display());
    }
    let made = fresh(runs, &format!("{name}-{}", stamp(OffsetDateTime::now_utc())));
    let folder = made.map_err(|source| RecipeError::Write { path: runs.to_owned(), source })?;
    // A convenience: a file system without links does not stop a run.
    if let Err(error) = link_latest(runs, &folder) {
        tracing::warn!("cannot link {}: {error}", runs.join(LATEST).display());
    }
    Ok(runs.join(folder))
}

/// The recipe's file name without `.rhai`.
pub(crate) fn recipe_name(recipe: &Path) -> String {
    recipe.file_stem().map_or_else(|| "run".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

/// The newest folder in `runs` of a run of `recipe`.
fn newest_run(runs: &Path, recipe: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(runs).ok()?.flatten().map(|entry| entry.path());
    let dated = entries.filter_map(|path| {
        let age = age_of_run(path.file_name()?.to_str()?, recipe)?;
        path.is_dir().then_some((age, path))
    });
    dated.max().map(|(_, path)| path)
}

/// When a run of `recipe` began whose folder is called `<recipe>-<time>` or `<recipe>-<time>-<number>`: its time and its
/// number, which rise.
fn age_of_run(folder: &str, recipe: &str) -> Option<(String, u32)> {
    let time = folder.strip_prefix(recipe)?.strip_prefix('-')?;
    let (day, rest) = time.split_once('-')?;
    let (second, number) = rest.split_once('-').unwrap_or((rest, "1"));
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    let dated = digits(day, 8) && digits(second, 6);
    Some((format!("{day}{second}"), number.parse().ok()?)).filter(|_| dated)
}

/// `20261122-100745`.
fn stamp(now: OffsetDateTime) -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second]");
    now.format(&format).unwrap_or_else(|_| now.unix_timestamp().to_string())
}

/// Makes a folder that was not there: `name`, or `name-2` and so on.
fn fresh(runs: &Path, name: &str) -> io::Result<String> {
    fs::create_dir_all(runs)?;
    for at in 1_u32.. {
        let name = if at == 1 { name.to_owned() } else { format!("{name}-{at}") };
        match fs::create_dir(runs.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn link_latest(runs: &Path, folder: &str) -> io::Result<()> {
    // Renaming replaces the old link at once; a link of another process is never half there.
    let partial = runs.join(format!(".{LATEST}-{}", std::process::id()));
    std::os::unix::fs::symlink(folder, &partial)?;
    fs::rename(&partial, runs.join(LATEST))
}

fn is_empty(path: &Path) -> Result<bool, RecipeError> {
    match fs::read_dir(path) {
        Ok(entries) => Ok(entries.flatten().all(|entry| entry.file_name() == LOCK)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(source) => Err(RecipeError::Write { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_used_folder_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        assert!(check_free(Some(path), None).is_ok());
        fs::write(path.join("result.json"), "{}").unwrap();
        assert!(matches!(check_free(Some(path), None), Err(RecipeError::RunDirUsed { .. })));
        let from = Resume::From(path.to_owned());
        assert!(matches!(check_free(Some(path), Some(&from)), Err(RecipeError::RunDirUsed { .. })));
        assert!(check_free(Some(path), Some(&Resume::Auto)).is_ok());
        assert!(matches!(
            check_free(Some(&path.join("result.json")), None),
            Err(RecipeError::Write { .. })
        ));
    }

    #[test]
    fn a_folder_has_one_run_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = lock(folder.path(), Duration::ZERO).unwrap();
        assert!(first.is_some());
        let second = lock(folder.path(), Duration::from_millis(1)).unwrap_err();
        assert!(matches!(second, RecipeError::RunDirBusy { .. }), "{second}");
        // Once it has ended, or is killed.
        drop(first);
        assert!(lock(folder.path(), Duration::ZERO).unwrap().is_some());
    }

    #[test]
    fn names_are_unique_and_tell_the_recipe() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(fresh(folder.path(), "dlrm-20261122-100745").unwrap(), "dlrm-20261122-100745");
        assert_eq!(fresh(folder.path(), "dlrm-20261122-100745").unwrap(), "dlrm-20261122-100745-2");
        link_latest(folder.path(), "a").unwrap();
        link_latest(folder.path(), "b").unwrap();
        assert_eq!(fs::read_link(folder.path().join(LATEST)).unwrap(), Path::new("b"));
        let newest = |recipe| {
            newest_run(folder.path(), recipe)
                .and_then(|path| path.file_name().map(ToOwned::to_owned))
        };
        assert_eq!(newest("dlrm").unwrap(), "dlrm-20261122-100745-2");
        // Whatever else ran since.
        for name in ["dlrm-20261121-235959", "dlrm-small-20261122-100746", "b-20261123-000000"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        assert_eq!(newest("dlrm").unwrap(), "dlrm-20261122-100745-2");
        fs::create_dir(folder.path().join("dlrm-20261122-100746")).unwrap();
        assert_eq!(newest("dlrm").unwrap(), "dlrm-20261122-100746");
        assert_eq!(newest("c"), None);
        assert_eq!(recipe_name(Path::new("scripts/dlrm.rhai")), "dlrm");
        assert_eq!(stamp(OffsetDateTime::UNIX_EPOCH), "19700101-000000");
    }
}
