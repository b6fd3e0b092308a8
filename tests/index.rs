//! `rectool index`: from files to results, changes, bad input, ranks.

use std::path::Path;
use std::sync::Arc;

use arrow_array::types::Float32Type;
use arrow_array::{
    ArrayRef, FixedSizeListArray, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow_ipc::writer::FileWriter;
use rectool::base::Stream;

use crate::harness::{Dir, Ran};

const DIM: usize = 8;
const GENRES: [&str; 3] = ["comedy", "drama", "horror"];

/// Vectors [N, D] that cluster, so that a tree has something to find.
pub(crate) fn vectors(rows: usize, seed: u64) -> Vec<f32> {
    let mut draw = Stream::new(seed, &[]);
    let mut centers = Stream::new(7, &[]);
    let centers: Vec<f32> = (0..20 * DIM).map(|_| centers.next_normal()).collect();
    let center = |row: usize| &centers[row % 20 * DIM..][..DIM];
    (0..rows)
        .flat_map(|row| {
            center(row).iter().map(|c| c + 0.5 * draw.next_normal()).collect::<Vec<_>>()
        })
        .collect()
}

pub(crate) fn write_npy(path: &Path, dim: usize, values: &[f32]) {
    let rows = values.len() / dim;
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
    let text = format!("{text:<117}\n");
    let length = (text.len() as u16).to_le_bytes();
    let values: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let bytes = [&b"\x93NUMPY\x01\x00"[..], &length, text.as_bytes(), &values].concat();
    std::fs::write(path, bytes).unwrap();
}

/// Items with ids 1000, 1001, … of genres in turn and years from 1980 on.
fn write_arrow(path: &Path, values: &[f32]) {
    let rows = values.len() / DIM;
    let lists = values
        .chunks(DIM)
        .map(|row| Some(row.iter().map(|value| Some(*value)).collect::<Vec<_>>()));
    let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(lists, DIM as i32);
    let genre: Vec<&str> = (0..rows).map(|row| GENRES[row % 3]).collect();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new((0..rows as u64).map(|row| row + 1000).collect::<UInt64Array>())),
        ("vector", Arc::new(vectors)),
        ("genre", Arc::new(StringArray::from(genre))),
        ("year", Arc::new((0..rows as i64).map(|row| 1980 + row % 40).collect::<Int64Array>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = FileWriter::try_new(file, &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
}

/// Ids by query from `query --json`.
pub(crate) fn found(ran: &Ran) -> Vec<Vec<u64>> {
    let hits = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let hits = line["hits"].as_array().unwrap().iter();
        hits.map(|hit| hit["id"].as_u64().unwrap()).collect()
    };
    ran.stdout.lines().map(hits).collect()
}

fn query(dir: &Dir, index: &str, more: &[&str]) -> Vec<Vec<u64>> {
    let arguments = ["index", "query", index, "--queries", "queries.npy", "--json"];
    found(&dir.rectool(&[&arguments[..], more].concat()).expect_success())
}

/// The exact results among the rows that `keep` lets through.
fn brute_force(base: &[f32], queries: &[f32], keep: impl Fn(usize) -> bool) -> Vec<Vec<u64>> {
    let best = |query: &[f32]| {
        let score = |row: usize| {
            let row = &base[row * DIM..][..DIM];
            row.iter().zip(query).map(|(a, b)| f64::from(a * b)).sum::<f64>()
        };
        let mut rows: Vec<usize> = (0..base.len() / DIM).filter(|row| keep(*row)).collect();
        rows.sort_by(|a, b| score(*b).total_cmp(&score(*a)));
        rows.into_iter().take(10).map(|row| row as u64 + 1000).collect()
    };
    queries.chunks(DIM).map(best).collect()
}

/// A folder with items and queries.
fn items(rows: usize) -> (Dir, Vec<f32>, Vec<f32>) {
    let dir = Dir::new();
    let (base, queries) = (vectors(rows, 1), vectors(20, 2));
    write_arrow(&dir.join("items.arrow"), &base);
    write_npy(&dir.join("queries.npy"), DIM, &queries);
    (dir, base, queries)
}

const BUILD: [&str; 5] = ["index", "build", "items.arrow", "--filter-columns", "genre,year"];

fn build(dir: &Dir, more: &[&str]) -> Ran {
    dir.rectool(&[&BUILD[..], more].concat()).expect_success()
}

#[test]
fn a_built_index_finds_what_brute_force_finds() {
    let (dir, base, queries) = items(1500);
    build(&dir, &["--out", "flat"]);
    assert_eq!(query(&dir, "flat", &[]), brute_force(&base, &queries, |_| true));
    let filter = "genre in [\"comedy\"] and year >= 1990";
    let keep = |row: usize| row.is_multiple_of(3) && row % 40 >= 10;
    let filtered = query(&dir, "flat", &["--filter", filter]);
    assert_eq!(filtered, brute_force(&base, &queries, keep));
    let crowded = query(&dir, "flat", &["--crowding", "genre=2"]);
    for ids in crowded {
        assert_eq!(ids.len(), 6);
        for genre in 0..3 {
            assert_eq!(ids.iter().filter(|id| (*id - 1000) % 3 == genre).count(), 2);
        }
    }
    let built = build(&dir, &["--out", "tree", "--kind", "ivf", "--leaves", "30"]);
    assert!(built.stdout.contains("ivf, 30 leaves"), "{}", built.stdout);
    let exact = brute_force(&base, &queries, |_| true);
    assert_eq!(query(&dir, "tree", &["--exact"]), exact);
    let found = query(&dir, "tree", &["--recall", "0.99"]);
    let hits = hits(&found, &exact);
    assert!(hits >= 190, "{hits} of 200");
    let out = ["index", "query", "tree", "--queries", "queries.npy", "--out", "hits.arrow"];
    let ran = dir.rectool(&out).expect_success();
    assert!(ran.stdout.contains("200 results of 20 queries"), "{}", ran.stdout);
    let read = rectool::data::is_table(&dir.join("hits.arrow")).unwrap();
    assert!(read);
    let again = build(&dir, &["--out", "tree", "--overwrite", "--json"]);
    let built: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!((&built["vectors"], &built["parts"][0]["kind"]), (&1500.into(), &"flat".into()));
}

/// How many of the exact results were found, over all queries.
fn hits(found: &[Vec<u64>], exact: &[Vec<u64>]) -> usize {
    let of = |(found, exact): (&Vec<u64>, &Vec<u64>)| {
        found.iter().filter(|id| exact.contains(id)).count()
    };
    found.iter().zip(exact).map(of).sum()
}

#[test]
fn changes_are_seen_verified_measured_and_tuned() {
    let (dir, base, queries) = items(1500);
    build(&dir, &["--out", "tree", "--kind", "ivf"]);
    let best = brute_force(&base, &queries, |_| true)[0][0];
    let ran =
        dir.rectool(&["index", "delete", "tree", "--ids", &best.to_string()]).expect_success();
    assert!(ran.stdout.contains("acknowledged 1\n1,499 vectors"), "{}", ran.stdout);
    let alike: Vec<String> =
        queries[..DIM].iter().map(|value| (value * 100.0).to_string()).collect();
    let line = format!(
        "{{\"id\": 5, \"vector\": [{}], \"attributes\": {{\"genre\": \"new\"}}}}\n\n",
        alike.join(",")
    );
    dir.write("more.jsonl", &line);
    dir.rectool(&["index", "upsert", "tree", "more.jsonl"]).expect_success();
    let ids = query(&dir, "tree", &["--recall", "0.99"]);
    assert_eq!(ids[0][0], 5);
    assert!(!ids[0].contains(&best));
    assert_eq!(query(&dir, "tree", &["--filter", "genre=new"])[0], [5]);
    let ran =
        dir.rectool(&["index", "upsert", "tree", "items.arrow", "--batch", "600"]).expect_success();
    let expected =
        "acknowledged 600\nacknowledged 1200\nacknowledged 1500\n1,501 vectors, 1 part built again";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    let ran = dir.rectool(&["index", "verify", "tree"]).expect_success();
    assert!(ran.stdout.starts_with("ok: 1 part of tree, 1,501 vectors"), "{}", ran.stdout);
    let ran = dir.rectool(&["index", "info", "tree"]).expect_success();
    for part in ["1,501 of width 8, inner_product", "part-00000-000001.ann", "aim at recall 0.95"] {
        assert!(ran.stdout.contains(part), "`{part}` is not in\n{}", ran.stdout);
    }
    let tune = ["index", "tune", "tree", "--queries", "queries.npy", "--json"];
    let curve: serde_json::Value =
        serde_json::from_str(&dir.rectool(&tune).expect_success().stdout).unwrap();
    assert!(!curve.as_array().unwrap().is_empty());
    let bench = ["index", "bench", "tree", "--queries", "queries.npy", "--seconds", "0.02"];
    for (out, start) in [("curve.html", "<!doctype html>"), ("curve.svg", "<svg")] {
        let ran = dir.rectool(&[&bench[..], &["--out", out]].concat()).expect_success();
        assert!(ran.stdout.contains("recall") && ran.stdout.lines().count() > 1, "{}", ran.stdout);
        assert!(std::fs::read_to_string(dir.join(out)).unwrap().starts_with(start));
    }
}

#[test]
fn a_graph_is_built_searched_changed_and_tuned() {
    let (dir, base, queries) = items(4000);
    let ran = build(&dir, &["--out", "graph", "--kind", "graph", "--degree", "16"]);
    assert!(ran.stdout.contains("graph, 16 leaves"), "{}", ran.stdout);
    let exact = brute_force(&base, &queries, |_| true);
    assert_eq!(query(&dir, "graph", &["--exact"]), exact);
    let found = query(&dir, "graph", &["--recall", "0.9"]);
    let hits = hits(&found, &exact);
    assert!(hits >= 170, "{hits} of 200");
    let gone = exact[0][0].to_string();
    dir.rectool(&["index", "delete", "graph", "--ids", &gone]).expect_success();
    assert!(!query(&dir, "graph", &["--recall", "0.9"])[0].contains(&exact[0][0]));
    dir.rectool(&["index", "verify", "graph"]).expect_success();
    let tune = ["index", "tune", "graph", "--queries", "queries.npy"];
    let tuned = dir.rectool(&tune).expect_success().stdout;
    let info = dir.rectool(&["index", "info", "graph"]).expect_success().stdout;
    for text in [&tuned, &info] {
        assert!(text.contains("from 16 leaves, beam "), "{text}");
    }
    let bench = ["index", "bench", "graph", "--queries", "queries.npy", "--seconds", "0.02"];
    let ran = dir.rectool(&bench).expect_success();
    assert!(ran.stdout.lines().count() > 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("starts       beam"), "{}", ran.stdout);
    let ran = dir.rectool(&[&bench[..], &["--out", "curve.png"]].concat());
    ran.expect_code(2).expect_stderr(&["curve.png", ".html or .svg"]);
}

#[test]
fn bad_input_is_named() {
    let (dir, base, _) = items(100);
    build(&dir, &["--out", "flat"]);
    let mut wrong = base[..80].to_vec();
    wrong[11] = f32::NAN;
    write_npy(&dir.join("nan.npy"), DIM, &wrong);
    write_npy(&dir.join("narrow.npy"), 4, &base[..80]);
    dir.write("text.npy", "not vectors at all");
    dir.write("bad.jsonl", "{\"id\": 1, \"vector\": [1,1,1,1,1,1,1,1]}\n{\"id\": 2}\n");
    dir.write("short.jsonl", "{\"id\": 1, \"vector\": [1]}\n");
    let asked = "1,1,1,1,1,1,1,1";
    let commands: [(&[&str], i32, &[&str]); 16] = [
        (&["build", "items.arrow", "--out", "flat"], 2, &["`flat` already exists", "--overwrite"]),
        (
            &["build", "items.arrow", "--vector-column", "vektor", "--out", "x"],
            2,
            &["no column `vektor`", "did you mean `vector`"],
        ),
        (
            &["build", "items.arrow", "--filter-columns", "color", "--out", "x"],
            2,
            &["no column `color`", "`genre`"],
        ),
        (
            &["build", "nan.npy", "--out", "x"],
            1,
            &["vector 1 holds a value that is not finite", "hint:"],
        ),
        (
            &["build", "items.arrow", "narrow.npy", "--row-ids", "--out", "x"],
            1,
            &["narrow.npy", "width", "expected 8, found 4"],
        ),
        (&["build", "text.npy", "--out", "x"], 1, &["text.npy"]),
        (
            &["build", "items.arrow", "--recall-target", "2", "--out", "x"],
            2,
            &["`recall_target` is 2"],
        ),
        (&["query", "flat", "--vector", asked, "--k", "0"], 2, &["`k` is 0", "expected 1"]),
        (&["query", "flat", "--vector", "1,2"], 1, &["found 2", "expected 8"]),
        (&["query", "flat", "--queries", "narrow.npy"], 2, &["width 4, expected 8"]),
        (
            &["query", "flat", "--vector", asked, "--filter", "genr=comedy"],
            2,
            &["no vector has the namespace `genr`", "did you mean `genre`"],
        ),
        (
            &["query", "flat", "--vector", asked, "--filter", "genre"],
            2,
            &["filter `genre`, character 6"],
        ),
        (&["query", "items.arrow", "--vector", asked], 1, &["items.arrow/index.json"]),
        (&["info", "nowhere"], 1, &["nowhere/index.json", "hint: an index is a folder"]),
        (&["upsert", "flat", "bad.jsonl"], 1, &["line 2: expected", "missing field `vector`"]),
        (&["upsert", "flat", "short.jsonl"], 1, &["values of a vector", "found 1, expected 8"]),
    ];
    for (command, code, parts) in commands {
        dir.rectool(&[&["index"], command].concat()).expect_code(code).expect_stderr(parts);
        assert!(!dir.join("x").exists() && !dir.join(".x.building").exists());
    }
    // What came before the bad line is in, and was acknowledged.
    let stats = dir.rectool(&["index", "verify", "flat"]).expect_success().stdout;
    assert!(stats.contains("101 vectors"), "{stats}");
}

#[test]
fn damaged_indexes_are_refused() {
    let (dir, _, _) = items(400);
    build(&dir, &["--out", "tree", "--kind", "ivf"]);
    let part = dir.join("tree/part-00000-000000.ann");
    let whole = std::fs::read(&part).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&part, &bytes).unwrap();
    let ran = dir.rectool(&["index", "verify", "tree"]).expect_code(1);
    ran.expect_stderr(&["part-00000-000000.ann", "checksum", "expected", "hint:"]);
    let asked = "1,1,1,1,1,1,1,1";
    std::fs::write(&part, &whole[..middle]).unwrap();
    for command in
        [&["info", "tree"][..], &["query", "tree", "--vector", asked], &["verify", "tree"]]
    {
        let ran = dir.rectool(&[&["index"], command].concat()).expect_code(1);
        ran.expect_stderr(&["part-00000-000000.ann", "bytes", "expected"]);
    }
    std::fs::write(&part, b"something else").unwrap();
    dir.rectool(&["index", "info", "tree"]).expect_code(1).expect_stderr(&["part-00000", "hint:"]);
    std::fs::remove_file(&part).unwrap();
    dir.rectool(&["index", "info", "tree"])
        .expect_code(1)
        .expect_stderr(&["cannot open", "part-00000"]);
    // It can be replaced all the same; a folder that is none cannot.
    build(&dir, &["--out", "tree", "--overwrite"]);
    dir.write("folder/file", "");
    let ran = dir.rectool(&[&BUILD[..], &["--out", "folder", "--overwrite"]].concat());
    ran.expect_code(2).expect_stderr(&["`folder` already exists"]);
}

#[test]
fn ranks_build_the_same_index() {
    let (dir, base, queries) = items(1500);
    let tree = ["--kind", "ivf", "--parts", "2", "--threads", "1"];
    build(&dir, &[&tree[..], &["--out", "one"]].concat());
    let both = [&BUILD[..], &tree, &["--out", "two"]].concat();
    let Some(ran) = dir.mpirun(2, &both) else { return };
    assert!(ran.expect_success().stdout.contains("1,500 vectors in 2 parts"));
    for part in ["part-00000-000000.ann", "part-00001-000000.ann"] {
        let bytes = |index: &str| std::fs::read(dir.join(index).join(part)).unwrap();
        assert!(bytes("one") == bytes("two"), "{part} differs");
    }
    assert_eq!(query(&dir, "two", &["--exact"]), brute_force(&base, &queries, |_| true));
    let filtered = query(&dir, "two", &["--exact", "--filter", "genre=drama"]);
    assert_eq!(filtered, brute_force(&base, &queries, |row| row % 3 == 1));
    let wrong = [&BUILD[..], &["--vector-column", "none", "--out", "x"]].concat();
    let ran = dir.mpirun(2, &wrong).unwrap();
    assert_ne!(ran.code, Some(0));
    let ran = ran.expect_stderr(&["no column `none`"]);
    assert_eq!(ran.stderr.matches("no column `none`").count(), 1, "{}", ran.stderr);
}
