//! Parquet of many types.

use std::sync::Arc;

use ::parquet::arrow::ArrowWriter;
use ::parquet::file::properties::WriterProperties;
use arrow_array::builder::{ListBuilder, StringBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, LargeStringArray, ListArray, UInt64Array,
};
use rectool_base::hash_text;

use super::*;

fn write(fixture: &Fixture, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    let path = fixture.folder.path().join("rows.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(2)).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    path
}

fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn five_rows() -> Vec<(&'static str, ArrayRef)> {
    let mut category = StringDictionaryBuilder::<Int32Type>::new();
    for text in ["a", "b", "a", "12", "c"] {
        category.append_value(text);
    }
    category.append_null();
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in 0..6 {
        for tag in 0..row % 3 {
            tags.values().append_value(format!("t{tag}"));
        }
        tags.append(row != 5);
    }
    let numbers: Vec<Option<Vec<Option<i32>>>> =
        vec![Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4)]), None, None];
    vec![
        (
            "clicked",
            Arc::new(BooleanArray::from(vec![true, false, true, false, true, false])) as ArrayRef,
        ),
        ("i0", Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5), Some(6)]))),
        ("i1", Arc::new(Float64Array::from(vec![0.5, 1.5, 1e300, 3.5, 4.5, 5.5]))),
        ("c_user", Arc::new(UInt64Array::from(vec![1, 2, 3, u64::MAX - 1, 5, 6]))),
        ("c_text", Arc::new(LargeStringArray::from(vec!["x", "", "7", "y", "z", "w"]))),
        ("c_kind", Arc::new(category.finish())),
        (
            "c_float",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                None,
                Some(3.0),
                Some(4.0),
                Some(5.5),
                Some(6.0),
            ])),
        ),
        ("tags", Arc::new(tags.finish())),
        ("numbers", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(numbers))),
        ("joined", Arc::new(LargeStringArray::from(vec!["p|q", "", "1", "p", "q", "5|6"]))),
        ("spare", Arc::new(Int32Array::from(vec![0; 6]))),
    ]
}

fn spec() -> ColumnSpec {
    ColumnSpec {
        label: Some("clicked".into()),
        dense: names("i0..i1"),
        ids: names("c_*"),
        lists: names("tags numbers joined"),
        ..Default::default()
    }
}

#[test]
fn all_types_become_rows() {
    let fixture = Fixture::new();
    let rule = all_train(vec![write(&fixture, five_rows())]);
    let summary = parquet(&spec(), &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!((summary.rows(), summary.bad), (4, 2));
    assert_eq!(summary.left_out, ["spare"]);
    // Row 3 has a number beyond f32, row 5 an id that is not whole.
    let rejects = fixture.rejects();
    assert!(rejects[1].contains("\t3\t`i1`: expected a number in the range of f32"), "{rejects:?}");
    assert!(rejects[2].contains("\t5\t`c_float`: expected a whole number"), "{rejects:?}");
    assert_eq!(fixture.floats("train", "label"), [1.0, 0.0, 0.0, 0.0]);
    let dense = fixture.floats("train", "dense");
    assert!(dense[2].is_nan() && dense[0] == 1.0 && dense[5] == 3.5);
    let expected = [
        [1, hash_text("x"), hash_text("a"), 1],
        [2, -1, hash_text("b"), -1],
        [-2, hash_text("y"), 12, 4],
        [6, hash_text("w"), -1, 6],
    ];
    assert_eq!(fixture.ids("train", "ids"), expected.concat());
    let t0 = hash_text("t0");
    assert_eq!(fixture.lists("train", "tags"), [vec![], vec![t0], vec![], vec![]]);
    assert_eq!(fixture.lists("train", "numbers"), [vec![1, -1], vec![], vec![4], vec![]]);
    let (p, q) = (hash_text("p"), hash_text("q"));
    assert_eq!(fixture.lists("train", "joined"), [vec![p, q], vec![], vec![p], vec![5, 6]]);
}

#[test]
fn texts_are_kept_where_asked_for() {
    let fixture = Fixture::new();
    let rule = all_train(vec![write(&fixture, five_rows())]);
    let spec = ColumnSpec {
        texts: names("c_text c_kind i0"),
        float_lists: names("numbers"),
        text_lists: names("tags joined"),
        ..Default::default()
    };
    let summary = parquet(&spec, &rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!((summary.rows(), summary.bad), (6, 0));
    let text = |texts: [Option<&str>; 6]| {
        let values = texts.into_iter().collect();
        Column::Text { width: 1, values }
    };
    let lists = |offsets: &[u32], texts: &[&str]| Column::TextList {
        offsets: offsets.to_vec(),
        values: texts.iter().map(|text| Some(*text)).collect(),
    };
    let read = fixture.read("train");
    assert_eq!(read[0], text([Some("x"), Some(""), Some("7"), Some("y"), Some("z"), Some("w")]));
    assert_eq!(read[1], text([Some("a"), Some("b"), Some("a"), Some("12"), Some("c"), None]));
    assert_eq!(read[2], text([Some("1"), None, Some("3"), Some("4"), Some("5"), Some("6")]));
    let Column::F32List(numbers) = &read[3] else { panic!("lists of floats") };
    assert_eq!(numbers.offsets, [0, 2, 2, 2, 3, 3, 3]);
    assert!(numbers.values[0] == 1.0 && numbers.values[1].is_nan() && numbers.values[2] == 4.0);
    assert_eq!(read[4], lists(&[0, 0, 1, 3, 3, 4, 4], &["t0", "t0", "t1", "t0"]));
    assert_eq!(read[5], lists(&[0, 2, 2, 3, 4, 5, 7], &["p", "q", "1", "p", "q", "5", "6"]));

    // A number that is none, within a text that is a list.
    let spec = ColumnSpec { float_lists: names("joined"), ..Default::default() };
    let out = fixture.folder.path().join("other");
    let summary = parquet(&spec, &rule, &out, &ImportOptions::default(), &quiet).unwrap();
    assert_eq!((summary.rows(), summary.bad), (3, 3));
    let rejects = lines(&out.join("rejects.tsv"));
    assert!(rejects[1].contains("\t1\t`joined`: expected a number, found `p`"), "{rejects:?}");
}

#[test]
fn the_same_for_any_number_of_threads_and_cut_by_rows() {
    let fixture = Fixture::new();
    let count = 40_000;
    let label = (0..count).map(|row| row % 2).collect::<Vec<i32>>();
    let user = (0..count).collect::<Vec<i32>>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("label", Arc::new(Int32Array::from(label))),
        ("user", Arc::new(Int32Array::from(user))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let path = fixture.folder.path().join("rows.parquet");
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(9_000)).build();
    let file = fs::File::create(&path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let spec =
        ColumnSpec { label: Some("label".into()), plain_ids: names("user"), ..Default::default() };
    let manifests = [1, 3].map(|threads| {
        let writer = WriterOptions { overwrite: true, ..Default::default() };
        let options = ImportOptions { writer, ..Default::default() };
        let rule = fractions(path.clone());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| parquet(&spec, &rule, &fixture.out, &options, &quiet)).unwrap();
        fixture.manifest()
    });
    assert_eq!(manifests[0], manifests[1]);
    assert_eq!(fixture.ids("train", "user"), (0..32_000).collect::<Vec<i64>>());
    assert_eq!(fixture.ids("test", "user"), (36_000..40_000).collect::<Vec<i64>>());
}

#[test]
fn what_is_not_parquet_or_not_suitable_is_told() {
    let fixture = Fixture::new();
    let good = write(&fixture, five_rows());
    let run = |spec: &ColumnSpec, path: PathBuf| {
        let rule = all_train(vec![path]);
        let error = parquet(spec, &rule, &fixture.out, &ImportOptions::default(), &quiet);
        error.unwrap_err().to_string()
    };
    let lists_as_ids = ColumnSpec { ids: names("tags"), ..Default::default() };
    let error = run(&lists_as_ids, good.clone());
    assert!(
        error.contains("column `tags`: expected whole numbers or texts, found type"),
        "{error}"
    );
    let lists_as_texts = ColumnSpec { texts: names("tags"), ..Default::default() };
    let error = run(&lists_as_texts, good.clone());
    assert!(error.contains("column `tags`: expected texts, found type List"), "{error}");
    let ids_as_list = ColumnSpec { lists: names("i0"), ..Default::default() };
    assert!(run(&ids_as_list, good.clone()).contains("column `i0`: expected lists"));
    assert!(run(&spec(), fixture.file("x", "nothing")).contains("/x`:1: "));

    let bytes = fs::read(&good).unwrap();
    assert!(run(&spec(), fixture.file("cut", &bytes[..bytes.len() / 2])).contains("/cut`:1: "));
    let mut wrong = bytes.clone();
    for byte in &mut wrong[4..200] {
        *byte ^= 0x5a;
    }
    assert!(run(&spec(), fixture.file("wrong", wrong)).contains("/wrong`:"));
    assert!(!fixture.out.exists());
}
