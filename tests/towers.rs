//! Two towers: a recipe, its ranks, and what is made of its checkpoint.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type, UInt32Type};
use arrow_ipc::reader::FileReader;

use crate::harness::Dir;
use crate::index::found as index_found;

/// Forty users take items that are near them; nobody takes one twice.
fn interactions(dir: &Dir) {
    let line = |user: usize, from: usize, count: usize| {
        let items = (from..from + count).map(|step| ((user * 3 + step * 7 % 24) % 60).to_string());
        format!("{user} {}\n", items.collect::<Vec<_>>().join(" "))
    };
    let lines = |from, count| (0..40).map(|user| line(user, from, count)).collect::<String>();
    dir.write("train.txt", &lines(0, 16));
    dir.write("valid.txt", &lines(16, 2));
    dir.write("test.txt", &lines(18, 4));
    let splits = ["--split", "train=train.txt", "--split", "valid=valid.txt"];
    let words = [&["data", "import", "lists", "--out", "log"][..], &splits].concat();
    dir.rectool(&[&words[..], &["--split", "test=test.txt"]].concat()).expect_success();
}

fn arguments<'a>(script: &'a str, out: &'a str) -> Vec<&'a str> {
    let run = ["run", script, "--set", "data=log", "--set", "embedding_dim=16", "--run-dir", out];
    let how = ["--set", "batch_size=64", "--set", "epochs=12", "--set", "k=[5, 10]"];
    [&run[..], &how].concat()
}

#[test]
fn towers_find_embed_and_recommend() {
    let dir = Dir::new();
    interactions(&dir);
    let script = Dir::script("two_tower.rhai");
    let ran = dir.rectool(&arguments(&script, "out")).expect_success();
    assert!(ran.stdout.contains("test_recall@10"), "{}", ran.stdout);
    let result = dir.result("out");
    let recall = |result: &serde_json::Value| result["metrics"]["test_recall@10"].as_f64().unwrap();
    let popular = &result["retrieval"][0]["baselines"][0]["full"]["metrics"]["recall@10"]["mean"];
    assert!(recall(&result) > 0.4, "{}", recall(&result));
    assert!(recall(&result) > popular.as_f64().unwrap() + 0.1);
    let page = std::fs::read_to_string(dir.join("out/report.html")).unwrap();
    for part in ["What is found of", "Some recommendations", "Item vectors", "Validation recall"] {
        assert!(page.contains(part), "{part}");
    }
    dir.rectool(&["ckpt", "verify", "out"]).expect_success();

    let embed = ["embed", "out", "--data", "log", "--side", "candidate", "--out", "items.arrow"];
    let ran = dir.rectool(&embed).expect_success();
    assert!(ran.stdout.contains("60 vectors of width 16"), "{}", ran.stdout);
    let file = File::open(dir.join("items.arrow")).unwrap();
    let batch = FileReader::try_new(file, None).unwrap().next().unwrap().unwrap();
    let ids = batch.column(0).as_primitive::<Int64Type>();
    assert!(ids.values().iter().copied().eq(0..60));
    let first = batch.column(1).as_fixed_size_list().value(0);
    let length: f32 = first.as_primitive::<Float32Type>().values().iter().map(|x| x * x).sum();
    assert!((length - 1.0).abs() < 1e-5);

    let recommend = ["recommend", "out", "--data", "log", "--users", "test", "--items", "train"];
    let more = ["--seen", "train", "--seen", "valid", "-k", "7", "--out", "best.arrow"];
    dir.rectool(&[&recommend[..], &more, &["--device", "auto"]].concat()).expect_success();
    let lists = lists(&dir, "best.arrow");
    assert_eq!(lists.len(), 40);
    for (user, list) in &lists {
        assert_eq!(list.len(), 7);
        for item in list {
            let had =
                (0..18).any(|step| (*user as usize * 3 + step * 7 % 24) % 60 == *item as usize);
            assert!(!had, "user {user} has seen {item}");
        }
    }
}

/// The recommended items of each user, best first.
fn lists(dir: &Dir, name: &str) -> BTreeMap<i64, Vec<i64>> {
    let file = File::open(dir.join(name)).unwrap();
    let batch = FileReader::try_new(file, None).unwrap().next().unwrap().unwrap();
    let ids = |at: usize| batch.column(at).as_primitive::<Int64Type>();
    let ranks = batch.column(2).as_primitive::<UInt32Type>();
    let mut lists: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for row in 0..batch.num_rows() {
        let list = lists.entry(ids(0).value(row)).or_default();
        assert_eq!(ranks.value(row) as usize, list.len() + 1);
        list.push(ids(1).value(row));
    }
    lists
}

#[test]
fn ranks_agree_on_what_is_found() {
    let dir = Dir::new();
    interactions(&dir);
    let script = Dir::script("two_tower.rhai");
    dir.rectool(&arguments(&script, "one")).expect_success();
    let recall = |out: &str| dir.result(out)["metrics"]["test_recall@10"].as_f64().unwrap();
    let Some(ran) = dir.mpirun(2, &arguments(&script, "two")) else { return };
    ran.expect_success();
    assert!((recall("one") - recall("two")).abs() < 0.05, "{} {}", recall("one"), recall("two"));
    let recommend = |out: &'static str| {
        let words = ["recommend", "two", "--data", "log", "--users", "test", "--items", "train"];
        [&words[..], &["--out", out]].concat()
    };
    dir.rectool(&recommend("one.arrow")).expect_success();
    dir.mpirun(2, &recommend("two.arrow")).unwrap().expect_success();
    assert_eq!(lists(&dir, "one.arrow"), lists(&dir, "two.arrow"));
}

#[test]
fn mistakes_of_those_who_apply_a_model_are_told() {
    let dir = Dir::new();
    interactions(&dir);
    let script = Dir::script("two_tower.rhai");
    let words = [&arguments(&script, "out")[..], &["--set", "baselines=false"]].concat();
    dir.rectool(&words).expect_success();
    dir.synth("clicks", 2_000);
    let script = Dir::script("dlrm.rhai");
    let words = ["run", &script, "--set", "data=clicks", "--set", "batch_size=256"];
    dir.rectool(&[&words[..], &["--run-dir", "dlrm"]].concat()).expect_success();
    let score = ["score", "dlrm", "--data", "clicks", "--split", "test", "--out", "s.parquet"];
    let ran = dir.rectool(&score).expect_success();
    assert!(ran.stdout.contains("scores"), "{}", ran.stdout);
    let refuse = |words: &[&str], parts: &[&str]| {
        dir.rectool(words).expect_code(1).expect_stderr(parts);
    };
    refuse(&score, &["s.parquet", "hint:"]);
    let out = ["--out", "x.arrow"];
    let embed = ["embed", "dlrm", "--data", "clicks", "--side", "query"];
    refuse(&[&embed[..], &out].concat(), &["two_tower"]);
    let score = ["score", "out", "--data", "log", "--split", "test"];
    refuse(&[&score[..], &out].concat(), &["one that scores rows"]);
    let embed = ["embed", "out", "--side", "query"];
    refuse(&[&embed[..], &["--data", "clicks"], &out].concat(), &["`user`"]);
    refuse(&[&embed[..], &["--data", "log", "--split", "tset"], &out].concat(), &["tset", "test"]);
    refuse(&[&embed[..], &["--data", "log", "--out", "x.csv"]].concat(), &[".parquet"]);
    let none = ["embed", "none", "--side", "query", "--data", "log"];
    refuse(&[&none[..], &out].concat(), &["none"]);
    let words = ["recommend", "out", "--data", "log", "--users", "test", "--items", "train"];
    dir.rectool(&[&words[..], &["-k", "0"], &out].concat()).expect_code(2);
    // Where there is no GPU.
    if !["/dev/nvidiactl", "/dev/dxg"].iter().any(|path| Path::new(path).exists()) {
        let parts = ["device `cuda`", "hint:", "--device cpu"];
        refuse(&[&words[..], &["--device", "cuda"], &out].concat(), &parts);
    }
    assert!(!dir.join("x.arrow").exists());
}

/// The values behind the header of a `.npy` file, and its shape as it is written there.
fn npy(dir: &Dir, name: &str) -> (String, Vec<u8>) {
    let bytes = std::fs::read(dir.join(name)).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"), "{name}");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!(start % 64, 0);
    let header = String::from_utf8(bytes[10..start].to_vec()).unwrap();
    (header.trim_end().to_owned(), bytes[start..].to_vec())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

#[test]
fn embedded_vectors_are_indexed_and_found() {
    let dir = Dir::new();
    interactions(&dir);
    let script = Dir::script("two_tower.rhai");
    let words = [&arguments(&script, "out")[..], &["--set", "baselines=false"]].concat();
    dir.rectool(&words).expect_success();
    let embed = |side: &'static str, out: &'static str| {
        ["embed", "out", "--data", "log", "--side", side, "--split", "train", "--out", out]
    };
    dir.rectool(&embed("candidate", "items.arrow")).expect_success();
    dir.rectool(&embed("candidate", "items.npy")).expect_success();
    dir.rectool(&embed("query", "users.npy")).expect_success();
    let batch =
        FileReader::try_new(File::open(dir.join("items.arrow")).unwrap(), None).unwrap().next();
    let batch = batch.unwrap().unwrap();
    let (header, items) = npy(&dir, "items.npy");
    assert_eq!(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (60, 16), }");
    let items = floats(&items);
    let values = batch.column(1).as_fixed_size_list().values().as_primitive::<Float32Type>();
    assert_eq!(items, values.values().to_vec());
    let (header, ids) = npy(&dir, "items.ids.npy");
    assert_eq!(header, "{'descr': '<i8', 'fortran_order': False, 'shape': (60,), }");
    let ids: Vec<i64> = ids.as_chunks::<8>().0.iter().map(|id| i64::from_le_bytes(*id)).collect();
    assert_eq!(ids, batch.column(0).as_primitive::<Int64Type>().values().to_vec());

    let users = floats(&npy(&dir, "users.npy").1);
    let best = |user: &[f32]| {
        let mut scored: Vec<(f32, i64)> = items
            .chunks(16)
            .zip(&ids)
            .map(|(item, id)| (user.iter().zip(item).map(|(a, b)| a * b).sum(), *id))
            .collect();
        scored.sort_by(|a, b| b.0.total_cmp(&a.0));
        scored.into_iter().take(5).map(|(_, id)| id as u64).collect::<Vec<_>>()
    };
    let expected: Vec<Vec<u64>> = users.chunks(16).map(best).collect();
    let build = ["index", "build", "--kind", "flat"];
    let of_arrow = ["items.arrow", "--out", "a.idx"];
    dir.rectool(&[&build[..], &of_arrow].concat()).expect_success();
    let of_npy = ["items.npy", "--ids", "items.ids.npy", "--out", "n.idx"];
    dir.rectool(&[&build[..], &of_npy].concat()).expect_success();
    for index in ["a.idx", "n.idx"] {
        let query = ["index", "query", index, "--queries", "users.npy", "--exact", "--json"];
        let ran = dir.rectool(&[&query[..], &["-k", "5"]].concat()).expect_success();
        assert_eq!(index_found(&ran), expected, "{index}");
    }

    dir.rectool(&embed("query", "users.npy")).expect_code(1).expect_stderr(&["users.npy", "hint:"]);
    let score = ["recommend", "out", "--data", "log", "--users", "test", "--items", "train"];
    let ran = dir.rectool(&[&score[..], &["--out", "lists.npy"]].concat());
    ran.expect_code(1).expect_stderr(&[".parquet"]);
    let Some(ran) = dir.mpirun(2, &embed("candidate", "two.npy")) else { return };
    ran.expect_success();
    let bytes = |name: &str| std::fs::read(dir.join(name)).unwrap();
    assert_eq!(bytes("two.ids.npy"), bytes("items.ids.npy"));
    let near = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
    assert!(floats(&npy(&dir, "two.npy").1).iter().zip(&items).all(near));
}

/// Users rate twenty of sixty items once each; the farther an item, the fewer stars it gets.
fn rated(dir: &Dir) {
    let mut text = String::from("user,item,stars\n");
    for row in 0..4000_usize {
        // In no order, so that the splits have all users.
        let (user, far) = (row * 1237 % 4000 / 20, row * 1237 % 4000 % 20);
        let stars = 5.0 - far as f64 / 5.0;
        writeln!(text, "{user},{},{stars:.1}", (user * 3 + far) % 60).unwrap();
    }
    dir.write("rated.csv", &text);
    let words = ["data", "import", "csv", "rated.csv", "--out", "rated"];
    let columns = ["--plain-ids", "user,item", "--plain-floats", "stars"];
    dir.rectool(&[&words[..], &columns].concat()).expect_success();
}

#[test]
fn stars_are_learned_beside_choices_and_scored() {
    let dir = Dir::new();
    rated(&dir);
    let script = Dir::script("two_tower.rhai");
    let run = |out: &'static str| {
        let run = ["run", &script, "--set", "data=rated", "--set", "embedding_dim=16"];
        let how = ["--set", "batch_size=128", "--set", "epochs=16", "--set", "patience=0"];
        let rest = ["--set", "stars=0.3", "--set", "baselines=false", "--run-dir", out];
        [&run[..], &how, &rest].concat()
    };
    let ran = dir.rectool(&run("one")).expect_success();
    for part in ["(objective ", ", stars ", "valid recall 0.", "; stars: RMSE "] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let one = dir.result("one");
    let metric = |result: &serde_json::Value, name: &str| result["metrics"][name].as_f64().unwrap();
    assert!(metric(&one, "test_rmse_stars") < 0.5, "{}", ran.stdout);
    assert!(metric(&one, "test_recall@10") > 0.9 && metric(&one, "test_loss").is_finite());
    dir.rectool(&["ckpt", "verify", "one"]).expect_success();

    let score = ["score", "one", "--data", "rated", "--split", "test", "--out", "scores.arrow"];
    dir.rectool(&score).expect_success();
    let file = File::open(dir.join("scores.arrow")).unwrap();
    let scores = FileReader::try_new(file, None).unwrap().next().unwrap().unwrap();
    let names: Vec<&str> = scores.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["row", "score_stars"]);
    assert_eq!(scores.num_rows() as f64, metric(&one, "test_samples"));

    let Some(ran) = dir.mpirun(2, &run("two")) else { return };
    ran.expect_success();
    let two = dir.result("two");
    for name in ["test_rmse_stars", "test_loss", "test_recall@10"] {
        let (a, b) = (metric(&one, name), metric(&two, name));
        assert!((a - b).abs() < 0.1 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
}
