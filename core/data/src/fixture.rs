//! Small datasets on disk for the tests of the reading side, written with arrow's own writer.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int64Array, ListArray, RecordBatch, StringArray,
    types,
};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{FileWriter, IpcWriteOptions};
use arrow_schema::{DataType, Field, Schema as ArrowSchema};
use rectool_base::{Column, ColumnKind, ColumnSchema, Jagged, Schema, Texts};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    DataError, Dataset, FORMAT_NAME, FORMAT_VERSION, MANIFEST_FILE, Manifest, ShardManifest,
    SplitManifest,
};

/// Positions of all columns of [`schema`].
pub(crate) const ALL: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

/// One column of each kind, and a second one of texts.
pub(crate) fn schema() -> Schema {
    Schema::new(vec![
        ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
        ColumnSchema::plain("dense", ColumnKind::F32 { width: 3 }),
        ColumnSchema::plain("ids", ColumnKind::I64 { width: 2 }),
        ColumnSchema::plain("genres", ColumnKind::I64List),
        ColumnSchema::plain("title", ColumnKind::Text { width: 1 }),
        ColumnSchema::plain("names", ColumnKind::Text { width: 2 }),
        ColumnSchema::plain("prices", ColumnKind::F32List),
        ColumnSchema::plain("words", ColumnKind::TextList),
    ])
    .unwrap()
}

/// What the columns of [`schema`] hold for `rows`: every value tells its row.
pub(crate) fn expected(rows: &[u64]) -> Vec<Column> {
    let (mut ids_list, mut floats, mut offsets) = (Jagged::new(), Jagged::new(), vec![0]);
    let mut list_texts = Texts::new();
    for row in rows {
        ids_list.push_row(&genres(*row));
        floats.push_row(&prices(*row));
        for word in words(*row) {
            list_texts.push(word.as_deref());
        }
        offsets.push(list_texts.len() as u32);
    }
    let text = |text: &[Option<String>]| text.iter().map(Option::as_deref).collect::<Texts>();
    let each = |of: fn(u64) -> Option<String>| -> Vec<_> { rows.iter().map(|r| of(*r)).collect() };
    let both: Vec<_> = rows.iter().flat_map(|row| names(*row)).collect();
    vec![
        Column::F32 { width: 1, values: rows.iter().map(|row| *row as f32).collect() },
        Column::F32 { width: 3, values: rows.iter().flat_map(|row| dense(*row)).collect() },
        Column::I64 { width: 2, values: rows.iter().flat_map(|row| ids(*row)).collect() },
        Column::I64List(ids_list),
        Column::Text { width: 1, values: text(&each(title)) },
        Column::Text { width: 2, values: text(&both) },
        Column::F32List(floats),
        Column::TextList { offsets, values: list_texts },
    ]
}

fn dense(row: u64) -> [f32; 3] {
    [0, 1, 2].map(|at| (row * 3 + at) as f32)
}

fn ids(row: u64) -> [i64; 2] {
    [row as i64, -2 - row as i64]
}

fn genres(row: u64) -> Vec<i64> {
    (0..row % 4).map(|at| (row * 10 + at) as i64).collect()
}

fn title(row: u64) -> Option<String> {
    (row % 5 != 3).then(|| "\u{e4}".repeat(row as usize % 3) + &row.to_string())
}

fn names(row: u64) -> [Option<String>; 2] {
    [Some(format!("name {row}")), row.is_multiple_of(2).then(String::new)]
}

fn prices(row: u64) -> Vec<f32> {
    (0..row % 3).map(|at| row as f32 + at as f32 / 4.0).collect()
}

fn words(row: u64) -> Vec<Option<String>> {
    (0..row % 4).map(|at| (at != 2).then(|| format!("{row}\u{20ac}{at}"))).collect()
}

/// The record batch of the rows `rows` in the layout that the format prescribes.
pub(crate) fn record_batch(rows: std::ops::Range<u64>) -> RecordBatch {
    let rows: Vec<u64> = rows.collect();
    let label: Vec<f32> = rows.iter().map(|row| *row as f32).collect();
    let dense: Vec<f32> = rows.iter().flat_map(|row| dense(*row)).collect();
    let ids: Vec<i64> = rows.iter().flat_map(|row| ids(*row)).collect();
    let names = rows.iter().flat_map(|row| names(*row)).collect::<StringArray>();
    let genres = rows.iter().map(|row| Some(genres(*row).into_iter().map(Some)));
    let prices = rows.iter().map(|row| Some(prices(*row).into_iter().map(Some)));
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in &rows {
        lists.append_value(words(*row));
    }
    let packed = |data_type, width, values| {
        let item = Arc::new(Field::new("item", data_type, true));
        Arc::new(FixedSizeListArray::new(item, width, values, None))
    };
    let columns: [(&str, ArrayRef); 8] = [
        ("label", Arc::new(Float32Array::from(label))),
        ("dense", packed(DataType::Float32, 3, Arc::new(Float32Array::from(dense)) as _)),
        ("ids", packed(DataType::Int64, 2, Arc::new(Int64Array::from(ids)) as _)),
        ("genres", Arc::new(ListArray::from_iter_primitive::<types::Int64Type, _, _>(genres))),
        ("title", Arc::new(rows.iter().map(|row| title(*row)).collect::<StringArray>())),
        ("names", packed(DataType::Utf8, 2, Arc::new(names) as _)),
        ("prices", Arc::new(ListArray::from_iter_primitive::<types::Float32Type, _, _>(prices))),
        ("words", Arc::new(lists.finish())),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// The bytes of a shard.
pub(crate) fn shard_bytes(
    batches: &[RecordBatch],
    compression: Option<CompressionType>,
) -> Vec<u8> {
    let options = IpcWriteOptions::try_new(64, false, arrow_ipc::MetadataVersion::V5).unwrap();
    let options = options.try_with_compression(compression).unwrap();
    let schema: Arc<ArrowSchema> = batches[0].schema();
    let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Writes a dataset of one split `train` whose shards hold `shards`: bytes and rows.
pub(crate) fn write(folder: &Path, schema: Schema, shards: &[(Vec<u8>, u64)]) {
    fs::create_dir_all(folder.join("train")).unwrap();
    let manifests = shards.iter().enumerate().map(|(number, (bytes, rows))| {
        let file = format!("train/{number:05}.arrow");
        fs::write(folder.join(&file), bytes).unwrap();
        let xxh3 = format!("{:016x}", xxh3_64(bytes));
        ShardManifest { file, rows: *rows, bytes: bytes.len() as u64, xxh3 }
    });
    let shards: Vec<_> = manifests.collect();
    let rows = shards.iter().map(|shard| shard.rows).sum();
    let manifest = Manifest {
        format: FORMAT_NAME.into(),
        version: FORMAT_VERSION,
        schema,
        ids: std::collections::BTreeMap::default(),
        splits: vec![SplitManifest { name: "train".into(), rows, shards }],
        written_by: "a test".into(),
    };
    let text = serde_json::to_vec_pretty(&manifest).unwrap();
    fs::write(folder.join(MANIFEST_FILE), text).unwrap();
}

/// A folder with a dataset of `rows` rows in shards of `shard_rows`, each of two record batches.
pub(crate) fn folder(rows: u64, shard_rows: u64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let starts = (0..rows).step_by(shard_rows as usize);
    let shards = starts.map(|start| {
        let end = (start + shard_rows).min(rows);
        let middle = start + (end - start).div_ceil(2);
        let batches = [record_batch(start..middle), record_batch(middle..end)];
        (shard_bytes(&batches, None), end - start)
    });
    write(folder.path(), schema(), &shards.collect::<Vec<_>>());
    folder
}

/// A dataset of one shard with these bytes.
pub(crate) fn single(bytes: Vec<u8>, rows: u64) -> (TempDir, Result<Dataset, DataError>) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), schema(), &[(bytes, rows)]);
    let dataset = Dataset::open(folder.path());
    (folder, dataset)
}
