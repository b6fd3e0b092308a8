//! Building parts again, while they are searched and changed.

use std::num::NonZero;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::index::Index;
use super::manifest::part_name;
use super::merge::{merge, suits};
use super::part::{NewFile, Snapshot, Successor, remove};
use crate::build::{BuildInput, BuildOptions, Progress, build_like};
use crate::error::AnnError;
use crate::idle::{give_way, run_when_idle};
use crate::vectors::Vectors;

impl Index {
    /// Builds every part again whose changes have grown too many or too strange, or all.
    /// Searches and changes go on meanwhile. Returns how many parts were built.
    ///
    /// # Errors
    /// If a part cannot be built or written: the old one stays.
    pub fn rebuild(&self, which: Rebuild, progress: &dyn Progress) -> Result<usize, AnnError> {
        self.rebuild_on(which, progress, None)
    }

    /// As [`Self::rebuild`], the long part of the work on the threads of `pool` as long as they get to it.
    pub(super) fn rebuild_on(
        &self,
        which: Rebuild,
        progress: &dyn Progress,
        pool: Option<&ThreadPool>,
    ) -> Result<usize, AnnError> {
        let _turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut built = 0;
        for part in 0..self.inner.parts.len() {
            let due = self.inner.parts[part].snapshot().rebuild_due();
            if which == Rebuild::All || due {
                self.rebuild_part(part, which, progress, pool)?;
                built += 1;
            }
        }
        Ok(built)
    }

    /// Starts a rebuild of what is due on a thread of its own, unless one is under way.
    pub(super) fn rebuild_in_background(&self) {
        let due = self.inner.parts.iter().any(|part| part.snapshot().rebuild_due());
        if !due || self.inner.rebuilding.swap(true, Ordering::AcqRel) {
            return;
        }
        let index = self.clone();
        // A rebuild that fails leaves the index as it is, due: the next change tries again, and
        // `stats` goes on saying so.
        let work = move || {
            let _ = index.rebuild_on(Rebuild::Due, &(), idle_pool().as_ref());
            index.inner.rebuilding.store(false, Ordering::Release);
        };
        if std::thread::Builder::new().name("ann-rebuild".to_owned()).spawn(work).is_err() {
            self.inner.rebuilding.store(false, Ordering::Release);
        }
    }

    /// Whether a rebuild is under way in the background.
    pub fn is_rebuilding(&self) -> bool {
        self.inner.rebuilding.load(Ordering::Acquire)
    }

    fn rebuild_part(
        &self,
        part: usize,
        which: Rebuild,
        progress: &dyn Progress,
        pool: Option<&ThreadPool>,
    ) -> Result<(), AnnError> {
        let inner = &*self.inner;
        let live = &inner.parts[part];
        let made = match pool {
            Some(pool) => self.make_patiently(part, which, pool),
            None => self.make(part, self.begin(part, which), progress),
        };
        let old = live.replace(made, &inner.folder, |name| {
            let mut manifest = inner.manifest.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = manifest.clone();
            name.clone_into(&mut next.parts[part]);
            next.write(&inner.folder)?;
            *manifest = next;
            Ok(())
        })?;
        // Readers that still hold the old part have it mapped; its name is of no use any more.
        if let Some(old) = old {
            remove(&old);
        }
        Ok(())
    }

    fn begin(&self, part: usize, which: Rebuild) -> Begun {
        let (generation, snapshot) = self.inner.parts[part].begin_rebuild();
        let merges = which == Rebuild::Due && suits(&snapshot, &self.options());
        Begun { generation, snapshot, merges }
    }

    /// Makes a part on the threads of `pool`, which wait for all other work. If they never get to
    /// it while changes go on, it is made anew by as many threads that wait for nothing: searches are held
    /// up for some time, instead of becoming slower with every change.
    fn make_patiently(
        &self,
        part: usize,
        which: Rebuild,
        pool: &ThreadPool,
    ) -> Result<Option<Successor>, AnnError> {
        let live = &self.inner.parts[part];
        let (sender, made) = mpsc::sync_channel(1);
        let (index, begun) = (self.clone(), self.begin(part, which));
        let overdue_share = if begun.merges { MERGE_OVERDUE } else { BUILD_OVERDUE };
        pool.spawn(move || {
            // What comes too late for anyone to receive it takes its file with it.
            let _ = sender.send(index.make(part, begun, &()));
        });
        loop {
            let overdue = live.snapshot().changed_share() > overdue_share;
            match made.recv_timeout(PATIENCE) {
                Ok(made) => return made,
                Err(RecvTimeoutError::Timeout) if !overdue => {}
                // Disconnected is one that panicked.
                Err(_) => break,
            }
        }
        let ordinary = ThreadPoolBuilder::new().num_threads(pool.current_num_threads()).build();
        let make = || self.make(part, self.begin(part, which), &());
        ordinary.map_or_else(|_| make(), |pool| pool.install(make))
    }

    /// Makes a part of what a rebuild began with, and of what has changed since. `None` if another rebuild of
    /// it began later.
    fn make(
        &self,
        part: usize,
        begun: Begun,
        progress: &dyn Progress,
    ) -> Result<Option<Successor>, AnnError> {
        let Begun { generation, snapshot, merges } = begun;
        let path = self.inner.folder.join(part_name(part, generation));
        // Bytes that went bad would get a new checksum.
        snapshot.part.verify()?;
        if merges {
            merge(&path, &snapshot, progress)?;
        } else {
            write(&path, &snapshot, &self.options(), progress)?;
        }
        self.inner.parts[part].successor(NewFile::new(path))
    }
}

/// A rebuild that has begun.
struct Begun {
    /// Of the part that is made.
    generation: u64,
    snapshot: Arc<Snapshot>,
    /// Whether changes are merged into the part; else it is built from the vectors.
    merges: bool,
}

/// Share of a part that has changed by when a merge that waits for all other work has waited too long:
/// it takes seconds. A build may take that long although it is at work all the time.
const MERGE_OVERDUE: f64 = 0.2;
const BUILD_OVERDUE: f64 = 0.5;

/// How often a rebuild that waits for other work is looked after.
const PATIENCE: Duration = Duration::from_millis(100);

/// Half as many threads as there are cores, that run when nothing else wants to; `None` if there are
/// no threads to be had.
fn idle_pool() -> Option<ThreadPool> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let pool = ThreadPoolBuilder::new().num_threads(cores.div_ceil(2));
    // Whoever waits for a panicked task sees that it is gone; without a handler the process would be.
    let pool = pool.start_handler(|_| run_when_idle()).panic_handler(drop);
    pool.build().ok()
}

/// Which parts are built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Those whose changes have grown. A tree keeps its partition and codes, to which its changes are laid,
    /// for as long as they suit: until vectors drift, leaves grow uneven, or there are twice as many
    /// or half as many vectors.
    Due,
    /// All, from the vectors.
    All,
}

/// Rows gathered before a thread gives way.
const ROWS_AT_A_TIME: u32 = 512;

/// Builds a part of what a snapshot holds.
fn write(
    path: &Path,
    snapshot: &Snapshot,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<(), AnnError> {
    let part = &snapshot.part;
    // Room for all at once: growing would move them again and again, and moving holds up searches.
    let (count, rows) = (snapshot.count(), part.rows() as u32);
    let (mut values, mut ids) = (Vec::with_capacity(count * part.dim()), Vec::with_capacity(count));
    let mut places = Vec::with_capacity(count);
    for row in (0..rows).filter(|row| snapshot.has_row(*row)) {
        values.extend(part.vector(row as usize).unwrap_or_default());
        ids.extend(part.ids().get(row as usize));
        places.push(row);
        if row % ROWS_AT_A_TIME == 0 {
            give_way();
        }
    }
    for (slot, id, vector) in snapshot.delta.items() {
        values.extend(part.turned_back(vector));
        ids.push(id);
        places.push(rows + slot);
    }
    let attributes = snapshot.attributes(&places)?;
    let vectors = Vectors::new(part.dim(), &values)?;
    let input =
        BuildInput { ids: Some(&ids), attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    build_like(path, &input, options, Some(part), progress).map(|_| ())
}
