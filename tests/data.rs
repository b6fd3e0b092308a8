//! Datasets from the command line, and what the Python side sees of them.

use std::process::Command;

use crate::harness::{Dir, real_data, root};

#[test]
fn synthetic_log_passes_verification() {
    let dir = Dir::new();
    dir.synth("log", 3_000);
    dir.rectool(&["data", "verify", "log"]).expect_success();
    let shown = dir.rectool(&["data", "inspect", "log"]).expect_success();
    assert!(shown.stdout.contains("train"), "{}", shown.stdout);
    let head = dir.rectool(&["data", "head", "log", "--rows", "2"]).expect_success();
    assert!(!head.stdout.is_empty());
}

#[test]
fn importing_the_tsv_gives_the_same_shards() {
    let dir = Dir::new();
    let synth = ["data", "synth", "criteo", "--rows", "2000", "--seed", "3", "--out", "direct"];
    dir.rectool(&[&synth[..], &["--tsv", "log.tsv"]].concat()).expect_success();
    dir.rectool(&["data", "import", "criteo", "log.tsv", "--out", "imported"]).expect_success();
    let manifest = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    assert_eq!(manifest("direct/dataset.json"), manifest("imported/dataset.json"));
}

#[test]
fn damaged_shard_is_named() {
    let dir = Dir::new();
    let log = dir.synth("log", 2_000);
    let shard = log.join("train/00000.arrow");
    let mut bytes = std::fs::read(&shard).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let expected = ["train/00000.arrow", "hint:"];
    dir.rectool(&["data", "verify", "log"]).expect_code(1).expect_stderr(&expected[..1]);
    let script = Dir::script("dlrm.rhai");
    let run = ["run", &script, "--set", "data=log", "--set", "batch_size=100"];
    dir.rectool(&run).expect_code(1).expect_stderr(&expected);
}

#[test]
fn bad_rows_are_counted_and_shown() {
    let dir = Dir::new();
    let synth = ["data", "synth", "criteo", "--rows", "1000", "--seed", "3", "--out", "direct"];
    dir.rectool(&[&synth[..], &["--tsv", "log.tsv"]].concat()).expect_success();
    let text = std::fs::read_to_string(dir.join("log.tsv")).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    lines[4] = "7\tnot\ta\trow";
    dir.write("bad.tsv", &(lines.join("\n") + "\n"));
    let import = ["data", "import", "criteo", "bad.tsv", "--out", "out"];
    dir.rectool(&import).expect_success();
    let rejects = std::fs::read_to_string(dir.join("out/rejects.tsv")).unwrap();
    assert!(rejects.lines().any(|line| line.contains("bad.tsv\t5\t")), "{rejects}");
    let strict = ["data", "import", "criteo", "bad.tsv", "--out", "strict", "--max-bad", "0"];
    dir.rectool(&strict).expect_code(1).expect_stderr(&["bad.tsv"]);
    assert!(!dir.join("strict").exists());
}

#[test]
fn texts_and_lists_are_imported_and_shown() {
    let dir = Dir::new();
    let rows = "click,item,title,prices,tags\n\
        1,7,\"a\ttab, \u{fc}\",1.5|2,x|y z\n\
        0,8,,,\n";
    dir.write("rows.csv", rows);
    let import = ["data", "import", "csv", "--split", "train=rows.csv", "--out", "out"];
    let columns = ["--label", "click", "--plain-ids", "item", "--text", "title"];
    let lists = ["--float-lists", "prices", "--text-lists", "tags"];
    dir.rectool(&[&import[..], &columns[..], &lists[..]].concat()).expect_success();
    let shown = dir.rectool(&["data", "inspect", "out"]).expect_success().stdout;
    let lines: Vec<Vec<&str>> =
        shown.lines().map(|line| line.split_whitespace().collect()).collect();
    for line in [
        &["title", "text"][..],
        &["prices", "f32", "list"],
        &["tags", "text", "list"],
        &["item", "7", "8", "0"],
    ] {
        assert!(lines.iter().any(|found| found == line), "{line:?} in {shown}");
    }
    let head = dir.rectool(&["data", "head", "out"]).expect_success().stdout;
    let wanted = "label\titem\ttitle\tprices\ttags\n\
        1\t7\ta\\ttab, \u{fc}\t1.5|2\tx|y z\n\
        0\t8\t\t\t\n";
    assert_eq!(head, wanted);
    dir.rectool(&["data", "verify", "out"]).expect_success();
}

#[test]
fn real_criteo_sample_is_imported_whole() {
    let Some(data) = real_data("criteo-10k") else { return };
    let dir = Dir::new();
    let file = data.join("criteo_10k.tsv.gz");
    let arguments = ["data", "import", "criteo", file.to_str().unwrap(), "--out", "criteo"];
    dir.rectool(&arguments).expect_success();
    let text = std::fs::read_to_string(dir.join("criteo/dataset.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let rows: Vec<u64> = manifest["splits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|split| split["rows"].as_u64().unwrap())
        .collect();
    assert_eq!(rows, [8_000, 1_000, 1_000]);
}

#[test]
fn published_splits_are_imported_whole() {
    let dir = Dir::new();
    let import = |name: &str, arguments: &[&str]| {
        let all = [&["data", "import"], arguments, &["--out", name]].concat();
        let shown = dir.rectool(&all).expect_success().stdout;
        rows_of(&dir, name, &shown)
    };
    if let Some(data) = real_data("ml-1m-ncf") {
        let found = import("ncf", &["ncf", data.to_str().unwrap()]);
        assert_eq!(found, [("train".into(), 994_169), ("test".into(), 6_040)]);
    }
    if let Some(data) = real_data("ncf-lastfm") {
        let found = import("lastfm", &["ncf", data.to_str().unwrap()]);
        assert_eq!(found, [("train".into(), 67_408), ("test".into(), 1_741)]);
    }
    if let Some(data) = real_data("ml-1m-lcfn") {
        let file = |name: &str| format!("{name}={}/{name}.txt.gz", data.display());
        let splits = ["--split", &file("train"), "--split", &file("test")];
        let found = import("lcfn", &[&["lists"], &splits[..]].concat());
        assert_eq!(found, [("train".into(), 796_244), ("test".into(), 99_455)]);
    }
    if let Some(data) = real_data("amazon-beauty-seq") {
        let file = data.join("sequences.txt.gz");
        let found = import("beauty", &["lists", "--ordered", file.to_str().unwrap()]);
        assert_eq!(found, [("train".into(), 198_502)]);
    }
}

/// Names and rows of a dataset's splits; an import that refused rows says so in `shown`.
fn rows_of(dir: &Dir, name: &str, shown: &str) -> Vec<(String, u64)> {
    assert!(!shown.contains("refused"), "{shown}");
    let text = std::fs::read_to_string(dir.join(name).join("dataset.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let splits = manifest["splits"].as_array().unwrap().iter();
    let of = |split: &serde_json::Value| {
        (split["name"].as_str().unwrap().to_owned(), split["rows"].as_u64().unwrap())
    };
    splits.map(of).collect()
}

#[test]
fn movielens_files_become_ratings_and_side_tables() {
    let dir = Dir::new();
    dir.write("ratings.dat", "1::1193::5::978300760\n2::1193::3::978302109\n");
    std::fs::write(dir.join("movies.dat"), b"1193::Mis\xe9rables, Les (1995)::Drama|Musical\n")
        .unwrap();
    let csv = ["data", "import", "csv", "--delimiter", "::", "--fractions", "1"];
    let ratings = ["ratings.dat", "--names", "user,item,rating,time", "--out", "ratings"];
    let columns = ["--plain-ids", "user,item,time", "--plain-floats", "rating"];
    dir.rectool(&[&csv[..], &ratings[..], &columns[..]].concat()).expect_success();
    let head = dir.rectool(&["data", "head", "ratings"]).expect_success().stdout;
    assert!(head.contains("5\t1\t1193\t978300760"), "{head}");
    let movies = ["movies.dat", "--names", "item,title,genres", "--out", "movies"];
    let columns = ["--plain-ids", "item", "--texts", "title", "--text-lists", "genres"];
    let latin1 = ["--encoding", "latin1"];
    dir.rectool(&[&csv[..], &movies[..], &columns[..], &latin1[..]].concat()).expect_success();
    let head = dir.rectool(&["data", "head", "movies"]).expect_success().stdout;
    assert!(head.contains("1193\tMis\u{e9}rables, Les (1995)\tDrama|Musical"), "{head}");
}

#[test]
fn interactions_are_split_and_get_histories() {
    let dir = Dir::new();
    dir.write("lists.txt", "1 10 11 12 13\n2 20 21\n3 10 30 31\n");
    dir.rectool(&["data", "import", "lists", "lists.txt", "--ordered", "--out", "all"])
        .expect_success();
    let by = ["data", "split", "all", "--by", "leave-one-out", "--time", "time"];
    let history = ["--history", "seen", "--length", "2", "--out", "loo"];
    let shown = dir.rectool(&[&by[..], &history[..]].concat()).expect_success().stdout;
    assert_eq!(
        rows_of(&dir, "loo", &shown),
        [("train".into(), 5), ("valid".into(), 2), ("test".into(), 2)]
    );
    for told in ["1 user with too few rows stay whole in train", "test: 2 of 2 test items have no"]
    {
        assert!(shown.contains(told), "{shown}");
    }
    let head = |name: &str, split: &str| {
        dir.rectool(&["data", "head", name, "--split", split]).expect_success().stdout
    };
    assert_eq!(head("loo", "test"), "user\titem\ttime\tseen\n1\t13\t3\t11|12\n3\t31\t2\t10|30\n");
    assert_eq!(head("loo", "valid"), "user\titem\ttime\tseen\n1\t12\t2\t10|11\n3\t30\t1\t10\n");

    // Splits that are there stay.
    let keep = ["data", "split", "loo", "--by", "keep", "--out", "kept"];
    dir.rectool(&keep).expect_code(2).expect_stderr(&["--history"]);
    dir.rectool(&[&keep[..], &["--history", "before"]].concat()).expect_success();
    assert!(head("kept", "test").ends_with("11|12\t10|11|12\n3\t31\t2\t10|30\t10|30\n"));
    let taken = ["data", "split", "loo", "--by", "random", "--out", "again"];
    dir.rectool(&taken).expect_code(2).expect_stderr(&["`into`"]);
    dir.rectool(&[&taken[..], &["--into", "tune", "--fraction", "0.4"]].concat()).expect_success();
}

#[test]
fn leaks_are_told_and_refused() {
    let dir = Dir::new();
    dir.write("lists.txt", "1 10 11 10\n2 20 21 22\n");
    dir.rectool(&["data", "import", "lists", "lists.txt", "--ordered", "--out", "all"])
        .expect_success();
    let split = ["data", "split", "all", "--by", "leave-one-out", "--into", "test", "--out", "loo"];
    let strict = [&split[..], &["--strict"]].concat();
    let told = "1 of 2 test pairs are in the training split too";
    dir.rectool(&strict).expect_code(2).expect_stderr(&[told, "hint:"]);
    assert!(!dir.join("loo").exists());
    let shown = dir.rectool(&split).expect_success().stdout;
    assert!(shown.contains(&format!("  test: {told}")), "{shown}");
    let by_time = ["data", "split", "all", "--by", "time", "--time", "time", "--strict"];
    let into = ["--into", "test", "--fraction", "0.3", "--out", "by-time"];
    dir.rectool(&[&by_time[..], &into[..]].concat()).expect_code(2).expect_stderr(&["leaks"]);
}

/// The Python of the test environment that `make test` sets up, or `None` with a printed reason.
pub(crate) fn python() -> Option<Command> {
    let python = root().join(".venv/bin/python");
    if !python.exists() {
        println!("skipped: {} is not there; `make test` makes it", python.display());
        return None;
    }
    Some(Command::new(python))
}
