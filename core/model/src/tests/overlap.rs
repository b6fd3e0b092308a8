//! What is done ahead of a step must not show, or only as it is meant to.

use std::path::Path;
use std::sync::Arc;

use rectool_comm::{Comm, on_ranks};
use rectool_data::Dataset;
use rectool_embedding::Rows;

use super::native::{dataset, environment, model, training};
use crate::{
    Checkpoint, EarlyStop, EvaluationReport, FitSummary, LossSpec, Observer, Overlap, Ranker,
    StepReport, Stop, StopMetric, TrainJob, TrainSpec, fit, latest,
};

/// Wants a stop after some steps.
struct StopAt(u64, bool);

impl Observer for StopAt {
    fn on_step(&mut self, report: &StepReport) {
        self.1 |= report.step >= self.0;
    }

    fn on_evaluation(&mut self, _: &EvaluationReport) {}

    fn on_checkpoint(&mut self, _: &Path, _: u64) {}

    fn interrupted(&self) -> bool {
        self.1
    }
}

/// One rank's weights and rows.
type Content = (Vec<u32>, Vec<Rows>);

/// Trains one rank, up to step `stop` only if that is given, from the last checkpoint in `folder` if
/// there is one.
fn train(
    comm: Arc<dyn Comm>,
    data: &Dataset,
    spec: &TrainSpec,
    (folder, stop): (Option<&Path>, Option<u64>),
) -> (FitSummary, Content) {
    let (train, valid) = (data.split("train").unwrap(), data.split("valid").unwrap());
    let options = model(LossSpec::Bce, "dense", &["user", "item"], Vec::new());
    let mut ranker = Ranker::new(options, data.schema(), environment(comm)).unwrap();
    let last = folder.and_then(latest);
    let resume = last.map(|path| Checkpoint::open(&path).unwrap().load(&mut ranker).unwrap());
    let job = TrainJob {
        spec,
        train: &train,
        valid: Some(&valid),
        checkpoints: folder,
        resume,
        recipe: None,
    };
    let mut observer = StopAt(stop.unwrap_or(u64::MAX), false);
    let summary = fit(&mut ranker, &job, &mut observer).unwrap();
    let tables = 0..ranker.tables().tables().len();
    let rows = tables.flat_map(|t| ranker.tables().export(t, 100).unwrap().collect::<Vec<_>>());
    let weights = ranker.parameters.values().iter().map(|w| w.to_bits()).collect();
    (summary, (weights, rows.collect()))
}

fn all(ranks: usize, data: &Dataset, spec: &TrainSpec) -> Vec<Content> {
    on_ranks(ranks, |comm| train(comm, data, spec, (None, None)).1)
}

fn with(overlap: Overlap) -> TrainSpec {
    TrainSpec { overlap, eval_every: 7, ..training() }
}

#[test]
fn keys_that_travel_ahead_change_no_byte() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    for ranks in [1, 2, 3] {
        let plain = all(ranks, &data, &with(Overlap::Off));
        assert!(all(ranks, &data, &with(Overlap::Keys)) == plain, "{ranks} ranks");
    }
}

#[test]
fn stale_rows_are_the_same_in_every_run_and_on_every_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let exact = all(1, &data, &with(Overlap::Off));
    let one = all(1, &data, &with(Overlap::Stale));
    assert!(one != exact);
    for ranks in [1, 2, 3] {
        let first = all(ranks, &data, &with(Overlap::Stale));
        assert!(first == all(ranks, &data, &with(Overlap::Stale)), "{ranks} ranks");
        let near = |(a, b): (&u32, &u32)| (f32::from_bits(*a) - f32::from_bits(*b)).abs() < 1e-3;
        assert!(first[0].0.iter().zip(&one[0].0).all(near), "{ranks} ranks");
    }
}

#[test]
fn a_training_goes_on_from_its_checkpoints_as_if_nothing_had_happened() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    for (overlap, ranks) in [(Overlap::Keys, 2), (Overlap::Stale, 1), (Overlap::Stale, 2)] {
        let mut spec = TrainSpec { checkpoint_every: 4, ..with(overlap) };
        let whole = folder.path().join(format!("{overlap:?} {ranks} whole"));
        let parts = folder.path().join(format!("{overlap:?} {ranks} parts"));
        let run = |spec: &TrainSpec, folder: &Path| {
            on_ranks(ranks, |comm| train(comm, &data, spec, (Some(folder), None)).1)
        };
        let expected = run(&spec, &whole);
        // It ends after a checkpoint, and is told to go on from there.
        spec.steps_max = 12;
        run(&spec, &parts);
        spec.steps_max = 0;
        assert!(run(&spec, &parts) == expected, "{overlap:?}, {ranks} ranks");
    }
}

#[test]
fn an_interrupted_training_stops_on_all_ranks_at_the_same_step() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let plain = all(2, &data, &with(Overlap::Off));
    for overlap in [Overlap::Off, Overlap::Keys, Overlap::Stale] {
        let path = folder.path().join(format!("{overlap:?}"));
        let spec = TrainSpec { report_every: 1, ..with(overlap) };
        let stopped = on_ranks(2, |comm| {
            // Rank 1 alone is asked.
            let stop = (comm.rank() == 1).then_some(9);
            train(comm, &data, &spec, (Some(&path), stop)).0
        });
        assert_eq!(stopped[0].stop, Stop::Interrupted);
        assert_eq!(stopped[0].state, stopped[1].state);
        // The batch in flight and the one that is being taken in are still trained on.
        assert!((9..=11).contains(&stopped[0].state.steps), "{:?}", stopped[0].state);
        let resumed = on_ranks(2, |comm| train(comm, &data, &spec, (Some(&path), None)));
        assert!(resumed.iter().all(|(summary, _)| summary.stop == Stop::Finished));
        if overlap != Overlap::Stale {
            let contents: Vec<Content> = resumed.into_iter().map(|(_, content)| content).collect();
            assert!(contents == plain, "{overlap:?}");
        }
    }
}

#[test]
fn an_early_stop_leaves_no_batch_in_flight() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let mut contents = Vec::new();
    for overlap in [Overlap::Off, Overlap::Keys, Overlap::Stale] {
        let path = folder.path().join(format!("{overlap:?}"));
        let early_stop = Some(EarlyStop { metric: StopMetric::Auc, head: None, patience: 2 });
        let spec = TrainSpec { eval_every: 1, epochs: 50, early_stop, ..with(overlap) };
        let ended = on_ranks(2, |comm| train(comm, &data, &spec, (Some(&path), None)));
        assert!(ended.iter().all(|(summary, _)| summary.stop == Stop::Early), "{overlap:?}");
        contents.push(ended.into_iter().map(|(_, content)| content).collect::<Vec<_>>());
    }
    assert!(contents[0] == contents[1]);
}
