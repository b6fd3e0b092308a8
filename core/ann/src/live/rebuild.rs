//! Building parts again, while they are searched and changed.

use std::num::NonZero;
use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::index::Index;
use super::manifest::{generation_of, log_name, part_name};
use super::part::Snapshot;
use crate::build::{BuildInput, BuildOptions, Progress, build};
use crate::error::AnnError;
use crate::filter::{Attributes, ItemAttributes};
use crate::vectors::Vectors;

impl Index {
    /// Builds every part again whose changes have grown too many or too strange, or all.
    /// Searches and changes go on meanwhile. Returns how many parts were built.
    ///
    /// # Errors
    /// If a part cannot be built or written: the old one stays.
    pub fn rebuild(&self, which: Rebuild, progress: &dyn Progress) -> Result<usize, AnnError> {
        let _turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut built = 0;
        for part in 0..self.inner.parts.len() {
            let due = self.inner.parts[part].snapshot().rebuild_due();
            if which == Rebuild::All || due {
                self.rebuild_part(part, progress)?;
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
            let rebuild = || index.rebuild(Rebuild::Due, &());
            let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(cores.div_ceil(2))
                .start_handler(|_| yield_to_searches());
            let _ = match pool.build() {
                Ok(pool) => pool.install(rebuild),
                Err(_) => rebuild(),
            };
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

    fn rebuild_part(&self, part: usize, progress: &dyn Progress) -> Result<(), AnnError> {
        let inner = &*self.inner;
        let live = &inner.parts[part];
        let snapshot = {
            let mut writer = live.writer();
            writer.since = Some(Vec::new());
            live.snapshot()
        };
        let name = part_name(part, generation_of(&live.name()) + 1);
        let path = inner.folder.join(&name);
        let written = write(&path, &snapshot, &self.options(), progress);
        let mut writer = live.writer();
        if let Err(error) = written {
            writer.since = None;
            return Err(error);
        }
        let old = live.replace(&mut writer, (&inner.folder, &name), || {
            let mut manifest = inner.manifest.lock().unwrap_or_else(PoisonError::into_inner);
            let mut next = manifest.clone();
            next.parts[part].clone_from(&name);
            next.write(&inner.folder)?;
            *manifest = next;
            Ok(())
        })?;
        drop(writer);
        // Readers that still hold the old part have it mapped; its name is of no use any more, and a
        // file that cannot be removed does no harm.
        let log = log_name(&old.to_string_lossy());
        let _ = std::fs::remove_file(&log);
        let _ = std::fs::remove_file(&old);
        Ok(())
    }
}

/// Lets the calling thread run when nothing else wants the processor: searches and changes come
/// first. Where that is not to be had, it runs as any other.
fn yield_to_searches() {
    #[cfg(target_os = "linux")]
    // To Linux, no process means the calling thread.
    let _ = rustix::process::setpriority_process(None, 19);
}

/// Which parts are built again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuild {
    /// Those whose changes have grown.
    Due,
    /// All.
    All,
}

/// Builds a part of what a snapshot holds.
fn write(
    path: &Path,
    snapshot: &Snapshot,
    options: &BuildOptions,
    progress: &dyn Progress,
) -> Result<(), AnnError> {
    let part = &snapshot.part;
    let (mut values, mut ids) = (Vec::new(), Vec::new());
    let mut items: Vec<ItemAttributes> = Vec::new();
    for row in snapshot.rows() {
        values.extend(part.vector(row).unwrap_or_default());
        ids.extend(part.ids().get(row));
        items.push(part.attributes().item(row as u32));
    }
    for (id, vector, attributes) in snapshot.delta.items() {
        values.extend(part.turned_back(vector));
        ids.push(id);
        items.push(attributes.clone());
    }
    let attributes = Attributes::of_items(&items)?;
    drop(items);
    let vectors = Vectors::new(part.dim(), &values)?;
    let input =
        BuildInput { ids: Some(&ids), attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    build(path, &input, options, progress).map(|_| ())
}
