//! The AUC within groups of rows.

use std::sync::Arc;

use rectool_base::{Column, Hint};
use rectool_comm::{Solo, on_ranks};

use super::heads::{dataset, plain, three};
use super::native::{call, choices, environment, model};
use crate::{Gauc, LossSpec, ModelSpec, NegativeSpec, Ranker};

/// The definition, pair by pair: mean over groups of both labels, by their rows.
fn by_pairs(groups: &[i64], scores: &[f32], labels: &[f32]) -> Gauc {
    let (mut sum, mut rows, mut users, mut users_left_out) = (0.0, 0, 0, 0);
    let mut all = groups.to_vec();
    all.sort_unstable();
    all.dedup();
    for group in all {
        let own: Vec<usize> = (0..groups.len()).filter(|row| groups[*row] == group).collect();
        let own: Vec<usize> = own.into_iter().filter(|row| !labels[*row].is_nan()).collect();
        let of = |label: f32| own.iter().filter(move |row| labels[**row] == label);
        let (mut won, mut pairs) = (0.0, 0);
        for positive in of(1.0) {
            for negative in of(0.0) {
                let (a, b) = (scores[*positive], scores[*negative]);
                won += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
                pairs += 1;
            }
        }
        if pairs > 0 {
            sum += won / f64::from(pairs) * own.len() as f64;
            rows += own.len();
            users += 1;
        } else if !own.is_empty() {
            users_left_out += 1;
        }
    }
    Gauc { value: (users > 0).then(|| sum / rows as f64), users, users_left_out }
}

#[test]
fn groups_are_judged_as_defined_on_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    for (lacking, spec) in [(false, plain("click", LossSpec::Bce)), (true, three())] {
        let data = dataset(folder.path(), lacking);
        let valid = data.split("valid").unwrap();
        let all: Vec<u64> = (0..valid.rows()).collect();
        for (name, at) in [("user", 0), ("visit", 6)] {
            let columns = valid.gather(&all, &[at, 3]).unwrap();
            let [Column::I64 { values: groups, .. }, Column::F32 { values: labels, .. }] =
                columns.as_slice()
            else {
                panic!("{columns:?}")
            };
            let width = spec.logits();
            for ranks in [1, 2, 3] {
                let found = on_ranks(ranks, |comm| {
                    let mut ranker =
                        Ranker::new(spec.clone(), data.schema(), environment(comm)).unwrap();
                    let found = ranker.evaluate_by(Some(name), &valid, 50, 0).unwrap();
                    (found, ranker.predict(&valid, 0).unwrap())
                });
                let (found, scores) = &found[0];
                let scores: Vec<f32> = scores.iter().copied().step_by(width).collect();
                let expected = by_pairs(groups, &scores, labels);
                let judged = found.heads.first().map_or(found, |head| &head.evaluation);
                let gauc = judged.gauc.unwrap();
                assert_eq!(
                    (gauc.users, gauc.users_left_out),
                    (expected.users, expected.users_left_out)
                );
                let (value, expected) = (gauc.value.unwrap(), expected.value.unwrap());
                assert!((value - expected).abs() < 1e-12, "{value}, not {expected}");
                if name == "visit" {
                    assert!(gauc.users_left_out > 0 && gauc.users > 10, "{gauc:?}");
                }
                assert!(found.heads.iter().skip(1).all(|head| head.evaluation.gauc.is_none()));
            }
        }
    }
}

/// Each visit is a group of the item that was chosen and those drawn for it.
#[test]
fn what_was_drawn_for_a_row_is_of_its_group() {
    let folder = tempfile::tempdir().unwrap();
    let data = choices(folder.path());
    let mut spec: ModelSpec = model(LossSpec::Bce, "dense", &["user", "item", "kind"], Vec::new());
    spec.features.negatives = Some(NegativeSpec {
        sampler: call("uniform", "a"),
        item: "item".to_owned(),
        per_row: 2,
        item_columns: vec!["kind".to_owned()],
        score: None,
        seed: 4,
        log_q: None,
        label: None,
        group: None,
    });
    let valid = data.split("valid").unwrap();
    let mut values = Vec::new();
    for ranks in [1, 2] {
        let found = on_ranks(ranks, |comm| {
            let mut ranker = Ranker::new(spec.clone(), data.schema(), environment(comm)).unwrap();
            ranker.evaluate_by(Some("visit"), &valid, 70, 0).unwrap().gauc.unwrap()
        });
        assert_eq!((found[0].users, found[0].users_left_out), (150, 0));
        values.push(found[0]);
    }
    assert_eq!(values[0], values[1]);
}

#[test]
fn groups_that_cannot_be_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path(), false);
    let valid = data.split("valid").unwrap();
    let refuse = |spec: ModelSpec, name: &str| {
        let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
        ranker.evaluate_by(Some(name), &valid, 50, 0).unwrap_err()
    };
    let error = refuse(plain("click", LossSpec::Bce), "usr");
    assert!(error.to_string().contains("`usr`") && error.hint().is_some(), "{error}");
    let error = refuse(plain("click", LossSpec::Bce), "dense");
    assert!(error.to_string().contains("`group_by`"), "{error}");
    let error = refuse(plain("dwell", LossSpec::Mse), "user");
    assert!(error.to_string().contains("no output of the model has an AUC"), "{error}");
}
