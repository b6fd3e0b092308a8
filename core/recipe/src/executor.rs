//! What happens when a script says `train`, `evaluate`, `index` or `search`: it is done, or only planned.

use crate::call::Call;
use crate::error::RecipeError;
use crate::evaluation::EvaluationRequest;
use crate::index::{BuiltByScript, IndexJob, SearchJob, Searched};
use crate::job::TrainJob;
use crate::network::Model;
use crate::retrieval::{RetrievalRequest, TwoStageRequest};

/// Names and values of the metrics of one evaluation, in the order of showing them.
pub(crate) type Metrics = Vec<(String, f64)>;

/// The two modes of a recipe, run and check, differ only here.
///
/// # Collective
/// All methods, when several ranks run the script.
pub(crate) trait Executor: Send {
    /// Trains `model`.
    fn train(
        &mut self,
        call: &Call,
        model: &Model,
        job: &TrainJob,
    ) -> Result<TrainResult, RecipeError>;

    /// Evaluates `model` as it is now.
    fn evaluate(
        &mut self,
        call: &Call,
        model: &Model,
        request: &EvaluationRequest,
    ) -> Result<Metrics, RecipeError>;

    /// Judges what `model` retrieves; names and values.
    fn retrieve(
        &mut self,
        call: &Call,
        model: &Model,
        request: &RetrievalRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError>;

    /// Builds an index.
    fn index(&mut self, call: &Call, job: &IndexJob) -> Result<BuiltByScript, RecipeError>;

    /// Searches an index that was built.
    fn search(
        &mut self,
        call: &Call,
        index: &BuiltByScript,
        job: &SearchJob,
    ) -> Result<Searched, RecipeError>;

    /// Judges what `model` retrieves once `ranker` has brought it into another order.
    fn retrieve_and_rank(
        &mut self,
        call: &Call,
        models: (&Model, &Model),
        request: &TwoStageRequest,
    ) -> Result<Vec<(String, f64)>, RecipeError>;
}

/// What `train` returns to the script.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct TrainResult {
    /// Steps done, also before a resume.
    pub(crate) steps: u64,
    /// Samples trained on, also before a resume.
    pub(crate) samples: u64,
    /// Time in training steps of this process.
    pub(crate) seconds: f64,
    /// Samples per second over all ranks, evaluations left out.
    pub(crate) samples_per_s: f64,
    /// Metrics on the validation split of the weights that are left in the model; empty without one.
    pub(crate) valid: Metrics,
}
