use std::collections::BTreeSet;

use super::*;
use crate::import::{self, ImportOptions, SplitRule};
use crate::manifest::Manifest;

fn make(rows: u64, seed: u64, shard_rows: usize) -> (tempfile::TempDir, Manifest, SynthSummary) {
    let folder = tempfile::tempdir().unwrap();
    let writer = WriterOptions { shard_rows, ..Default::default() };
    let tsv = Some(folder.path().join("log.tsv"));
    let options = SynthOptions { rows, seed, tsv, writer, ..Default::default() };
    let out = folder.path().join("data");
    let summary = criteo(&out, &options, &|_| {}).unwrap();
    let manifest = fs::read_to_string(out.join("dataset.json")).unwrap();
    (folder, serde_json::from_str(&manifest).unwrap(), summary)
}

#[test]
fn the_teacher_can_be_learnt_from() {
    for seed in [1, 2] {
        let (_folder, manifest, summary) = make(60_000, seed, 1 << 18);
        assert_eq!(manifest.rows(), 60_000);
        let rows: Vec<u64> = summary.splits.iter().map(|split| split.1).collect();
        assert_eq!(rows, [48_000, 6_000, 6_000]);
        let auc = summary.teacher_auc.unwrap();
        assert!((0.78..0.82).contains(&auc), "seed {seed}: AUC {auc}");
        assert!((summary.click_rate - 0.256).abs() < 0.01, "seed {seed}: {}", summary.click_rate);
        let loss = summary.teacher_log_loss.unwrap();
        assert!((0.42..0.50).contains(&loss), "seed {seed}: log loss {loss}");
    }
}

#[test]
fn the_log_imported_is_the_dataset_made() {
    let (folder, made, _) = make(5_000, 3, 700);
    let fractions = [("train", 0.8), ("valid", 0.1), ("test", 0.1)];
    let fractions = fractions.map(|(name, fraction)| (name.to_owned(), fraction)).to_vec();
    let rule = SplitRule::Fractions { files: vec![folder.path().join("log.tsv")], fractions };
    let writer = WriterOptions { shard_rows: 700, ..Default::default() };
    let options = ImportOptions { writer, ..Default::default() };
    let out = folder.path().join("imported");
    import::criteo(&rule, &out, &options, &|_| {}).unwrap();
    let text = fs::read_to_string(out.join("dataset.json")).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), made);
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let manifests = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| make(30_000, 4, 5_000)).1
    });
    assert_eq!(manifests[0], manifests[1]);
    assert_ne!(make(30_000, 5, 5_000).1, manifests[0], "another seed");
}

#[test]
fn ids_are_zipf_and_scattered() {
    let shape = Shape::new(1, 1_000_000);
    let rows: Vec<Row> = (0..20_000).map(|row| shape.row(row)).collect();
    let first = rows.iter().filter(|row| row.ranks[2] == Some(0)).count();
    let second = rows.iter().filter(|row| row.ranks[2] == Some(1)).count();
    assert!(first > second && second > 100, "{first}, {second}");
    let missing = rows.iter().filter(|row| row.ranks[21].is_none()).count();
    assert!((14_800..15_700).contains(&missing), "C22: {missing} of 20,000 missing");
    assert!(rows.iter().all(|row| row.ranks[8].unwrap() < 3), "C9 has three values");
    let ids: BTreeSet<i64> = rows.iter().map(|row| shape.ids(row)[2]).collect();
    let ranks: BTreeSet<Option<u32>> = rows.iter().map(|row| row.ranks[2]).collect();
    assert_eq!(ids.len(), ranks.len(), "one id per rank");
    assert!(*ids.last().unwrap() > 1 << 31, "over the whole of 32 bits");
    let below = rows.iter().filter(|row| row.integers[1] < 0.0).count();
    assert!(below > 100, "I2 goes below zero");
}

#[test]
fn options_out_of_range_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let bad = [
        SynthOptions { rows: 0, ..Default::default() },
        SynthOptions { valid: 0.7, test: 0.7, ..Default::default() },
        SynthOptions { test: f64::NAN, ..Default::default() },
    ];
    for options in bad {
        let error = criteo(&out, &options, &|_| {}).unwrap_err();
        assert!(matches!(error, DataError::Option { .. }), "{error}");
    }
    let tsv = folder.path().join("log.tsv");
    fs::write(&tsv, "precious").unwrap();
    let options = SynthOptions { rows: 10, tsv: Some(tsv.clone()), ..Default::default() };
    let error = criteo(&out, &options, &|_| {}).unwrap_err();
    assert!(matches!(error, DataError::OutputExists { .. }), "{error}");
    assert_eq!(fs::read_to_string(tsv).unwrap(), "precious");
    assert!(!out.exists());
}

#[test]
fn a_log_of_one_row_has_no_auc() {
    let (_folder, manifest, summary) = make(1, 1, 10);
    assert_eq!(manifest.rows(), 1);
    assert_eq!(summary.teacher_auc, None);
}
