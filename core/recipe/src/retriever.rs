//! What `evaluate_retrieval` does in a run.

use rectool_comm::Comm;
use rectool_data::Split;
use rectool_model::{
    Als, AlsOptions, Ids, Interactions, ItemKnn, ItemKnnOptions, ModelError, MostPopular, Ranker,
    RerankJob, Retrieval, RetrievalJob, RetrievalOptions, RetrievalTask, SampledCase, Scorer,
    VectorScorer, draw_cases, evaluate_retrieval, evaluate_sampled, read_cases,
};

use crate::examples::{Example, MapPoint, Names, examples, map};
use crate::retrieval::{
    BaselineOutcome, CaseNegatives, RetrievalOutcome, RetrievalRequest, TwoStageRequest,
};

/// What `evaluate_retrieval` found, and what the report shows of it.
#[derive(Clone, Debug)]
pub(crate) struct Retrieved {
    pub(crate) outcome: RetrievalOutcome,
    pub(crate) examples: Vec<Example>,
    pub(crate) map: Vec<MapPoint>,
}

/// One evaluation under way.
pub(crate) struct Retriever<'a> {
    pub(crate) comm: &'a dyn Comm,
    pub(crate) request: &'a RetrievalRequest,
    /// What users have seen.
    pub(crate) seen: Vec<Split>,
}

/// The columns with the ids of users and items.
fn columns_of(towers: &Ranker) -> [&str; 2] {
    let spec = towers.spec().retrieval.as_ref().expect("a model with vectors has towers");
    [&spec.query, &spec.item]
}

impl Retriever<'_> {
    /// Judges the model, and the simple methods if they are wanted.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn judge(&self, ranker: &mut Ranker) -> Result<Retrieved, ModelError> {
        let retrieval = self.retrieval(ranker)?;
        self.judge_retrieval(&retrieval, columns_of(ranker))
    }

    /// Encodes both sides.
    ///
    /// # Collective
    /// Every rank.
    fn retrieval(&self, towers: &mut Ranker) -> Result<Retrieval, ModelError> {
        let (test, seen) = (&self.request.test.rows, self.seen.iter().collect::<Vec<_>>());
        let items = self.items();
        towers.retrieval(&RetrievalJob { test, seen: &seen, items: &items, loader_threads: 1 })
    }

    fn options(&self) -> RetrievalOptions {
        RetrievalOptions { ks: self.request.ks.clone(), seed: self.request.seed }
    }

    /// Judges what the towers retrieve; `columns` hold the ids of users and items.
    ///
    /// # Collective
    /// Every rank.
    fn judge_retrieval(
        &self,
        retrieval: &Retrieval,
        columns: [&str; 2],
    ) -> Result<Retrieved, ModelError> {
        let (request, options) = (self.request, self.options());
        let cases = self.cases(&retrieval.task, columns)?;
        let (full, sampled) =
            self.figures(&retrieval.task, cases.as_deref(), &retrieval.scorer(), &options)?;
        let mut outcome = RetrievalOutcome {
            split: request.test.rows.name().to_owned(),
            full,
            sampled,
            baselines: Vec::new(),
        };
        if request.baselines {
            let seen: Vec<&Split> = self.seen.iter().collect();
            let seen = Interactions::read(&seen, (columns[0], columns[1]), None)?;
            outcome.baselines = self.baselines(retrieval, cases.as_deref(), &seen, &options)?;
        }
        let names = match &request.names {
            Some(name) => Names::read(&self.items(), columns[1], name)?,
            None => Names::default(),
        };
        let (examples, map) = (examples(retrieval, &names), map(retrieval, &names)?);
        Ok(Retrieved { outcome, examples, map })
    }

    /// Rows of the catalogue.
    fn items(&self) -> Vec<&Split> {
        match &self.request.items {
            Some(items) => items.iter().map(|split| &split.rows).collect(),
            None => self.seen.iter().chain([&self.request.test.rows]).collect(),
        }
    }

    /// Judges what `towers` retrieve in the order of `ranker`'s scores, and beside it in their own.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn judge_both(
        &self,
        (towers, ranker): (&mut Ranker, &mut Ranker),
        request: &TwoStageRequest,
    ) -> Result<Retrieved, ModelError> {
        let retrieval = self.retrieval(towers)?;
        let columns = columns_of(towers);
        let alone = self.judge_retrieval(&retrieval, columns)?;
        let task = &retrieval.task;
        let users: Vec<u32> = (0..task.users().len() as u32).collect();
        let lists = retrieval.scorer().top_k(&users, request.candidates, &task.seen);
        let reranked = ranker.rerank(&RerankJob {
            task,
            lists: &lists,
            users: &self.request.test.rows,
            items: &self.items(),
            ids: (columns[0], columns[1]),
            item_columns: &request.item_columns,
            head: request.head.as_deref(),
        })?;
        let full = evaluate_retrieval(self.comm, task, &reranked, &self.options())?;
        let Retrieved { outcome, examples, map } = alone;
        let towers = BaselineOutcome {
            name: "towers alone".to_owned(),
            full: outcome.full,
            sampled: outcome.sampled,
        };
        let baselines = std::iter::once(towers).chain(outcome.baselines).collect();
        let outcome = RetrievalOutcome { split: outcome.split, full, sampled: None, baselines };
        Ok(Retrieved { outcome, examples, map })
    }

    fn cases(
        &self,
        task: &RetrievalTask,
        [query, item]: [&str; 2],
    ) -> Result<Option<Vec<SampledCase>>, ModelError> {
        Ok(match &self.request.negatives {
            None => None,
            Some(CaseNegatives::Drawn(count)) => Some(draw_cases(task, *count, self.request.seed)),
            Some(CaseNegatives::Column(name)) => {
                Some(read_cases(&self.request.test.rows, [query, item, name], task)?)
            }
        })
    }

    fn figures(
        &self,
        task: &RetrievalTask,
        cases: Option<&[SampledCase]>,
        scorer: &dyn Scorer,
        options: &RetrievalOptions,
    ) -> Result<
        (rectool_model::RetrievalEvaluation, Option<rectool_model::SampledEvaluation>),
        ModelError,
    > {
        let full = evaluate_retrieval(self.comm, task, scorer, options)?;
        let sampled = cases.map(|cases| evaluate_sampled(self.comm, task, cases, scorer, options));
        Ok((full, sampled.transpose()?))
    }

    fn baselines(
        &self,
        retrieval: &Retrieval,
        cases: Option<&[SampledCase]>,
        seen: &Interactions,
        options: &RetrievalOptions,
    ) -> Result<Vec<BaselineOutcome>, ModelError> {
        let task = &retrieval.task;
        let catalogue: &Ids = retrieval.catalogue();
        let (train, _) = seen.renumbered(seen.users(), catalogue);
        let knn = ItemKnn::fit(&train, ItemKnnOptions::default());
        let als = AlsOptions { seed: options.seed, ..AlsOptions::default() };
        let width = als.width;
        let als = Als::fit(&train, als)?;
        let users = als.user_vectors(&task.seen);
        let popular = MostPopular::new(&task.popularity);
        let methods: [(&str, &dyn Scorer); 3] = [
            ("popularity", &popular),
            ("item kNN", &knn.scorer(&task.seen)),
            ("implicit ALS", &VectorScorer::new(&users, als.item_vectors(), width)),
        ];
        let judged = methods.into_iter().map(|(name, scorer)| {
            let (full, sampled) = self.figures(task, cases, scorer, options)?;
            Ok(BaselineOutcome { name: name.to_owned(), full, sampled })
        });
        judged.collect()
    }
}
