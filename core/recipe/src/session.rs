//! What the functions of one running script share.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use rectool_base::{PluginSource, hash_text};
use rectool_comm::{Comm, agree, assert_same};
use serde_json::Value;

use crate::error::RecipeError;
use crate::executor::Executor;
use crate::library::{Found, Library};
use crate::params::Parameters;

/// The state of one script, shared by the functions that are registered for it.
pub(crate) struct Session {
    /// The recipe as it was named.
    pub(crate) recipe: String,
    pub(crate) comm: Arc<dyn Comm>,
    /// Ranks that the script sees: those of `comm`, or those planned for.
    pub(crate) ranks: usize,
    sources: Mutex<BTreeMap<String, Arc<str>>>,
    datasets: Mutex<Vec<(String, u64)>>,
    library: Arc<dyn Library>,
    plugins: Mutex<Vec<Found>>,
    parameters: Mutex<Parameters>,
    executor: Mutex<Box<dyn Executor>>,
    metrics: Mutex<serde_json::Map<String, Value>>,
    /// Whether the ranks have agreed on what they run.
    agreed: AtomicBool,
}

/// Functions of one script run one after another, and a panic ends the run: a lock is always free.
const FREE: &str = "a script runs one function at a time";

impl Session {
    pub(crate) fn new(
        recipe: &str,
        (comm, ranks): (Arc<dyn Comm>, usize),
        (parameters, library): (Parameters, Arc<dyn Library>),
        executor: Box<dyn Executor>,
    ) -> Self {
        Self {
            recipe: recipe.to_owned(),
            comm,
            ranks,
            sources: Mutex::default(),
            datasets: Mutex::default(),
            library,
            plugins: Mutex::default(),
            parameters: Mutex::new(parameters),
            executor: Mutex::new(executor),
            metrics: Mutex::default(),
            agreed: AtomicBool::new(false),
        }
    }

    /// Keeps the text of a script, for messages and for the run folder.
    pub(crate) fn add_source(&self, name: &str, text: &str) {
        self.sources.lock().expect(FREE).insert(name.to_owned(), text.into());
    }

    /// The text of a script that was added; empty if it was not.
    pub(crate) fn text_of(&self, name: &str) -> Arc<str> {
        self.sources.lock().expect(FREE).get(name).cloned().unwrap_or_else(|| "".into())
    }

    /// Every script read so far, by name.
    pub(crate) fn sources(&self) -> BTreeMap<String, Arc<str>> {
        self.sources.lock().expect(FREE).clone()
    }

    /// Notes a dataset, to be compared over ranks.
    pub(crate) fn add_dataset(&self, dataset: &rectool_data::Dataset) {
        let (path, fingerprint) = (dataset.path().display().to_string(), dataset.fingerprint());
        self.datasets.lock().expect(FREE).push((path, fingerprint));
    }

    /// The plugins that the script can name.
    pub(crate) fn library(&self) -> &dyn Library {
        &*self.library
    }

    /// The same, as training takes them.
    pub(crate) fn plugin_source(&self) -> &dyn PluginSource {
        &*self.library
    }

    /// Notes a plugin, to be compared over ranks and to be recorded: each once.
    pub(crate) fn add_plugin(&self, found: &Found) {
        let mut plugins = self.plugins.lock().expect(FREE);
        if !plugins.iter().any(|known| known.call.sha256 == found.call.sha256) {
            plugins.push(found.clone());
        }
    }

    /// The plugins named so far, in order.
    pub(crate) fn plugins(&self) -> Vec<Found> {
        self.plugins.lock().expect(FREE).clone()
    }

    pub(crate) fn parameters(&self) -> MutexGuard<'_, Parameters> {
        self.parameters.lock().expect(FREE)
    }

    pub(crate) fn executor(&self) -> MutexGuard<'_, Box<dyn Executor>> {
        self.executor.lock().expect(FREE)
    }

    /// Metrics reported so far, in the order of reporting.
    pub(crate) fn metrics(&self) -> MutexGuard<'_, serde_json::Map<String, Value>> {
        self.metrics.lock().expect(FREE)
    }

    /// Called by the functions that work for longer than a moment. By the first of them every
    /// parameter must be declared, and the ranks compare what they are about to run.
    ///
    /// # Collective
    /// The first time.
    pub(crate) fn before_action(&self) -> Result<(), RecipeError> {
        let known = self.parameters().check_known(&self.recipe, &[]);
        self.agree(known)
    }

    /// Ends the part of the script in which ranks have not spoken yet: an error of one is an error
    /// of all, and all must run the same. Later calls hand `own` back.
    ///
    /// # Collective
    /// The first time: also for a rank that failed.
    pub(crate) fn agree(&self, own: Result<(), RecipeError>) -> Result<(), RecipeError> {
        if self.agreed.swap(true, Ordering::Relaxed) {
            return own;
        }
        agree(&*self.comm, own)?;
        let mut text = String::new();
        for (name, source) in self.sources() {
            writeln!(text, "{name}\n{source}").expect("a string takes any text");
        }
        let parameters = self.parameters().declared().to_vec();
        let values = parameters.iter().map(|parameter| (&parameter.name, &parameter.value));
        let datasets = self.datasets.lock().expect(FREE).clone();
        let paths = datasets.iter().map(|(path, _)| path);
        let (values, paths): (Vec<_>, Vec<_>) = (values.collect(), paths.collect());
        assert_same(&*self.comm, "the recipe", hash_text(&text) as u64)?;
        let set = format!("{values:?} {paths:?}");
        assert_same(&*self.comm, "the set of parameters", hash_text(&set) as u64)?;
        for (path, fingerprint) in &datasets {
            assert_same(&*self.comm, &format!("the dataset {path}"), *fingerprint)?;
        }
        // The same recipe names the same plugins, but each rank finds them on its own machine.
        for Found { call, .. } in self.plugins() {
            let what = format!("the plugin {}", call.name);
            assert_same(&*self.comm, &what, hash_text(&call.sha256) as u64)?;
        }
        Ok(())
    }
}
