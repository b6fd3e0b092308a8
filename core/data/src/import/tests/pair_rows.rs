//! Interactions: lists of items, and leave-one-out splits with listed negatives.

use super::*;

fn one_split(name: &str, file: PathBuf) -> SplitRule {
    SplitRule::Files(vec![(name.to_owned(), vec![file])])
}

#[test]
fn each_item_of_a_line_is_a_row() {
    let fixture = Fixture::new();
    let file = fixture.file("train.txt", "0 5 0  7\r\n3\n\n12\t5\tshoes \n");
    let rule = one_split("train", file);
    let options = ImportOptions::default();
    let summary = lists(ItemOrder::Time, &rule, &fixture.out, &options, &quiet).unwrap();
    assert_eq!((summary.rows(), summary.bad), (5, 0));
    assert_eq!(fixture.ids("train", "user"), [0, 0, 0, 12, 12]);
    assert_eq!(fixture.ids("train", "item"), [5, 0, 7, 5, rectool_base::hash_text("shoes")]);
    assert_eq!(fixture.ids("train", "time"), [0, 1, 2, 0, 1]);
}

#[test]
fn a_bad_line_is_one_bad_row() {
    let fixture = Fixture::new();
    let mut text = b"1 2 3\n4 -1 5\n6 \xff\n".to_vec();
    text.extend((0..20).flat_map(|user| format!("{user} 1 2\n").into_bytes()));
    let files = vec![fixture.file("a.txt", text)];
    let halves = vec![("a".to_owned(), 0.5), ("b".to_owned(), 0.5)];
    let rule = SplitRule::Fractions { files, fractions: halves };
    let options = ImportOptions::default();
    let summary = lists(ItemOrder::Any, &rule, &fixture.out, &options, &quiet).unwrap();
    assert_eq!((summary.splits, summary.bad), (vec![("a".into(), 20), ("b".into(), 22)], 2));
    assert!(fixture.rejects()[1].contains("\t2\t`item`: expected an id, found `-1`"));
    assert!(fixture.rejects()[2].contains("\t3\t`item`: expected UTF-8"));
    let names: Vec<String> =
        fixture.manifest().schema.columns().iter().map(|column| column.name.clone()).collect();
    assert_eq!(names, ["user", "item"]);
}

#[test]
fn listed_negatives_belong_to_their_test_rows() {
    let fixture = Fixture::new();
    fixture.file("x.train.rating", "0\t1\t5\n1\t2\t3\n\n");
    fixture.file("x.test.rating", "0\t3\t5\t978\n1\t0\t4\t979\n");
    fixture.file("x.test.negative", "(1,0)\t7\t8\n(0,3)\t9\n");
    let files = NcfFiles::find(fixture.folder.path()).unwrap();
    let summary = ncf(&files, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!(summary.splits, [("train".into(), 2), ("test".into(), 2)]);
    assert_eq!(fixture.ids("test", "item"), [3, 0]);
    assert_eq!(fixture.floats("test", "rating"), [5.0, 4.0]);
    assert_eq!(fixture.lists("test", "negatives"), [vec![9], vec![7, 8]]);
    assert_eq!(fixture.lists("train", "negatives"), [vec![0; 0], vec![]]);
    // Times are not in both files.
    assert!(fixture.manifest().schema.column("time").is_err());
}

#[test]
fn negatives_without_a_test_row_are_refused() {
    let fixture = Fixture::new();
    fixture.file("train.rating", "0 1 5 10\n");
    fixture.file("test.rating", "0 3 5 x\n1 1 1 11\n2 2 2 12\n");
    let run = |negatives: &str| {
        fixture.file("test.negative", negatives);
        let files = NcfFiles::find(fixture.folder.path()).unwrap();
        ncf(&files, &fixture.out, &ImportOptions::default(), &quiet)
    };
    let error = |negatives: &str| run(negatives).unwrap_err().to_string();
    assert!(error("(0,3) 1\n(0,4) 2\n").contains("test.negative`:2: no test row of user 0"));
    assert!(error("(0,3) 1\n(0,3) 2\n").contains(":2: a second line for user 0 and item 3"));
    assert!(error("0,3 1\n").contains(":1: expected `(user,item)`"));
    let summary = run("(0,3) 1\n(1,1) 2\n").unwrap();
    assert_eq!((summary.splits[1].1, summary.bad), (1, 2));
    assert!(fixture.rejects()[1].contains("`time`: expected a whole number, found `x`"));
    assert!(fixture.rejects()[2].contains("no line of negatives"));
}

#[test]
fn files_that_are_not_there_are_named() {
    let fixture = Fixture::new();
    let find = || NcfFiles::find(fixture.folder.path()).unwrap_err().to_string();
    assert!(find().contains("expected a file `*train.rating`"), "{}", find());
    fixture.file("a.train.rating.gz", "");
    fixture.file("b.train.rating", "");
    assert!(find().contains("expected one file `*train.rating`, found `a.train"), "{}", find());
}
