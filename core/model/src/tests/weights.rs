//! Features whose ids have weights.

use std::path::Path;
use std::sync::Arc;

use rectool_base::{Batch, Column, ColumnKind, ColumnSchema, Hint, Jagged, Schema, Stream};
use rectool_comm::Solo;
use rectool_data::{Dataset, DatasetWriter, WriterOptions};
use rectool_embedding::{Keep, Pooling};

use super::native::{environment, model, training};
use crate::{LossSpec, ModelError, ModelSpec, Quiet, Ranker, TrainJob, fit};

/// Clicks on lists of tags, of which each has a taste that counts by its weight.
fn dataset(folder: &Path) -> Dataset {
    let plain = ColumnSchema::plain;
    let columns = vec![
        plain("click", ColumnKind::F32 { width: 1 }),
        plain("dense", ColumnKind::F32 { width: 1 }),
        plain("tags", ColumnKind::I64List),
        plain("tag_weights", ColumnKind::F32List),
    ];
    let schema = Schema::new(columns).unwrap();
    let mut writer =
        DatasetWriter::create(&folder.join("data"), schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 3_000, 1), ("valid", 600, 2)] {
        let mut stream = Stream::new(seed, &[]);
        let (mut click, mut dense) = (Vec::new(), Vec::new());
        let (mut tags, mut weights) = (Jagged::new(), Jagged::new());
        for _ in 0..rows {
            let count = 1 + stream.below(4);
            let ids: Vec<i64> = (0..count).map(|_| stream.below(12) as i64).collect();
            // Half of them count against their taste.
            let own: Vec<f32> =
                ids.iter().map(|_| [-1.0, 1.0, 2.0, -2.0][stream.below(4) as usize]).collect();
            let taste = |id: &i64| if id % 2 == 0 { 1.0 } else { -1.0 };
            let score: f32 = ids.iter().zip(&own).map(|(id, weight)| taste(id) * weight).sum();
            click.push(f32::from(score + 0.3 * stream.next_normal() > 0.0));
            dense.push(stream.next_f32());
            tags.push_row(&ids);
            weights.push_row(&own);
        }
        let f32 = |values| Column::F32 { width: 1, values };
        let columns = vec![f32(click), f32(dense), Column::I64List(tags), Column::F32List(weights)];
        writer.write(split, columns).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&folder.join("data")).unwrap()
}

fn spec(pooling: Pooling, weights: Option<&str>) -> ModelSpec {
    let mut spec = model(LossSpec::Bce, "dense", &["tags"], Vec::new());
    spec.features.ids[0].pooling = pooling;
    spec.features.ids[0].weights = weights.map(str::to_owned);
    spec
}

#[test]
fn weights_are_learnt_from() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let (train, valid) = (data.split("train").unwrap(), data.split("valid").unwrap());
    let auc = |pooling, weights| {
        let spec = spec(pooling, weights);
        let mut ranker = Ranker::new(spec, data.schema(), environment(Arc::new(Solo))).unwrap();
        let how = training();
        let job = TrainJob {
            spec: &how,
            train: &train,
            valid: None,
            checkpoints: None,
            resume: None,
            recipe: None,
        };
        fit(&mut ranker, &job, &mut Quiet).unwrap();
        ranker.evaluate(&valid, 50, 1).unwrap().auc.unwrap()
    };
    for pooling in [Pooling::Sum, Pooling::SqrtN] {
        let found = auc(pooling, Some("tag_weights"));
        assert!(found > 0.9, "{pooling:?}: {found}");
    }
    let without = auc(Pooling::Sum, None);
    assert!(without < 0.6, "{without}");
}

#[test]
fn weights_that_do_not_go_with_their_ids_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(folder.path());
    let build = |spec| Ranker::new(spec, data.schema(), environment(Arc::new(Solo)));
    let mut ranker = build(spec(Pooling::Mean, Some("tag_weights"))).unwrap();
    let mut score = |weights: Jagged<f32>| {
        let tags = Jagged { offsets: vec![0, 2, 3], values: vec![1, 2, 3] };
        let f32 = || Column::F32 { width: 1, values: vec![0.0; 2] };
        let columns = vec![f32(), f32(), Column::I64List(tags), Column::F32List(weights)];
        let batch = Batch { rows: 2, rows_global: 12, row_first: 10, epoch: 1, step: 4, columns };
        ranker.score(&batch).map(<[f32]>::len)
    };
    let weights = |offsets: [u32; 3], values: &[f32]| Jagged {
        offsets: offsets.to_vec(),
        values: values.to_vec(),
    };
    assert_eq!(score(weights([0, 2, 3], &[1.0; 3])).unwrap(), 2);
    let error = score(weights([0, 2, 4], &[1.0; 4])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "epoch 1, step 4, row 11 of the batch: feature `tags` has 1 ids in `tags` and 2 weights in \
         `tag_weights`"
    );
    assert!(error.hint().unwrap().contains("`truncate`"));
    let error = score(weights([0, 2, 3], &[1.0, 1.0, f32::NAN])).unwrap_err();
    assert!(error.to_string().contains("feature `tags`, row 11 of the batch: a weight is NaN"));

    let error = build(spec(Pooling::Mean, Some("dense"))).err().unwrap();
    assert_eq!(
        error.to_string(),
        "feature `tags`: column `dense` has type f32[1], expected f32 list, for weights"
    );
    let error = build(spec(Pooling::Mean, Some("tag_weight"))).err().unwrap();
    assert_eq!(error.hint().unwrap(), "did you mean `tag_weights`?");
}

#[test]
fn a_dlrm_takes_no_sequences() {
    let sequence = Pooling::Sequence { length: 3, keep: Keep::Last };
    let error = spec(sequence, None).check().unwrap_err();
    assert!(matches!(error, ModelError::Sequence { vectors: 3, .. }));
    assert_eq!(
        error.to_string(),
        "feature `tags` is a sequence of 3 vectors, expected one vector from each feature of a `dlrm`"
    );
    assert!(error.hint().unwrap().contains("`sqrtn`"));
}
