//! The checkpoint that a model was last saved to or loaded from.

use std::path::{Path, PathBuf};

use super::manifest::{CheckpointManifest, DeltaEntry, Link};
use crate::{Checkpoint, TrainingState};

/// What the next delta of a model would build on.
#[derive(Clone, Debug)]
pub(crate) struct Saved {
    path: PathBuf,
    own: Link,
    base: Link,
    sequence: u32,
    table_steps: u64,
    state: TrainingState,
}

impl Saved {
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        Self::new(checkpoint.path(), checkpoint.link(), checkpoint.manifest())
    }

    pub(super) fn new(path: &Path, own: Link, manifest: &CheckpointManifest) -> Self {
        let delta = manifest.delta.as_ref();
        Self {
            path: path.to_owned(),
            base: delta.map_or_else(|| own.clone(), |delta| delta.base.clone()),
            own,
            sequence: delta.map_or(0, |delta| delta.sequence),
            table_steps: manifest.table_steps,
            state: manifest.state.clone(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether its folder and those that it builds on are still what they were.
    pub(super) fn is_there(&self) -> bool {
        let found = Checkpoint::open(&self.path);
        found.is_ok_and(|found| found.identity() == self.own.identity && found.chain().is_ok())
    }

    /// Whether it is `path` and holds a training that stands at `state`.
    pub(super) fn is_at(&self, path: &Path, state: &TrainingState) -> bool {
        self.path == path && self.state == *state
    }

    pub(super) fn stands_alone(&self) -> bool {
        self.sequence == 0
    }

    /// A delta of `folder` on it, if one may be made: in chains of `length_max` checkpoints, the base
    /// counted, and while rows' dates reach.
    pub(super) fn delta(
        &self,
        folder: &Path,
        length_max: u64,
        table_steps: u64,
    ) -> Option<DeltaEntry> {
        let fits = self.path.parent() == Some(folder)
            && u64::from(self.sequence) + 1 < length_max
            && table_steps < u64::from(u32::MAX)
            && table_steps > self.table_steps;
        fits.then(|| DeltaEntry {
            parent: self.own.clone(),
            base: self.base.clone(),
            sequence: self.sequence + 1,
            since_step: self.table_steps,
        })
    }
}
