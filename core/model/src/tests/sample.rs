//! Samples say how a training will use its tables.

use super::native::{Native, dataset, model};
use crate::{LossSpec, sample_tables};

#[test]
fn a_sample_counts_ids_and_distinct_keys() {
    let folder = tempfile::tempdir().unwrap();
    let split = dataset(folder.path()).split("train").unwrap();
    let spec = model(LossSpec::Bce, "dense", &["user", "item"], Vec::new());
    let sample = sample_tables(&spec, &split, &Native).unwrap();
    assert_eq!(sample, sample_tables(&spec, &split, &Native).unwrap());
    assert_eq!(sample.len(), 2);
    for table in &sample {
        assert_eq!(table.ids_per_row, 1.0);
        assert_eq!(table.distinct[0], (1, 1));
        assert_eq!(table.distinct.last().unwrap().0, split.rows());
        let rises = |pair: &[(u64, u64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
        assert!(table.distinct.windows(2).all(rises), "{table:?}");
        let inner = &table.distinct[..table.distinct.len() - 1];
        assert!(inner.iter().all(|(rows, _)| rows.is_power_of_two()), "{table:?}");
    }
    // Features that share a table share its keys.
    let mut shared = spec.clone();
    shared.features.ids[1].table = "user".to_owned();
    shared.tables.truncate(1);
    let both = sample_tables(&shared, &split, &Native).unwrap();
    assert_eq!((both.len(), both[0].ids_per_row), (1, 2.0));
    let keys = |at: usize| sample[at].distinct.last().unwrap().1;
    let together = both[0].distinct.last().unwrap().1;
    assert!(together >= keys(0).max(keys(1)) && together <= keys(0) + keys(1));
}
