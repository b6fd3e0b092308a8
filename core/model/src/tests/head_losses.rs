//! Heads whose losses are plugins'.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{Hint, PluginFault, Prediction};
use rectool_comm::{CommError, Solo, on_ranks};

use super::heads::{Content, alone, dataset, head, three, train, with_heads};
use super::native::{call, environment, training};
use crate::{
    Checkpoint, Evaluation, HeadEvaluation, LossSpec, ModelError, ModelSpec, Ranker, StopMetric,
    TrainSpec, latest,
};

fn plugin(name: &str) -> LossSpec {
    LossSpec::Plugin(call(name, "a"))
}

/// The heads of [`three`], those with native losses that plugins have too with these plugins'.
fn by_plugins() -> ModelSpec {
    let mut spec = three();
    spec.heads[0].loss = plugin("bce");
    spec.heads[2].loss = plugin("squared");
    spec
}

fn floats(content: &Content) -> impl Iterator<Item = f32> {
    content.0.iter().map(|bits| f32::from_bits(*bits))
}

fn assert_near(one: &Content, other: &Content, tolerance: f32) {
    assert!(floats(one).zip(floats(other)).all(|(a, b)| (a - b).abs() < tolerance));
}

#[test]
fn a_plugins_loss_of_a_head_teaches_as_the_native_one() {
    let folder = tempfile::tempdir().unwrap();
    for lacking in [false, true] {
        let data = dataset(folder.path(), lacking);
        // Stars do for weights, where every row has them.
        for weight in [None, Some("stars".to_owned()).filter(|_| !lacking)] {
            let weighted = |mut spec: ModelSpec| {
                spec.features.weight.clone_from(&weight);
                spec
            };
            let mut only_bce = three();
            only_bce.heads[0].loss = plugin("bce");
            let own = alone(&data, &weighted(three()));
            let other = alone(&data, &weighted(only_bce));
            assert!(own.0 == other.0, "bit for bit");
            let HeadEvaluation { evaluation, .. } = &other.1.heads[0];
            let (loss, logloss) = (evaluation.loss.unwrap(), evaluation.logloss.unwrap());
            assert!((loss - logloss).abs() < 1e-6, "{loss}, not {logloss}");
            let without = Evaluation { loss: None, ..evaluation.clone() };
            assert_eq!(without, own.1.heads[0].evaluation);
            assert_eq!(other.1.heads[1..], own.1.heads[1..]);
            let squared = alone(&data, &weighted(by_plugins()));
            assert_near(&own.0, &squared.0, 1e-4);
            let dwell = &squared.1.heads[2].evaluation;
            let (loss, rmse) = (dwell.loss.unwrap(), dwell.rmse.unwrap());
            assert!((loss - rmse * rmse).abs() < 1e-4 * loss, "{loss}, not the square of {rmse}");
        }
    }
}

#[test]
fn ranks_do_not_change_what_plugins_teach() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let (one, found, _) = alone(&data, &by_plugins());
    for ranks in [2, 3] {
        let others =
            on_ranks(ranks, |comm| train(comm, &data, &by_plugins(), (&training(), None)).unwrap());
        assert!(others.iter().all(|other| other.0.0 == others[0].0.0));
        assert_near(&one, &others[0].0, 1e-4);
        for (head, other) in found.heads.iter().zip(&others[0].1.heads) {
            let (a, b) = (head.evaluation.loss, other.evaluation.loss);
            let same = a.zip(b).is_none_or(|(a, b)| (a - b).abs() < 1e-3);
            assert!(same && a.is_some() == b.is_some(), "{}: {a:?}, {b:?}", head.label);
        }
    }
}

#[test]
fn a_plugin_is_given_its_columns_for_the_rows_with_the_label() {
    let folder = tempfile::tempdir().unwrap();
    // Of the three rows of each visit two have a click: `pairs` fails if it sees others.
    let data = dataset(folder.path(), true);
    let spec =
        with_heads(vec![head("stars", LossSpec::Mse, 1.0), head("click", plugin("pairs"), 1.0)]);
    let bound = spec.bind(data.schema(), &super::native::Native).unwrap();
    let read: Vec<_> = bound.schema.columns().iter().map(|column| &*column.name).collect();
    assert!(read.contains(&"visit"), "{read:?}");
    let (_, found, _) = alone(&data, &spec);
    assert!(found.metric("auc_click").unwrap() > 0.8, "{found:?}");
    assert!(found.metric("loss_click").is_some() && found.metric("loss_stars").is_none());
}

#[test]
fn early_stopping_watches_what_a_plugin_says() {
    let spec = with_heads(vec![
        head("click", plugin("pairs"), 1.0),
        head("dwell", plugin("squared"), 1.0),
    ]);
    let predictions = [Prediction::Score, Prediction::Value];
    let names = spec.metric_names(&predictions);
    assert_eq!(names, ["auc_click", "loss_click", "rmse_dwell", "mae_dwell", "loss_dwell"]);
    assert_eq!(spec.grouped_metric_names(&predictions)[0], "gauc_click");
    let stop = |name| spec.early_stop(name, &predictions, 9).unwrap();
    assert_eq!(stop(None).name(), "loss_click");
    let watched = stop(Some("loss_dwell"));
    assert_eq!((watched.metric, watched.head.as_deref()), (StopMetric::Loss, Some("dwell")));

    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), true);
    let how = TrainSpec { eval_every: 5, early_stop: Some(watched), ..training() };
    let run = |path: &Path, how: &TrainSpec| {
        train(Arc::new(Solo), &data, &spec, (how, Some(path))).unwrap().0
    };
    let whole = run(&folder.path().join("whole"), &how);
    // In parts, which begin from checkpoints that keep both plugins.
    let parts = folder.path().join("parts");
    run(&parts, &TrainSpec { steps_max: 10, ..how.clone() });
    let checkpoint = Checkpoint::open(&latest(&parts).unwrap()).unwrap();
    let kept: Vec<_> = checkpoint.manifest().plugins.iter().map(|kept| &*kept.name).collect();
    assert_eq!(kept, ["pairs", "squared"]);
    assert!(run(&parts, &how) == whole);
}

#[test]
fn a_plugin_that_fails_on_one_rank_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    let heads =
        vec![head("stars", LossSpec::Mse, 1.0), head("click", plugin("fails-on-rank-1"), 1.0)];
    let spec = with_heads(heads);
    let errors = on_ranks(3, |comm| train(comm, &data, &spec, (&training(), None)).unwrap_err());
    let ModelError::Plugin(PluginFault { message, .. }) = &errors[1] else {
        panic!("{}", errors[1])
    };
    assert_eq!(message, "no luck");
    for rank in [0, 2] {
        assert!(matches!(&errors[rank], ModelError::Comm(CommError::PeerFailed { .. })));
    }
}

#[test]
fn what_a_plugin_of_a_head_wants_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    let refuse = |label: &str, loss: LossSpec, expected: &str| {
        let spec = with_heads(vec![head(label, loss, 1.0)]);
        let built = Ranker::new(spec.clone(), data.schema(), environment(Arc::new(Solo)));
        let error = match built {
            Err(error) => error,
            Ok(_) => train(Arc::new(Solo), &data, &spec, (&training(), None)).unwrap_err(),
        };
        assert!(error.to_string().contains(expected), "{error}");
        error
    };
    refuse("click", plugin("grouped"), "wants a column: no column `group`");
    refuse("click", plugin("nowhere"), "not here");
    refuse("click", plugin("confused"), "log-odds of label 1, but takes");
    let error = refuse("stars", plugin("bce"), "expected 0 or 1");
    assert!(error.hint().unwrap().contains("another loss"));
}
