//! What all importers promise, on the real formats.

mod csv_rows;
mod limits;
mod pair_rows;
mod parquet_rows;

use std::fs;
use std::io::Write;
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_ipc::reader::FileReader;
use rectool_base::{Column, Jagged, Texts};
use tempfile::TempDir;

use super::*;
use crate::{DataError, Dataset, Manifest};

/// A folder with input files, and where the dataset goes.
struct Fixture {
    folder: TempDir,
    out: PathBuf,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("data");
        Self { folder, out }
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    fn manifest(&self) -> Manifest {
        let text = fs::read_to_string(self.out.join("dataset.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    fn rejects(&self) -> Vec<String> {
        lines(&self.out.join("rejects.tsv"))
    }

    /// The rows of a split as one batch per shard.
    fn batches(&self, split: &str) -> Vec<RecordBatch> {
        let manifest = self.manifest();
        let split = manifest.splits.iter().find(|other| other.name == split).unwrap();
        let read = |file: &String| {
            let file = fs::File::open(self.out.join(file)).unwrap();
            FileReader::try_new(file, None).unwrap().next().unwrap().unwrap()
        };
        split.shards.iter().map(|shard| read(&shard.file)).collect()
    }

    fn floats(&self, split: &str, column: &str) -> Vec<f32> {
        self.each(split, column, |array| array.as_primitive::<Float32Type>().values().to_vec())
    }

    fn ids(&self, split: &str, column: &str) -> Vec<i64> {
        self.each(split, column, |array| array.as_primitive::<Int64Type>().values().to_vec())
    }

    fn lists(&self, split: &str, column: &str) -> Vec<Vec<i64>> {
        let mut rows = Vec::new();
        for batch in self.batches(split) {
            let lists = batch.column_by_name(column).unwrap().as_list::<i32>().clone();
            let values =
                |row: arrow_array::ArrayRef| row.as_primitive::<Int64Type>().values().to_vec();
            rows.extend(lists.iter().map(|row| values(row.unwrap())));
        }
        rows
    }

    /// All columns of a split, as training reads them.
    fn read(&self, split: &str) -> Vec<Column> {
        let split = Dataset::open(&self.out).unwrap().split(split).unwrap();
        let columns: Vec<usize> = (0..split.schema().columns().len()).collect();
        let rows: Vec<u64> = (0..split.rows()).collect();
        split.gather(&rows, &columns).unwrap()
    }

    fn each<T>(
        &self,
        split: &str,
        column: &str,
        values: impl Fn(arrow_array::ArrayRef) -> Vec<T>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for batch in self.batches(split) {
            let array = batch.column_by_name(column).unwrap().clone();
            let array =
                array.as_fixed_size_list_opt().map_or(array.clone(), |a| a.values().clone());
            all.extend(values(array));
        }
        all
    }
}

fn lines(path: &Path) -> Vec<String> {
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn quiet(_: Progress) {}

fn all_train(files: Vec<PathBuf>) -> SplitRule {
    SplitRule::Files(vec![("train".into(), files)])
}

fn fractions(file: PathBuf) -> SplitRule {
    let fractions = [("train", 0.8), ("valid", 0.1), ("test", 0.1)];
    let fractions = fractions.map(|(name, fraction)| (name.to_owned(), fraction)).to_vec();
    SplitRule::Fractions { files: vec![file], fractions }
}

/// Row `row` of a Criteo log; the label is its parity, I1 its number.
fn criteo_line(row: usize) -> String {
    let mut fields = vec![(row % 2).to_string(), row.to_string()];
    fields.extend((2..=13).map(|at| (row + at).to_string()));
    fields.extend((1..=26).map(|at| format!("{:08x}", row * at)));
    // I4 and C22 are missing.
    fields[4].clear();
    fields[13 + 22].clear();
    fields.join("\t")
}

fn criteo_text(rows: usize, line_end: &str) -> String {
    (0..rows).map(|row| criteo_line(row) + line_end).collect()
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn import_chunked(rule: &SplitRule, out: &Path, chunk_bytes: usize) -> ImportSummary {
    let options = ImportOptions::default();
    let mut text = text::TextImport::new(rule, out, &options, &quiet);
    text.chunk_bytes = chunk_bytes;
    text.run(&criteo::Criteo::new()).unwrap()
}

#[test]
fn criteo_rows_come_back() {
    let fixture = Fixture::new();
    let rule = fractions(fixture.file("log.tsv", criteo_text(20, "\n")));
    let summary = criteo(&rule, &fixture.out, &ImportOptions::default(), &quiet).unwrap();
    let splits = [("train".to_owned(), 16), ("valid".to_owned(), 2), ("test".to_owned(), 2)];
    assert_eq!(summary.splits, splits);
    assert_eq!(fixture.floats("valid", "label"), [0.0, 1.0]);
    let dense = fixture.floats("test", "dense");
    assert_eq!((dense[0], dense[13], dense[1]), (18.0, 19.0, 20.0));
    assert!(dense[3].is_nan(), "I4 is empty");
    let ids = fixture.ids("test", "ids");
    assert_eq!((ids[0], ids[1], ids[21], ids[26]), (18, 36, -1, 19));
    assert_eq!(fixture.manifest().ids["ids"].missing[21], 20);
    assert!(!fixture.out.join("rejects.tsv").exists());
}

#[test]
fn line_ends_compression_and_chunks_make_no_difference() {
    let text = criteo_text(57, "\n");
    let (first, last) = text.split_at(text.len() / 2);
    let two_members = [gzip(first), gzip(last)].concat();
    let variants: [(&str, Vec<u8>); 6] = [
        ("plain", text.clone().into_bytes()),
        ("without last line end", text.trim_end().into()),
        ("crlf", criteo_text(57, "\r\n").into_bytes()),
        ("blank lines and a mark", format!("\u{feff}\n{text}\n\r\n").into_bytes()),
        ("gzip", two_members),
        ("zstd", zstd::encode_all(text.as_bytes(), 1).unwrap()),
    ];
    let mut expected = None;
    for (name, bytes) in variants {
        for chunk_bytes in [1, 100, 333, 1 << 20] {
            let fixture = Fixture::new();
            let rule = fractions(fixture.file("log", &bytes));
            import_chunked(&rule, &fixture.out, chunk_bytes);
            let manifest = fixture.manifest();
            assert_eq!(manifest.rows(), 57, "{name}, {chunk_bytes}");
            let first = expected.get_or_insert_with(|| manifest.clone());
            assert_eq!(&manifest, first, "{name}, chunks of {chunk_bytes} bytes");
        }
    }
}

#[test]
fn the_number_of_threads_makes_no_difference() {
    let fixture = Fixture::new();
    let rule = fractions(fixture.file("log.tsv", criteo_text(500, "\n")));
    let manifests = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let writer = WriterOptions { shard_rows: 64, overwrite: true, ..Default::default() };
        let options = ImportOptions { writer, ..Default::default() };
        let mut text = text::TextImport::new(&rule, &fixture.out, &options, &quiet);
        text.chunk_bytes = 1_000;
        pool.install(|| text.run(&criteo::Criteo::new())).unwrap();
        fixture.manifest()
    });
    assert_eq!(manifests[0], manifests[1]);
    assert_eq!(manifests[0].splits[0].shards.len(), 7);
}

#[test]
fn several_files_follow_one_another() {
    let fixture = Fixture::new();
    let a = fixture.file("a.tsv", criteo_text(3, "\n").trim_end());
    let b = fixture.file("b.tsv.gz", gzip(&criteo_text(2, "\n")));
    let rule = SplitRule::Files(vec![
        ("train".into(), vec![a.clone(), b.clone()]),
        ("test".into(), vec![a]),
    ]);
    let progress = std::sync::Mutex::new(Progress::default());
    let note = |now: Progress| *progress.lock().unwrap() = now;
    criteo(&rule, &fixture.out, &ImportOptions::default(), &note).unwrap();
    let dense = fixture.floats("train", "dense");
    let rows: Vec<f32> = dense.chunks(13).map(|row| row[0]).collect();
    assert_eq!(rows, [0.0, 1.0, 2.0, 0.0, 1.0]);
    let progress = *progress.lock().unwrap();
    assert_eq!((progress.rows, progress.bad), (8, 0));
    assert_eq!(progress.bytes_read, progress.bytes_total);
}
