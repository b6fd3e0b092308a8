//! Building an index: every rank its parts, then one name for all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rectool_ann::{
    AnnError, BuildInput, BuildOptions, Index, IndexStats, Maintenance, Progress, build_part,
    publish,
};
use rectool_comm::{Comm, agree};

use super::{IndexError, VectorInput};

/// What happens to an index that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is built.
    #[default]
    Keep,
    /// It is replaced when the new one is whole.
    Replace,
}

/// What is built.
#[derive(Debug)]
pub struct BuildIndex<'a> {
    /// Folder of the new index.
    pub out: &'a Path,
    /// The vectors, the same on every rank.
    pub input: &'a VectorInput,
    /// Queries on which efforts are measured.
    pub queries: Option<&'a VectorInput>,
    /// How.
    pub options: &'a BuildOptions,
    /// Parts; part p is built by rank p modulo R.
    pub parts: usize,
    /// What happens to an index that is there.
    pub existing: Existing,
}

/// What was built.
#[derive(Clone, Debug)]
pub struct BuiltIndex {
    /// The index as it is now.
    pub stats: IndexStats,
    /// Time it took.
    pub seconds: f64,
}

/// Builds an index and gives it its name once it is whole. Every rank reads the input and writes to the
/// folder, which must be the same for all.
///
/// # Errors
/// If the place is taken, the input does not fit the options, or a part cannot be written.
///
/// # Collective
/// Every rank, with the same arguments.
///
/// # Determinism
/// The same files for the same input, options and parts, for any number of ranks and threads.
pub fn build_index(
    job: &BuildIndex<'_>,
    comm: &dyn Comm,
    progress: &dyn Progress,
) -> Result<BuiltIndex, IndexError> {
    let started = Instant::now();
    let unnamed = beside(job.out, "building");
    let first = comm.rank() == 0;
    agree(comm, if first { prepare(job, &unnamed) } else { Ok(()) })?;
    let built = build_parts(job, comm, &unnamed, progress);
    if let Err(error) = agree(comm, built) {
        if first {
            // What could not be finished is of no use; the next build clears it away otherwise.
            let _ = std::fs::remove_dir_all(&unnamed);
        }
        return Err(error);
    }
    agree(comm, if first { give_name(job, &unnamed) } else { Ok(()) })?;
    let stats =
        agree(comm, Index::open(job.out).map(|index| index.stats()).map_err(IndexError::Ann))?;
    Ok(BuiltIndex { stats, seconds: started.elapsed().as_secs_f64() })
}

/// A hidden folder beside the index's.
fn beside(out: &Path, what: &str) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!(".{name}.{what}"))
}

fn prepare(job: &BuildIndex<'_>, unnamed: &Path) -> Result<(), IndexError> {
    let out = job.out;
    if out.file_name().is_none() || !(1..=4096).contains(&job.parts) {
        return Err(IndexError::Differs {
            path: out.to_owned(),
            what: "index",
            expected: "the path of a new folder and 1 to 4096 parts".into(),
            found: format!("{} parts", job.parts),
        });
    }
    check_free(job)?;
    if unnamed.exists() {
        std::fs::remove_dir_all(unnamed).map_err(io_error("remove", unnamed))?;
    }
    std::fs::create_dir_all(unnamed).map_err(io_error("create", unnamed))
}

/// Only an index is ever replaced, and none that a process may be changing.
fn check_free(job: &BuildIndex<'_>) -> Result<(), IndexError> {
    let out = job.out;
    let Ok(entries) = std::fs::read_dir(out) else {
        return if out.exists() {
            Err(IndexError::Exists { path: out.to_owned() })
        } else {
            Ok(())
        };
    };
    let is_index = out.join("index.json").exists();
    if job.existing == Existing::Keep || (!is_index && entries.count() > 0) {
        return Err(IndexError::Exists { path: out.to_owned() });
    }
    if !is_index {
        return Ok(());
    }
    match Index::open_for_changes(out, Maintenance::Manual) {
        Err(error @ AnnError::Io { action: "lock", .. }) => Err(error.into()),
        // A damaged one may well be replaced.
        _ => Ok(()),
    }
}

fn build_parts(
    job: &BuildIndex<'_>,
    comm: &dyn Comm,
    folder: &Path,
    progress: &dyn Progress,
) -> Result<(), IndexError> {
    let vectors = job.input.vectors()?;
    let queries = job.queries.map(VectorInput::vectors).transpose()?;
    let input = BuildInput {
        ids: job.input.ids(),
        attributes: job.input.attributes(),
        queries: queries.as_ref(),
        ..BuildInput::from(&vectors)
    };
    for part in (comm.rank()..job.parts).step_by(comm.size()) {
        build_part(folder, (part, job.parts), &input, job.options, progress)?;
    }
    Ok(())
}

fn give_name(job: &BuildIndex<'_>, unnamed: &Path) -> Result<(), IndexError> {
    publish(unnamed, job.parts, job.options)?;
    check_free(job)?;
    let old = beside(job.out, "old");
    if old.exists() {
        std::fs::remove_dir_all(&old).map_err(io_error("remove", &old))?;
    }
    let replaced = job.out.exists();
    if replaced {
        std::fs::rename(job.out, &old).map_err(io_error("rename", job.out))?;
    }
    if let Err(error) = std::fs::rename(unnamed, job.out) {
        if replaced {
            // Back to what was there; the error to be told is the first one.
            let _ = std::fs::rename(&old, job.out);
        }
        return Err(io_error("rename", unnamed)(error));
    }
    let parent = job.out.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let flushed = std::fs::File::open(parent).and_then(|folder| folder.sync_all());
    flushed.map_err(io_error("flush", parent))?;
    if replaced {
        // It has no name that anything looks for; the next build clears it away otherwise.
        let _ = std::fs::remove_dir_all(&old);
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| AnnError::Io { action, path, source }.into()
}
