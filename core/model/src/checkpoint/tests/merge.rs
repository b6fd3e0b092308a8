//! Layers of parts against a plain map.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use rectool_embedding::{IndexKind, Rows, bucket};

use crate::ModelError;
use crate::checkpoint::part::PartLayout;
use crate::checkpoint::part_read::PartReader;
use crate::checkpoint::part_write::PartWriter;
use crate::checkpoint::table_rows::{Says, Source, TableRows};

const DIM: usize = 4;
const STATE: usize = 8;

/// A row as numbers that tell it from any other.
fn row(key: u64, layer: usize) -> (Vec<f32>, Vec<f32>, u32, u32) {
    let value = |at: usize| (key * 1_000 + layer as u64 * 100 + at as u64) as f32;
    let values = (0..DIM).map(value).collect();
    (values, (DIM..DIM + STATE).map(value).collect(), layer as u32 + 1, key as u32)
}

fn file(path: &Path, layout: PartLayout, chunk: usize, rows: &[Rows]) -> PathBuf {
    let mut writer = PartWriter::create(path, layout).unwrap();
    for rows in rows.chunks(chunk) {
        let mut batch = Rows::default();
        for row in rows {
            batch.keys.extend(&row.keys);
            batch.values.extend(&row.values);
            batch.state.extend(&row.state);
            batch.last_seen.extend(&row.last_seen);
            batch.counts.extend(&row.counts);
        }
        writer.write(batch).unwrap();
    }
    writer.finish(String::new()).unwrap();
    path.to_owned()
}

/// Columns `first..end` of the rows of `keys`.
fn rows(keys: &[u64], layer: usize, (first, end): (usize, usize)) -> Vec<Rows> {
    let cut = |key: &u64| {
        let (values, state, last_seen, count) = row(*key, layer);
        Rows {
            columns: first..end,
            keys: vec![*key],
            values: values[first..end].to_vec(),
            state: state.chunks(DIM).flat_map(|array| array[first..end].to_vec()).collect(),
            last_seen: vec![last_seen],
            counts: vec![count],
        }
    };
    keys.iter().map(cut).collect()
}

fn source(path: &Path, layer: usize, says: Says, columns: (usize, usize), count: usize) -> Source {
    let width = columns.1 - columns.0;
    let layout = match says {
        Says::Removed => PartLayout::KEYS,
        Says::Rows => PartLayout { dim: width, state: width * STATE / DIM, dated: true },
    };
    let reader = PartReader::open(path, layout, count as u64).unwrap();
    Source { reader, layer, says, columns: columns.0..columns.1 }
}

/// One layer: keys of rows, keys removed, the number of parts, and where columns are cut.
type Layer = (BTreeSet<u64>, BTreeSet<u64>, usize, usize);

fn merged(folder: &Path, index: &IndexKind, layers: &[Layer]) -> Result<Vec<Rows>, ModelError> {
    let mut sources = Vec::new();
    let ordered = |keys: &BTreeSet<u64>| {
        let mut keys: Vec<u64> = keys.iter().copied().collect();
        keys.sort_by_key(|key| (bucket(index, *key), *key));
        keys
    };
    for (at, (keys, removed, parts, cut)) in layers.iter().enumerate() {
        for part in 0..*parts {
            // Any cut of the rows into parts will do.
            let keys: BTreeSet<u64> =
                keys.iter().copied().filter(|key| *key as usize % parts == part).collect();
            let keys = ordered(&keys);
            let cuts: &[(usize, usize)] =
                if *cut == 0 { &[(0, DIM)] } else { &[(0, *cut), (*cut, DIM)] };
            for columns in cuts {
                let path = folder.join(format!("{at}-{part}-{}", columns.0));
                let width = columns.1 - columns.0;
                let layout = PartLayout { dim: width, state: width * STATE / DIM, dated: true };
                file(&path, layout, 3, &rows(&keys, at, *columns));
                sources.push(source(&path, at, Says::Rows, *columns, keys.len()));
            }
        }
        let keys = ordered(removed);
        let path = folder.join(format!("{at}-removed"));
        let gone: Vec<Rows> =
            keys.iter().map(|key| Rows { keys: vec![*key], ..Rows::default() }).collect();
        file(&path, PartLayout::KEYS, 3, &gone);
        sources.push(source(&path, at, Says::Removed, (0, 0), keys.len()));
    }
    TableRows::new(index.clone(), (DIM, STATE), 5, sources)?.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn later_layers_overrule_earlier_ones(
        layers in prop::collection::vec(
            (
                prop::collection::btree_set(0_u64..30, 0..20),
                prop::collection::btree_set(0_u64..30, 0..10),
                1_usize..4,
                0_usize..DIM,
            ),
            1..4,
        ),
        hashed: bool,
    ) {
        let index = if hashed { IndexKind::Hash } else { IndexKind::Dense { rows: 30 } };
        let folder = tempfile::tempdir().unwrap();
        let found = merged(folder.path(), &index, &layers).unwrap();
        let mut expected: BTreeMap<u64, usize> = BTreeMap::new();
        for (at, (keys, removed, ..)) in layers.iter().enumerate() {
            expected.retain(|key, _| !removed.contains(key));
            expected.extend(keys.iter().map(|key| (*key, at)));
        }
        let mut order: Vec<u64> = expected.keys().copied().collect();
        order.sort_by_key(|key| (bucket(&index, *key), *key));
        let keys: Vec<u64> = found.iter().flat_map(|rows| rows.keys.clone()).collect();
        prop_assert_eq!(&keys, &order);
        prop_assert!(found.iter().rev().skip(1).all(|rows| rows.keys.len() == 5));
        for chunk in &found {
            for (at, key) in chunk.keys.iter().enumerate() {
                let (values, state, last_seen, count) = row(*key, expected[key]);
                prop_assert_eq!(&chunk.values[at * DIM..][..DIM], &values[..]);
                prop_assert_eq!(&chunk.state[at * STATE..][..STATE], &state[..]);
                prop_assert_eq!((chunk.last_seen[at], chunk.counts[at]), (last_seen, count));
            }
        }
    }
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let index = IndexKind::Dense { rows: 100 };
    let layout = |width: usize| PartLayout { dim: width, state: 2 * width, dated: true };
    let part = |name: &str, keys: &[u64], layer: usize, columns: (usize, usize)| {
        let path = folder.path().join(name);
        file(&path, layout(columns.1 - columns.0), 2, &rows(keys, layer, columns));
        path
    };
    let whole = part("whole", &[1, 2, 3], 0, (0, DIM));
    let left = part("left", &[1, 2, 3], 0, (0, 2));
    let right = part("right", &[1, 3], 0, (2, DIM));
    let later = part("later", &[1, 2, 3], 1, (2, DIM));
    let disordered = part("disordered", &[2, 3, 1], 0, (0, DIM));
    let twice = part("twice", &[2, 2, 3], 0, (0, DIM));
    let refused = |sources: Vec<Source>| {
        let rows = TableRows::new(index.clone(), (DIM, STATE), 5, sources);
        let rows = rows.and_then(Iterator::collect::<Result<Vec<_>, _>>);
        rows.unwrap_err().to_string()
    };
    let of = |path: &Path, columns, count| source(path, 0, Says::Rows, columns, count);
    let error = refused(vec![of(&whole, (0, DIM), 3), of(&whole, (0, DIM), 3)]);
    assert!(error.contains("key 1, which another part holds too"), "{error}");
    let error = refused(vec![of(&left, (0, 2), 3), of(&right, (2, DIM), 2)]);
    assert!(error.contains("columns: found 2 of key 2, expected 4"), "{error}");
    let error = refused(vec![of(&left, (0, 2), 3), of(&later, (2, DIM), 3)]);
    assert!(error.contains("`last_seen` and `count` of key 1"), "{error}");
    for path in [disordered, twice] {
        let error = refused(vec![of(&path, (0, DIM), 3)]);
        assert!(error.contains("order of rows"), "{error}");
    }
    for count in [2, 4] {
        assert!(refused(vec![of(&whole, (0, DIM), count)]).contains("rows"));
    }
}
