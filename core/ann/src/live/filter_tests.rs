use super::{Index, Item, Maintenance};
use crate::filter::{Attributes, ItemAttributes};
use crate::tests::world::vectors;
use crate::{BuildInput, BuildOptions, Effort, Hit, IndexKind, SearchOptions, Vectors};

const DIM: usize = 8;
const ROWS: usize = 6000;

/// A third of all ids has the token.
fn matches(id: u64) -> bool {
    id.is_multiple_of(3)
}

fn attributes(id: u64) -> ItemAttributes {
    ItemAttributes::default().with_token("kind", if matches(id) { "a" } else { "b" })
}

fn items(ids: std::ops::Range<u64>, seed: u64) -> Vec<Item> {
    let values = vectors((ids.end - ids.start) as usize, DIM, seed);
    let vectors = values.chunks_exact(DIM).map(<[f32]>::to_vec);
    ids.zip(vectors).map(|(id, vector)| Item { id, vector, attributes: attributes(id) }).collect()
}

fn create(folder: &std::path::Path, kind: IndexKind) -> Index {
    let base = vectors(ROWS, DIM, 1);
    let items: Vec<ItemAttributes> = (0..ROWS as u64).map(attributes).collect();
    let attributes = Attributes::of_items(&items).unwrap();
    let base = Vectors::new(DIM, &base).unwrap();
    let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&base) };
    let options = BuildOptions { kind: Some(kind), leaves: Some(60), ..BuildOptions::default() };
    Index::create(folder, &input, &options, &()).unwrap();
    Index::open_for_changes(folder, Maintenance::Manual).unwrap()
}

/// What the first searches with a filter find, fewer than make it a frequent one.
fn find(index: &Index) -> Vec<Vec<Hit>> {
    let effort = Effort::Fixed { leaves: 8, candidates: 60 };
    let filter = Some("kind=a".parse().unwrap());
    let options = SearchOptions { effort, filter, ..SearchOptions::new(10) };
    let queries = vectors(12, DIM, 9);
    queries.chunks_exact(DIM).map(|query| index.search(query, &options).unwrap()).collect()
}

#[test]
fn a_filter_asked_for_often_finds_what_it_found_at_first() {
    for kind in [IndexKind::Ivf, IndexKind::Graph] {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("index");
        let index = create(&folder, kind);
        // More changes than one search asks beforehand.
        index.upsert(&items(3000..9000, 2)).unwrap();
        index.delete(&(4000..4600).collect::<Vec<u64>>()).unwrap();
        let first = find(&index);
        assert!(first.iter().flatten().any(|hit| hit.id >= 3000));
        for hit in first.iter().flatten() {
            assert!(matches(hit.id) && !(4000..4600).contains(&hit.id), "{hit:?}");
        }
        for _ in 0..3 {
            assert_eq!(find(&index), first);
        }
        index.upsert(&items(2000..2500, 3)).unwrap();
        index.delete(&[first[0][0].id]).unwrap();
        let changed = find(&index);
        assert_ne!(changed, first);
        drop(index);
        assert_eq!(find(&Index::open(&folder).unwrap()), changed);
    }
}
