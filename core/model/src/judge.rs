//! How well two towers retrieve.

use rectool_comm::agree;
use rectool_data::Split;

use crate::{
    Compute, Ids, Interactions, ModelError, Ranker, RetrievalError, RetrievalEvaluation,
    RetrievalOptions, RetrievalTask, Side, VectorScorer, Vectors, evaluate_retrieval,
};

/// What a model is to retrieve, and from what.
#[derive(Clone, Copy, Debug)]
pub struct RetrievalJob<'a> {
    /// Rows with what is to be found, where there is a label those above 0; a query's inputs are those of
    /// its first row.
    pub test: &'a Split,
    /// Rows with what each query has seen, whatever their label, which is not recommended to it again.
    /// They say how popular items are.
    pub seen: &'a [&'a Split],
    /// Rows of what can be recommended; an item's inputs are those of its first row.
    pub items: &'a [&'a Split],
    /// Loader threads.
    pub loader_threads: usize,
}

/// Queries, candidates, and what is to be found.
#[derive(Debug)]
pub struct Retrieval {
    /// The test.
    pub task: RetrievalTask,
    /// Of the task's users, by number: [U, E].
    pub queries: Vec<f32>,
    /// Of the catalogue, by number.
    pub candidates: Vectors,
    /// Where the best are searched: as the model computes.
    pub compute: Compute,
}

impl Retrieval {
    /// What ranks the catalogue.
    ///
    /// # Errors
    /// If the device has no memory for the candidates.
    pub fn scorer(&self) -> Result<VectorScorer<'_>, RetrievalError> {
        let Vectors { values, width, .. } = &self.candidates;
        VectorScorer::new(&self.queries, values, *width, self.compute)
    }

    /// The items by number.
    pub fn catalogue(&self) -> &Ids {
        &self.candidates.ids
    }
}

impl Ranker {
    /// Encodes both sides of `job`.
    ///
    /// # Errors
    /// If the model has no towers, or rows cannot be read.
    ///
    /// # Collective
    /// Every rank.
    pub fn retrieval(&mut self, job: &RetrievalJob<'_>) -> Result<Retrieval, ModelError> {
        let queries = self.encode(Side::Query, &[job.test], job.loader_threads)?;
        let candidates = self.encode(Side::Candidate, job.items, job.loader_threads)?;
        let spec = self.towers()?;
        let columns = (spec.query.as_str(), spec.item.as_str());
        let label = self.spec().features.label.as_deref();
        let test = Interactions::read(&[job.test], columns, label);
        let seen = Interactions::read(job.seen, columns, None);
        let (test, seen) = agree(&*self.comm, test.and_then(|test| Ok((test, seen?))))?;
        let task = RetrievalTask::new(&seen, &test, &candidates.ids);
        let queries = queries.of(task.users());
        Ok(Retrieval { task, queries, candidates, compute: self.compute() })
    }

    /// Figures of `job` at lists of `k` items each.
    ///
    /// # Errors
    /// As [`Ranker::retrieval`] and [`evaluate_retrieval`].
    ///
    /// # Collective
    /// Every rank; the figures are the same on all.
    pub fn evaluate_retrieval(
        &mut self,
        job: &RetrievalJob<'_>,
        options: &RetrievalOptions,
    ) -> Result<RetrievalEvaluation, ModelError> {
        let retrieval = self.retrieval(job)?;
        let scorer = agree(&*self.comm, retrieval.scorer())?;
        Ok(evaluate_retrieval(&*self.comm, &retrieval.task, &scorer, options)?)
    }
}
