//! One part with its changes: readers take a snapshot, one writer at a time makes the next.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use super::change::Change;
use super::delta::Delta;
use super::index::not_writable;
use super::manifest::log_name;
use super::stats::PartStats;
use super::wal::{self, Wal};
use crate::error::AnnError;
use crate::file::IndexKind;
use crate::filter::Bits;
use crate::part::Part;
use crate::search::View;

/// Share of a part that may change before it is built again.
const CHANGED_MAX: f64 = 0.1;
/// Drift of the changes that makes a rebuild due, once they are more than this share.
const DRIFT_MAX: f64 = 1.5;
const DRIFTING_SHARE: f64 = 0.01;
/// Changes below which no rebuild is due: it would gain nothing.
const CHANGED_MIN: usize = 1000;

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

    /// Rows of the part that can still be found.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.part.rows()).filter(move |row| !self.dead.has(*row as u32))
    }

    pub(super) fn drift(&self) -> f64 {
        let built = self.part.meta.distortion;
        let drifts = self.part.kind() == IndexKind::Ivf && self.delta.slots() > 0 && built > 0.0;
        if drifts { self.delta.distortion() / built } else { 1.0 }
    }

    /// Whether the part should be built again.
    pub(super) fn rebuild_due(&self) -> bool {
        // What is replaced is both a slot and a dead row.
        let changed = self.dead_count.max(self.delta.slots() as usize);
        let share = changed as f64 / self.part.rows().max(1) as f64;
        let drifts = self.drift() > DRIFT_MAX && share > DRIFTING_SHARE;
        changed >= CHANGED_MIN && (share > CHANGED_MAX || drifts)
    }
}

/// What only the writer knows.
#[derive(Debug)]
pub(super) struct Writer {
    /// Slot of each id that changed and is there.
    changed: HashMap<u64, u32>,
    /// None in an index that is open for reading only.
    wal: Option<Wal>,
    /// Changes since a rebuild began.
    pub(super) since: Option<Vec<Change>>,
    /// The state before the present one.
    retired: Option<Arc<Snapshot>>,
}

/// One part with its changes.
#[derive(Debug)]
pub(super) struct LivePart {
    snapshot: RwLock<Arc<Snapshot>>,
    writer: Mutex<Writer>,
    name: Mutex<String>,
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
        let mut writer = Writer { changed: HashMap::new(), wal, since: None, retired: None };
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

    /// Puts a rebuilt part in place of the old one; `commit` makes it the one that is opened next
    /// time. The caller holds the writer from the moment it took the changes that are logged anew.
    pub(super) fn replace(
        &self,
        writer: &mut Writer,
        (folder, name): (&Path, &str),
        commit: impl FnOnce() -> Result<(), AnnError>,
    ) -> Result<PathBuf, AnnError> {
        let changes = writer.since.take().unwrap_or_default();
        let part = Part::open(&folder.join(name))?;
        let wal = Wal::create(&folder.join(log_name(name)), &changes)?;
        commit()?;
        let mut snapshot = Snapshot::new(part);
        let retired = writer.retired.take();
        *writer = Writer { changed: HashMap::new(), wal: Some(wal), since: None, retired };
        writer.apply(&mut snapshot, &changes);
        let mut own = self.name.lock().unwrap_or_else(PoisonError::into_inner);
        let old = folder.join(std::mem::replace(&mut *own, name.to_owned()));
        drop(own);
        self.publish(writer, snapshot);
        Ok(old)
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
                self.changed.insert(item.id, delta.push(part, item));
            }
        }
    }
}
