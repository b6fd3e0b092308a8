//! The training loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use rectool_base::{Batch, quoted_list};
use rectool_comm::Comm;
use rectool_data::{OrderOptions, ReaderState, Split};

use super::feed::{Feed, Ready};
use super::read::{Reading, open_loader};
use super::state::{Best, TrainingState, fingerprint};
use super::vote::Verdict;
use super::window::Window;
use crate::checkpoint::{self, CheckpointFolder, Form, RecipeEntry};
use crate::joint::Joint;
use crate::learning::Tally;
use crate::ranker::StepRule;
use crate::{
    Evaluation, EvaluationReport, HeadLoss, ModelError, Observer, PhaseTimes, Ranker, RetrievalJob,
    RetrievalOptions, Running, StepReport, TablesReport, TrainSpec,
};

/// One training: options, data, and where its checkpoints go.
pub struct TrainJob<'a> {
    /// Options.
    pub spec: &'a TrainSpec,
    /// Rows to train on.
    pub train: &'a Split,
    /// Rows to evaluate on while training.
    pub valid: Option<&'a Split>,
    /// Folder for checkpoints; `None`: none are written.
    pub checkpoints: Option<&'a Path>,
    /// Where to go on, from a loaded checkpoint.
    pub resume: Option<TrainingState>,
    /// What checkpoints say of where the job comes from.
    pub recipe: Option<RecipeEntry>,
}

/// Why a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// All epochs or steps are done.
    Finished,
    /// The validation metric stopped improving; the best weights are back.
    Early,
    /// A rank was interrupted; a checkpoint was written.
    Interrupted,
}

/// What a training came to.
#[derive(Clone, Debug)]
pub struct FitSummary {
    /// Why it ended.
    pub stop: Stop,
    /// Where it stands.
    pub state: TrainingState,
    /// Time in training steps, evaluations and checkpoints left out.
    pub train_seconds: f64,
    /// Samples per second of those, over all ranks, of this process's own steps.
    pub samples_per_s: f64,
    /// Where this rank's time went.
    pub phases: PhaseTimes,
    /// The last checkpoint written.
    pub checkpoint: Option<PathBuf>,
}

/// Trains `ranker`.
///
/// # Errors
/// On bad options, bad data, divergence, a full disk, or a failing peer. Checkpoints written before
/// stay usable.
///
/// # Collective
/// Every rank, with the same job.
///
/// # Determinism
/// Same seed, ranks and threads: the same checkpoints, byte for byte, also if the training was
/// interrupted and resumed in between (with [`crate::Overlap::Stale`] only if it was resumed from a checkpoint that was due).
pub fn fit(
    ranker: &mut Ranker,
    job: &TrainJob<'_>,
    observer: &mut dyn Observer,
) -> Result<FitSummary, ModelError> {
    job.spec.check(job.train.rows())?;
    if job.spec.early_stop.is_some() && (job.valid.is_none() || job.checkpoints.is_none()) {
        let expected = "a validation split and a folder for checkpoints";
        return Err(ModelError::option("early_stop", "given", expected));
    }
    if let Some(stop) = &job.spec.early_stop {
        let (spec, predictions) = (ranker.spec(), ranker.predictions());
        let mut known = spec.metric_names(&predictions);
        if job.spec.group_by.is_some() {
            known.extend(spec.grouped_metric_names(&predictions));
        }
        if !known.contains(&stop.name()) {
            let known = quoted_list(known.iter().map(String::as_str));
            let expected = format!("one that the model has: {known}");
            return Err(ModelError::option("early_stop.metric", stop.name(), expected));
        }
    }
    let order = OrderOptions { seed: job.spec.seed, shuffle: job.spec.shuffle };
    let batch_size = job.spec.batch_size;
    let start = job.resume.as_ref().map(|state| state.reader);
    let (threads, epochs) = (job.spec.loader_threads, job.spec.epochs);
    let reading = Reading { order, batch_size, threads, epochs, start };
    ranker.take_items(job.train)?;
    let loader = open_loader(ranker, job.train, &reading)?;
    ranker.reserve(batch_size)?;
    let steps_done = job.resume.as_ref().map_or(0, |state| state.steps);
    let steps_total = steps_total(job);
    ranker.tables.set_wire(job.spec.wire);
    let steps_left = steps_total.saturating_sub(steps_done);
    let (feed, worker) = Feed::open(ranker, loader, job.spec.overlap, steps_left)?;
    let mut run = Run::new(ranker, job, observer);
    let worker = worker.map(|worker| std::thread::spawn(|| worker.run()));
    // The feed ends with it, and so does the worker.
    let stop = run.train(feed, steps_total);
    // But after an error that only this rank has, its worker may wait for that of a rank which waits for this one:
    // nobody would ever hear of the error. Whoever does ends the other ranks, and this worker with them.
    let worker = worker.filter(|_| stop.is_ok() || run.comm.size() == 1);
    if let Some(Err(panic)) = worker.map(JoinHandle::join) {
        std::panic::resume_unwind(panic);
    }
    run.finish(stop?)
}

/// Steps after which `job` is done: those of its epochs that its data still has batches for, on top of those done.
fn steps_total(job: &TrainJob<'_>) -> u64 {
    let (spec, rows) = (job.spec, job.train.rows());
    let Some(state) = &job.resume else { return spec.steps_total(rows) };
    // The checkpoint may stand in an epoch of more or fewer steps than those of the data of now.
    let epochs_left = spec.epochs.saturating_sub(state.reader.epoch);
    let left = (spec.steps_per_epoch(rows) * epochs_left).saturating_sub(state.reader.step);
    let all = state.steps + left;
    if spec.steps_max == 0 { all } else { all.min(spec.steps_max) }
}

/// A training under way.
struct Run<'a, 'b> {
    ranker: &'a mut Ranker,
    job: &'a TrainJob<'b>,
    observer: &'a mut dyn Observer,
    comm: Arc<dyn Comm>,
    state: TrainingState,
    /// As [`TrainingState::data`], of the split that is trained on.
    data: String,
    window: Window,
    phases: PhaseTimes,
    train_seconds: f64,
    samples_own: u64,
    folder: Option<CheckpointFolder>,
    checkpoint: Option<PathBuf>,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(ranker: &'a mut Ranker, job: &'a TrainJob<'b>, observer: &'a mut dyn Observer) -> Self {
        let fresh = || TrainingState {
            reader: ReaderState::new(job.spec.seed, job.spec.batch_size as u64),
            data: None,
            labelled: false,
            steps: 0,
            samples: 0,
            best: None,
            evaluations_since_best: 0,
        };
        let comm = Arc::clone(&ranker.comm);
        Self {
            ranker,
            job,
            observer,
            comm,
            state: job.resume.clone().unwrap_or_else(fresh),
            data: fingerprint(job.train),
            window: Window::default(),
            phases: PhaseTimes::default(),
            train_seconds: 0.0,
            samples_own: 0,
            folder: job.checkpoints.map(|path| CheckpointFolder {
                path: path.to_owned(),
                kept: job.spec.checkpoints_kept,
                full_every: job.spec.checkpoint_full_every,
                recipe: job.recipe.clone(),
            }),
            checkpoint: None,
        }
    }

    fn train(&mut self, mut feed: Feed, steps_total: u64) -> Result<Stop, ModelError> {
        let spec = self.job.spec;
        let steps_per_epoch = spec.steps_per_epoch(self.job.train.rows());
        self.settle_folder()?;
        if self.stopped_early() {
            return Ok(Stop::Early);
        }
        while self.state.steps < steps_total {
            let started = Instant::now();
            feed.set_interrupted(self.observer.interrupted());
            let next = feed.next(&mut self.ranker.tables, &mut self.window.phases)?;
            let Some(Ready { batch, prepared, verdict }) = next else { break };
            if verdict == Verdict::Interrupt {
                return Ok(Stop::Interrupted);
            }
            let rate = spec.schedule.rate(self.state.steps);
            let rule = StepRule { step: self.state.steps, rate, clip_norm: spec.clip_norm };
            self.ranker.admit(&batch, prepared)?;
            // What goes on from a checkpoint fetches rows as they are in it, so do the same now.
            let save = due(self.state.steps + 1, spec.checkpoint_every, false);
            self.ranker.step(&batch, rule, &mut self.window, |tables, phases| {
                if save { Ok(()) } else { feed.fetch(tables, phases) }
            })?;
            self.advance(&batch);
            feed.recycle(batch);
            self.window.seconds += started.elapsed().as_secs_f64();

            let last = self.state.steps == steps_total;
            let epoch_done = self.state.reader.step == steps_per_epoch;
            let evaluate = last || due(self.state.steps, spec.eval_every, epoch_done);
            if last || evaluate || save || self.state.steps.is_multiple_of(spec.report_every) {
                self.report(rate, steps_total)?;
            }
            if evaluate && self.evaluate()? {
                return Ok(Stop::Early);
            }
            if save && !last {
                self.save(Form::Due)?;
            }
        }
        Ok(Stop::Finished)
    }

    /// Clears the folder of what is none of this training's, and looks for the best evaluation's weights.
    fn settle_folder(&mut self) -> Result<(), ModelError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        folder.clean(&*self.comm)?;
        if self.job.spec.early_stop.is_none() {
            // A training that stops at no best one goes back to none, whatever it was before.
            self.state.best = None;
        }
        if self.state.best.is_none() {
            self.state.evaluations_since_best = 0;
        }
        if folder.settle_best(self.ranker, &self.state)? {
            return Ok(());
        }
        if let Some(best) = self.state.best.take() {
            self.state.evaluations_since_best = 0;
            self.observer.on_warning(&format!(
                "the best evaluation's weights, of step {}, are lost: it does not count",
                best.step
            ));
        }
        Ok(())
    }

    fn advance(&mut self, batch: &Batch) {
        self.state.reader = self.state.reader.after(batch);
        if self.state.data.as_ref() != Some(&self.data) {
            self.state.data = Some(self.data.clone());
        }
        self.state.steps += 1;
        self.state.samples += batch.rows_global as u64;
        self.samples_own += batch.rows_global as u64;
    }

    /// Ends the window: tells the observer, and stops a training that diverged. One in which no row has a label goes on,
    /// unless none ever had one by the end of an epoch.
    fn report(&mut self, rate: f32, steps_total: u64) -> Result<(), ModelError> {
        let window = std::mem::take(&mut self.window);
        let running = window.tally.all.over_ranks(&*self.comm)?;
        let heads = window.tally.heads.iter().map(|head| head.over_ranks(&*self.comm));
        let heads = heads.collect::<Result<Vec<_>, _>>()?;
        let (learning, tally) = (&self.ranker.learning, Tally { all: running, heads });
        let Some(loss) = learning.total(&tally) else {
            let steps_per_epoch = self.job.spec.steps_per_epoch(self.job.train.rows());
            let over = self.state.steps == steps_total || self.state.reader.step == steps_per_epoch;
            self.window = window;
            return if over && !self.state.labelled { Err(self.unlabelled()) } else { Ok(()) };
        };
        self.state.labelled = true;
        let (joint, heads) = (learning.joint(), tally.heads);
        let beside_heads = self.ranker.spec.retrieval.is_some() && joint.is_some();
        let label = |(label, head): (&str, &Running)| HeadLoss {
            label: label.to_owned(),
            loss: head.mean_loss(),
        };
        let heads = joint.into_iter().flat_map(Joint::labels).zip(&heads).map(label).collect();
        self.phases.add(&window.phases);
        self.train_seconds += window.seconds;
        let report = StepReport {
            step: self.state.steps,
            steps_total,
            epoch: self.state.reader.epoch,
            samples: self.state.samples,
            loss,
            objective: running.mean_loss().filter(|_| beside_heads),
            heads,
            rate,
            calibration: running.calibration(),
            samples_per_s: running.rows as f64 / window.seconds,
            phases: window.phases,
        };
        self.observer.on_step(&report);
        if loss.is_finite() {
            return Ok(());
        }
        Err(ModelError::Diverged { step: self.state.steps, loss })
    }

    /// That there was nothing to learn from.
    fn unlabelled(&self) -> ModelError {
        let step = self.state.steps;
        if self.ranker.spec.retrieval.is_none() {
            let found = format!("missing for every head in all rows up to step {step}");
            return ModelError::option("label", found, "one in some rows");
        }
        // Only towers have rows that are no choices.
        let found = format!("0 or less in all rows up to step {step}");
        ModelError::option("label", found, "above 0 in rows that are choices")
    }

    /// Evaluates on the validation split, if there is one, and tells of the tables; true if early stopping says stop.
    fn evaluate(&mut self) -> Result<bool, ModelError> {
        let tables = self.ranker.tables.totals()?;
        self.observer.on_tables(&TablesReport { step: self.state.steps, tables });
        let Some(valid) = self.job.valid else { return Ok(false) };
        let spec = self.job.spec;
        let started = Instant::now();
        let (group, batch_size) = (spec.group_by.as_deref(), spec.batch_size);
        let mut evaluation =
            self.ranker.evaluate_by(group, valid, batch_size, spec.loader_threads)?;
        if self.ranker.spec().is_contrastive() {
            self.retrieve(valid, &mut evaluation)?;
        }
        let old = self.state.best.as_ref().map(|best| &best.evaluation);
        let best = spec.early_stop.as_ref().is_some_and(|stop| stop.improves(&evaluation, old));
        if best {
            let evaluation = evaluation.clone();
            self.state.best = Some(Best { step: self.state.steps, evaluation });
            self.state.evaluations_since_best = 0;
        } else if spec.early_stop.is_some() {
            self.state.evaluations_since_best += 1;
        }
        self.observer.on_evaluation(&EvaluationReport {
            step: self.state.steps,
            epoch: self.state.reader.epoch,
            split: valid.name().to_owned(),
            evaluation,
            best,
            seconds: started.elapsed().as_secs_f64(),
        });
        if best && let Some(folder) = &self.folder {
            folder.save_best(self.ranker, &self.state)?;
        }
        Ok(self.stopped_early())
    }

    /// Adds how well the items of `valid` are found among those of both splits.
    fn retrieve(&mut self, valid: &Split, evaluation: &mut Evaluation) -> Result<(), ModelError> {
        let (spec, train) = (self.job.spec, self.job.train);
        let job = RetrievalJob {
            test: valid,
            seen: &[train],
            items: &[train, valid],
            loader_threads: spec.loader_threads,
        };
        let options = RetrievalOptions { ks: vec![spec.eval_k], seed: spec.seed };
        let found = self.ranker.evaluate_retrieval(&job, &options)?;
        let figure = |name: &str| Some(found.metrics[&format!("{name}@{}", spec.eval_k)].mean);
        evaluation.recall = figure("recall");
        evaluation.ndcg = figure("ndcg");
        evaluation.hit_rate = figure("hit_rate");
        Ok(())
    }

    fn stopped_early(&self) -> bool {
        let patience = self.job.spec.early_stop.as_ref().map(|stop| stop.patience);
        patience.is_some_and(|patience| self.state.evaluations_since_best >= patience.max(1))
    }

    fn save(&mut self, form: Form) -> Result<(), ModelError> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let path = folder.save(self.ranker, &self.state, form)?;
        self.observer.on_checkpoint(&path, self.state.steps);
        self.checkpoint = Some(path);
        Ok(())
    }

    /// Writes the last checkpoint, and goes back to the best weights if early stopping is on.
    fn finish(mut self, stop: Stop) -> Result<FitSummary, ModelError> {
        // Steps that no report is about.
        self.phases.add(&self.window.phases);
        self.train_seconds += self.window.seconds;
        // What is handed on stands alone; what an interrupted training goes on from need not.
        self.save(if stop == Stop::Interrupted { Form::Due } else { Form::Full })?;
        let best = self.state.best.as_ref().filter(|best| best.step != self.state.steps);
        if let (Some(best), Some(folder), true) = (best, &self.folder, stop != Stop::Interrupted) {
            checkpoint::load_weights(self.ranker, &folder.best_path(best.step))?;
        }
        let samples_per_s = self.samples_own as f64 / self.train_seconds.max(1e-9);
        Ok(FitSummary {
            stop,
            state: self.state,
            train_seconds: self.train_seconds,
            samples_per_s,
            phases: self.phases,
            checkpoint: self.checkpoint,
        })
    }
}

/// Whether something that happens every `every` steps, or at an epoch's end if `every` is 0 and
/// `or_epoch_end` holds, is due.
fn due(steps: u64, every: u64, or_epoch_end: bool) -> bool {
    if every == 0 { or_epoch_end } else { steps.is_multiple_of(every) }
}
