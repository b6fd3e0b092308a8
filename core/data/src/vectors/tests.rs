use std::path::Path;
use std::sync::Arc;

use arrow_array::types::{Float32Type, Float64Type, Int8Type, Int32Type, UInt8Type};
use arrow_array::{
    ArrayRef, Decimal128Array, DictionaryArray, FixedSizeListArray, Float64Array, Int32Array,
    Int64Array, ListArray, NullArray, RecordBatch, RunArray, StringArray, StringViewArray,
    StructArray, UInt64Array,
};
use arrow_ipc::writer::FileWriter;
use arrow_schema::{DataType, Field};
use rectool_base::Hint;

use super::*;

fn vectors() -> ArrayRef {
    let rows = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].map(|row| Some(row.map(Some)));
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2))
}

fn genres() -> ArrayRef {
    let mut lists =
        arrow_array::builder::ListBuilder::new(arrow_array::builder::StringBuilder::new());
    lists.append_value([Some("a"), Some("b")]);
    lists.append_null();
    lists.append_value([Some("c"), None]);
    Arc::new(lists.finish())
}

fn batch() -> RecordBatch {
    let columns: [(&str, ArrayRef); 5] = [
        ("id", Arc::new(UInt64Array::from(vec![7, 8, u64::MAX]))),
        ("vector", vectors()),
        ("genre", genres()),
        ("name", Arc::new(StringArray::from(vec![Some("x"), None, Some("z")]))),
        ("year", Arc::new(Int64Array::from(vec![Some(1990), None, Some(2001)]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn write_arrow(path: &Path, batches: &[RecordBatch]) {
    let file = File::create(path).unwrap();
    let mut writer = FileWriter::try_new(file, &batches[0].schema()).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
}

fn write_parquet(path: &Path, batch: &RecordBatch) {
    let file = File::create(path).unwrap();
    let mut writer = ::parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

fn all() -> VectorColumns {
    let attributes = ["year", "genre", "name"].map(str::to_owned).to_vec();
    VectorColumns { attributes, ..VectorColumns::default() }
}

#[test]
fn arrow_and_parquet_give_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (arrow, parquet) = (folder.path().join("a"), folder.path().join("p"));
    write_arrow(&arrow, &[batch(), batch()]);
    write_parquet(&parquet, &batch());
    for (path, times) in [(&arrow, 2), (&parquet, 1)] {
        assert!(is_table(path).unwrap());
        let table = VectorTable::open(path, &all()).unwrap();
        assert_eq!((table.dim(), table.rows()), (2, 3 * times));
        let values: Vec<f32> = table.pieces().flatten().copied().collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].repeat(times));
        assert_eq!(table.ids().unwrap(), [7, 8, u64::MAX].repeat(times));
        let [year, genre, name] = table.attributes() else { panic!("three were asked for") };
        let AttributeValues::Numbers(years) = &year.values else { panic!("years are numbers") };
        assert!(years[0] == 1990.0 && years[1].is_nan() && years.len() == 3 * times);
        let tokens = |column: &AttributeColumn| match &column.values {
            AttributeValues::Tokens(tokens) => tokens[..3].to_vec(),
            AttributeValues::Numbers(_) => panic!("texts are tokens"),
        };
        assert_eq!(tokens(genre), [vec!["a", "b"], vec![], vec!["c"]]);
        assert_eq!(tokens(name), [vec!["x"], vec![], vec!["z"]]);
    }
}

#[test]
fn lists_of_one_width_are_vectors_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lists");
    let table = |rows: &[&[f64]]| {
        let rows = rows.iter().map(|row| Some(row.iter().map(|value| Some(*value))));
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(rows);
        let batch = RecordBatch::try_from_iter([("v", Arc::new(lists) as ArrayRef)]).unwrap();
        write_arrow(&path, &[batch]);
        let columns = VectorColumns { vector: "v".into(), id: None, attributes: Vec::new() };
        VectorTable::open(&path, &columns)
    };
    let read = table(&[&[1.0, 2.0], &[3.0, 4.0]]).unwrap();
    assert_eq!((read.rows(), read.dim(), read.ids()), (2, 2, None));
    assert_eq!(read.pieces().next().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    let error = table(&[&[1.0, 2.0], &[3.0]]).unwrap_err().to_string();
    assert!(error.contains("row 1") && error.contains("found 1"), "{error}");
    assert!(table(&[]).unwrap_err().to_string().contains("found none"));
}

#[test]
fn what_does_not_fit_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.arrow");
    write_arrow(&path, &[batch()]);
    let open = |columns: VectorColumns| VectorTable::open(&path, &columns).unwrap_err();
    let error = open(VectorColumns { vector: "vectr".into(), ..all() });
    assert!(error.to_string().contains("no column `vectr`"), "{error}");
    assert_eq!(error.hint().as_deref(), Some("did you mean `vector`?"));
    let error = open(VectorColumns { vector: "name".into(), ..all() }).to_string();
    assert!(error.contains("lists of floats") && error.contains("Utf8"), "{error}");
    let error = open(VectorColumns { id: Some("name".into()), ..all() }).to_string();
    assert!(error.contains("whole numbers"), "{error}");
    let error = open(VectorColumns { id: Some("year".into()), ..all() }).to_string();
    assert!(error.contains("row 1") && error.contains("null"), "{error}");
    let error = open(VectorColumns { attributes: vec!["vector".into()], ..all() }).to_string();
    assert!(error.contains("numbers, texts or lists of texts"), "{error}");
    let missing: ArrayRef = Arc::new(Float64Array::from(vec![1.0]));
    write_arrow(&path, &[RecordBatch::try_from_iter([("vector", missing)]).unwrap()]);
    assert!(
        open(VectorColumns { id: None, ..VectorColumns::default() })
            .to_string()
            .contains("type Float64")
    );
}

#[test]
fn damage_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.arrow");
    write_arrow(&path, &[batch()]);
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(VectorTable::open(&path, &all()).is_err(), "{length} bytes");
    }
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&path, &bytes).unwrap();
        // Some bytes are values or filling; no byte may make it panic.
        let _ = VectorTable::open(&path, &all());
    }
    std::fs::write(&path, b"text, not vectors").unwrap();
    assert!(VectorTable::open(&path, &all()).unwrap_err().to_string().contains("ARROW1"));
}

#[test]
fn damaged_parquet_is_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("items.parquet");
    write_parquet(&path, &batch());
    let whole = std::fs::read(&path).unwrap();
    for (at, mask) in (0..whole.len()).flat_map(|at| [(at, 0x41), (at, 0xff)]) {
        let mut bytes = whole.clone();
        bytes[at] ^= mask;
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error @ DataError::Parquet { .. }) = VectorTable::open(&path, &all()) {
            assert!(error.to_string().contains("items.parquet`:1: "), "{error}");
            assert!(error.hint().unwrap().contains("damaged"), "{error}");
        }
    }
}

#[test]
fn hits_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hits.arrow");
    write_hits(&path, &[HitRow { query: 3, rank: 0, id: 9, score: 0.5 }]).unwrap();
    let file = File::open(&path).unwrap();
    let batch =
        arrow_ipc::reader::FileReader::try_new(file, None).unwrap().next().unwrap().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (1, 4));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

/// A text too long to lie beside its length in a view.
const LONG: &str = "a text that is too long to be inlined";

/// Ids, texts and lists of texts as dictionaries, and columns of many types that nobody asks for.
fn encoded() -> RecordBatch {
    let genres = {
        let values = arrow_array::builder::StringDictionaryBuilder::<Int8Type>::new();
        let mut lists = arrow_array::builder::ListBuilder::new(values);
        for row in [&["a", "b"][..], &[], &["c"]] {
            for text in row {
                lists.values().append_value(text);
            }
            lists.append(true);
        }
        lists.values().append_value("unused");
        lists.finish().slice(0, 3)
    };
    let ids = Int64Array::from(vec![-1, 8, 7]);
    let ids = DictionaryArray::<UInt8Type>::new(vec![2, 1, 0].into(), Arc::new(ids));
    let names: DictionaryArray<Int32Type> = vec![Some("x"), None, Some("z")].into_iter().collect();
    let member = Arc::new(Field::new("member", DataType::Utf8View, true));
    let views = StringViewArray::from(vec![LONG, "b", "c"]);
    let views: ArrayRef = Arc::new(views);
    let runs = RunArray::try_new(&Int32Array::from(vec![2, 3]), &Int64Array::from(vec![5, 6]));
    let maps = {
        let mut maps = arrow_array::builder::MapBuilder::new(
            None,
            arrow_array::builder::StringBuilder::new(),
            arrow_array::builder::Int64Builder::new(),
        );
        for row in 0..3 {
            maps.keys().append_value("key");
            maps.values().append_value(row);
            maps.append(true).unwrap();
        }
        maps.finish()
    };
    let columns: [(&str, ArrayRef); 11] = [
        ("members", Arc::new(StructArray::from(vec![(member, views.clone())]))),
        ("id", Arc::new(ids)),
        ("views", views),
        ("null", Arc::new(NullArray::new(3))),
        ("genre", Arc::new(genres)),
        ("runs", Arc::new(runs.unwrap())),
        ("decimal", Arc::new(Decimal128Array::from(vec![1, 2, 3]))),
        ("spare", Arc::new(names.clone())),
        ("maps", Arc::new(maps)),
        ("name", Arc::new(names)),
        ("vector", vectors()),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn dictionaries_are_read_like_plain_columns_and_what_is_not_asked_for_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let (arrow, parquet) = (folder.path().join("a"), folder.path().join("p"));
    write_arrow(&arrow, &[encoded(), encoded()]);
    let wanted =
        ["id", "vector", "genre", "name", "views"].map(|name| encoded().schema().index_of(name));
    write_parquet(&parquet, &encoded().project(&wanted.map(Result::unwrap)).unwrap());
    let attributes = ["genre", "name", "views"].map(str::to_owned).to_vec();
    let columns = VectorColumns { attributes, ..VectorColumns::default() };
    for (path, times) in [(&arrow, 2), (&parquet, 1)] {
        let table = VectorTable::open(path, &columns).unwrap();
        assert_eq!(table.ids().unwrap(), [7, 8, u64::MAX].repeat(times));
        let values: Vec<f32> = table.pieces().flatten().copied().collect();
        assert_eq!(values, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0].repeat(times));
        let tokens: Vec<_> = table.attributes().iter().map(|column| &column.values).collect();
        let [
            AttributeValues::Tokens(genre),
            AttributeValues::Tokens(name),
            AttributeValues::Tokens(views),
        ] = tokens[..]
        else {
            panic!("texts are tokens")
        };
        assert_eq!(views[..3], [[LONG], ["b"], ["c"]]);
        assert_eq!(genre[..3], [vec!["a", "b"], vec![], vec!["c"]]);
        assert_eq!(name[..3], [vec!["x"], vec![], vec!["z"]]);
        assert_eq!((genre.len(), name.len()), (3 * times, 3 * times));
    }
    for name in ["members", "null", "runs", "decimal", "maps"] {
        let columns = VectorColumns { attributes: vec![name.to_owned()], ..columns.clone() };
        let error = VectorTable::open(&arrow, &columns).unwrap_err().to_string();
        assert!(error.contains(&format!("column `{name}`: expected numbers, texts")), "{error}");
    }

    let whole = std::fs::read(&arrow).unwrap();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x41;
        std::fs::write(&arrow, &bytes).unwrap();
        // Some bytes are values, filling, or columns that are not read; no byte may make it panic.
        let _ = VectorTable::open(&arrow, &columns);
    }
}
