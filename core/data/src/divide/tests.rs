//! Divisions beside what a reader of their definition would write down.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rectool_base::{Column, Hint};
use tempfile::TempDir;

use super::*;

/// A row: user, item, time.
type Event = (i64, i64, i64);

fn options(rule: DivideRule, into: &[&str]) -> DivideOptions {
    DivideOptions {
        from: "train".into(),
        into: into.iter().map(|name| (*name).to_owned()).collect(),
        rule,
        user: "user".into(),
        item: "item".into(),
        time: Some("time".into()),
        seed: 3,
        history: Some(HistoryOptions { name: "seen".into(), length_max: 3 }),
    }
}

fn dataset(folder: &TempDir, splits: &[(&str, &[Event])]) -> Dataset {
    let members = vec!["user".to_owned(), "item".to_owned()];
    let schema = Schema::new(vec![
        ColumnSchema::packed("ids", ColumnKind::I64 { width: 2 }, members),
        ColumnSchema::plain("time", ColumnKind::I64 { width: 1 }),
    ]);
    let path = folder.path().join("from");
    let options = WriterOptions { shard_rows: 7, overwrite: true, ..WriterOptions::default() };
    let mut writer = DatasetWriter::create(&path, schema.unwrap(), options).unwrap();
    for (name, events) in splits {
        let ids = events.iter().flat_map(|event| [event.0, event.1]).collect();
        let times = events.iter().map(|event| event.2).collect();
        let columns =
            vec![Column::I64 { width: 2, values: ids }, Column::I64 { width: 1, values: times }];
        writer.write(name, columns).unwrap();
    }
    writer.finish().unwrap();
    Dataset::open(&path).unwrap()
}

/// The rows of each written split with their histories.
fn divided(
    folder: &TempDir,
    dataset: &Dataset,
    options: &DivideOptions,
) -> BTreeMap<String, Vec<(Event, Vec<i64>)>> {
    let division = Division::plan(dataset, options).unwrap();
    let out = folder.path().join("to");
    let overwrite = WriterOptions { overwrite: true, ..WriterOptions::default() };
    let manifest = division.write(&out, overwrite, &|_| ()).unwrap();
    let rows: Vec<(&str, u64)> =
        division.rows().into_iter().filter(|(_, rows)| *rows > 0).collect();
    let mut found: Vec<(&str, u64)> =
        manifest.splits.iter().map(|split| (split.name.as_str(), split.rows)).collect();
    found.sort_by_key(|(name, _)| rows.iter().position(|row| row.0 == *name));
    assert_eq!(found, rows);
    let read = Dataset::open(&out).unwrap();
    let rows_of = |name: &str| {
        let split = read.split(name).unwrap();
        let rows: Vec<u64> = (0..split.rows()).collect();
        let columns = split.gather(&rows, &[0, 1, 2]).unwrap();
        let [
            Column::I64 { values: ids, .. },
            Column::I64 { values: times, .. },
            Column::I64List(seen),
        ] = columns.as_slice()
        else {
            panic!("{columns:?}")
        };
        let row = |at: usize| ((ids[2 * at], ids[2 * at + 1], times[at]), seen.row(at).to_vec());
        (name.to_owned(), (0..rows.len()).map(row).collect())
    };
    read.splits().map(rows_of).collect()
}

fn events(splits: &BTreeMap<String, Vec<(Event, Vec<i64>)>>, name: &str) -> Vec<Event> {
    splits.get(name).into_iter().flatten().map(|(event, _)| *event).collect()
}

#[test]
fn the_last_rows_of_each_user_are_held_out() {
    let folder = tempfile::tempdir().unwrap();
    let train = [(1, 10, 5), (2, 20, 1), (1, 11, 4), (1, 12, 6), (2, 21, 1), (1, 13, 6), (0, 1, 1)];
    let dataset = dataset(&folder, &[("train", &train)]);
    let options = options(DivideRule::LeaveOneOut(Pick::Last), &["valid", "test"]);
    let found = divided(&folder, &dataset, &options);
    // Users 2 and 0 have too few rows.
    let wanted = [
        ("test", vec![((1, 13, 6), vec![11, 10, 12])]),
        (
            "train",
            vec![
                ((1, 10, 5), vec![11]),
                ((2, 20, 1), vec![]),
                ((1, 11, 4), vec![]),
                ((2, 21, 1), vec![20]),
                ((0, 1, 1), vec![]),
            ],
        ),
        ("valid", vec![((1, 12, 6), vec![11, 10])]),
    ];
    let wanted: BTreeMap<_, _> =
        wanted.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect();
    assert_eq!(found, wanted);
    let division = Division::plan(&dataset, &options).unwrap();
    assert_eq!(division.users_whole(), 2);
    assert_eq!((division.pairs(2), division.times(2)), (vec![(1, 13)], Some(vec![6])));
}

#[test]
fn splits_that_are_there_stay_and_see_all_before_them() {
    let folder = tempfile::tempdir().unwrap();
    let (train, test) = ([(1, 10, 1), (1, 11, 2), (1, 12, 4)], [(1, 13, 3), (1, 14, 9)]);
    let dataset = dataset(&folder, &[("test", &test), ("train", &train)]);
    let found = divided(&folder, &dataset, &options(DivideRule::Keep, &[]));
    assert_eq!(found["test"], [((1, 13, 3), vec![10, 11]), ((1, 14, 9), vec![10, 11, 12])]);
    let found =
        divided(&folder, &dataset, &options(DivideRule::LeaveOneOut(Pick::Last), &["valid"]));
    assert_eq!(found["valid"], [((1, 12, 4), vec![10, 11])]);
    assert_eq!(found["test"][1], ((1, 14, 9), vec![10, 11, 12]));
    // Without times the rows of earlier splits come first.
    let untimed = DivideOptions { time: None, ..options(DivideRule::Keep, &[]) };
    assert_eq!(divided(&folder, &dataset, &untimed)["test"][0].1, [10, 11, 12]);
}

#[test]
fn what_cannot_be_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = dataset(&folder, &[("train", &[(1, 10, 1), (1, 11, 1)]), ("test", &[(1, 2, 3)])]);
    let refused = |change: &dyn Fn(&mut DivideOptions)| {
        let mut options = options(DivideRule::LeaveOneOut(Pick::Last), &["valid"]);
        change(&mut options);
        Division::plan(&data, &options).unwrap_err()
    };
    let told = |change: &dyn Fn(&mut DivideOptions), text: &str| {
        let error = refused(change).to_string();
        assert!(error.contains(text), "{error}");
    };
    told(&|options| options.into = vec!["test".into()], "`into`: expected names of new splits");
    told(&|options| options.into.clear(), "`into`: expected 1 or more, found 0");
    told(&|options| options.rule = DivideRule::Keep, "`into`: expected none");
    told(&|options| options.rule = DivideRule::Random(1.0), "`fraction`: expected more than 0");
    told(&|options| options.rule = DivideRule::Random(f64::NAN), "`fraction`");
    told(&|options| options.rule = DivideRule::Time(0.5), "expected a cut with earlier rows");
    told(&|options| options.history.as_mut().unwrap().length_max = 0, "`length`: expected 1");
    told(&|options| options.history.as_mut().unwrap().name = "time".into(), "`time` appears twice");
    told(
        &|options| {
            (options.rule, options.time) = (DivideRule::Time(0.5), None);
        },
        "`time`: expected a column of times",
    );
    told(&|options| options.user = "ids".into(), "`user`: expected a column or member");
    let error = refused(&|options| options.item = "itm".into());
    assert_eq!(error.hint().as_deref(), Some("did you mean `item`?"));
    let error = refused(&|options| options.from = "trian".into());
    assert_eq!(error.hint().as_deref(), Some("did you mean `train`?"));

    let data = dataset(&folder, &[("train", &[(1, 10, 1), (-1, 11, 1)])]);
    let options = options(DivideRule::LeaveOneOut(Pick::Last), &["valid"]);
    let error = Division::plan(&data, &options).unwrap_err().to_string();
    assert_eq!(error, "split `train`, row 1: column `user`: expected a user, found a missing one");
}

/// Histories by the words of [`Division`].
fn history(all: &[(usize, Event)], at: usize, length_max: usize) -> Vec<i64> {
    let (split, (user, _, time)) = all[at];
    let mut seen: Vec<(i64, usize, i64)> = Vec::new();
    for (other, (from, event)) in all.iter().enumerate() {
        let before = (event.2, other) < (time, at);
        let visible = if split == 0 { *from == 0 } else { *from < split };
        if event.0 == user && before && visible {
            seen.push((event.2, other, event.1));
        }
    }
    seen.sort_unstable();
    let skipped = seen.len().saturating_sub(length_max);
    seen[skipped..].iter().map(|seen| seen.2).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn divisions_are_what_they_say(
        rows in prop::collection::vec((0i64..6, 0i64..8, 0i64..9), 12..60),
        kept in prop::collection::vec((0i64..6, 0i64..8, 0i64..9), 0..9),
        rule in prop::sample::select(vec![
            DivideRule::LeaveOneOut(Pick::Last),
            DivideRule::LeaveOneOut(Pick::Random),
            DivideRule::Random(0.3),
            DivideRule::Time(0.2),
        ]),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let data = dataset(&folder, &[("train", &rows), ("later", &kept)]);
        let options = options(rule, &["valid", "test"]);
        if Division::plan(&data, &options).is_err() {
            // Only a cut in time may leave no row.
            prop_assert!(matches!(rule, DivideRule::Time(_)));
            return Ok(());
        }
        let found = divided(&folder, &data, &options);
        let names = ["train", "valid", "test", "later"];
        let [train, valid, test, later] = names.map(|name| events(&found, name));
        prop_assert_eq!(&later, &kept);
        let mut all = [train.clone(), valid.clone(), test.clone()].concat();
        let mut wanted = rows.clone();
        all.sort_unstable();
        wanted.sort_unstable();
        prop_assert_eq!(all, wanted);

        match rule {
            DivideRule::LeaveOneOut(_) => {
                for user in 0..6 {
                    let count = |rows: &[Event]| rows.iter().filter(|row| row.0 == user).count();
                    let held = usize::from(count(&rows) > 2);
                    prop_assert_eq!([count(&valid), count(&test)], [held; 2]);
                }
            }
            DivideRule::Random(_) => {
                let pairs = |rows: &[Event]| -> BTreeSet<(i64, i64)> {
                    rows.iter().map(|row| (row.0, row.1)).collect()
                };
                prop_assert!(pairs(&train).is_disjoint(&pairs(&test)));
                prop_assert!(pairs(&train).is_disjoint(&pairs(&valid)));
            }
            _ => {
                let last = train.iter().map(|row| row.2).max().unwrap();
                prop_assert!(valid.iter().chain(&test).all(|row| row.2 > last));
                let last = valid.iter().map(|row| row.2).max().unwrap_or(last);
                prop_assert!(test.iter().all(|row| row.2 > last));
            }
        }
        // Rows as they were read, each with the split it went to: equal rows are told apart by order.
        let mut left = names.map(|name| events(&found, name).into_iter());
        let plan = Division::plan(&data, &options).unwrap();
        let numbered: Vec<(usize, Event)> = plan
            .to
            .iter()
            .map(|to| (usize::from(*to), left[usize::from(*to)].next().unwrap()))
            .collect();
        let mut taken = [0; 4];
        for (at, (split, _)) in numbered.iter().enumerate() {
            let (_, seen) = &found[names[*split]][taken[*split]];
            taken[*split] += 1;
            prop_assert_eq!(seen, &history(&numbered, at, 3), "row {}", at);
        }
    }
}
