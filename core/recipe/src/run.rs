//! `rectool run` and `rectool check`: from a script file to what it leaves.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use rectool_comm::{Comm, Solo, agree};
use rectool_model::DeviceChoice;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::calibrated::Calibrate;
use crate::engine::{new_engine, run_script};
use crate::error::{Place, RecipeError};
use crate::imports::SearchPath;
use crate::library::{Library, library};
use crate::outcome::{Ending, write_files};
use crate::params::Parameters;
use crate::placement::Planning;
use crate::plan::{Plan, Planner, PluginPlan};
use crate::record::{Progress, Record};
use crate::report::RunStatus;
use crate::run_dir::{Resume, RunDir, check_free};
use crate::runner::Runner;
use crate::session::Session;

/// A recipe and what the command line says about it.
#[derive(Clone, Debug, Default)]
pub struct RecipeOptions {
    /// The script.
    pub recipe: PathBuf,
    /// `name=value` pairs.
    pub set: Vec<String>,
    /// Further folders for `import`.
    pub recipe_paths: Vec<PathBuf>,
    /// Further folders for plugins.
    pub plugin_paths: Vec<PathBuf>,
    /// What is known of this machine and its communicator, to plan with.
    pub calibrate: Calibrate,
}

/// How to run a recipe.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// What to run.
    pub recipe: RecipeOptions,
    /// Folder for the run; `None`: a new one in `runs/`.
    pub run_dir: Option<PathBuf>,
    /// Where to go on from; `None`: from the beginning.
    pub resume: Option<Resume>,
    /// Device of the dense layers.
    pub device: DeviceChoice,
    /// Threads of this rank; `None`: its share of the machine's cores.
    pub threads: Option<usize>,
    /// Set by the user's wish to stop.
    pub interrupted: Arc<AtomicBool>,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct RunOutcome {
    /// The run's folder.
    pub run_dir: PathBuf,
    /// The page about it.
    pub report: PathBuf,
    /// Metrics, as in `result.json`.
    pub metrics: Map<String, Value>,
    /// Training speed over all ranks.
    pub samples_per_s: f64,
    /// Time of the whole run.
    pub seconds: f64,
}

/// Reads a script.
fn read_recipe(path: &Path) -> Result<String, RecipeError> {
    std::fs::read_to_string(path)
        .map_err(|source| RecipeError::Read { path: path.to_owned(), source })
}

/// Runs a recipe and writes its folder.
///
/// ```no_run
/// use rectool_recipe::{RecipeOptions, RunOptions, Silent, run};
/// let recipe = RecipeOptions { recipe: "scripts/dlrm.rhai".into(), ..Default::default() };
/// let options = RunOptions { recipe, ..Default::default() };
/// let outcome = run(&options, &rectool_comm::connect()?, Box::new(Silent))?;
/// println!("AUC {}, see {}", outcome.metrics["test_auc"], outcome.report.display());
/// # Ok::<(), rectool_recipe::RecipeError>(())
/// ```
///
/// # Errors
/// If the recipe is wrong, its data cannot be read, or training fails; `result.json` and the report
/// then say so too, if the run came as far as to have a folder.
///
/// # Collective
/// Every rank, with the same options.
///
/// # Determinism
/// As [`rectool_model::fit`].
pub fn run(
    options: &RunOptions,
    comm: &Arc<dyn Comm>,
    progress: Box<dyn Progress>,
) -> Result<RunOutcome, RecipeError> {
    run_with(options, comm, progress, library(&options.recipe))
}

/// [`run`] with plugins from elsewhere.
pub(crate) fn run_with(
    options: &RunOptions,
    comm: &Arc<dyn Comm>,
    progress: Box<dyn Progress>,
    library: Arc<dyn Library>,
) -> Result<RunOutcome, RecipeError> {
    let (clock, started) = (Instant::now(), OffsetDateTime::now_utc());
    let path = &options.recipe.recipe;
    let prepared = read_recipe(path).and_then(|text| {
        check_free(options.run_dir.as_deref(), options.resume.as_ref())?;
        // Before a folder is made: a wrong path must leave nothing behind, nor `latest` elsewhere.
        let resume = options.resume.clone().map(Resume::found).transpose()?;
        let weights = options.resume.as_ref().and_then(Resume::named);
        let place = Place { file: "--device".to_owned(), ..Place::default() };
        let compute = options.device.resolve(comm.local_rank());
        let compute = compute.map_err(|error| RecipeError::refused(&place, error))?;
        Ok((text, Parameters::new(&options.recipe.set)?, compute, (resume, weights)))
    });
    let (text, parameters, compute, (resume, weights)) = agree(&**comm, prepared)?;
    let threads = start_threads(options, &**comm)?;
    let record = Record { device: compute.name(), threads, ..Record::default() };
    let record = Arc::new(Mutex::new(record));
    let planning = Planning {
        comm: comm.clone(),
        calibrate: options.recipe.calibrate.clone(),
        ranks: comm.size(),
        plugins: library.clone(),
        calibration: Arc::default(),
    };
    let runner = Runner {
        comm: comm.clone(),
        planning,
        compute,
        plugins: library.clone(),
        recipe: path.clone(),
        recipe_text: text.clone(),
        run_dir: options.run_dir.clone(),
        resume: resume.clone(),
        weights,
        interrupted: options.interrupted.clone(),
        progress,
        record: record.clone(),
        folder: None,
        models: Vec::new(),
        trainings: 0,
        indexes: 0,
    };
    let name = path.display().to_string();
    let ranks = comm.size();
    let given = (parameters, library);
    let session = Arc::new(Session::new(&name, (comm.clone(), ranks), given, Box::new(runner)));
    let search = SearchPath::new(path, &options.recipe.recipe_paths);
    let result = run_script(&new_engine(&session, search), &session, &text);
    let result = session.agree(result);
    let mut record = record.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(Resume::From(path)), Ok(()), false) = (&resume, &result, record.resumed) {
        let warning = format!("--resume {}: the recipe uses no model of it", path.display());
        tracing::warn!("{warning}");
        record.warnings.push(warning);
    }
    let named = options.run_dir.as_deref();
    let made = (record.run_dir.is_none() && result.is_ok())
        .then(|| RunDir::create(comm, path, named, resume.as_ref()))
        .transpose()?;
    if let Some(made) = &made {
        record.run_dir = Some(made.path().to_owned());
    }
    let (seconds, samples_per_s) = (clock.elapsed().as_secs_f64(), record.samples_per_s);
    let (status, error) = (status_of(&result), result.as_ref().err());
    let ending = Ending { status, error, started, seconds };
    let run_dir = record.run_dir.clone().unwrap_or_default();
    let written = if comm.rank() == 0 { write_files(&session, &record, &ending) } else { Ok(()) };
    result?;
    agree(&**comm, written)?;
    let (report, metrics) = (run_dir.join("report.html"), session.metrics().clone());
    Ok(RunOutcome { run_dir, report, metrics, samples_per_s, seconds })
}

fn status_of(result: &Result<(), RecipeError>) -> RunStatus {
    match result {
        Ok(()) => RunStatus::Ok,
        Err(RecipeError::Interrupted { .. }) => RunStatus::Interrupted,
        Err(_) => RunStatus::Failed,
    }
}

/// Gives this rank its threads; their number.
///
/// # Collective
/// Every rank.
fn start_threads(options: &RunOptions, comm: &dyn Comm) -> Result<usize, RecipeError> {
    let share = rectool_comm::threads_per_rank(comm)?;
    let threads = options.threads.unwrap_or(share).max(1);
    rectool_model::set_threads(threads);
    Ok(threads)
}

/// Plans a recipe for `ranks` ranks that are not there: opens its data, checks every option, says
/// where tables would live and what that would cost, trains nothing.
///
/// ```no_run
/// use rectool_recipe::{RecipeOptions, check};
/// let options = RecipeOptions { recipe: "scripts/dlrm.rhai".into(), ..Default::default() };
/// println!("{}", check(&options, 2)?.to_text());
/// # Ok::<(), rectool_recipe::RecipeError>(())
/// ```
///
/// # Errors
/// If the recipe is wrong, its data cannot be opened, or its tables do not fit.
pub fn check(options: &RecipeOptions, ranks: usize) -> Result<Plan, RecipeError> {
    check_with(options, ranks, library(options))
}

/// [`check`] for the ranks of `comm`, whose exchanges are measured.
///
/// # Errors
/// As there.
///
/// # Collective
/// Every rank, with the same options; all get the same plan.
pub fn check_on(options: &RecipeOptions, comm: &Arc<dyn Comm>) -> Result<Plan, RecipeError> {
    rectool_model::set_threads(rectool_comm::threads_per_rank(&**comm)?);
    plan_on(options, (comm, comm.size()), library(options))
}

/// [`check`] with plugins from elsewhere.
pub(crate) fn check_with(
    options: &RecipeOptions,
    ranks: usize,
    library: Arc<dyn Library>,
) -> Result<Plan, RecipeError> {
    let comm: Arc<dyn Comm> = Arc::new(Solo);
    plan_on(options, (&comm, ranks), library)
}

/// Plans for `ranks` ranks, on those of `comm`.
fn plan_on(
    options: &RecipeOptions,
    (comm, ranks): (&Arc<dyn Comm>, usize),
    library: Arc<dyn Library>,
) -> Result<Plan, RecipeError> {
    let path = &options.recipe;
    let prepared = read_recipe(path).and_then(|text| Ok((text, Parameters::new(&options.set)?)));
    let (text, parameters) = agree(&**comm, prepared)?;
    let name = path.display().to_string();
    let planning = Planning {
        comm: comm.clone(),
        calibrate: options.calibrate.clone(),
        ranks,
        plugins: library.clone(),
        calibration: Arc::default(),
    };
    let planner = Planner { plan: Arc::default(), planning };
    let given = (parameters, library);
    let session = Session::new(&name, (comm.clone(), ranks), given, Box::new(planner.clone()));
    let session = Arc::new(session);
    let search = SearchPath::new(path, &options.recipe_paths);
    let result = run_script(&new_engine(&session, search), &session, &text);
    session.agree(result)?;
    let mut plan = planner.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (plan.recipe, plan.ranks) = (name, ranks);
    plan.parameters = session.parameters().declared().to_vec();
    plan.plugins = session.plugins().into_iter().map(PluginPlan::from).collect();
    Ok(plan)
}
