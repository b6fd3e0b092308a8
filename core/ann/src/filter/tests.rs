use proptest::prelude::*;
use rectool_base::{Hint, Stream};

use super::{Attributes, Bits, Filter, ItemAttributes};
use crate::tests::world::{exact, score, vectors};
use crate::{
    AnnError, BuildInput, BuildOptions, Crowding, IndexKind, Metric, Part, SearchOptions, Vectors,
    build,
};

const COLORS: [&str; 3] = ["blue", "green", "red"];

fn attributes_of(row: usize) -> ItemAttributes {
    let mut stream = Stream::new(5, &[row as u64]);
    let mut item = ItemAttributes::default().with_number("price", stream.below(100) as f64);
    if stream.below(10) > 0 {
        item = item.with_token("color", COLORS[stream.below(3) as usize]);
    }
    if stream.below(200) == 0 {
        item = item.with_token("color", "rare");
    }
    if stream.below(4) == 0 {
        item.with_number("year", 2000.0 + stream.below(20) as f64)
    } else {
        item
    }
}

fn part(folder: &std::path::Path, base: &[f32], dim: usize, kind: IndexKind) -> Part {
    let vectors = Vectors::new(dim, base).unwrap();
    let items: Vec<ItemAttributes> = (0..vectors.rows()).map(attributes_of).collect();
    let attributes = Attributes::of_items(&items).unwrap();
    let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    let path = folder.join("part");
    let options = BuildOptions { kind: Some(kind), ..BuildOptions::default() };
    build(&path, &input, &options, &()).unwrap();
    Part::open(&path).unwrap()
}

const FILTERS: [&str; 12] = [
    "color=red",
    "color=red|blue",
    "color!=green",
    "color=rare",
    "color=red, color!=rare",
    "color=purple",
    "price<3",
    "price>=50, price<=60",
    "price=7",
    "price!=7, color=blue",
    "year>2010",
    "year!=2004, price<50, color=red|green",
];

#[test]
fn rows_of_a_filter_are_those_that_match() {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors(1000, 4, 1);
    let part = part(folder.path(), &base, 4, IndexKind::Ivf);
    part.verify().unwrap();
    for text in FILTERS {
        let filter: Filter = text.parse().unwrap();
        let rows = part.attributes().rows(&filter);
        for row in 0..1000 {
            let own = attributes_of(part.ids()[row as usize] as usize);
            let gathered = part.attributes().gather(&[row], |_| None).unwrap();
            assert_eq!(gathered.item(0), own);
            assert_eq!(rows.has(row), filter.matches(&own), "{text} {own:?}");
        }
    }
}

#[test]
fn filtered_searches_find_what_matches_and_never_too_few() {
    let folder = tempfile::tempdir().unwrap();
    let (rows, dim, k) = (6000, 16, 10);
    let base = vectors(rows, dim, 1);
    for kind in [IndexKind::Flat, IndexKind::Ivf] {
        let part = part(folder.path(), &base, dim, kind);
        for text in FILTERS {
            let filter: Filter = text.parse().unwrap();
            let options = SearchOptions { filter: Some(filter.clone()), ..SearchOptions::new(k) };
            let (mut hits, mut all) = (0, 0);
            for query in vectors(20, dim, 2).chunks_exact(dim) {
                let truth = exact(Metric::InnerProduct, query, &base, rows);
                let matching =
                    truth.iter().filter(|t| filter.matches(&attributes_of(t.0 as usize)));
                let truth: Vec<u64> = matching.map(|t| t.0).take(k).collect();
                let found = part.search(query, &options).unwrap();
                assert_eq!(found.len(), truth.len(), "{text}");
                assert!(found.iter().all(|hit| filter.matches(&attributes_of(hit.id as usize))));
                hits += found.iter().filter(|hit| truth.contains(&hit.id)).count();
                all += truth.len();
            }
            assert!(hits as f64 >= 0.93 * all as f64, "{kind:?} {text}: {hits} of {all}");
        }
    }
}

#[test]
fn crowding_limits_results_that_are_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (dim, k) = (8, 12);
    let base = vectors(3000, dim, 1);
    for kind in [IndexKind::Flat, IndexKind::Ivf] {
        let part = part(folder.path(), &base, dim, kind);
        for results_max in [0, 1, 3] {
            let crowding = Crowding { namespace: "color".to_owned(), results_max };
            let options = SearchOptions { crowding: Some(crowding), ..SearchOptions::new(k) };
            for query in vectors(5, dim, 2).chunks_exact(dim) {
                let found = part.search(query, &options).unwrap();
                assert_eq!(found.len(), k);
                for color in COLORS {
                    let own =
                        |id: u64| attributes_of(id as usize).tokens("color").next() == Some(color);
                    assert!(found.iter().filter(|hit| own(hit.id)).count() <= results_max);
                }
                let scores: Vec<f32> = found.iter().map(|hit| hit.score).collect();
                assert!(scores.windows(2).all(|pair| pair[0] >= pair[1]));
                let vector = &base[found[0].id as usize * dim..][..dim];
                let expected = score(Metric::InnerProduct, query, vector);
                assert!((f64::from(scores[0]) - expected).abs() < 1e-3);
            }
        }
    }
}

#[test]
fn crowding_that_leaves_too_few_ends() {
    let folder = tempfile::tempdir().unwrap();
    let base = vectors(300, 4, 1);
    let vectors = Vectors::new(4, &base).unwrap();
    let mut attributes = Attributes::new(300);
    attributes.add_tokens("all", &vec![vec!["same"]; 300]).unwrap();
    let input = BuildInput { attributes: Some(&attributes), ..BuildInput::from(&vectors) };
    for kind in [IndexKind::Flat, IndexKind::Ivf] {
        let path = folder.path().join("part");
        let options = BuildOptions { kind: Some(kind), ..BuildOptions::default() };
        build(&path, &input, &options, &()).unwrap();
        let part = Part::open(&path).unwrap();
        let crowding = Crowding { namespace: "all".to_owned(), results_max: 2 };
        let options = SearchOptions { crowding: Some(crowding), ..SearchOptions::new(5) };
        assert_eq!(part.search(&base[..4], &options).unwrap().len(), 2);
    }
}

#[test]
fn unknown_names_are_errors_with_the_nearest_name() {
    let folder = tempfile::tempdir().unwrap();
    let part = part(folder.path(), &vectors(50, 2, 1), 2, IndexKind::Flat);
    let filter = Some("colour=red".parse().unwrap());
    let options = SearchOptions { filter, ..SearchOptions::new(1) };
    let error = part.search(&[1.0, 0.0], &options).unwrap_err();
    assert_eq!(error.to_string(), "no vector has the namespace `colour`");
    assert_eq!(error.hint().unwrap(), "did you mean `color`?");
}

#[test]
fn broken_filters_say_where() {
    for (text, at) in
        [("color", 6), ("=red", 1), ("a=b c=d", 5), ("a<b", 3), ("a=\"b", 3), ("a=nan", 3)]
            .into_iter()
            .chain([
                ("a in b", 6),
                ("a in [b", 8),
                ("a in []", 7),
                ("a not b", 7),
                ("a in [b c]", 9),
            ])
    {
        match text.parse::<Filter>() {
            Err(AnnError::Filter { at: found, .. }) => assert_eq!(found, at, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!("".parse::<Filter>().unwrap().is_empty());
}

#[test]
fn words_and_signs_say_the_same() {
    let words: Filter =
        "genre in [\"comedy\", drama] and genre not in [horror] and in_stock=yes and year >= 1990"
            .parse()
            .unwrap();
    let signs = "genre=comedy|drama, genre!=horror, in_stock=yes, year>=1990".parse().unwrap();
    assert_eq!(words, signs);
}

#[test]
fn attributes_must_fit() {
    let mut attributes = Attributes::new(2);
    attributes.add_tokens("a", &[vec!["x"], vec![]]).unwrap();
    assert!(attributes.add_tokens("a", &[vec!["x"], vec![]]).is_err());
    attributes.add_numbers("a", vec![1.0, 2.0]).unwrap();
    assert!(attributes.add_numbers("a", vec![1.0, 2.0]).is_err());
    assert!(attributes.add_numbers("b", vec![1.0]).is_err());
}

proptest! {
    #[test]
    fn filters_are_what_their_text_says(
        tokens in prop::collection::vec("\\PC{1,8}", 1..4),
        value in -1e9f64..1e9,
        deny in any::<bool>(),
    ) {
        let rule = super::TokenRule { namespace: "n".to_owned(), ..Default::default() };
        let rule = if deny {
            super::TokenRule { deny: tokens, ..rule }
        } else {
            super::TokenRule { allow: tokens, ..rule }
        };
        let number = super::NumberRule {
            name: "x".to_owned(),
            comparison: super::Comparison::LessEqual,
            value,
        };
        let filter = Filter { tokens: vec![rule], numbers: vec![number] };
        prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "\\PC{0,30}") {
        let _ = text.parse::<Filter>();
    }

    #[test]
    fn bits_are_sets(rows in prop::collection::btree_set(0u32..300, 0..80)) {
        let mut bits = Bits::none(300);
        for row in &rows {
            bits.insert(*row);
        }
        prop_assert_eq!(bits.count(), rows.len());
        prop_assert_eq!(bits.rows().collect::<Vec<_>>(), rows.iter().copied().collect::<Vec<_>>());
        let mut rest = Bits::all(300);
        rest.drop_all(&bits);
        prop_assert_eq!(rest.count(), 300 - rows.len());
        rest.keep(&bits);
        prop_assert_eq!(rest.count(), 0);
    }
}

#[test]
fn rows_of_a_range_are_those_of_all_within_it() {
    let mut bits = Bits::none(300);
    for row in [0, 1, 63, 64, 65, 127, 128, 200, 299] {
        bits.insert(row);
    }
    for range in [0..300, 0..64, 1..64, 63..65, 64..128, 65..127, 128..129, 201..299, 250..250] {
        let expected: Vec<u32> = bits.rows().filter(|row| range.contains(row)).collect();
        assert_eq!(bits.rows_in(range.clone()).collect::<Vec<_>>(), expected, "{range:?}");
    }
    assert_eq!(bits.rows().count(), 9);
    assert_eq!(bits.rows_in(290..5000).collect::<Vec<_>>(), [299]);
}
