//! Trainings on choices, with items that were not chosen.

use std::sync::Arc;

use rectool_comm::{Comm, Solo, on_ranks};
use rectool_data::{ChainOp, ChainStep};

use super::native::{call, choices, environment, model, training};
use crate::{
    Evaluation, HeadSpec, LossSpec, ModelSpec, NegativeSpec, Quiet, Ranker, TrainJob, fit, latest,
};

fn spec(loss: LossSpec) -> ModelSpec {
    let mut spec = model(loss, "dense", &["user", "item", "kind"], Vec::new());
    spec.features.negatives = Some(NegativeSpec {
        sampler: call("uniform", "a"),
        item: "item".to_owned(),
        per_row: 2,
        item_columns: vec!["kind".to_owned()],
        score: None,
        seed: 4,
        log_q: Some("log_q".to_owned()),
        label: None,
        group: Some("row".to_owned()),
    });
    spec
}

/// Trains; gives the dense weights and the metrics on the validation split.
fn train(
    comm: Arc<dyn Comm>,
    data: &rectool_data::Dataset,
    spec: ModelSpec,
    folder: Option<&std::path::Path>,
) -> (Vec<f32>, Evaluation) {
    let (train, valid) = (data.split("train").unwrap(), data.split("valid").unwrap());
    let mut ranker = Ranker::new(spec, data.schema(), environment(comm)).unwrap();
    let mut how = training();
    how.epochs = 6;
    let job = TrainJob {
        spec: &how,
        train: &train,
        valid: None,
        checkpoints: folder,
        resume: None,
        recipe: None,
    };
    let summary = fit(&mut ranker, &job, &mut Quiet).unwrap();
    assert_eq!(summary.state.samples, 6 * 600 * 3);
    let evaluation = ranker.evaluate(&valid, 50, 1).unwrap();
    (ranker.parameters.values().to_vec(), evaluation)
}

#[test]
fn choices_are_learnt_from_items_that_were_not_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let (alone, found) = train(Arc::new(Solo), &data, spec(LossSpec::Bce), Some(folder.path()));
    assert_eq!((found.rows, found.positives), (450, Some(150)));
    assert!(found.auc.unwrap() > 0.7, "{found:?}");
    // What is drawn does not depend on how ranks cut the batch.
    let two = on_ranks(2, |comm| train(comm, &data, spec(LossSpec::Bce), None));
    assert_eq!(two[0].0, two[1].0);
    assert!(alone.iter().zip(&two[0].0).all(|(a, b)| (a - b).abs() < 1e-3));
    assert_eq!(two[0].1.rows, 450);
    // The sampler is one of the checkpoint's plugins, and another one may go on from there.
    let checkpoint = crate::Checkpoint::open(&latest(folder.path()).unwrap()).unwrap();
    let kept = &checkpoint.manifest().plugins[0];
    assert_eq!((&*kept.name, &*kept.kind), ("uniform", "sampler"));
    let mut other = spec(LossSpec::Bce);
    other.features.negatives.as_mut().unwrap().per_row = 5;
    let mut ranker = Ranker::new(other, data.schema(), environment(Arc::new(Solo))).unwrap();
    checkpoint.load(&mut ranker).unwrap();
    let valid = data.split("valid").unwrap();
    assert_eq!(ranker.evaluate(&valid, 50, 1).unwrap().rows, 900);
}

#[test]
fn the_loss_is_given_the_columns_that_come_with_negatives() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let sampled = || spec(LossSpec::Plugin(call("sampled", "a")));
    for ranks in [1, 3] {
        let found = on_ranks(ranks, |comm| train(comm, &data, sampled(), None).1);
        assert!(found[0].auc.unwrap() > 0.7, "{:?}", found[0]);
    }
    let mut without = sampled();
    without.features.negatives = None;
    let Err(error) = Ranker::new(without, data.schema(), environment(Arc::new(Solo))) else {
        panic!("no error")
    };
    assert!(error.to_string().contains("no column `row`"), "{error}");
    let mut taken = sampled();
    taken.features.negatives.as_mut().unwrap().group = Some("user".to_owned());
    let Err(error) = Ranker::new(taken, data.schema(), environment(Arc::new(Solo))) else {
        panic!("no error")
    };
    assert!(error.to_string().contains("column `user` appears twice"), "{error}");
}

/// Learns which items were chosen, and besides what came of the choice.
fn of_heads(label: Option<&str>, outcome: &str) -> ModelSpec {
    let mut spec = spec(LossSpec::Bce);
    spec.features.label = None;
    spec.features.negatives.as_mut().unwrap().label = label.map(str::to_owned);
    let outcome = HeadSpec::new(outcome, LossSpec::Mse, 0.1);
    spec.heads = vec![HeadSpec::new("chosen", LossSpec::Bce, 1.0), outcome];
    spec
}

#[test]
fn of_several_heads_one_learns_what_was_chosen_and_the_others_what_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let both = || of_heads(Some("chosen"), "visit_length");
    let (alone, found) = train(Arc::new(Solo), &data, both(), None);
    let [chosen, outcome] = found.heads.as_slice() else { panic!("{found:?}") };
    assert_eq!((chosen.evaluation.rows, chosen.evaluation.positives), (450, Some(150)));
    assert!(chosen.evaluation.auc.unwrap() > 0.7, "{found:?}");
    // Nothing came of what was not chosen.
    assert_eq!(outcome.evaluation.rows, 150);
    // The mean alone would be off by 0.8.
    assert!(outcome.evaluation.rmse.unwrap() < 0.7, "{found:?}");
    let two = on_ranks(2, |comm| train(comm, &data, both(), None));
    assert_eq!(two[0].0, two[1].0);
    assert!(alone.iter().zip(&two[0].0).all(|(a, b)| (a - b).abs() < 1e-3));
    // The head alone learns as the model without heads.
    let mut single = both();
    single.heads.pop();
    let mut plain = single.clone();
    (plain.heads, plain.features.label) = (Vec::new(), Some("chosen".to_owned()));
    let (one, other) =
        (train(Arc::new(Solo), &data, single, None), train(Arc::new(Solo), &data, plain, None));
    assert_eq!(one.0, other.0);
    assert_eq!(one.1.heads[0].evaluation, other.1);
}

#[test]
fn heads_that_do_not_go_with_negatives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let refuse = |spec: ModelSpec, expected: &str| {
        let Err(error) = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))) else {
            panic!("no error: {expected}")
        };
        assert!(error.to_string().contains(expected), "{error}");
    };
    refuse(of_heads(None, "click"), "were chosen, found negatives without a `label`");
    refuse(of_heads(Some("row_read"), "click"), "none with the label `row_read` of the negatives");
    let mut made = of_heads(Some("chosen"), "visit_length");
    let fill = ChainOp::Impute { value: 0.0 };
    made.features.chain.steps = vec![ChainStep::on("visit_length", fill)];
    refuse(made, "head `visit_length`: `label` is one that the chain makes or changes");
}
