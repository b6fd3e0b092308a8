//! An index: a folder of parts, searched together and changed while it is searched.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use rectool_base::bucket_of;

use super::change::{Change, Item};
use super::manifest::{Manifest, log_name, part_name};
use super::part::{Access, LivePart, Snapshot};
use super::stats::IndexStats;
use super::wal::Wal;
use crate::build::{BuildInput, BuildOptions, BuildReport, Progress, TuneOptions, build, retune};
use crate::error::AnnError;
use crate::file::{IndexKind, OperatingPoint};
use crate::metric::Metric;
use crate::search::{Effort, Hit, Scratch, SearchOptions, search_batch};
use crate::vectors::Vectors;

/// Who builds a part again when its changes have grown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Maintenance {
    /// A thread of the index, while it goes on being searched and changed.
    #[default]
    Background,
    /// Whoever calls [`Index::rebuild`].
    Manual,
}

/// An index in a folder. Clones share it.
///
/// ```
/// use rectool_ann::{BuildOptions, Index, Item, Maintenance, SearchOptions, Vectors};
/// let folder = tempfile::tempdir()?;
/// let vectors = Vectors::new(2, &[1.0, 0.0, 0.0, 1.0])?;
/// Index::create(folder.path(), &(&vectors).into(), &BuildOptions::default(), &())?;
/// let index = Index::open_for_changes(folder.path(), Maintenance::Background)?;
/// index.upsert(&[Item::new(7, vec![3.0, 3.0])])?;
/// index.delete(&[0])?;
/// let hits = index.search(&[1.0, 0.5], &SearchOptions::new(5))?;
/// assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [7, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Index {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) folder: PathBuf,
    pub(super) parts: Vec<LivePart>,
    pub(super) manifest: Mutex<Manifest>,
    pub(super) maintenance: Maintenance,
    pub(super) rebuilding: AtomicBool,
    /// Held by the one thread that builds parts again.
    pub(super) turn: Mutex<()>,
    /// Held as long as the index is open for changes.
    lock: Option<Lock>,
}

/// The lock of the one process that may change an index.
#[derive(Debug)]
struct Lock(File);

impl Lock {
    fn take(folder: &Path) -> Result<Self, AnnError> {
        let path = folder.join(LOCK);
        let file = File::create(&path).map_err(AnnError::io("create", &path))?;
        file.try_lock().map_err(|error| AnnError::io("lock", &path)(error.into()))?;
        Ok(Self(file))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it locked for as long as a process that was just being started
        // still has a copy of the handle. If this fails, closing has to do.
        let _ = self.0.unlock();
    }
}

/// Name of the file whose lock the one process has that may change the index.
const LOCK: &str = "lock";

/// Builds the part of those vectors of `input` that belong to part `part` of `parts`, by their ids.
/// When all parts are there, [`publish`] makes an index of them.
///
/// # Errors
/// As [`build`].
pub fn build_part(
    folder: &Path,
    (part, parts): (usize, usize),
    input: &BuildInput<'_>,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<BuildReport, AnnError> {
    std::fs::create_dir_all(folder).map_err(AnnError::io("create", folder))?;
    let own: Vec<u32> = (0..input.count())
        .map(|at| input.row(at))
        .filter(|row| part_of(input.id(*row), parts) == part)
        .map(|row| row as u32)
        .collect();
    let input = BuildInput { rows: Some(&own), ..*input };
    let name = part_name(part, 0);
    let report = build(&folder.join(&name), &input, options, progress)?;
    Wal::create(&folder.join(log_name(&name)), &[])?;
    Ok(report)
}

/// Makes an index of `parts` parts that were built into `folder`.
///
/// # Errors
/// If a part is missing or the folder cannot be written.
pub fn publish(folder: &Path, parts: usize, options: &BuildOptions) -> Result<(), AnnError> {
    let names: Vec<String> = (0..parts).map(|part| part_name(part, 0)).collect();
    for name in &names {
        let path = folder.join(name);
        std::fs::metadata(&path).map_err(AnnError::io("find", &path))?;
    }
    Manifest::new(options, names).write(folder)
}

/// The error of a change to an index that is open for reading only.
pub(super) fn not_writable() -> AnnError {
    let found = "an index open for reading".to_owned();
    let expected = "one open for changes: `Index::open_for_changes`";
    AnnError::Option { option: "change", found, expected }
}

fn part_of(id: u64, parts: usize) -> usize {
    bucket_of(id, parts as u32) as usize
}

impl Index {
    /// Builds an index of one part.
    ///
    /// # Errors
    /// As [`build`].
    pub fn create(
        folder: &Path,
        input: &BuildInput<'_>,
        options: &BuildOptions,
        progress: &dyn Progress,
    ) -> Result<BuildReport, AnnError> {
        let report = build_part(folder, (0, 1), input, options, progress)?;
        publish(folder, 1, options)?;
        Ok(report)
    }

    /// Opens an index for searches.
    ///
    /// # Errors
    /// If a file is missing, damaged or cannot be read.
    pub fn open(folder: &Path) -> Result<Self, AnnError> {
        Self::open_as(folder, Access::Read, Maintenance::Manual, None)
    }

    /// Opens an index for searches and changes. Only one process may have it open so.
    ///
    /// # Errors
    /// As [`Self::open`], and if another process changes the index.
    pub fn open_for_changes(folder: &Path, maintenance: Maintenance) -> Result<Self, AnnError> {
        let lock = Lock::take(folder)?;
        Self::open_as(folder, Access::Write, maintenance, Some(lock))
    }

    fn open_as(
        folder: &Path,
        access: Access,
        maintenance: Maintenance,
        lock: Option<Lock>,
    ) -> Result<Self, AnnError> {
        let manifest = Manifest::read(folder)?;
        let open = |name: &String| LivePart::open(folder, name, access);
        let parts = manifest.parts.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let first = parts[0].snapshot();
        for part in &parts[1..] {
            let part = part.snapshot().part.clone();
            if (part.dim(), part.metric()) != (first.part.dim(), first.part.metric()) {
                let found = format!("{} of width {}", part.metric().name(), part.dim());
                return Err(AnnError::corrupt(part.path(), "metric", found, "that of part 0"));
            }
        }
        let inner = Inner {
            folder: folder.to_owned(),
            parts,
            manifest: Mutex::new(manifest),
            maintenance,
            rebuilding: AtomicBool::new(false),
            turn: Mutex::new(()),
            lock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Width D of a vector.
    pub fn dim(&self) -> usize {
        self.inner.parts[0].snapshot().part.dim()
    }

    /// How near ones are found.
    pub fn kind(&self) -> IndexKind {
        self.inner.parts[0].snapshot().part.kind()
    }

    /// What near means.
    pub fn metric(&self) -> Metric {
        self.inner.parts[0].snapshot().part.metric()
    }

    /// What a search for `k` results asks for that says nothing else: the recall that the index was
    /// built for.
    pub fn search_options(&self, k: usize) -> SearchOptions {
        let effort = Effort::Recall(self.options().recall_target);
        SearchOptions { effort, ..SearchOptions::new(k) }
    }

    /// The efforts that were measured for the first part, in rising order; none for a flat one.
    pub fn curve(&self) -> Vec<OperatingPoint> {
        self.inner.parts[0].snapshot().part.curve().to_vec()
    }

    /// Measures the efforts of every part again, for queries like `queries`, and writes the parts anew. This
    /// index goes on with the old efforts; one that is opened afterwards has the new ones.
    ///
    /// # Errors
    /// If the index is open for reading only, queries do not fit, or a part cannot be written.
    pub fn retune(
        &self,
        queries: Option<&Vectors<'_>>,
        options: &TuneOptions,
        progress: &dyn Progress,
    ) -> Result<(), AnnError> {
        let _turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.inner.lock.is_none() {
            return Err(not_writable());
        }
        if let Some(queries) = queries {
            queries.check_finite()?;
        }
        self.snapshots()
            .iter()
            .try_for_each(|snapshot| retune(&snapshot.part, queries, options, progress).map(drop))
    }

    /// The vectors nearest to a query \[D\] over all parts, the nearest first. Never waits for a change
    /// or a rebuild.
    ///
    /// # Errors
    /// If the query or the options do not fit.
    pub fn search(&self, query: &[f32], options: &SearchOptions) -> Result<Vec<Hit>, AnnError> {
        let mut out = Vec::new();
        self.search_with(query, options, &mut Scratch::default(), &mut out)?;
        Ok(out)
    }

    /// As [`Self::search`], with buffers of the caller's; `out` is replaced.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_with(
        &self,
        query: &[f32],
        options: &SearchOptions,
        scratch: &mut Scratch,
        out: &mut Vec<Hit>,
    ) -> Result<(), AnnError> {
        search_snapshots(&self.snapshots(), query, options, scratch, out)
    }

    /// The vectors nearest to each query [Q, D], on all threads of the current rayon pool, all from
    /// the same state of the index.
    ///
    /// # Errors
    /// As [`Self::search`].
    pub fn search_batch(
        &self,
        queries: &[f32],
        options: &SearchOptions,
    ) -> Result<Vec<Vec<Hit>>, AnnError> {
        let snapshots = self.snapshots();
        search_batch(queries, &snapshots[0].part, |query, scratch, out| {
            search_snapshots(&snapshots, query, options, scratch, out)
        })
    }

    fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.inner.parts.iter().map(LivePart::snapshot).collect()
    }

    /// Puts vectors in, in place of those with the same ids. When it returns they are on the disk and
    /// searches find them.
    ///
    /// # Errors
    /// If a vector does not fit or the log cannot be written: then none of a part's was put in.
    pub fn upsert(&self, items: &[Item]) -> Result<(), AnnError> {
        self.change(items.iter().cloned().map(Change::Upsert).collect())
    }

    /// Takes vectors out; ids that are not there are no error. When it returns that is on the disk.
    ///
    /// # Errors
    /// If the log cannot be written.
    pub fn delete(&self, ids: &[u64]) -> Result<(), AnnError> {
        self.change(ids.iter().copied().map(Change::Delete).collect())
    }

    fn change(&self, changes: Vec<Change>) -> Result<(), AnnError> {
        let dim = self.dim();
        let mut by_part: Vec<Vec<Change>> = vec![Vec::new(); self.inner.parts.len()];
        for (at, change) in changes.into_iter().enumerate() {
            change.check(dim, at)?;
            by_part[part_of(change.id(), self.inner.parts.len())].push(change);
        }
        for (part, changes) in self.inner.parts.iter().zip(by_part) {
            if !changes.is_empty() {
                part.change(&changes)?;
            }
        }
        if self.inner.maintenance == Maintenance::Background {
            self.rebuild_in_background();
        }
        Ok(())
    }

    /// How the index is.
    pub fn stats(&self) -> IndexStats {
        let parts: Vec<_> = self.inner.parts.iter().map(LivePart::stats).collect();
        IndexStats {
            vectors: self.snapshots().iter().map(|snapshot| snapshot.count()).sum(),
            bytes: parts.iter().map(|part| part.bytes + part.log_bytes).sum(),
            parts,
        }
    }

    /// Compares every byte of every part with its checksum. (Logs are compared when they are opened.)
    ///
    /// # Errors
    /// Names the first file that differs.
    pub fn verify(&self) -> Result<(), AnnError> {
        self.snapshots().iter().try_for_each(|snapshot| snapshot.part.verify())
    }

    /// The parts' files, as they were built.
    pub fn part_paths(&self) -> Vec<PathBuf> {
        self.inner.parts.iter().map(|part| self.inner.folder.join(part.name())).collect()
    }

    /// How its parts are built.
    pub fn options(&self) -> BuildOptions {
        let manifest = self.inner.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        manifest.options.clone()
    }
}

fn search_snapshots(
    snapshots: &[Arc<Snapshot>],
    query: &[f32],
    options: &SearchOptions,
    scratch: &mut Scratch,
    out: &mut Vec<Hit>,
) -> Result<(), AnnError> {
    if let [only] = snapshots {
        return only.view().search(query, options, scratch, out);
    }
    let mut all = Vec::new();
    let mut unknown = None;
    let mut searched = 0;
    for snapshot in snapshots {
        match snapshot.view().search(query, options, scratch, out) {
            Ok(()) => searched += 1,
            // An attribute need not occur in every part.
            Err(error @ AnnError::UnknownAttribute { .. }) => {
                unknown = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        }
        all.append(out);
    }
    if let Some(error) = unknown.filter(|_| searched == 0) {
        return Err(error);
    }
    all.sort_unstable_by(|a: &Hit, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
    all.truncate(options.k);
    *out = all;
    Ok(())
}
