use std::fs;
use std::path::PathBuf;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_ipc::reader::FileReader;
use proptest::prelude::*;
use rectool_base::{ColumnKind, ColumnSchema, Jagged};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use super::*;
use crate::fixture;

fn schema() -> Schema {
    let ids = vec!["user".into(), "item".into()];
    Schema::new(vec![
        ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
        ColumnSchema::packed("ids", ColumnKind::I64 { width: 2 }, ids),
        ColumnSchema::plain("genres", ColumnKind::I64List),
    ])
    .unwrap()
}

/// Rows that can be told apart: label `n`, ids `2n` and missing, a list of `n % 3` ids.
fn columns(rows: Range<usize>) -> Vec<Column> {
    let mut genres = Jagged::new();
    for row in rows.clone() {
        genres.push_row(&vec![row as i64; row % 3]);
    }
    vec![
        Column::F32 { width: 1, values: rows.clone().map(|row| row as f32).collect() },
        Column::I64 { width: 2, values: rows.flat_map(|row| [2 * row as i64, -1]).collect() },
        Column::I64List(genres),
    ]
}

fn options(shard_rows: usize) -> WriterOptions {
    WriterOptions { shard_rows, ..WriterOptions::default() }
}

fn write(options: WriterOptions, pieces: &[usize]) -> (TempDir, PathBuf, Manifest) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("data");
    let mut writer = DatasetWriter::create(&out, schema(), options).unwrap();
    let mut from = 0;
    for piece in pieces {
        writer.write("train", columns(from..from + piece)).unwrap();
        from += piece;
    }
    let manifest = writer.finish().unwrap();
    (folder, out, manifest)
}

fn read_labels(out: &Path, manifest: &Manifest) -> Vec<f32> {
    let mut labels = Vec::new();
    for shard in &manifest.splits[0].shards {
        let file = fs::File::open(out.join(&shard.file)).unwrap();
        let batches: Vec<_> =
            FileReader::try_new(file, None).unwrap().map(Result::unwrap).collect();
        assert_eq!(batches.len(), 1, "one record batch per shard");
        assert_eq!(batches[0].num_rows() as u64, shard.rows);
        let column = batches[0].column(0).as_primitive::<Float32Type>();
        for (row, label) in column.values().iter().enumerate() {
            let ids = batches[0].column(1).as_fixed_size_list().value(row);
            let ids = ids.as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(ids, [2 * *label as i64, -1]);
            let genres = batches[0].column(2).as_list::<i32>().value(row);
            let genres = genres.as_primitive::<Int64Type>().values().to_vec();
            assert_eq!(genres, vec![*label as i64; *label as usize % 3]);
        }
        labels.extend_from_slice(column.values());
    }
    labels
}

#[test]
fn rows_come_back_through_arrow() {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let options = WriterOptions { compression, ..options(10) };
        let (_folder, out, manifest) = write(options, &[4, 0, 17, 4]);
        let rows: Vec<u64> = manifest.splits[0].shards.iter().map(|shard| shard.rows).collect();
        assert_eq!(rows, [10, 10, 5], "{compression:?}");
        let expected: Vec<f32> = (0..25).map(|row| row as f32).collect();
        assert_eq!(read_labels(&out, &manifest), expected, "{compression:?}");
        let dataset = crate::Dataset::open(&out).unwrap();
        assert!(dataset.verify(1, |_| {}).is_empty(), "{compression:?}");
        let labels = dataset.split("train").unwrap().gather(&[24, 3], &[0]).unwrap();
        assert_eq!(labels, [Column::F32 { width: 1, values: vec![24.0, 3.0] }]);
    }
}

#[test]
fn every_kind_of_column_comes_back() {
    let all: Vec<u64> = (0..23).collect();
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        let options = WriterOptions { compression, ..options(7) };
        let mut writer = DatasetWriter::create(&out, fixture::schema(), options).unwrap();
        for piece in all.chunks(4) {
            writer.write("train", fixture::expected(piece)).unwrap();
        }
        let manifest = writer.finish().unwrap();
        assert_eq!((manifest.version, manifest.splits[0].shards.len()), (2, 4));
        assert_eq!(manifest.ids.keys().collect::<Vec<_>>(), ["genres", "ids"]);
        let dataset = crate::Dataset::open(&out).unwrap();
        assert!(dataset.verify(1, |_| {}).is_empty(), "{compression:?}");
        let read = dataset.split("train").unwrap().gather(&all, &fixture::ALL).unwrap();
        assert_eq!(read, fixture::expected(&all), "{compression:?}");
    }
}

#[test]
fn a_dataset_of_old_kinds_can_be_read_by_old_readers() {
    assert_eq!(write(options(10), &[3]).2.version, 1);
}

#[test]
fn the_manifest_tells_what_is_in_the_files() {
    let (_folder, out, manifest) = write(options(10), &[25]);
    let text = fs::read_to_string(out.join("dataset.json")).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&text).unwrap(), manifest);
    for shard in &manifest.splits[0].shards {
        let bytes = fs::read(out.join(&shard.file)).unwrap();
        assert_eq!(bytes.len() as u64, shard.bytes);
        assert_eq!(format!("{:016x}", xxh3_64(&bytes)), shard.xxh3);
    }
    let ids = &manifest.ids["ids"];
    assert_eq!((ids.min[0], ids.max[0], ids.missing[0]), (0, 48, 0));
    assert_eq!((ids.min[1], ids.max[1], ids.missing[1]), (i64::MAX, i64::MIN, 25));
    assert_eq!((manifest.ids["genres"].min[0], manifest.ids["genres"].max[0]), (1, 23));
}

#[test]
fn buffers_are_aligned_in_the_file() {
    let (_folder, out, manifest) = write(options(7), &[20]);
    for shard in &manifest.splits[0].shards {
        let bytes = fs::read(out.join(&shard.file)).unwrap();
        let length =
            u32::from_le_bytes(bytes[bytes.len() - 10..][..4].try_into().unwrap()) as usize;
        let footer = &bytes[bytes.len() - 10 - length..bytes.len() - 10];
        let footer = arrow_ipc::root_as_footer(footer).unwrap();
        let block = footer.recordBatches().unwrap().get(0);
        let body = block.offset() as usize + block.metaDataLength() as usize;
        assert_eq!(body % 64, 0, "body");
        let message = &bytes[block.offset() as usize + 8..body];
        let message = arrow_ipc::root_as_message(message).unwrap();
        let batch = message.header_as_record_batch().unwrap();
        for buffer in batch.buffers().unwrap() {
            assert_eq!(buffer.offset() % 64, 0, "buffer");
        }
        let validity = batch.buffers().unwrap().get(0);
        assert_eq!(validity.length(), 0, "no validity bitmap");
    }
}

#[test]
fn splits_are_written_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("deep/data");
    let mut writer = DatasetWriter::create(&out, schema(), options(4)).unwrap();
    for at in 0..6 {
        writer.write("train", columns(at * 3..at * 3 + 2)).unwrap();
        writer.write("test", columns(at * 3 + 2..at * 3 + 3)).unwrap();
    }
    let error = writer.write("../train", columns(0..1)).unwrap_err();
    assert!(error.to_string().contains("found `../train`"), "{error}");
    let manifest = writer.finish().unwrap();
    let rows: Vec<_> = manifest.splits.iter().map(|split| (&split.name[..], split.rows)).collect();
    assert_eq!(rows, [("train", 12), ("test", 6)]);
    assert_eq!(manifest.ids["ids"].max[0], 34, "over both splits");
}

#[test]
fn what_is_there_stays_until_the_end() {
    let (folder, out, _) = write(options(10), &[3]);
    let before = fs::read(out.join("dataset.json")).unwrap();
    let error = DatasetWriter::create(&out, schema(), options(10)).unwrap_err();
    assert!(matches!(error, DataError::OutputExists { .. }), "{error}");

    let overwrite = WriterOptions { overwrite: true, ..options(10) };
    let mut writer = DatasetWriter::create(&out, schema(), overwrite).unwrap();
    writer.write("train", columns(0..30)).unwrap();
    drop(writer);
    assert_eq!(fs::read(out.join("dataset.json")).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");

    let mut writer = DatasetWriter::create(&out, schema(), overwrite).unwrap();
    writer.write("valid", columns(0..30)).unwrap();
    writer.finish().unwrap();
    assert!(out.join("valid/00002.arrow").is_file() && !out.join("train").exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left over");
}

#[test]
fn a_folder_that_is_no_dataset_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("letter.txt"), "dear").unwrap();
    let overwrite = WriterOptions { overwrite: true, ..options(10) };
    let error = DatasetWriter::create(folder.path(), schema(), overwrite).unwrap_err();
    assert!(error.to_string().contains("without `dataset.json`"), "{error}");
    let root = DatasetWriter::create(Path::new("/"), schema(), overwrite).unwrap_err();
    assert!(matches!(root, DataError::Option { option: "out", .. }), "{root}");
    let none = DatasetWriter::create(&folder.path().join("x"), schema(), options(0)).unwrap_err();
    assert!(matches!(none, DataError::Option { option: "shard_rows", .. }), "{none}");
}

#[test]
fn a_trailing_slash_names_the_same_folder() {
    let folder = tempfile::tempdir().unwrap();
    let out = PathBuf::from(format!("{}/data/", folder.path().display()));
    let mut writer = DatasetWriter::create(&out, schema(), options(10)).unwrap();
    writer.write("train", columns(0..3)).unwrap();
    writer.finish().unwrap();
    assert!(folder.path().join("data/dataset.json").is_file());
}

#[test]
#[should_panic(expected = "column `ids` is i64[1]")]
fn other_columns_than_the_schema_are_a_bug() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        DatasetWriter::create(&folder.path().join("data"), schema(), options(10)).unwrap();
    let mut columns = columns(0..1);
    columns[1] = Column::I64 { width: 1, values: vec![1] };
    let _ = writer.write("train", columns);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn cuts_between_calls_leave_no_trace(pieces in prop::collection::vec(0usize..9, 1..8)) {
        let total: usize = pieces.iter().sum();
        let (_a, _, in_pieces) = write(options(5), &pieces);
        let (_b, _, at_once) = write(options(5), &[total]);
        prop_assert_eq!(in_pieces, at_once);
    }
}
