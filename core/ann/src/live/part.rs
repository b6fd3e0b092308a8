//! One part with its changes: readers take a snapshot, one writer at a time makes the next.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::change::Change;
use super::delta::{Coder, Delta};
use super::index::not_writable;
use super::manifest::{generation_of, log_name};
use super::stats::PartStats;
use super::wal::{self, Wal};
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::filter::{Attributes, Bits};
use crate::idle::give_way;
use crate::part::Part;
use crate::search::View;

/// Share of a part that may change before it is built again.
const CHANGED_MAX: f64 = 0.1;
/// Drift of the changes that makes a rebuild due, once they are more than this share.
const DRIFT_MAX: f64 = 1.5;
const DRIFTING_SHARE: f64 = 0.01;
/// Changes below which no rebuild is due: it would gain nothing.
const CHANGED_MIN: usize = 1000;

/// Rounds in which a successor catches up with changes, at most.
const ROUNDS_MAX: usize = 10;
/// So few changes are caught up with while others wait.
const FEW_CHANGES: usize = 200;
/// Changes of one record of a successor's log.
const RECORD_CHANGES: usize = 10_000;

/// Changes taken over before a thread gives way.
const CHANGES_AT_A_TIME: usize = 10;

/// What a reader sees. It never changes.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) part: Arc<Part>,
    dead: Arc<Bits>,
    dead_count: usize,
    pub(super) delta: Arc<Delta>,
}

impl Snapshot {
    fn new(part: Part) -> Self {
        let dead = Arc::new(Bits::none(part.rows()));
        let delta = Arc::new(Delta::new(&part));
        Self { part: Arc::new(part), dead, dead_count: 0, delta }
    }

    /// What a search reads.
    pub(super) fn view(&self) -> View<'_> {
        let dead = (self.dead_count > 0).then_some(&*self.dead);
        let delta = (self.delta.slots() > 0).then_some(&*self.delta);
        View { part: &self.part, dead, delta }
    }

    /// Vectors that can be found.
    pub(super) fn count(&self) -> usize {
        self.part.rows() - self.dead_count + self.delta.count()
    }

    /// Whether a row of the part can still be found.
    pub(super) fn has_row(&self, row: u32) -> bool {
        (row as usize) < self.part.rows() && !self.dead.has(row)
    }

    /// Attributes of what lies at places: rows of the part, and, behind all of them, slots of changes.
    pub(super) fn attributes(&self, places: &[u32]) -> Result<Attributes, AnnError> {
        let rows = self.part.rows() as u32;
        let changed = |place: u32| self.delta.attributes(place.checked_sub(rows)?);
        self.part.attributes().gather(places, changed)
    }

    pub(super) fn drift(&self) -> f64 {
        let built = self.part.meta.distortion;
        let drifts = self.part.kind() != IndexKind::Flat && self.delta.slots() > 0 && built > 0.0;
        if drifts { self.delta.distortion() / built } else { 1.0 }
    }

    /// Changes, and their share of the part.
    fn changed(&self) -> (usize, f64) {
        // What is replaced is both a slot and a dead row.
        let changed = self.dead_count.max(self.delta.slots() as usize);
        (changed, changed as f64 / self.part.rows().max(1) as f64)
    }

    /// Share of the part that has changed.
    pub(super) fn changed_share(&self) -> f64 {
        self.changed().1
    }

    /// Whether the part should be built again.
    pub(super) fn rebuild_due(&self) -> bool {
        let (changed, share) = self.changed();
        let drifts = self.drifts() && share > DRIFTING_SHARE;
        changed >= CHANGED_MIN && (share > CHANGED_MAX || drifts)
    }

    /// Whether changes lie too far from the centroids for these to stay.
    pub(super) fn drifts(&self) -> bool {
        self.drift() > DRIFT_MAX
    }
}

/// What only the writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    /// Slot of each id that changed and is there.
    changed: HashMap<u64, u32>,
    /// None in an index that is open for reading only.
    wal: Option<Wal>,
    /// Changes since the last rebuild began that it has not taken over yet.
    since: Option<Vec<Change>>,
    /// Generation of that rebuild's part. One that began earlier and is still at work has nothing to take
    /// over; and no two have the same name.
    generation: u64,
    /// The state before the present one.
    retired: Option<Arc<Snapshot>>,
    coder: Coder,
}

impl Writer {
    fn new(wal: Option<Wal>) -> Self {
        let changed = HashMap::new();
        Self { changed, wal, since: None, generation: 0, retired: None, coder: Coder::default() }
    }
}

/// One part with its changes.
#[derive(Debug)]
pub(super) struct LivePart {
    snapshot: RwLock<Arc<Snapshot>>,
    writer: Mutex<Writer>,
    name: Mutex<String>,
}

/// A part that was built again, with the changes since, about to take the place of the old one.
#[derive(Debug)]
pub(super) struct Successor {
    file: NewFile,
    snapshot: Snapshot,
    writer: Writer,
}

/// A part's file that no manifest names yet: goes with its log unless it is kept.
#[derive(Debug)]
pub(super) struct NewFile {
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, kept: false }
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            remove(&self.path);
        }
    }
}

/// Removes a part's file and its log. What cannot be removed does no harm.
pub(super) fn remove(part: &Path) {
    let _ = std::fs::remove_file(log_name(&part.to_string_lossy()));
    let _ = std::fs::remove_file(part);
}

/// Whether an index is open for changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

impl LivePart {
    /// Opens a part and applies its log.
    pub(super) fn open(folder: &Path, name: &str, access: Access) -> Result<Self, AnnError> {
        let part = Part::open(&folder.join(name))?;
        let path = folder.join(log_name(name));
        let replayed = wal::replay(&path)?;
        for (at, change) in replayed.changes.iter().enumerate() {
            change.check(part.dim(), at)?;
        }
        let wal = match access {
            Access::Read => None,
            Access::Write => Some(Wal::resume(&path, replayed.bytes)?),
        };
        Ok(Self::new(part, name, wal, &replayed.changes))
    }

    fn new(part: Part, name: &str, wal: Option<Wal>, changes: &[Change]) -> Self {
        let mut snapshot = Snapshot::new(part);
        let mut writer = Writer { generation: generation_of(name), ..Writer::new(wal) };
        writer.apply(&mut snapshot, changes);
        Self {
            snapshot: RwLock::new(Arc::new(snapshot)),
            writer: Mutex::new(writer),
            name: Mutex::new(name.to_owned()),
        }
    }

    /// The present state. Takes a lock for as long as it takes to copy a pointer; a writer holds it
    /// for as long as it takes to replace one.
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Shows a new state. The old one is kept until the next: freeing it takes long, and by then the
    /// readers that found it have let go of it, so that it is the writer who frees it.
    fn publish(&self, writer: &mut Writer, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        let mut shown = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *shown, snapshot);
        drop(shown);
        writer.retired = Some(old);
    }

    /// The writer's state. A thread that panicked while it held it would leave changes that are
    /// logged but not seen: the next opening of the index applies them.
    pub(super) fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The part's file.
    pub(super) fn name(&self) -> String {
        self.name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs changes, waits until they are on the disk, and shows them to new readers.
    pub(super) fn change(&self, changes: &[Change]) -> Result<(), AnnError> {
        let mut writer = self.writer();
        let Some(wal) = &mut writer.wal else {
            return Err(not_writable());
        };
        wal.append(changes)?;
        let mut next = (*self.snapshot()).clone();
        writer.apply(&mut next, changes);
        if let Some(since) = &mut writer.since {
            since.extend_from_slice(changes);
        }
        self.publish(&mut writer, next);
        Ok(())
    }

    /// The state that is to be built again, and the generation of the part that will be made of it; from
    /// now on changes are kept for that, and no longer for one that was begun before.
    pub(super) fn begin_rebuild(&self) -> (u64, Arc<Snapshot>) {
        let mut writer = self.writer();
        writer.since = Some(Vec::new());
        writer.generation += 1;
        (writer.generation, self.snapshot())
    }

    /// The changes that a rebuild has not taken over yet; `None` if another one began after it.
    fn changes_since(&self, generation: u64) -> Option<Vec<Change>> {
        let mut writer = self.writer();
        let is_last = writer.generation == generation;
        writer.since.as_mut().filter(|_| is_last).map(std::mem::take)
    }

    /// Opens a part that a rebuild made of the state at its beginning, and lays over it what has changed
    /// since, in rounds: changes go on meanwhile, fewer during each than before it. `None` if
    /// another rebuild began after it.
    pub(super) fn successor(&self, file: NewFile) -> Result<Option<Successor>, AnnError> {
        let generation = generation_of(&file.name());
        let part = Part::open(&file.path)?;
        // Besides telling a bad disk before it matters, this brings the file's pages into memory:
        // the first searches need not wait for them.
        part.verify()?;
        let log = log_name(&file.path.to_string_lossy());
        let writer = Writer::new(Some(Wal::create(Path::new(&log), &[])?));
        let mut made = Successor { file, snapshot: Snapshot::new(part), writer };
        for _ in 0..ROUNDS_MAX {
            let Some(changes) = self.changes_since(generation) else { return Ok(None) };
            made.take_over(&changes)?;
            if changes.len() <= FEW_CHANGES {
                break;
            }
        }
        Ok(Some(made))
    }

    /// Puts a successor in place of the part; `commit` makes it the one of this name that is opened next
    /// time. Changes wait meanwhile. Returns the file of the old one; `None` if there is no successor.
    pub(super) fn replace(
        &self,
        made: Result<Option<Successor>, AnnError>,
        folder: &Path,
        commit: impl FnOnce(&str) -> Result<(), AnnError>,
    ) -> Result<Option<PathBuf>, AnnError> {
        let mut writer = self.writer();
        let changes = writer.since.take().unwrap_or_default();
        let Some(mut made) = made? else { return Ok(None) };
        made.take_over(&changes)?;
        commit(&made.file.name())?;
        made.file.kept = true;
        let Successor { file, snapshot, writer: next } = made;
        let mut own = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        let old = folder.join(std::mem::replace(&mut *own, file.name()));
        drop(own);
        *writer = Writer { retired: writer.retired.take(), generation: writer.generation, ..next };
        self.publish(&mut writer, snapshot);
        Ok(Some(old))
    }

    pub(super) fn stats(&self) -> PartStats {
        let snapshot = self.snapshot();
        let Snapshot { part, dead_count, delta, .. } = &*snapshot;
        PartStats {
            file: self.name(),
            kind: part.kind().name(),
            built_rows: part.rows(),
            dead_rows: *dead_count,
            changed_rows: delta.count(),
            leaves: part.leaves(),
            drift: snapshot.drift(),
            bytes: part.file_bytes(),
            log_bytes: self.writer().wal.as_ref().map_or(0, Wal::bytes),
            rebuild_due: snapshot.rebuild_due(),
        }
    }
}

impl Successor {
    fn take_over(&mut self, changes: &[Change]) -> Result<(), AnnError> {
        for changes in changes.chunks(RECORD_CHANGES) {
            if let Some(wal) = &mut self.writer.wal {
                wal.append(changes)?;
            }
            for changes in changes.chunks(CHANGES_AT_A_TIME) {
                self.writer.apply(&mut self.snapshot, changes);
                give_way();
            }
        }
        Ok(())
    }
}

impl Writer {
    fn apply(&mut self, snapshot: &mut Snapshot, changes: &[Change]) {
        let Snapshot { part, dead, dead_count, delta } = snapshot;
        let delta = Arc::make_mut(delta);
        for change in changes {
            if let Some(slot) = self.changed.remove(&change.id()) {
                delta.kill(slot);
            } else if let Some(row) = part.row_of(change.id())
                && !dead.has(row as u32)
            {
                Arc::make_mut(dead).insert(row as u32);
                *dead_count += 1;
            }
            if let Change::Upsert(item) = change {
                self.changed.insert(item.id, delta.push(part, item, &mut self.coder));
            }
        }
    }
}
