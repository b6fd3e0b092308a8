//! Reading good datasets, and refusing bad ones without a panic.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BinaryArray, FixedSizeListArray, Float32Array, Float64Array, Int64Array,
    LargeListArray, LargeStringArray, ListArray, RecordBatch, StringArray, types,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_ipc::CompressionType;
use arrow_schema::{DataType, Field};
use proptest::prelude::*;
use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Jagged, MISSING_ID, Schema, Texts};

use crate::decode::{Block, decode_shard};
use crate::fixture::{ALL, expected, folder, record_batch, schema, shard_bytes, single, write};
use crate::values::Values;
use crate::{
    DataError, Dataset, DatasetWriter, MANIFEST_FILE, Split, SplitManifest, Verify, WriterOptions,
};

fn all_rows(split: &Split) -> Result<Vec<Column>, DataError> {
    let rows: Vec<u64> = (0..split.rows()).collect();
    split.gather(&rows, &ALL)
}

#[test]
fn a_scan_comes_by_every_row_once_until_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids");
    let ids = ColumnSchema::plain("id", ColumnKind::I64 { width: 1 });
    let schema = Schema::new(vec![ids]).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    let values: Vec<i64> = (0..150_000).collect();
    writer.write("train", vec![Column::I64 { width: 1, values: values.clone() }]).unwrap();
    writer.finish().unwrap();
    let split = Dataset::open(&path).unwrap().split("train").unwrap();
    let mut seen = Vec::new();
    let mut scan = |last: u64| {
        seen.clear();
        let scanned = split.scan(&[0], |rows, columns| {
            let [Column::I64 { values, .. }] = columns else { panic!("one column of ids") };
            assert_eq!(values[0], rows.start as i64);
            seen.extend_from_slice(values);
            let found = String::new();
            let failed = DataError::Option { option: "scan", expected: String::new(), found };
            if rows.end > last { Err(failed) } else { Ok(()) }
        });
        (scanned.is_ok(), seen.len())
    };
    assert_eq!(scan(70_000), (false, 131_072));
    assert_eq!(scan(150_000), (true, 150_000));
    assert_eq!(seen, values);
}

#[test]
fn gathers_any_rows_in_any_order() {
    let folder = folder(103, 40);
    let split = Dataset::open(folder.path()).unwrap().split("train").unwrap();
    assert_eq!((split.rows(), split.name()), (103, "train"));
    let cases: [Vec<u64>; 5] = [
        vec![],
        (0..103).collect(),
        (0..103).rev().collect(),
        vec![102, 39, 40, 41, 0, 0, 19, 20, 21],
        (0..300).map(|at| at * 37 % 103).collect(),
    ];
    let mut reused = Vec::new();
    for rows in cases {
        assert_eq!(split.gather(&rows, &ALL).unwrap(), expected(&rows));
        split.gather_into(&rows, &ALL, &mut reused).unwrap();
        assert_eq!(reused, expected(&rows));
    }
    let mut wanted = expected(&[7]);
    wanted.swap(0, 3);
    split.gather_into(&[7], &[3, 1], &mut reused).unwrap();
    assert_eq!(reused, wanted[..2]);
    // Spare columns of other kinds, numbers and places, and some that no gathering left.
    let lists = Column::I64List(Jagged { offsets: vec![], values: vec![1] });
    let mut reused = vec![lists, expected(&[1, 2]).swap_remove(5), expected(&[3]).swap_remove(7)];
    split.gather_into(&[8, 9, 6], &ALL, &mut reused).unwrap();
    assert_eq!(reused, expected(&[8, 9, 6]));
    let error = split.gather(&[5, 103], &[0]).unwrap_err();
    assert_eq!(error.to_string(), "split `train`: row 103, expected below 103");
    assert!(matches!(split.gather(&[u64::MAX], &[0]), Err(DataError::OutOfRange { .. })));
    assert!(matches!(split.gather(&[0], &[8]), Err(DataError::OutOfRange { .. })));
}

#[test]
fn reads_compressed_shards() {
    for compression in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let batches = [record_batch(0..500), record_batch(500..501)];
        let (_folder, dataset) = single(shard_bytes(&batches, Some(compression)), 501);
        let split = dataset.unwrap().split("train").unwrap();
        let rows: Vec<u64> = (0..501).collect();
        assert_eq!(all_rows(&split).unwrap(), expected(&rows));
    }
}

#[test]
fn uncompressed_values_are_used_in_place() {
    let folder = folder(10, 10);
    let bytes = fs::read(folder.path().join("train/00000.arrow")).unwrap();
    let buffer = Buffer::from_vec(bytes);
    let blocks = decode_shard(folder.path(), &buffer, &schema(), 10).unwrap();
    let Values::F32(dense) = &blocks[0].columns[1] else { panic!("floats") };
    assert!(buffer.as_ptr_range().contains(&dense.as_ptr().cast::<u8>()));
}

/// A dataset of one column.
fn one_column(column: &ColumnSchema, array: ArrayRef) -> Result<Column, DataError> {
    let folder = tempfile::tempdir().unwrap();
    let rows = array.len() as u64;
    let batch = RecordBatch::try_from_iter([(column.name.as_str(), array)]).unwrap();
    let schema = Schema::new(vec![column.clone()]).unwrap();
    write(folder.path(), schema, &[(shard_bytes(&[batch], None), rows)]);
    let split = Dataset::open(folder.path())?.split("train")?;
    let rows: Vec<u64> = (0..rows).collect();
    Ok(split.gather(&rows, &[0])?.swap_remove(0))
}

#[test]
fn nulls_become_missing_values() {
    let item = |data_type| Arc::new(Field::new("element", data_type, true));
    let floats = Float32Array::from(vec![Some(1.0), None, Some(3.0)]);
    let column = ColumnSchema::plain("a", ColumnKind::F32 { width: 1 });
    let Column::F32 { values, .. } = one_column(&column, Arc::new(floats)).unwrap() else {
        panic!("floats")
    };
    assert!(values[0] == 1.0 && values[1].is_nan() && values[2] == 3.0);

    let ids = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]));
    let outer = Some(NullBuffer::from(vec![true, false]));
    let packed = FixedSizeListArray::new(item(DataType::Int64), 2, ids, outer);
    let column = ColumnSchema::plain("a", ColumnKind::I64 { width: 2 });
    let wanted = vec![1, MISSING_ID, MISSING_ID, MISSING_ID];
    let found = one_column(&column, Arc::new(packed)).unwrap();
    assert_eq!(found, Column::I64 { width: 2, values: wanted });

    let rows = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(4)])];
    let wanted = Jagged { offsets: vec![0, 2, 2, 2, 3], values: vec![1, MISSING_ID, 4] };
    let column = ColumnSchema::plain("a", ColumnKind::I64List);
    let lists = ListArray::from_iter_primitive::<types::Int64Type, _, _>(rows.clone());
    let found = one_column(&column, Arc::new(lists)).unwrap();
    assert_eq!(found, Column::I64List(wanted.clone()));
    let lists = LargeListArray::from_iter_primitive::<types::Int64Type, _, _>(rows);
    assert_eq!(one_column(&column, Arc::new(lists)).unwrap(), Column::I64List(wanted));
}

#[test]
fn null_texts_and_lists_become_missing_ones() {
    let texts = |given: &[Option<&str>]| given.iter().copied().collect::<Texts>();
    let column = ColumnSchema::plain("a", ColumnKind::Text { width: 1 });
    let given = [Some("a"), None, Some(""), Some("\u{df}")];
    let wanted = Column::Text { width: 1, values: texts(&given) };
    let small: ArrayRef = Arc::new(StringArray::from_iter(given));
    let large: ArrayRef = Arc::new(LargeStringArray::from_iter(given));
    for array in [Arc::clone(&small), Arc::clone(&large)] {
        assert_eq!(one_column(&column, array).unwrap(), wanted);
    }

    let column = ColumnSchema::plain("a", ColumnKind::Text { width: 2 });
    for array in [Arc::clone(&small), Arc::clone(&large)] {
        let item = Arc::new(Field::new("element", array.data_type().clone(), true));
        let outer = Some(NullBuffer::from(vec![true, false]));
        let packed = FixedSizeListArray::new(item, 2, array, outer);
        let wanted = texts(&[Some("a"), None, None, None]);
        let found = one_column(&column, Arc::new(packed)).unwrap();
        assert_eq!(found, Column::Text { width: 2, values: wanted });
    }

    // The second list is null and still spans a value.
    let column = ColumnSchema::plain("a", ColumnKind::TextList);
    let nulls = || Some(NullBuffer::from(vec![true, false, true]));
    let wanted = texts(&[Some("a"), None, Some("\u{df}")]);
    let wanted = Column::TextList { offsets: vec![0, 2, 2, 3], values: wanted };
    for array in [small, large] {
        let item = Arc::new(Field::new("element", array.data_type().clone(), true));
        let offsets = OffsetBuffer::new(vec![0, 2, 3, 4].into());
        let lists = ListArray::new(Arc::clone(&item), offsets, Arc::clone(&array), nulls());
        assert_eq!(one_column(&column, Arc::new(lists)).unwrap(), wanted);
        let offsets = OffsetBuffer::new(vec![0, 2, 3, 4].into());
        let lists = LargeListArray::new(item, offsets, array, nulls());
        assert_eq!(one_column(&column, Arc::new(lists)).unwrap(), wanted);
    }

    let column = ColumnSchema::plain("a", ColumnKind::F32List);
    let rows = [Some(vec![Some(1.0), None]), None, Some(vec![]), Some(vec![Some(4.0)])];
    let lists = LargeListArray::from_iter_primitive::<types::Float32Type, _, _>(rows);
    let Column::F32List(found) = one_column(&column, Arc::new(lists)).unwrap() else {
        panic!("lists of floats")
    };
    assert_eq!(found.offsets, [0, 2, 2, 2, 3]);
    assert!(found.values[0] == 1.0 && found.values[1].is_nan() && found.values[2] == 4.0);
}

#[test]
fn bytes_that_are_not_utf8_are_refused() {
    let column = Schema::new(vec![ColumnSchema::plain("a", ColumnKind::Text { width: 1 })]);
    let column = column.unwrap();
    let array: ArrayRef = Arc::new(StringArray::from(vec!["needle", "x"]));
    let batch = RecordBatch::try_from_iter([("a", array)]).unwrap();
    let mut bytes = shard_bytes(&[batch], None);
    let at = bytes.windows(6).position(|window| window == b"needle").unwrap();
    bytes[at + 3] = 0xff;
    let error = decode_shard(Path::new("shard"), &Buffer::from_vec(bytes), &column, 2);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("record batch 0: content") && error.contains("UTF8"), "{error}");
}

#[test]
fn other_types_are_refused_by_name() {
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let floats: ArrayRef = Arc::new(Float32Array::from(vec![0.0; 4]));
    let wide = |width| -> ArrayRef {
        Arc::new(FixedSizeListArray::new(Arc::clone(&item), width, Arc::clone(&floats), None))
    };
    let one = ColumnKind::F32 { width: 1 };
    let packed = ColumnSchema::packed("a", one, vec!["m".into()]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let cases: [(ColumnSchema, ArrayRef, &str, &str); 8] = [
        (
            ColumnSchema::plain("a", ColumnKind::Text { width: 1 }),
            Arc::new(BinaryArray::from_vec(vec![b"a"])),
            "Utf8",
            "Binary",
        ),
        (ColumnSchema::plain("a", ColumnKind::TextList), Arc::clone(&texts), "List<Utf8>", "Utf8"),
        (
            ColumnSchema::plain("a", ColumnKind::F32List),
            Arc::new(ListArray::from_iter_primitive::<types::Int64Type, _, _>([Some([Some(1)])])),
            "List<Float32>",
            "List<Int64>",
        ),
        (
            ColumnSchema::plain("a", one),
            Arc::new(Float64Array::from(vec![0.0])),
            "Float32",
            "Float64",
        ),
        (packed, Arc::clone(&floats), "FixedSizeList<Float32, 1>", "Float32"),
        (ColumnSchema::plain("a", one), wide(1), "Float32", "FixedSizeList<Float32, 1>"),
        (
            ColumnSchema::plain("a", ColumnKind::F32 { width: 4 }),
            wide(2),
            "FixedSizeList<Float32, 4>",
            "FixedSizeList<Float32, 2>",
        ),
        (
            ColumnSchema::plain("a", ColumnKind::I64List),
            Arc::clone(&floats),
            "List<Int64>",
            "Float32",
        ),
    ];
    for (column, array, expected, found) in cases {
        let error = one_column(&column, array).unwrap_err().to_string();
        let text = format!("type of column `a`: expected {expected}, found {found}");
        assert!(error.ends_with(&text), "{error}");
    }
}

#[test]
fn missing_and_foreign_places_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    for (path, found) in [
        (folder.path().join("none"), "nothing"),
        (file, "a file"),
        (folder.path().to_owned(), "a folder without it"),
    ] {
        match Dataset::open(&path) {
            Err(DataError::Missing { found: text, .. }) => assert_eq!(text, found),
            other => panic!("{other:?}"),
        }
    }
    let error = Dataset::open(Path::new("s3://bucket/data")).unwrap_err();
    let text = "`s3://bucket/data`: expected a local folder, found an address of kind `s3`";
    assert_eq!(error.to_string(), text);
    assert!(error.hint().is_some());
}

/// Changes the manifest's text and opens the dataset.
fn open_edited(edit: impl FnOnce(String) -> String) -> Result<Dataset, DataError> {
    let folder = folder(20, 10);
    let path = folder.path().join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let edited = edit(text.clone());
    assert_ne!(text, edited, "the edit changed nothing");
    fs::write(&path, edited).unwrap();
    Dataset::open(folder.path())
}

#[test]
fn manifest_rules_are_checked() {
    let cases = [
        ("rectool-dataset", "other", "format"),
        ("\"version\": 2", "\"version\": 0", "version"),
        ("\"version\": 2", "\"version\": 1", "version"),
        ("\"name\": \"train\"", "\"name\": \"..\"", "split"),
        ("train/00001.arrow", "../00001.arrow", "shard"),
        ("train/00001.arrow", "train/../../x", "shard"),
        ("train/00001.arrow", "/etc/passwd", "shard"),
        ("train/00001.arrow", "train/00000.arrow", "shards"),
        ("\"rows\": 20", "\"rows\": 21", "rows"),
        ("\"width\": 3", "\"width\": 0", "schema"),
        ("\"ids\": {}", "\"ids\": {\"idz\": {\"min\": [], \"max\": [], \"missing\": []}}", "ids"),
        ("\"ids\": {}", "\"ids\": {\"ids\": {\"min\": [1], \"max\": [], \"missing\": []}}", "ids"),
        (
            "\"ids\": {}",
            "\"ids\": {\"label\": {\"min\": [1], \"max\": [1], \"missing\": [0]}}",
            "ids",
        ),
    ];
    for (from, to, place) in cases {
        match open_edited(|text| text.replacen(from, to, 1)) {
            Err(DataError::Manifest { field, .. }) => {
                assert!(field.contains(place), "{field} for {to}");
            }
            other => panic!("{to}: {other:?}"),
        }
    }
    let newer = open_edited(|text| text.replace("\"version\": 2", "\"version\": 3, \"x\": []"));
    assert!(matches!(newer, Err(DataError::TooNew { found: 3, .. })), "{newer:?}");
    let cut = open_edited(|text| text[..text.len() / 2].to_owned());
    assert!(matches!(cut, Err(DataError::Json { .. })));
}

#[test]
fn shards_must_be_there_and_of_their_size() {
    let folder = folder(20, 10);
    let shard = folder.path().join("train/00001.arrow");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[1..]).unwrap();
    let error = Dataset::open(folder.path()).unwrap_err();
    assert!(matches!(error, DataError::Shard { ref what, .. } if what == "size"), "{error}");
    fs::remove_file(&shard).unwrap();
    assert!(matches!(Dataset::open(folder.path()), Err(DataError::Io { .. })));
}

#[test]
fn verify_lists_every_bad_shard() {
    let folder = folder(50, 10);
    let dataset = Dataset::open(folder.path()).unwrap();
    assert!(dataset.verify(2, |_| ()).is_empty());
    for number in [1, 3] {
        let shard = folder.path().join(format!("train/{number:05}.arrow"));
        let mut bytes = fs::read(&shard).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&shard, bytes).unwrap();
    }
    let calls = std::sync::atomic::AtomicUsize::new(0);
    let faults = dataset.verify(3, |_| {
        calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    let files: Vec<&str> = faults.iter().map(|fault| fault.file.as_str()).collect();
    assert_eq!(files, ["train/00001.arrow", "train/00003.arrow"]);
    assert!(faults.iter().all(|fault| matches!(fault.error, DataError::Checksum { .. })));
    assert_eq!(calls.into_inner(), 5);
    // The good shards can still be read.
    let split = dataset.split("train").unwrap();
    assert_eq!(split.gather(&[0, 49], &[0]).unwrap(), expected(&[0, 49])[..1]);
    assert!(matches!(split.gather(&[15], &[0]), Err(DataError::Checksum { .. })));
}

#[test]
fn fingerprint_follows_the_content() {
    let (one, other) = (folder(20, 10), folder(21, 10));
    let print = |folder: &tempfile::TempDir| Dataset::open(folder.path()).unwrap().fingerprint();
    assert_eq!(print(&one), print(&one));
    assert_ne!(print(&one), print(&other));
    let split = |folder: &tempfile::TempDir, name: &str| {
        Dataset::open(folder.path()).unwrap().split(name).unwrap().fingerprint()
    };
    assert_eq!(split(&one, "train"), split(&one, "train"));
    assert_ne!(split(&one, "train"), split(&other, "train"));
    // Another split is none of its business.
    let with_test = folder(20, 10);
    let mut manifest = Dataset::open(with_test.path()).unwrap().manifest().clone();
    let test = SplitManifest { name: "test".to_owned(), rows: 0, shards: Vec::new() };
    manifest.splits.push(test);
    fs::write(with_test.path().join(MANIFEST_FILE), serde_json::to_vec(&manifest).unwrap())
        .unwrap();
    assert_ne!(print(&one), print(&with_test));
    assert_eq!(split(&one, "train"), split(&with_test, "train"));
    let path = one.path().join(MANIFEST_FILE);
    let before = print(&one);
    fs::write(&path, fs::read_to_string(&path).unwrap().replace('\n', " \n")).unwrap();
    assert_eq!(print(&one), before);
}

/// Puts `bytes` in place of the shard of a dataset of one and reads all its rows.
fn read_damaged(folder: &Path, bytes: &[u8], verify: Verify) -> Result<Vec<Column>, DataError> {
    fs::write(folder.join("train/00000.arrow"), bytes).unwrap();
    all_rows(&Dataset::open_with(folder, verify)?.split("train")?)
}

/// The shard must be readable or refused by a check, not by arrow panicking.
fn assert_no_panic<T>(result: Result<T, DataError>, place: usize) {
    if let Err(error) = result {
        assert!(!error.to_string().contains("panicked"), "at {place}: {error}");
    }
}

fn decode(bytes: Vec<u8>) -> Result<Vec<Block>, DataError> {
    decode_shard(Path::new("shard"), &Buffer::from_vec(bytes), &schema(), 70)
}

fn damage_every_byte(compression: Option<CompressionType>) {
    let good = shard_bytes(&[record_batch(0..40), record_batch(40..70)], compression);
    let (folder, dataset) = single(good.clone(), 70);
    drop(dataset.unwrap());
    let ends = (0..good.len().min(1024)).chain(good.len().saturating_sub(1024)..good.len());
    for at in ends {
        let flipped = |flip: u8| {
            let mut bytes = good.clone();
            bytes[at] ^= flip;
            bytes
        };
        let checked = read_damaged(folder.path(), &flipped(0x01), Verify::Checksum);
        assert!(matches!(checked, Err(DataError::Checksum { .. })), "at {at}: {checked:?}");
        assert_no_panic(read_damaged(folder.path(), &flipped(0x01), Verify::Size), at);
        for flip in [0x02, 0x10, 0x80, 0xff] {
            assert_no_panic(decode(flipped(flip)), at);
        }
    }
}

#[test]
fn flipped_bytes_are_errors() {
    damage_every_byte(None);
}

#[test]
fn flipped_bytes_of_compressed_shards_are_errors() {
    damage_every_byte(Some(CompressionType::LZ4_FRAME));
}

/// Truncated or overwritten, with a manifest that fits: decoding itself is put to the test.
#[test]
fn no_content_makes_decoding_panic() {
    let good = shard_bytes(&[record_batch(0..40), record_batch(40..70)], None);
    for length in (0..good.len()).step_by(7).chain(good.len() - 64..good.len()) {
        let error = decode(good[..length].to_vec()).unwrap_err().to_string();
        assert!(!error.contains("panicked"), "{length} bytes: {error}");
    }
    let (folder, dataset) = single(good.clone(), 70);
    drop(dataset);
    for length in [0, 1, 100, good.len() - 1] {
        let read = read_damaged(folder.path(), &good[..length], Verify::Size);
        assert!(matches!(read, Err(DataError::Shard { .. })), "{length} bytes: {read:?}");
    }
}

#[test]
fn rows_must_be_those_of_the_manifest() {
    for rows in [0, 39, 41, u64::MAX >> 2] {
        let (_folder, dataset) = single(shard_bytes(&[record_batch(0..40)], None), rows);
        let faults = dataset.unwrap().verify(1, |_| ());
        assert!(matches!(faults[0].error, DataError::Shard { .. }), "{rows}: {faults:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_shards_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        compression in prop::sample::select(vec![
            None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD),
        ]),
    ) {
        let mut bytes = shard_bytes(&[record_batch(0..12)], compression);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        // With the damaged bytes' own checksum: as somebody with bad intent would write it.
        let (_folder, dataset) = single(bytes, 12);
        assert_no_panic(all_rows(&dataset.unwrap().split("train").unwrap()), 0);
    }

    #[test]
    fn edited_manifests_never_panic(
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0_usize..12), 1..4),
    ) {
        let folder = folder(20, 10);
        let path = folder.path().join(MANIFEST_FILE);
        let mut text = fs::read_to_string(&path).unwrap();
        let tokens = [
            "", "0", "-1", "null", "[]", "{}", "\"\"", "1e99", "18446744073709551615", "\"..\"",
            "9999999999", "true",
        ];
        for (at, token) in edits {
            // Replaces one whole value, so that most results still are JSON.
            let values: Vec<(usize, &str)> = text.match_indices(": ").collect();
            if values.is_empty() {
                break;
            }
            let start = values[at.index(values.len())].0 + 2;
            let length = text[start..].find([',', '\n']).unwrap_or(text.len() - start);
            text.replace_range(start..start + length, tokens[token]);
        }
        fs::write(&path, text).unwrap();
        if let Ok(dataset) = Dataset::open(folder.path()) {
            dataset.verify(1, |_| ());
            for name in dataset.splits() {
                let split = dataset.split(name).unwrap();
                let columns: Vec<usize> = (0..split.schema().columns().len()).collect();
                let rows: Vec<u64> = (0..split.rows().min(100)).collect();
                assert_no_panic(split.gather(&rows, &columns), 0);
            }
        }
    }
}
