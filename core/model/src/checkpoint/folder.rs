//! The folder with a training's checkpoints.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rectool_comm::{Comm, CommExt, agree};

use super::manifest::{DeltaEntry, RecipeEntry};
use super::read::{BEST_PREFIX, STEP_PREFIX, best_name, listed};
use super::saved::Saved;
use super::staging;
use super::write::{Content, write};
use crate::{Checkpoint, ModelError, Ranker, TrainingState};

/// A folder of checkpoints of one training.
pub(crate) struct CheckpointFolder {
    pub(crate) path: PathBuf,
    /// Checkpoints kept besides the best ones that these name, and those that these build on.
    pub(crate) kept: usize,
    /// Every so many checkpoints one that stands alone; those between are deltas.
    pub(crate) full_every: u64,
    /// What the training follows.
    pub(crate) recipe: Option<RecipeEntry>,
}

/// Whether a checkpoint may be a delta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It stands alone.
    Full,
    /// It is a delta where that is possible and due.
    Due,
}

/// What rank 0 finds to be done.
const WRITE_FULL: u64 = 1;
const WRITE_DELTA: u64 = 2;
const WRITE_NOTHING: u64 = 3;

impl CheckpointFolder {
    /// Where the checkpoint of a best evaluation lies.
    pub(crate) fn best_path(&self, step: u64) -> PathBuf {
        self.path.join(best_name(step))
    }

    /// Clears away what a process that was killed left behind.
    ///
    /// # Collective
    /// Every rank, before the first checkpoint.
    pub(crate) fn clean(&self, comm: &dyn Comm) -> Result<(), ModelError> {
        let cleaned = if comm.rank() == 0 { staging::clean(&self.path) } else { Ok(()) };
        agree(comm, cleaned)
    }

    /// Has the checkpoint of the best evaluation that `state` names in this folder: it is copied from beside the
    /// checkpoint that the training goes on from, if it lies there. Those of evaluations after `state`, of a training
    /// that was not gone on with, are dropped. Whether the named one is there.
    ///
    /// # Collective
    /// Every rank, before the first checkpoint.
    pub(crate) fn settle_best(
        &self,
        ranker: &Ranker,
        state: &TrainingState,
    ) -> Result<bool, ModelError> {
        let comm = &*ranker.comm;
        let from = ranker.saved.as_ref().map(Saved::path);
        let settled = if comm.rank() == 0 { self.settle_best_here(from, state) } else { Ok(false) };
        let there = agree(comm, settled)?;
        Ok(comm.max_u64(u64::from(there))? == 1)
    }

    fn settle_best_here(
        &self,
        from: Option<&Path>,
        state: &TrainingState,
    ) -> Result<bool, ModelError> {
        let bests = listed(&self.path, BEST_PREFIX);
        let later = bests.iter().filter(|(step, _)| *step > state.steps);
        later.map(|(_, path)| path).try_for_each(|path| staging::remove(path))?;
        let Some(best) = &state.best else { return Ok(false) };
        let path = self.best_path(best.step);
        let whole = |path: &Path| {
            let opened = Checkpoint::open(path);
            opened.and_then(|best| best.verify().map(|()| best)).ok()
        };
        if whole(&path).is_some() {
            return Ok(true);
        }
        let name = best_name(best.step);
        let source =
            from.and_then(|from| Checkpoint::open(from).ok()).map(|from| from.beside(&name));
        match source.and_then(|source| whole(&source)) {
            Some(source) => staging::copy(&source, &path).map(|()| true),
            None => Ok(false),
        }
    }

    /// Writes a checkpoint and drops the oldest beyond `kept`.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn save(
        &self,
        ranker: &mut Ranker,
        state: &TrainingState,
        form: Form,
    ) -> Result<PathBuf, ModelError> {
        let path = self.path.join(format!("{STEP_PREFIX}{:08}", state.steps));
        let delta = match self.decide(ranker, state, (&path, form))? {
            WRITE_NOTHING => return Ok(path),
            WRITE_DELTA => self.delta_of(ranker),
            _ => None,
        };
        let tables = 0..ranker.tables.table_options().len();
        let removed = tables.map(|at| ranker.tables.take_removed(at)).collect::<Result<_, _>>()?;
        let recipe = self.recipe.clone();
        let saved = write(ranker, Content { state, delta, recipe, removed }, &path)?;
        ranker.saved = Some(saved);
        self.prune(&*ranker.comm)?;
        Ok(path)
    }

    /// Writes the checkpoint of a best evaluation and drops the earlier best.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn save_best(
        &self,
        ranker: &Ranker,
        state: &TrainingState,
    ) -> Result<(), ModelError> {
        let recipe = self.recipe.clone();
        let content = Content { state, delta: None, recipe, removed: Vec::new() };
        write(ranker, content, &self.best_path(state.steps))?;
        self.prune(&*ranker.comm)
    }

    fn delta_of(&self, ranker: &Ranker) -> Option<DeltaEntry> {
        let steps = ranker.tables.steps();
        ranker.saved.as_ref().and_then(|saved| saved.delta(&self.path, self.full_every, steps))
    }

    /// Rank 0 looks whether what the model was saved to or loaded from is still there.
    ///
    /// # Collective
    /// Every rank.
    fn decide(
        &self,
        ranker: &Ranker,
        state: &TrainingState,
        (path, form): (&Path, Form),
    ) -> Result<u64, ModelError> {
        let own = match &ranker.saved {
            _ if ranker.comm.rank() != 0 => 0,
            Some(saved) if saved.is_at(path, state) && saved.is_there() => {
                if form == Form::Due || saved.stands_alone() { WRITE_NOTHING } else { WRITE_FULL }
            }
            Some(saved) if form == Form::Due && saved.path() != path => {
                let possible = self.delta_of(ranker).is_some() && saved.is_there();
                if possible { WRITE_DELTA } else { WRITE_FULL }
            }
            _ => WRITE_FULL,
        };
        Ok(ranker.comm.max_u64(own)?)
    }

    fn prune(&self, comm: &dyn Comm) -> Result<(), ModelError> {
        let pruned = if comm.rank() == 0 { self.prune_here() } else { Ok(()) };
        agree(comm, pruned)
    }

    /// Drops checkpoints beyond those kept, but none that one of these builds on.
    fn prune_here(&self) -> Result<(), ModelError> {
        let (steps, bests) = (listed(&self.path, STEP_PREFIX), listed(&self.path, BEST_PREFIX));
        let last = bests.last().map(|(_, path)| path.clone());
        let mut needed: BTreeSet<PathBuf> = last.into_iter().collect();
        for (_, newest) in steps.iter().rev().take(self.kept.max(1)) {
            let (mut next, mut first) = (Some(newest.clone()), true);
            while let Some(path) = next.filter(|path| first || !needed.contains(path)) {
                // What cannot be read may build on anything.
                let Ok(checkpoint) = Checkpoint::open(&path) else { return Ok(()) };
                let manifest = checkpoint.manifest();
                if std::mem::take(&mut first) {
                    // What goes on from it may go back to the best that it knows, which stands alone.
                    let best = manifest.state.best.as_ref();
                    needed.extend(best.map(|best| self.best_path(best.step)));
                }
                let delta = manifest.delta.as_ref();
                next = delta.map(|delta| self.path.join(&delta.parent.name));
                needed.insert(path);
            }
        }
        // The latest go first, so that no delta is ever without what it builds on.
        let old = steps.iter().rev().chain(&bests).map(|(_, path)| path);
        old.filter(|path| !needed.contains(*path)).try_for_each(|path| staging::remove(path))
    }
}
