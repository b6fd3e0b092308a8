//! The executor of `run`: trains and evaluates.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use rectool_base::PluginSource;
use rectool_comm::{Comm, Reduce, Values, agree};
use rectool_data::ReaderState;
use rectool_embedding::{PageFaults, TableTotals};
use rectool_model::{
    Checkpoint, Compute, Environment, Evaluation, MachineLimits, ModelError, Ranker, RecipeEntry,
    Stop, TrainingState, fit,
};

use crate::call::Call;
use crate::dataset::Split;
use crate::error::{Cause, Damaged, Place, RecipeError};
use crate::evaluation::{EvaluationRequest, grouped_names};
use crate::executor::{Executor, Metrics, TrainResult};
use crate::index::{
    BuildIndex, BuiltByScript, Existing, IndexError, IndexJob, InputColumns, SearchJob, Searched,
    VectorInput, build_index, search,
};
use crate::job::TrainJob;
use crate::network::{Model, Network};
use crate::placement::{Placement, Planning};
use crate::record::{Event, Placed, Progress, Record, Recorder, Writer};
use crate::report::SpeedLimit;
use crate::retrieval::{RetrievalRequest, TwoStageRequest};
use crate::retriever::{Retrieved, Retriever};
use crate::run_dir::{Resume, RunDir, from_rank_0};

/// Batch of an evaluation of a model that was not trained in this run.
const EVALUATION_BATCH: usize = 8_192;

/// A record is shared by one script, whose functions run one after another.
const FREE: &str = "a script runs one function at a time";

/// What a run trains with.
pub(crate) struct Runner {
    pub(crate) comm: Arc<dyn Comm>,
    pub(crate) planning: Planning,
    pub(crate) compute: Compute,
    pub(crate) plugins: Arc<dyn PluginSource>,
    /// File of the recipe.
    pub(crate) recipe: PathBuf,
    pub(crate) recipe_text: String,
    pub(crate) run_dir: Option<PathBuf>,
    pub(crate) resume: Option<Resume>,
    /// The checkpoint or run that the user named to go on from, whatever `runs/latest` comes to mean.
    pub(crate) weights: Option<PathBuf>,
    pub(crate) interrupted: Arc<AtomicBool>,
    pub(crate) progress: Box<dyn Progress>,
    pub(crate) record: Arc<Mutex<Record>>,
    pub(crate) folder: Option<RunDir>,
    pub(crate) models: Vec<Trained>,
    pub(crate) trainings: usize,
    pub(crate) indexes: usize,
}

/// A model with its weights.
pub(crate) struct Trained {
    network: Arc<Network>,
    ranker: Ranker,
    batch_size: usize,
    /// The split it was last trained on.
    last_train: Option<rectool_data::Split>,
    /// Where its tables live; `None`: row-wise, as it was evaluated before it was trained.
    placement: Option<Placement>,
}

impl Runner {
    /// The run's folder, made by the first call.
    ///
    /// # Collective
    /// The first time.
    fn folder(&mut self) -> Result<RunDir, RecipeError> {
        if let Some(folder) = &self.folder {
            return Ok(folder.clone());
        }
        let (named, resume) = (self.run_dir.as_deref(), self.resume.as_ref());
        let folder = RunDir::create(&self.comm, &self.recipe, named, resume)?;
        self.record.lock().expect(FREE).run_dir = Some(folder.path().to_owned());
        self.folder = Some(folder.clone());
        if self.comm.rank() == 0 {
            folder.write("recipe.rhai", self.recipe_text.as_bytes())?;
            self.progress.started(folder.path());
        }
        Ok(folder)
    }

    /// Position of the model among those that have weights; they get their first ones here. Its
    /// tables are placed for `job`; one that is not trained needs no plan.
    ///
    /// # Collective
    /// Every rank.
    fn position(
        &mut self,
        call: &Call,
        model: &Model,
        job: Option<&TrainJob>,
    ) -> Result<usize, RecipeError> {
        let known = self.models.iter().position(|known| Arc::ptr_eq(&known.network, &model.0));
        if let Some(at) = known {
            return Ok(at);
        }
        let network = model.0.clone();
        let (comm, compute) = (self.comm.clone(), self.compute);
        let plugins = self.plugins.clone();
        let environment = Environment { comm, compute, plugins };
        let schema = network.features.dataset.0.schema();
        let placement = job.map(|job| self.planning.place(&network, job)).transpose()?;
        let spec = network.spec.clone();
        let made = match &placement {
            Some(placed) => {
                Ranker::with_plan(spec, schema, environment, &placed.plan.sharding_plan())
            }
            None => Ranker::new(spec, schema, environment),
        };
        let made = made.map_err(|error| RecipeError::refused(&network.call.place, error));
        let ranker = agree(&*self.comm, made)?;
        tracing::debug!("{}: {} dense weights", call.place, ranker.dense_parameters());
        let (batch_size, last_train) = (EVALUATION_BATCH, None);
        self.models.push(Trained { network, ranker, batch_size, last_train, placement });
        let position = self.models.len() - 1;
        if job.is_none() {
            self.restore(call, position)?;
        }
        Ok(position)
    }

    /// Gives a model that is used before anything is trained the weights that the user named, if they are of it.
    ///
    /// # Collective
    /// Every rank.
    fn restore(&mut self, call: &Call, model: usize) -> Result<(), RecipeError> {
        let Some(path) = self.weights.as_ref().filter(|_| self.trainings == 0) else {
            return Ok(());
        };
        let ranker = &mut self.models[model].ranker;
        let loaded = Checkpoint::of_run(path).and_then(|checkpoint| {
            if !checkpoint.is_of(ranker.spec()) {
                return Ok(false);
            }
            checkpoint.load(ranker).map(|_| true)
        });
        let loaded = loaded.map_err(|error| RecipeError::refused(&call.place, error));
        let loaded = agree(&*self.comm, loaded)?;
        let (place, path) = (&call.place, path.display());
        let mut record = self.record.lock().expect(FREE);
        record.resumed = true;
        if loaded {
            tracing::info!("{place}: using the weights of {path}");
        } else if self.comm.rank() == 0 {
            let warning = format!("{place}: {path} is of another model: this one is not trained");
            tracing::warn!("{warning}");
            record.warnings.push(warning);
        }
        Ok(())
    }

    /// That the checkpoint at `path` could not be loaded, with an earlier one that is whole, if it is damaged.
    fn not_loaded(
        &self,
        call: &Call,
        (model, path): (usize, &Path),
        cause: ModelError,
    ) -> RecipeError {
        let spec = self.models[model].ranker.spec();
        // Whether others are whole is a matter of reading them: one rank does it.
        let looks = self.comm.rank() == 0;
        let Some(earlier) = looks.then(|| Checkpoint::whole_before(path, spec)).flatten() else {
            return RecipeError::refused(&call.place, cause);
        };
        let (damaged, earlier) = (path.display(), earlier.display());
        let remedy = match (&self.resume, &self.run_dir) {
            (Some(Resume::From(_)), None) => {
                format!("an earlier one is whole: go on with `--resume {earlier}`")
            }
            (Some(Resume::From(_)), Some(_)) => format!(
                "an earlier one is whole: go on with `--resume {earlier}`, in another --run-dir"
            ),
            _ => format!("{earlier} is whole: move {damaged} away, and go on from there"),
        };
        let cause = Cause::new(Damaged { cause, remedy });
        RecipeError::Refused { place: call.place.clone(), cause }
    }

    /// The checkpoint that the training `at` goes on from: rank 0 looks, all get the answer.
    ///
    /// # Collective
    /// Every rank.
    fn checkpoint(
        &self,
        call: &Call,
        folder: &RunDir,
        at: usize,
    ) -> Result<Option<PathBuf>, RecipeError> {
        let found = match &self.resume {
            _ if self.comm.rank() != 0 => Ok(None),
            Some(Resume::Auto) => {
                let folder = folder.checkpoints(at);
                // One that was being replaced when its process was killed gets its name back.
                let cleaned = rectool_model::clean_checkpoints(&folder);
                cleaned.map(|()| rectool_model::latest(&folder))
            }
            Some(Resume::From(path)) if at == 0 => Ok(Some(path.clone())),
            _ => Ok(None),
        };
        let own = found.map_err(|error| RecipeError::failed(&call.place, error));
        let own = agree(&*self.comm, own)?.map(|path| path.display().to_string());
        let path = from_rank_0(&*self.comm, &own.unwrap_or_default())?;
        Ok((!path.is_empty()).then(|| PathBuf::from(path)))
    }

    /// Loads the checkpoint into the model.
    ///
    /// # Collective
    /// Every rank.
    fn load(
        &mut self,
        (call, job): (&Call, &TrainJob),
        model: usize,
        path: &Path,
    ) -> Result<TrainingState, RecipeError> {
        let ranker = &mut self.models[model].ranker;
        let loaded = Checkpoint::open(path).and_then(|checkpoint| checkpoint.load(ranker));
        let loaded = loaded.map_err(|cause| self.not_loaded(call, (model, path), cause));
        let state = agree(&*self.comm, loaded)?;
        self.record.lock().expect(FREE).resumed = true;
        tracing::info!("going on from {}", path.display());
        if state.is_of_other_data(&job.train.rows) && self.comm.rank() == 0 {
            let ReaderState { step, epoch, .. } = state.reader;
            let warning = format!(
                "{}: {} was trained on other data: training goes on after step {step} of epoch {epoch}, but not with the \
                 rows that would have come next",
                call.place,
                path.display()
            );
            tracing::warn!("{warning}");
            self.record.lock().expect(FREE).warnings.push(warning);
        }
        Ok(state)
    }

    /// The model's tables over all ranks.
    ///
    /// # Collective
    /// Every rank.
    fn totals(&self, call: &Call, model: usize) -> Result<Vec<TableTotals>, RecipeError> {
        let totals = self.models[model].ranker.tables().totals();
        totals.map_err(|error| RecipeError::failed(&call.place, error.into()))
    }

    /// Page faults of all ranks since `before`, and those of `earlier` trainings, if the systems tell.
    ///
    /// # Collective
    /// Every rank.
    fn page_faults(
        &self,
        before: Option<PageFaults>,
        earlier: Option<PageFaults>,
    ) -> Result<Option<PageFaults>, RecipeError> {
        let own = PageFaults::of_process().zip(before).map(|(now, before)| now.since(before));
        let PageFaults { minor, major } = own.unwrap_or_default();
        let mut sums = [minor, major, u64::from(own.is_none())];
        self.comm.all_reduce(Values::U64(&mut sums), Reduce::Sum)?;
        let [minor, major, silent] = sums;
        let all = PageFaults { minor, major }.plus(earlier.unwrap_or_default());
        Ok((silent == 0).then_some(all))
    }

    /// The speed beside the machine's limits, on rank 0 and the CPU.
    fn speed_limit(&self, model: usize, samples_per_s: f64) -> Option<SpeedLimit> {
        if self.comm.rank() != 0 || self.compute != Compute::Fused || samples_per_s <= 0.0 {
            return None;
        }
        let (limits, work) = (MachineLimits::measure(), self.models[model].ranker.row_work());
        let shortest = limits.row_seconds(work) / self.comm.size() as f64;
        Some(SpeedLimit {
            gflops: limits.gflops,
            memory_gb_per_s: limits.memory_gb_per_s,
            sample_mflop: work.flops / 1e6,
            sample_kb: work.bytes / 1e3,
            share: shortest * samples_per_s,
        })
    }

    /// Opens `metrics.jsonl` on rank 0, and takes the lines of earlier steps into the record.
    fn writer(&self, folder: &RunDir, training: usize, step: u64) -> Option<Writer> {
        if self.comm.rank() != 0 {
            return None;
        }
        let mut record = self.record.lock().expect(FREE);
        match Writer::open(folder.path(), training, step) {
            Ok((writer, earlier)) => {
                record.lines = earlier;
                Some(writer)
            }
            Err(error) => {
                let warning = format!("metrics.jsonl: {error}");
                tracing::warn!("{warning}");
                record.warnings.push(warning);
                None
            }
        }
    }

    /// The splits with what users have seen.
    fn seen(&self, model: usize, request: &RetrievalRequest) -> Vec<rectool_data::Split> {
        match &request.seen {
            Some(seen) => seen.iter().map(|split| split.rows.clone()).collect(),
            None => self.models[model].last_train.iter().cloned().collect(),
        }
    }

    /// Keeps what was retrieved for the report; gives its metrics.
    ///
    /// # Collective
    /// Every rank: what one of them cannot read the others can, and all of them fail.
    fn keep(
        &self,
        call: &Call,
        judged: Result<Retrieved, ModelError>,
    ) -> Result<Vec<(String, f64)>, RecipeError> {
        let judged = agree(&*self.comm, judged);
        let judged = judged.map_err(|error| RecipeError::failed(&call.place, error))?;
        let metrics = judged.outcome.metrics();
        self.record.lock().expect(FREE).retrieved.push(judged);
        Ok(metrics)
    }

    fn evaluation_of(
        &mut self,
        call: &Call,
        model: usize,
        (split, group): (&Split, Option<&str>),
    ) -> Result<Evaluation, RecipeError> {
        let Trained { ranker, batch_size, .. } = &mut self.models[model];
        let done = ranker.evaluate_by(group, &split.rows, *batch_size, 1);
        done.map_err(|error| RecipeError::failed(&call.place, error))
    }
}

impl Executor for Runner {
    fn train(
        &mut self,
        call: &Call,
        model: &Model,
        job: &TrainJob,
    ) -> Result<TrainResult, RecipeError> {
        let folder = self.folder()?;
        let at = self.trainings;
        self.trainings += 1;
        let position = self.position(call, model, Some(job))?;
        let resume = match self.checkpoint(call, &folder, at)? {
            Some(path) => Some(self.load((call, job), position, &path)?),
            None => None,
        };
        let step = resume.as_ref().map_or(0, |state| state.steps);
        let writer = self.writer(&folder, at + 1, step);
        let record = self.record.clone();
        let mut record = record.lock().expect(FREE);
        let checkpoints = folder.checkpoints(at);
        let fitted = rectool_model::TrainJob {
            spec: &job.spec,
            train: &job.train.rows,
            valid: job.valid.as_ref().map(|split| &split.rows),
            checkpoints: Some(&checkpoints),
            resume,
            recipe: Some(RecipeEntry::of(&self.recipe, &self.recipe_text)),
        };
        let first = self.comm.rank() == 0;
        let mut recorder = Recorder {
            training: at + 1,
            record: &mut record,
            writer,
            progress: first.then_some(&mut *self.progress),
            interrupted: self.interrupted.clone(),
        };
        let trained = &mut self.models[position];
        trained.batch_size = job.spec.batch_size;
        trained.last_train = Some(job.train.rows.clone());
        let faults = PageFaults::of_process();
        let summary = fit(&mut trained.ranker, &fitted, &mut recorder);
        if first {
            self.progress.trained();
        }
        let summary = summary.map_err(|error| RecipeError::failed(&call.place, error))?;
        record.page_faults = self.page_faults(faults, record.page_faults)?;
        record.samples_per_s = summary.samples_per_s;
        record.limit = self.speed_limit(position, summary.samples_per_s);
        record.tables = self.totals(call, position)?;
        record.placed = self.models[position].placement.clone().map(|placement| Placed {
            placement,
            steps: summary.state.steps - step,
            measured: record.typical_step(at + 1, step),
        });
        if summary.stop == Stop::Interrupted {
            return Err(RecipeError::Interrupted { checkpoint: summary.checkpoint });
        }
        let last = record.lines.iter().rev().find_map(|line| match &line.event {
            Event::Evaluation(report) if line.training == at + 1 => Some(&report.evaluation),
            _ => None,
        });
        let best = summary.state.best.as_ref().map(|best| &best.evaluation);
        let group = job.spec.group_by.as_deref();
        let valid = match (best.or(last).cloned(), &job.valid) {
            (None, Some(split)) => Some(self.evaluation_of(call, position, (split, group))?),
            (judged, _) => judged.filter(|_| job.valid.is_some()),
        };
        let named = |valid| metrics(model.0.metric_names(), (model, group), &valid);
        let valid = valid.map(named).unwrap_or_default();
        Ok(TrainResult {
            steps: summary.state.steps,
            samples: summary.state.samples,
            seconds: summary.train_seconds,
            samples_per_s: summary.samples_per_s,
            valid,
        })
    }

    fn evaluate(
        &mut self,
        call: &Call,
        model: &Model,
        request: &EvaluationRequest,
    ) -> Result<Metrics, RecipeError> {
        self.folder()?;
        let position = self.position(call, model, None)?;
        let group = request.group_by.as_deref();
        let evaluation = self.evaluation_of(call, position, (&request.split, group))?;
        let found = metrics(model.0.row_metric_names(), (model, group), &evaluation);
        self.record.lock().expect(FREE).evaluated = Some(evaluation);
        Ok(found)
    }

    fn retrieve(
        &mut self,
        call: &Call,
        model: &Model,
        request: &RetrievalRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError> {
        self.folder()?;
        let position = self.position(call, model, None)?;
        let seen = self.seen(position, request);
        let comm = Arc::clone(&self.comm);
        let retriever = Retriever { comm: &*comm, request, seen };
        let judged = retriever.judge(&mut self.models[position].ranker);
        self.keep(call, judged)
    }

    fn retrieve_and_rank(
        &mut self,
        call: &Call,
        (model, ranker): (&Model, &Model),
        request: &TwoStageRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError> {
        self.folder()?;
        let first = self.position(call, model, None)?;
        let second = self.position(call, ranker, None)?;
        let seen = self.seen(first, &request.retrieval);
        let comm = Arc::clone(&self.comm);
        let retriever = Retriever { comm: &*comm, request: &request.retrieval, seen };
        let stages = match self.models.get_disjoint_mut([first, second]) {
            Ok([towers, ranker]) => (&mut towers.ranker, Some(&mut ranker.ranker)),
            // Heads of the towers order what these find.
            Err(_) => (&mut self.models[first].ranker, None),
        };
        let judged = retriever.judge_both(stages, request);
        self.keep(call, judged)
    }

    fn index(&mut self, call: &Call, job: &IndexJob) -> Result<BuiltByScript, RecipeError> {
        let folder = self.folder()?;
        self.indexes += 1;
        let path = job.path.clone().unwrap_or_else(|| folder.index(self.indexes));
        let open = || -> Result<_, IndexError> {
            let input = VectorInput::open(&job.inputs, &job.columns)?;
            let columns = InputColumns::of_queries();
            let queries = job.queries.as_ref();
            let queries =
                queries.map(|path| VectorInput::open(std::slice::from_ref(path), &columns));
            Ok((input, queries.transpose()?))
        };
        let failed = |error| index_failed(&call.place, error);
        let (input, queries) = agree(&*self.comm, open()).map_err(failed)?;
        let build = BuildIndex {
            out: &path,
            input: &input,
            queries: queries.as_ref(),
            options: &job.options,
            parts: job.parts.unwrap_or(self.comm.size()),
            existing: Existing::Replace,
        };
        let built = build_index(&build, &*self.comm, &()).map_err(failed)?;
        if self.comm.rank() == 0 {
            let (path, seconds) = (path.display(), built.seconds);
            tracing::info!("index {path}: {} vectors, {seconds:.1} s", built.stats.vectors);
        }
        Ok(BuiltByScript { path, rows: built.stats.vectors })
    }

    fn search(
        &mut self,
        call: &Call,
        index: &BuiltByScript,
        job: &SearchJob,
    ) -> Result<Searched, RecipeError> {
        search(&index.path, job, &*self.comm).map_err(|error| index_failed(&call.place, error))
    }
}

/// A failure around an index at `place`.
fn index_failed(place: &Place, error: IndexError) -> RecipeError {
    match error {
        IndexError::Comm(error) => RecipeError::Ranks(error),
        error => RecipeError::Failed { place: place.clone(), cause: Cause::new(error) },
    }
}

/// The metrics of these names, and those by groups; one that is not defined is NaN, and `null` in
/// `result.json`.
fn metrics(
    names: Vec<String>,
    (model, group_by): (&Model, Option<&str>),
    evaluation: &Evaluation,
) -> Metrics {
    let names = names.into_iter().chain(grouped_names(model, group_by));
    let valued = |name: String| {
        let value = evaluation.metric(&name).unwrap_or(f64::NAN);
        (name, value)
    };
    names.map(valued).chain([("samples".to_owned(), evaluation.rows as f64)]).collect()
}
