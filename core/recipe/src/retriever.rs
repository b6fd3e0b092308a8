//! What `evaluate_retrieval` does in a run.

use rectool_comm::{Comm, agree};
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

/// What a rank reads by itself, before all of them judge together.
struct Material {
    /// Positives and what each is ranked among.
    cases: Option<Vec<SampledCase>>,
    /// What the simple methods learn from.
    seen: Option<Interactions>,
    names: Names,
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
        let scorer = agree(self.comm, retrieval.scorer())?;
        self.judge_retrieval(&retrieval, &scorer, columns_of(ranker))
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

    /// Judges what the towers retrieve by `scorer`; `columns` hold the ids of users and items.
    ///
    /// # Collective
    /// Every rank.
    fn judge_retrieval(
        &self,
        retrieval: &Retrieval,
        scorer: &VectorScorer<'_>,
        columns: [&str; 2],
    ) -> Result<Retrieved, ModelError> {
        let (request, options) = (self.request, self.options());
        let Material { cases, seen, names } =
            agree(self.comm, self.material(&retrieval.task, columns))?;
        let (full, sampled) = self.figures(&retrieval.task, cases.as_deref(), scorer, &options)?;
        let mut outcome = RetrievalOutcome {
            split: request.test.rows.name().to_owned(),
            full,
            sampled,
            baselines: Vec::new(),
        };
        if let Some(seen) = seen {
            outcome.baselines = self.baselines(retrieval, cases.as_deref(), &seen, &options)?;
        }
        let shown = examples(retrieval, scorer, &names);
        let shown = shown.and_then(|examples| Ok((examples, map(retrieval, &names)?)));
        let (examples, map) = agree(self.comm, shown)?;
        Ok(Retrieved { outcome, examples, map })
    }

    /// Rows of the catalogue.
    fn items(&self) -> Vec<&Split> {
        match &self.request.items {
            Some(items) => items.iter().map(|split| &split.rows).collect(),
            None => self.seen.iter().chain([&self.request.test.rows]).collect(),
        }
    }

    /// Judges what `towers` retrieve in the order of `ranker`'s scores, or of those of their own heads, and
    /// beside it in the order in which they found it.
    ///
    /// # Collective
    /// Every rank.
    pub(crate) fn judge_both(
        &self,
        (towers, ranker): (&mut Ranker, Option<&mut Ranker>),
        request: &TwoStageRequest,
    ) -> Result<Retrieved, ModelError> {
        let retrieval = self.retrieval(towers)?;
        let scorer = agree(self.comm, retrieval.scorer())?;
        let alone = self.judge_retrieval(&retrieval, &scorer, columns_of(towers))?;
        let [user, item] = columns_of(towers).map(str::to_owned);
        let task = &retrieval.task;
        let users: Vec<u32> = (0..task.users().len() as u32).collect();
        let lists = scorer.top_k(&users, request.candidates, &task.seen);
        let lists = agree(self.comm, lists)?;
        let reranked = ranker.unwrap_or(towers).rerank(&RerankJob {
            task,
            lists: &lists,
            users: &self.request.test.rows,
            items: &self.items(),
            ids: (&user, &item),
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

    fn material(&self, task: &RetrievalTask, columns: [&str; 2]) -> Result<Material, ModelError> {
        let request = self.request;
        let cases = self.cases(task, columns)?;
        let seen: Vec<&Split> = self.seen.iter().collect();
        let read = || Interactions::read(&seen, (columns[0], columns[1]), None);
        let seen = request.baselines.then(read).transpose()?;
        let names = match &request.names {
            Some(name) => Names::read(&self.items(), columns[1], name)?,
            None => Names::default(),
        };
        Ok(Material { cases, seen, names })
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
        let als = VectorScorer::new(&users, als.item_vectors(), width, retrieval.compute);
        let als = agree(self.comm, als)?;
        let popular = MostPopular::new(&task.popularity);
        let methods: [(&str, &dyn Scorer); 3] = [
            ("popularity", &popular),
            ("item kNN", &knn.scorer(&task.seen)),
            ("implicit ALS", &als),
        ];
        let judged = methods.into_iter().map(|(name, scorer)| {
            let (full, sampled) = self.figures(task, cases, scorer, options)?;
            Ok(BaselineOutcome { name: name.to_owned(), full, sampled })
        });
        judged.collect()
    }
}

#[cfg(test)]
mod tests {
    use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Schema};
    use rectool_comm::on_ranks;
    use rectool_data::{Dataset, DatasetWriter, WriterOptions};
    use rectool_model::{Compute, Vectors};

    use super::*;

    /// Users 0 to 3, each with the item of its number, to be ranked among `others`.
    fn choices(folder: &std::path::Path) -> Dataset {
        let path = folder.join("choices");
        let id = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
        let others = ColumnSchema::plain("others", ColumnKind::I64List);
        let schema = Schema::new(vec![id("user"), id("item"), others]).unwrap();
        let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
        let mut others = Jagged::new();
        (0..4).for_each(|item| others.push_row(&[(item + 1) % 4]));
        let ids = || Column::I64 { width: 1, values: (0..4).collect() };
        writer.write("test", vec![ids(), ids(), Column::I64List(others)]).unwrap();
        writer.finish().unwrap();
        Dataset::open(&path).unwrap()
    }

    /// Of users and items with the same vectors.
    fn retrieval(test: &Split) -> Retrieval {
        let positives = Interactions::read(&[test], ("user", "item"), None).unwrap();
        let (ids, values) =
            (positives.items().clone(), vec![1.0, 0.0, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0]);
        let task = RetrievalTask::new(&Interactions::default(), &positives, &ids);
        let (queries, candidates) = (values.clone(), Vectors { ids, values, width: 2 });
        Retrieval { task, queries, candidates, compute: Compute::Fused }
    }

    #[test]
    fn what_one_rank_cannot_read_ends_all_where_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let dataset = choices(folder.path());
        let rows = dataset.split("test").unwrap();
        let request = |negatives: &str| RetrievalRequest {
            test: crate::dataset::Split {
                dataset: crate::dataset::Dataset(dataset.clone()),
                rows: rows.clone(),
            },
            seen: None,
            items: None,
            ks: vec![1],
            baselines: false,
            negatives: Some(CaseNegatives::Column(negatives.to_owned())),
            names: None,
            seed: 1,
        };
        // The bad one stands for a disk that fails on one machine.
        let (good, bad) = (request("others"), request("item"));
        let judged = |requests: [&RetrievalRequest; 2]| {
            on_ranks(2, |comm| {
                let request = requests[comm.rank()];
                let retriever = Retriever { comm: &*comm, request, seen: vec![rows.clone()] };
                let retrieval = retrieval(&rows);
                let scorer = retrieval.scorer().unwrap();
                let judged = retriever.judge_retrieval(&retrieval, &scorer, ["user", "item"]);
                judged.map(|_| ()).map_err(|error| error.to_string())
            })
        };
        assert_eq!(judged([&good, &good]), [Ok(()), Ok(())]);
        let [first, second] = judged([&good, &bad]).try_into().unwrap();
        assert!(first.unwrap_err().contains("a step of all ranks"));
        assert!(second.unwrap_err().contains("`item`"));
    }
}
