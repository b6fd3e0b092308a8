//! Options, ids and calls that do not fit.

use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::Solo;

use super::case::{Case, feature, sgd, table};
use crate::{
    Admission, EmbeddingCollection, EmbeddingError, Expiry, FeatureOptions, Ids, IndexKind, Init,
    Layout, Mode, OptimizerOptions, TableOptions,
};

fn build(
    tables: Vec<TableOptions>,
    features: Vec<FeatureOptions>,
) -> Result<EmbeddingCollection, EmbeddingError> {
    EmbeddingCollection::new(tables, features, 1, Arc::new(Solo))
}

fn refused(table: TableOptions) -> String {
    build(vec![table], vec![]).err().unwrap().to_string()
}

#[test]
fn options_out_of_range_are_refused() {
    assert_eq!(refused(table("t", 0, sgd(0.1))), "table `t`: `dim` is 0, expected 1 to 4096");
    assert_eq!(refused(table("t", 4097, sgd(0.1))), "table `t`: `dim` is 4097, expected 1 to 4096");
    let nan = "table `t`: `learning_rate` is NaN, expected a finite number, 0 or above";
    assert_eq!(refused(table("t", 1, sgd(f32::NAN))), nan);
    let mut dense = table("t", 1, sgd(0.1));
    dense.index = IndexKind::Dense { rows: 0 };
    assert_eq!(refused(dense.clone()), "table `t`: `rows` is 0, expected at least 1");
    dense.index = IndexKind::Dense { rows: 1 << 40 };
    let full = "table `t`: 1099511627776 rows on one rank, expected at most 4294967295";
    assert_eq!(refused(dense), full);
    let admission = Admission::Count { sightings: 16, window_steps: 1, cells: 1 };
    let counted = TableOptions { admission, ..table("t", 1, sgd(0.1)) };
    assert_eq!(refused(counted), "table `t`: `sightings` is 16, expected 1 to 15");
    let likely = Admission::Probability { p: 1.5 };
    let likely = TableOptions { admission: likely, ..table("t", 1, sgd(0.1)) };
    assert_eq!(refused(likely), "table `t`: `p` is 1.5, expected 0 to 1");
    let mut endless = table("t", 1, sgd(0.1));
    endless.init = Init::Uniform { bound: f32::INFINITY };
    assert!(refused(endless).starts_with("table `t`: `bound` is inf"));
    let adagrad = OptimizerOptions::Adagrad {
        learning_rate: 0.1,
        epsilon: 0.0,
        initial_accumulator: 0.0,
        weight_decay: 0.0,
    };
    assert!(refused(table("t", 1, adagrad)).contains("`epsilon` is 0, expected above 0"));
    let clipped = TableOptions { clip_norm: Some(0.0), ..table("t", 1, sgd(0.1)) };
    let text = "table `t`: `clip_norm` is 0, expected a finite number above 0";
    assert_eq!(refused(clipped), text);
    let expiry = Expiry { rows_max: Some(0), ..Expiry::default() };
    let empty = TableOptions { expiry, ..table("t", 1, sgd(0.1)) };
    assert_eq!(refused(empty), "table `t`: `rows_max` is 0, expected at least 1");
    // Each table is a folder of a checkpoint.
    for name in ["", ".", "..", "a/b", "/a", "a\0", &"a".repeat(201)] {
        let text = "expected a name that a folder can have, of 1 to 200 bytes";
        assert!(refused(table(name, 1, sgd(0.1))).ends_with(text), "{name}");
    }
    assert!(build(vec![table("C 1 (é)..", 1, sgd(0.1))], vec![]).is_ok());
}

#[test]
fn optimizer_options_out_of_range_are_refused() {
    let cases = [
        (
            r#"{"kind": "sgd", "learning_rate": 1, "momentum": 1}"#,
            "`momentum` is 1, expected at least 0 and below 1",
        ),
        (
            r#"{"kind": "sgd", "learning_rate": 1, "weight_decay": -1}"#,
            "`weight_decay` is -1, expected a finite number, 0 or above",
        ),
        (
            r#"{"kind": "adam", "learning_rate": 1, "beta1": -0.5}"#,
            "`beta1` is -0.5, expected at least 0 and below 1",
        ),
        (
            r#"{"kind": "adam_w", "learning_rate": 1, "beta2": 1}"#,
            "`beta2` is 1, expected at least 0 and below 1",
        ),
        (
            r#"{"kind": "row_wise_adam", "learning_rate": 1, "epsilon": 0}"#,
            "`epsilon` is 0, expected a finite number above 0",
        ),
        (
            r#"{"kind": "ftrl", "learning_rate": 0}"#,
            "`learning_rate` is 0, expected a finite number above 0",
        ),
        (
            r#"{"kind": "ftrl", "learning_rate": 1, "beta": 0}"#,
            "`beta` is 0, expected a finite number above 0",
        ),
        (
            r#"{"kind": "ftrl", "learning_rate": 1, "l1": -2}"#,
            "`l1` is -2, expected a finite number, 0 or above",
        ),
    ];
    for (json, expected) in cases {
        let optimizer: OptimizerOptions = serde_json::from_str(json).unwrap();
        assert_eq!(refused(table("t", 1, optimizer)), format!("table `t`: {expected}"));
    }
}

#[test]
fn names_must_be_known_and_unique() {
    let tables = || vec![table("city", 2, sgd(0.1)), table("shop", 2, sgd(0.1))];
    let error = build(tables(), vec![feature("f", "citty")]).err().unwrap();
    assert_eq!(error.to_string(), "feature `f` uses table `citty`, which is not defined");
    assert_eq!(error.hint().unwrap(), "did you mean `city`?");
    let features = vec![feature("f", "city"), feature("f", "shop")];
    let error = build(tables(), features).err().unwrap();
    assert_eq!(error.to_string(), "two features are named `f`");
    let error = build([tables(), tables()].concat(), vec![]).err().unwrap();
    assert_eq!(error.to_string(), "two tables are named `city`");
}

#[test]
fn ids_out_of_range_are_named() {
    let mut dense = table("t", 2, sgd(0.1));
    dense.index = IndexKind::Dense { rows: 5 };
    let collection = build(vec![dense], vec![feature("a", "t"), feature("b", "t")]).unwrap();
    let matrix = [0, 1, 2, -1, 4, 5];
    let fixed = |at| Ids::Fixed { values: &matrix, width: 2, at };
    let list = Ids::List { offsets: &[1, 1, 3, 4], values: &[9, 0, 1, 7], weights: None };
    let error = collection.prepare(&[fixed(0), fixed(1)], 3, 100).err().unwrap();
    let text = "feature `b`, row 101 of the batch: id -1 is not in 0..5 of table `t`";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().unwrap().starts_with("-1 stands for a missing value"));
    let error = collection.prepare(&[list, fixed(0)], 3, 100).err().unwrap();
    let text = "feature `a`, row 102 of the batch: id 7 is not in 0..5 of table `t`";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some());
}

#[test]
fn ids_of_another_shape_are_refused() {
    let collection = build(vec![table("t", 2, sgd(0.1))], vec![feature("a", "t")]).unwrap();
    let prepare = |ids| collection.prepare(&[ids], 2, 0).err().unwrap().to_string();
    let fixed = |values, width, at| prepare(Ids::Fixed { values, width, at });
    assert_eq!(fixed(&[1, 2, 3], 2, 0), "ids of feature `a`: found 3 values, expected 2 rows of 2");
    assert_eq!(
        fixed(&[1, 2], 1, 1),
        "ids of feature `a`: found column 1, expected one of 1 columns"
    );
    let list = |offsets, values| prepare(Ids::List { offsets, values, weights: None });
    assert!(list(&[0, 1], &[1]).contains("found 2 offsets, expected 3 for 2 rows"));
    assert!(list(&[0, 2, 1], &[1, 2]).contains("found offsets that fall"));
    assert!(list(&[0, 1, 3], &[1, 2]).contains("found 2 values, expected 3"));
    let error = collection.prepare(&[], 2, 0).err().unwrap();
    assert_eq!(error.to_string(), "ids of the batch: found 0 features, expected 1");
}

#[test]
fn buffers_of_another_shape_are_refused() {
    let mut collection = build(vec![table("t", 2, sgd(0.1))], vec![feature("a", "t")]).unwrap();
    let ids = [Ids::Fixed { values: &[1, 2], width: 1, at: 0 }];
    let mut batch = collection.prepare(&ids, 2, 0).unwrap();
    let mut forward = |floats: usize, row_stride, offsets| {
        let layout = Layout { row_stride, offsets };
        let mut out = vec![0.0; floats];
        let result = collection.forward(&mut batch, Mode::Train, &mut out, &layout);
        result.map_err(|error| error.to_string())
    };
    assert_eq!(forward(5, 3, vec![0]), Ok(()));
    assert!(
        forward(5, 3, vec![1]).is_err_and(|text| text.starts_with("embedding buffer: found 5"))
    );
    assert!(
        forward(9, 3, vec![2]).is_err_and(|text| text.starts_with("embedding offset: found 2"))
    );
    assert!(
        forward(9, 3, vec![]).is_err_and(|text| text.starts_with("embedding offsets: found 0"))
    );
    assert!(forward(9, usize::MAX, vec![0]).is_err());
    assert!(forward(9, 3, vec![usize::MAX]).is_err());
}

#[test]
fn batches_out_of_turn_are_refused() {
    let case = Case::draw(1, 10);
    let layout = case.layout();
    let batch = &case.steps[0];
    let mut collection = case.collection(Arc::new(Solo));
    let mut out = vec![0.0; batch.gradient.len()];
    let prepare = |collection: &EmbeddingCollection| {
        batch.with_ids(0..batch.rows, |ids, rows| collection.prepare(ids, rows, 0).unwrap())
    };
    let mut prepared = prepare(&collection);
    let mut forward = |collection: &mut EmbeddingCollection, prepared: &mut _, mode| {
        collection.forward(prepared, mode, &mut out, &layout)
    };
    let refused = |collection: &mut EmbeddingCollection, prepared: &mut _, found: &str| {
        let error = collection.backward(prepared, &batch.gradient, &layout, 1.0).unwrap_err();
        assert!(error.to_string().starts_with(&format!("backward: the batch {found}")), "{error}");
    };
    refused(&mut collection, &mut prepared, "did not go through forward");
    forward(&mut collection, &mut prepared, Mode::Evaluate).unwrap();
    refused(&mut collection, &mut prepared, "went through forward in evaluation mode");
    forward(&mut collection, &mut prepared, Mode::Train).unwrap();
    collection.clear();
    refused(&mut collection, &mut prepared, "is from before rows were dropped");
    forward(&mut collection, &mut prepared, Mode::Train).unwrap();
    collection.backward(&mut prepared, &batch.gradient, &layout, 1.0).unwrap();
    refused(&mut collection, &mut prepared, "went through backward already");
    let mut other = case.collection(Arc::new(Solo));
    refused(&mut other, &mut prepared, "was prepared by another collection");
    other.recycle(prepared);
    let mut own = prepare(&other);
    forward(&mut other, &mut own, Mode::Train).unwrap();
}

#[test]
fn options_survive_json() {
    let case = Case::draw(2, 1);
    let text = serde_json::to_string(&case.tables).unwrap();
    assert_eq!(serde_json::from_str::<Vec<TableOptions>>(&text).unwrap(), case.tables);
    let text = serde_json::to_string(&case.features).unwrap();
    assert_eq!(serde_json::from_str::<Vec<FeatureOptions>>(&text).unwrap(), case.features);
    let json = r#"{"kind": "row_wise_adagrad", "learning_rate": 0.1, "epsilon": 1e-8}"#;
    let optimizer: OptimizerOptions = serde_json::from_str(json).unwrap();
    assert_eq!(optimizer.state_width(16), 1);
    let typo = r#"{"kind": "sgd", "lerning_rate": 0.1}"#;
    assert!(serde_json::from_str::<OptimizerOptions>(typo).is_err());
    assert!(serde_json::from_str::<IndexKind>(r#"{"kind": "dense", "rows": 5}"#).is_ok());
}
