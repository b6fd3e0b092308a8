//! Losses that are not the native one.

use std::sync::{Arc, Mutex};

use rectool_base::{Hint, PluginFault, Prediction};
use rectool_comm::{Comm, CommError, Solo, on_ranks};

use super::native::{call, dataset, environment, model, training};
use crate::{
    EarlyStop, Evaluation, EvaluationReport, LossSpec, ModelError, ModelSpec, Observer, Ranker,
    StepReport, StopMetric, TrainJob, TrainSpec, fit,
};

/// Keeps what it is told.
#[derive(Default)]
struct Told(Vec<StepReport>, Vec<EvaluationReport>);

impl Observer for Told {
    fn on_step(&mut self, report: &StepReport) {
        self.0.push(report.clone());
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.1.push(report.clone());
    }

    fn on_checkpoint(&mut self, _: &std::path::Path, _: u64) {}
}

/// Trains and gives the dense weights, the reports and the metrics on the validation split.
fn train(
    comm: Arc<dyn Comm>,
    data: &rectool_data::Dataset,
    spec: ModelSpec,
    how: &TrainSpec,
) -> Result<(Vec<f32>, Told, Evaluation), ModelError> {
    let (train, valid) = (data.split("train")?, data.split("valid")?);
    let mut ranker = Ranker::new(spec, data.schema(), environment(comm))?;
    let folder = tempfile::tempdir().unwrap();
    let job = TrainJob {
        spec: how,
        train: &train,
        valid: Some(&valid),
        checkpoints: how.early_stop.is_some().then_some(folder.path()),
        resume: None,
        recipe: None,
    };
    let mut told = Told::default();
    fit(&mut ranker, &job, &mut told)?;
    let evaluation = ranker.evaluate(&valid, 50, 0)?;
    Ok((ranker.parameters.values().to_vec(), told, evaluation))
}

fn plugin(name: &str) -> LossSpec {
    LossSpec::Plugin(call(name, "a"))
}

const IDS: [&str; 2] = ["user", "item"];

#[test]
fn a_loss_from_elsewhere_trains_as_the_native_one_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let spec = |loss| model(loss, "dense", &IDS, Vec::new());
    let how = training();
    let own = train(Arc::new(Solo), &data, spec(LossSpec::Bce), &how).unwrap();
    let other = train(Arc::new(Solo), &data, spec(plugin("bce")), &how).unwrap();
    assert_eq!(own.0, other.0);
    assert_eq!(own.1.0.last().unwrap().loss, other.1.0.last().unwrap().loss);
    assert!(own.2.auc.unwrap() > 0.7, "{:?}", own.2);
    // The metrics are the same, and the plugin's own loss is one more.
    assert!((other.2.loss.unwrap() - own.2.logloss.unwrap()).abs() < 1e-6);
    assert_eq!(Evaluation { loss: None, ..other.2 }, own.2);
    let two = on_ranks(2, |comm| train(comm, &data, spec(plugin("bce")), &how).unwrap().0);
    assert_eq!(two[0], two[1]);
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-3;
    assert!(own.0.iter().zip(&two[0]).all(near));
}

#[test]
fn any_number_is_learnt_by_squared_errors() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let mut spec = model(LossSpec::Mse, "dense", &IDS, Vec::new());
    spec.features.label = Some("count".to_owned());
    let how = TrainSpec { epochs: 8, ..training() };
    let (_, told, found) = train(Arc::new(Solo), &data, spec, &how).unwrap();
    let (first, best) = (&told.1[0].evaluation, found.rmse.unwrap());
    assert!(best < 0.8 * first.rmse.unwrap(), "{first:?} {found:?}");
    assert!(found.auc.is_none() && found.logloss.is_none() && found.loss.is_none());
}

#[test]
fn scores_are_reported_as_the_loss_says() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    for (name, label, prediction) in [
        ("squared", "count", Prediction::Value),
        ("rate", "count", Prediction::LogRate),
        ("grouped", "click", Prediction::Score),
    ] {
        let mut spec = model(plugin(name), "dense", &IDS, Vec::new());
        spec.features.label = Some(label.to_owned());
        let mut how = training();
        how.epochs = 8;
        how.early_stop = spec.early_stop(None, &[prediction], 9);
        let (_, told, found) = train(Arc::new(Solo), &data, spec.clone(), &how).unwrap();
        let (first, last) = (told.0.first().unwrap(), told.0.last().unwrap());
        assert!(last.loss < first.loss && last.calibration.is_none(), "{first:?} {last:?}");
        assert!(found.loss.is_some() && found.logloss.is_none() && found.curve.is_empty());
        if prediction == Prediction::Score {
            assert!(found.auc.unwrap() > 0.7 && found.rmse.is_none(), "{found:?}");
        } else {
            let (first, best) = (&told.1[0].evaluation, found.rmse.unwrap());
            assert!(best < 0.8 * first.rmse.unwrap() && found.auc.is_none(), "{first:?} {found:?}");
            assert!(found.mae.unwrap() <= best);
        }
        how.early_stop = Some(EarlyStop { metric: StopMetric::Logloss, head: None, patience: 9 });
        let Err(error) = train(Arc::new(Solo), &data, spec, &how) else { panic!("{name}") };
        assert!(error.to_string().contains("`early_stop.metric` is logloss"), "{error}");
    }
}

#[test]
fn weights_scale_the_loss_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let mut spec = model(LossSpec::Bce, "dense", &IDS, Vec::new());
    let plain = train(Arc::new(Solo), &data, spec.clone(), &training()).unwrap();
    spec.features.weight = Some("weight".to_owned());
    let native = train(Arc::new(Solo), &data, spec.clone(), &training()).unwrap();
    assert_ne!(plain.0, native.0);
    // Weights are 0, 1 and 2 in turn: their mean is 1.
    let (weighted, even) = (native.1.0[0].loss, plain.1.0[0].loss);
    assert!((weighted / even - 1.0).abs() < 0.1, "{weighted} {even}");
    spec.loss = plugin("bce");
    let (weights, _, found) = train(Arc::new(Solo), &data, spec.clone(), &training()).unwrap();
    assert_eq!(weights, native.0);
    // Metrics count every row once.
    assert!((found.loss.unwrap() - found.logloss.unwrap()).abs() < 1e-6);
    spec.features.weight = Some("dense".to_owned());
    let Err(error) = train(Arc::new(Solo), &data, spec, &training()) else { panic!("no error") };
    let text = error.to_string();
    assert!(text.contains("the weight is -0.") && text.contains("0 or more"), "{text}");
}

#[test]
fn labels_are_those_that_the_loss_takes() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    for (loss, label, part) in [
        (LossSpec::Bce, "count", "expected 0 or 1"),
        (plugin("grouped"), "count", "expected 0 or 1"),
        (plugin("rate"), "dense", "expected a number, 0 or more"),
    ] {
        let mut spec = model(loss, "dense", &IDS, Vec::new());
        spec.features.label = Some(label.to_owned());
        let Err(error) = train(Arc::new(Solo), &data, spec, &training()) else { panic!("{label}") };
        assert!(error.to_string().contains(part), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("importing")));
    }
    let spec = model(plugin("confused"), "dense", &IDS, Vec::new());
    let Err(error) = train(Arc::new(Solo), &data, spec, &training()) else { panic!("no error") };
    assert!(error.to_string().contains("log-odds of label 1, but takes"), "{error}");
    assert!(is_fault(&error));
}

/// Whether a fault is found by walking the sources, as the command line does.
fn is_fault(error: &ModelError) -> bool {
    let first: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(first), |error| error.source())
        .any(|error| error.downcast_ref::<PluginFault>().is_some())
}

#[test]
fn a_fault_on_one_rank_ends_all_and_leaves_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let order = Mutex::new(Vec::new());
    let errors = on_ranks(3, |comm| {
        let rank = comm.rank();
        let spec = model(plugin("fails-on-rank-1"), "dense", &IDS, Vec::new());
        let Err(error) = train(comm, &data, spec, &training()) else { panic!("rank {rank}") };
        order.lock().unwrap().push(rank);
        error
    });
    let ModelError::Plugin(fault) = &errors[1] else { panic!("{}", errors[1]) };
    let text = "loss plugin `fails-on-rank-1 1.0.0` (epoch 0, step 2, rows 21 to 42): no luck";
    assert_eq!(fault.to_string(), text);
    assert!(is_fault(&errors[1]));
    for rank in [0, 2] {
        let peer = ModelError::Comm(CommError::PeerFailed { during: "" });
        assert_eq!(std::mem::discriminant(&errors[rank]), std::mem::discriminant(&peer));
    }
}
