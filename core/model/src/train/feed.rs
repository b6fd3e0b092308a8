//! Where the batches of a training come from: taken in when a step wants them, or ahead of it on
//! another thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Instant;

use rectool_base::Batch;
use rectool_comm::Comm;
use rectool_data::Loader;
use rectool_embedding::{EmbeddingCollection, Exchanger, Prepared};

use super::vote::{Verdict, vote};
use crate::ranker::{Intake, milliseconds};
use crate::{ModelError, Overlap, PhaseTimes, Ranker};

/// A batch that all ranks agree to train on, or to stop before.
pub(super) struct Ready {
    pub(super) batch: Batch,
    pub(super) prepared: Prepared,
    pub(super) verdict: Verdict,
}

/// The batches of a training, one after another.
pub(super) enum Feed {
    /// Taken in by the training thread.
    Here(Source),
    /// Taken in by a [`Worker`].
    Ahead(Ahead),
}

/// Batches from a loader, each with a vote on it.
pub(super) struct Source {
    loader: Loader,
    intake: Intake,
    comm: Arc<dyn Comm>,
    interrupted: Arc<AtomicBool>,
}

impl Source {
    /// Takes the next batch in and votes on it.
    ///
    /// # Collective
    /// Every rank.
    fn next(&mut self, phases: &mut PhaseTimes) -> Result<Option<Ready>, ModelError> {
        let started = Instant::now();
        let next = self.loader.next();
        let loaded = Instant::now();
        let own = self.intake.take(next);
        let prepared = Instant::now();
        let (taken, verdict) = vote(&*self.comm, own, self.interrupted.load(Ordering::Relaxed))?;
        phases.data_ms += (loaded - started).as_secs_f64() * 1e3;
        phases.prepare_ms += (prepared - loaded).as_secs_f64() * 1e3;
        phases.all_reduce_ms += milliseconds(prepared);
        Ok(taken.map(|(batch, prepared)| Ready { batch, prepared, verdict }))
    }
}

impl Feed {
    /// The batches of `loader`, of which there are to be `count`, and who takes them in, if it is not
    /// the training thread.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn open(
        ranker: &mut Ranker,
        loader: Loader,
        overlap: Overlap,
        count: u64,
    ) -> Result<(Self, Option<Worker>), ModelError> {
        let comm = match overlap {
            Overlap::Off => Arc::clone(&ranker.comm),
            Overlap::Keys | Overlap::Stale => ranker.fork()?,
        };
        let exchanger = ranker.tables.exchanger(Arc::clone(&comm));
        let (intake, interrupted) = (ranker.intake(), Arc::default());
        let source = Source { loader, intake, comm, interrupted };
        if overlap == Overlap::Off {
            return Ok((Self::Here(source), None));
        }
        let interrupted = Arc::clone(&source.interrupted);
        // Without room: the worker begins with a batch once the one before it has been taken, so that
        // all ranks' workers come to the same collectives wherever training stops.
        let (to_step, ready) = sync_channel(0);
        let (used, from_step) = channel();
        let (answered, to_fetch) = channel();
        let (fetched, valued) = channel();
        let fetch = (overlap == Overlap::Stale).then_some((to_fetch, fetched));
        let worker = Worker { source, exchanger, left: count, to_step, from_step, fetch };
        let fetch = (overlap == Overlap::Stale).then_some((answered, valued));
        let ahead = Ahead { ready, used, interrupted, fetch, left: count, pending: None };
        Ok((Self::Ahead(ahead), Some(worker)))
    }

    /// Whether this rank was asked to stop; the vote on a batch that was not taken in yet says so.
    pub(super) fn set_interrupted(&self, interrupted: bool) {
        let flag = match self {
            Self::Here(source) => &source.interrupted,
            Self::Ahead(ahead) => &ahead.interrupted,
        };
        flag.store(interrupted, Ordering::Relaxed);
    }

    /// The next batch.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn next(
        &mut self,
        tables: &mut EmbeddingCollection,
        phases: &mut PhaseTimes,
    ) -> Result<Option<Ready>, ModelError> {
        match self {
            Self::Here(source) => source.next(phases),
            Self::Ahead(ahead) => {
                let started = Instant::now();
                let next = ahead.next(tables, phases);
                phases.data_ms += milliseconds(started);
                next
            }
        }
    }

    /// Has the embeddings of the next batch fetched while this one is computed, if the training is
    /// to do that.
    ///
    /// # Collective
    /// Every rank.
    pub(super) fn fetch(
        &mut self,
        tables: &mut EmbeddingCollection,
        phases: &mut PhaseTimes,
    ) -> Result<(), ModelError> {
        match self {
            Self::Ahead(ahead) => ahead.fetch(tables, phases),
            Self::Here(_) => Ok(()),
        }
    }

    /// Takes back the columns of a batch.
    pub(super) fn recycle(&self, batch: Batch) {
        match self {
            Self::Here(source) => source.loader.recycle(batch),
            // A worker that is done needs no more.
            Self::Ahead(ahead) => drop(ahead.used.send(batch)),
        }
    }
}

/// What the worker has done for a batch.
type Brought = (Result<Option<Ready>, ModelError>, PhaseTimes);
type Fetched = (Result<Prepared, ModelError>, f64);

/// The training thread's end.
pub(super) struct Ahead {
    ready: Receiver<Brought>,
    used: Sender<Batch>,
    interrupted: Arc<AtomicBool>,
    /// For a batch whose keys are exchanged, to have its embeddings fetched.
    fetch: Option<(Sender<Prepared>, Receiver<Fetched>)>,
    /// Batches still to come.
    left: u64,
    pending: Option<Pending>,
}

/// The next batch, before a step takes it.
enum Pending {
    Here(Result<Option<Ready>, ModelError>),
    /// With the worker.
    Away(Batch),
}

impl Ahead {
    fn next(
        &mut self,
        tables: &mut EmbeddingCollection,
        phases: &mut PhaseTimes,
    ) -> Result<Option<Ready>, ModelError> {
        self.fetch(tables, phases)?;
        if self.pending.is_none() {
            self.receive(phases);
        }
        match self.pending.take() {
            None => Ok(None),
            Some(Pending::Here(brought)) => brought,
            Some(Pending::Away(batch)) => {
                let fetched = self.fetch.as_ref().and_then(|(_, valued)| valued.recv().ok());
                let Some((prepared, exchange_ms)) = fetched else { return Ok(None) };
                phases.ahead_exchange_ms += exchange_ms;
                Ok(Some(Ready { batch, prepared: prepared?, verdict: Verdict::Proceed }))
            }
        }
    }

    fn receive(&mut self, phases: &mut PhaseTimes) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        // The worker ends without a word only if it panics, which whoever joins it sees.
        if let Ok((brought, times)) = self.ready.recv() {
            phases.ahead_prepare_ms += times.prepare_ms;
            phases.ahead_exchange_ms += times.all_reduce_ms;
            self.pending = Some(Pending::Here(brought));
        }
    }

    fn fetch(
        &mut self,
        tables: &mut EmbeddingCollection,
        phases: &mut PhaseTimes,
    ) -> Result<(), ModelError> {
        if self.fetch.is_none() {
            return Ok(());
        }
        if self.pending.is_none() {
            self.receive(phases);
        }
        match (self.pending.take(), &self.fetch) {
            (Some(Pending::Here(Ok(Some(ready)))), Some((answered, _)))
                if ready.verdict == Verdict::Proceed =>
            {
                let Ready { batch, mut prepared, .. } = ready;
                tables.answer(&mut prepared)?;
                // As in `receive`.
                drop(answered.send(prepared));
                self.pending = Some(Pending::Away(batch));
            }
            (pending, _) => self.pending = pending,
        }
        Ok(())
    }
}

/// Takes batches in on a thread of its own, and talks with those of the other ranks.
pub(super) struct Worker {
    source: Source,
    exchanger: Exchanger,
    left: u64,
    to_step: SyncSender<Brought>,
    from_step: Receiver<Batch>,
    fetch: Option<(Receiver<Prepared>, Sender<Fetched>)>,
}

impl Worker {
    /// Works until all batches are taken, one fails, or nobody takes them any more.
    pub(super) fn run(mut self) {
        while self.left > 0 {
            self.left -= 1;
            let mut times = PhaseTimes::default();
            let brought = self.bring(&mut times);
            let proceed = match &brought {
                Ok(Some(ready)) => ready.verdict == Verdict::Proceed,
                _ => false,
            };
            if self.to_step.send((brought, times)).is_err() || !proceed {
                return;
            }
            let Some((to_fetch, fetched)) = &self.fetch else { continue };
            let Ok(mut prepared) = to_fetch.recv() else { return };
            let started = Instant::now();
            let values = self.exchanger.values(&mut prepared);
            let result = values.map(|()| prepared).map_err(ModelError::from);
            let failed = result.is_err();
            if fetched.send((result, milliseconds(started))).is_err() || failed {
                return;
            }
        }
    }

    fn bring(&mut self, times: &mut PhaseTimes) -> Result<Option<Ready>, ModelError> {
        for batch in self.from_step.try_iter() {
            self.source.loader.recycle(batch);
        }
        let mut next = self.source.next(times)?;
        if let Some(ready) = next.as_mut().filter(|ready| ready.verdict == Verdict::Proceed) {
            let started = Instant::now();
            self.exchanger.keys(&mut ready.prepared)?;
            times.all_reduce_ms += milliseconds(started);
        }
        Ok(next)
    }
}
