//! Rows out of some ranks and into others.

use std::collections::BTreeMap;
use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::{Solo, on_ranks};

use super::case::{Case, Content, content, feature, join, rows, sgd, share, table};
use crate::placement::bucket;
use crate::{BUCKETS, EmbeddingCollection, Ids, IndexKind, Layout, Mode, Rows, Storage};

#[test]
fn rows_move_between_any_numbers_of_ranks() {
    let ranks = [(1, 3), (3, 1), (2, 4), (4, 3), (5, 2), (2, 2)];
    for (seed, (before, after)) in (0..30).zip(ranks.into_iter().cycle()) {
        let case = Case::draw(seed, 60);
        let mut stream = Stream::new(seed, &[9]);
        let plans = [before, after].map(|ranks| case.draw_plan(&mut stream, ranks));
        let parts = on_ranks(before, |comm| {
            let rank = comm.rank();
            let mut collection = case.collection_with(comm, &plans[0]);
            case.train(&mut collection, |rows| share(rank, before, rows));
            let tables = 0..case.tables.len();
            let parts: Vec<Vec<Rows>> =
                tables.map(|t| collection.export(t, 5).unwrap().collect()).collect();
            (parts, content(&collection))
        });
        let loaded = on_ranks(after, |comm| {
            let mut collection = case.collection_with(comm, &plans[1]);
            // What was there before is gone.
            case.train(&mut collection, |rows| 0..rows.min(1));
            collection.clear();
            for (tables, _) in &parts {
                for (t, rows) in tables.iter().enumerate() {
                    for part in rows {
                        collection.import(t, part).unwrap();
                    }
                }
            }
            content(&collection)
        });
        let expected = join(parts.into_iter().map(|(_, content)| content));
        assert_eq!(join(loaded), expected, "case {seed}, {plans:?}");
    }
}

#[test]
fn training_goes_on_after_a_load_as_if_nothing_had_happened() {
    for storage in [Storage::F32, Storage::Bf16, Storage::F16] {
        goes_on_after_a_load(&Case::draw(8, 60).stored(storage));
    }
}

fn goes_on_after_a_load(case: &Case) {
    let mut whole = case.collection(Arc::new(Solo));
    case.train(&mut whole, |rows| 0..rows);
    let mut loaded = case.collection(Arc::new(Solo));
    loaded.set_steps(whole.steps());
    for t in 0..case.tables.len() {
        for part in whole.export(t, 1_000).unwrap() {
            loaded.import(t, &part).unwrap();
        }
    }
    let outputs = case.train(&mut whole, |rows| 0..rows);
    assert_eq!(format!("{outputs:?}"), format!("{:?}", case.train(&mut loaded, |rows| 0..rows)));
    assert_eq!(content(&whole), content(&loaded));
}

#[test]
fn headers_tell_when_and_how_often_a_row_was_updated() {
    let mut collection = EmbeddingCollection::new(
        vec![table("t", 1, sgd(0.1))],
        vec![feature("f", "t")],
        1,
        Arc::new(Solo),
    )
    .unwrap();
    collection.set_steps(40);
    for ids in [[7, 8, 7], [8, 8, 9], [8, 7, 8]] {
        let ids = [Ids::Fixed { values: &ids, width: 1, at: 0 }];
        let mut batch = collection.prepare(&ids, 3, 0).unwrap();
        let layout = Layout::packed([1]);
        collection.forward(&mut batch, Mode::Train, &mut [0.0; 3], &layout).unwrap();
        collection.backward(&mut batch, &[1.0; 3], &layout, 1.0).unwrap();
    }
    assert_eq!(collection.steps(), 43);
    let seen = |collection: &EmbeddingCollection, since| -> BTreeMap<u64, (u32, u32)> {
        let parts = collection.export_since(0, since, 2).unwrap();
        let seen =
            |rows: Rows| rows.keys.into_iter().zip(rows.last_seen.into_iter().zip(rows.counts));
        parts.flat_map(seen).collect()
    };
    let all = [(7, (43, 2)), (8, (43, 3)), (9, (42, 1))];
    assert_eq!(seen(&collection, 0), BTreeMap::from(all));
    assert_eq!(seen(&collection, 42), BTreeMap::from([all[0], all[1]]));
    assert!(seen(&collection, 43).is_empty());
    assert_eq!(collection.export_since(0, 41, 5).unwrap().rows(), 3);
    let rows: Vec<Rows> = collection.export(0, 5).unwrap().collect();
    collection.clear();
    assert_eq!(collection.steps(), 0);
    collection.import(0, &rows[0]).unwrap();
    assert_eq!(seen(&collection, 0), BTreeMap::from(all));
}

#[test]
fn parts_are_in_the_order_of_bucket_and_key() {
    for index in [IndexKind::Hash, IndexKind::Dense { rows: 3 * u64::from(BUCKETS) }] {
        let mut options = table("t", 1, sgd(0.1));
        options.index = index.clone();
        let mut collection =
            EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 1, Arc::new(Solo))
                .unwrap();
        let mut keys: Vec<u64> = (0..3 * u64::from(BUCKETS)).step_by(7).collect();
        let values: Vec<f32> = keys.iter().map(|key| *key as f32).collect();
        collection.import(0, &rows(&keys, &values, &[])).unwrap();
        keys.sort_by_key(|key| (bucket(&index, *key), *key));
        let export = collection.export(0, 100).unwrap();
        assert_eq!(export.rows(), keys.len());
        let parts: Vec<Rows> = export.collect();
        assert!(parts[..parts.len() - 1].iter().all(|part| part.keys.len() == 100));
        let found: Vec<u64> = parts.iter().flat_map(|part| part.keys.iter().copied()).collect();
        assert_eq!(found, keys);
        let found: Vec<f32> = parts.iter().flat_map(|part| part.values.iter().copied()).collect();
        assert!(found.iter().zip(&keys).all(|(value, key)| *value == *key as f32));
    }
}

#[test]
fn rows_that_do_not_fit_are_refused() {
    let mut options = table("t", 2, sgd(0.1));
    options.index = IndexKind::Dense { rows: 10 };
    let mut collection =
        EmbeddingCollection::new(vec![options], vec![feature("f", "t")], 1, Arc::new(Solo))
            .unwrap();
    let mut refused = |rows| collection.import(0, &rows).unwrap_err().to_string();
    assert_eq!(
        refused(Rows { columns: 0..2, ..rows(&[1], &[0.0; 3], &[]) }),
        "table `t`: cannot load rows: values: found 3, expected 2"
    );
    assert_eq!(
        refused(rows(&[1], &[0.0; 2], &[0.0])),
        "table `t`: cannot load rows: state: found 1, expected 0"
    );
    assert_eq!(
        refused(rows(&[10], &[0.0; 2], &[])),
        "table `t`: cannot load rows: key outside of 0..rows: found 10, expected below 10"
    );
    assert_eq!(
        refused(Rows { columns: 1..3, ..rows(&[1], &[0.0; 2], &[]) }),
        "table `t`: cannot load rows: columns up to: found 3, expected 2"
    );
    let short = Rows { last_seen: vec![], ..rows(&[1], &[0.0; 2], &[]) };
    assert_eq!(refused(short), "table `t`: cannot load rows: last_seen: found 0, expected 1");
    let short = Rows { counts: vec![1, 2], ..rows(&[1], &[0.0; 2], &[]) };
    assert_eq!(refused(short), "table `t`: cannot load rows: counts: found 2, expected 1");
    assert_eq!(
        collection.import(1, &Rows::default()).unwrap_err().to_string(),
        "there is no table 1, expected below 1"
    );
    assert!(collection.export(1, 5).is_err());
    assert_eq!(collection.rows_total().unwrap(), 0);
}

#[test]
fn removed_keys_start_anew_and_are_remembered() {
    for index in [IndexKind::Hash, IndexKind::Dense { rows: 20 }, IndexKind::Modulo { rows: 20 }] {
        let mut options = table("t", 2, sgd(0.1));
        options.index = index;
        let found = on_ranks(2, |comm| {
            let tables = vec![options.clone()];
            let mut collection =
                EmbeddingCollection::new(tables, vec![feature("f", "t")], 1, comm).unwrap();
            let keys: Vec<u64> = (0..20).collect();
            collection.import(0, &rows(&keys, &[9.0; 40], &[])).unwrap();
            // Nobody asked about this one.
            collection.remove(0, &[13]).unwrap();
            assert!(collection.take_removed(0).unwrap().is_empty());
            let removed = collection.remove(0, &[3, 3, 5, 7, 11]).unwrap();
            let found = content(&collection);
            assert!(![3, 5, 7, 11].iter().any(|key| found.contains_key(&(0, *key))));
            // One of them comes back.
            collection.import(0, &rows(&[7], &[8.0; 2], &[])).unwrap();
            let gone = collection.take_removed(0).unwrap();
            assert!(collection.take_removed(0).unwrap().is_empty());
            assert!(collection.remove(1, &[]).is_err() && collection.take_removed(1).is_err());
            (removed, gone, content(&collection))
        });
        assert_eq!(found.iter().map(|(removed, ..)| removed).sum::<usize>(), 4);
        let mut gone: Vec<u64> = found.iter().flat_map(|(_, gone, _)| gone.clone()).collect();
        gone.sort_unstable();
        assert_eq!(gone, [3, 5, 11]);
        let content: Content = found.into_iter().flat_map(|(.., content)| content).collect();
        assert_eq!(content.len(), 16);
        assert_eq!(content[&(0, 7)].0, [8.0; 2]);
    }
}
