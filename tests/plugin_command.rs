//! `rectool plugin`: what a feature engineer types.

use serde_json::Value;

use crate::harness::Dir;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn standard_plugins_are_listed_and_describe_themselves() {
    let dir = Dir::new();
    let list = json(&dir.rectool(&["plugin", "list", "--json"]).expect_success().stdout);
    let names: Vec<&str> =
        list.as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    for name in ["log1p", "hash-cross", "ngrams", "focal", "sampled-softmax", "popularity", "hard"]
    {
        assert!(names.contains(&name), "{name} is not among {names:?}");
    }
    assert!(list.as_array().unwrap().iter().all(|entry| entry["kind"] != "broken"), "{list}");
    let shown = dir.rectool(&["plugin", "inspect", "focal"]).expect_success().stdout;
    for part in ["focal 1.0.0", "loss", "sha256", "gamma: number, 0 to 20, default 2.0"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let shown =
        json(&dir.rectool(&["plugin", "inspect", "hash", "--json"]).expect_success().stdout);
    assert_eq!(shown["kind"], "transform");
    assert_eq!(shown["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn a_check_prints_a_verdict_per_line_and_fails_with_3() {
    let dir = Dir::new();
    for name in ["clip", "hinge", "uniform"] {
        let ran = dir.rectool(&["plugin", "check", name]).expect_success();
        assert!(ran.stdout.ends_with(&format!("ok: {name} 1.0.0\n")), "{}", ran.stdout);
        assert!(ran.stdout.lines().filter(|line| line.starts_with("pass  ")).count() >= 8);
    }
    dir.write(
        "wrong.jsonl",
        r#"{"name": "off", "parameters": {"min": 0, "max": 1}, "inputs": [{"name": "x", "type": "f32[1]", "values": [2]}], "outputs": [{"name": "x", "type": "f32[1]", "values": [2]}]}"#,
    );
    let ran = dir.rectool(&["plugin", "check", "clip", "--cases", "wrong.jsonl"]).expect_code(3);
    assert!(ran.stdout.contains("FAIL  case `off`"), "{}", ran.stdout);
    ran.expect_stderr(&["clip 1.0.0", "failed"]);
    let ran = dir.rectool(&["plugin", "check", "clip", "--cases", "wrong.jsonl", "--json"]);
    assert_eq!(json(&ran.expect_code(3).stdout)["ok"], false);
    dir.write("broken.jsonl", "{\"name\": 3}\n");
    dir.rectool(&["plugin", "check", "clip", "--cases", "broken.jsonl"])
        .expect_code(2)
        .expect_stderr(&["broken.jsonl:1"]);
}

#[test]
fn a_bench_measures_start_and_calls() {
    let dir = Dir::new();
    let arguments = ["plugin", "bench", "log1p", "--rows", "512", "--seconds", "0.05", "--json"];
    let figures = json(&dir.rectool(&arguments).expect_success().stdout);
    for name in ["compile_ms", "instantiate_us", "ns_per_row", "ns_per_value", "step_share"] {
        assert!(figures[name].as_f64().unwrap() > 0.0, "{name}: {figures}");
    }
    assert_eq!(figures["rows"], 512);
    dir.rectool(&["plugin", "bench", "log1p", "--run", "nowhere"])
        .expect_code(2)
        .expect_stderr(&["nowhere/result.json"]);
}

#[test]
fn plugins_are_tried_on_rows() {
    let dir = Dir::new();
    dir.synth("log", 2_000);
    let run = ["plugin", "run", "hash", "--data", "log", "--inputs", "ids", "--set", "buckets=100"];
    let shown = dir.rectool(&run).expect_success().stdout;
    let rows: Vec<Vec<&str>> = shown.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((rows.len(), rows[0].len()), (11, 52));
    let buckets = rows[1..].iter().flat_map(|row| &row[26..]);
    assert!(buckets.map(|text| text.parse::<i64>().unwrap()).all(|id| (0..=100).contains(&id)));

    let run = ["plugin", "run", "bce", "--logits", "0,100", "--labels", "1,0"];
    let shown = dir.rectool(&run).expect_success().stdout;
    assert_eq!(shown.lines().nth(2).unwrap(), "100\t0\t100\t1", "{shown}");

    dir.write("views.csv", "label,item\n1,3\n1,4\n1,3\n1,9\n");
    let import = ["data", "import", "csv", "--split", "train=views.csv", "--label", "label"];
    dir.rectool(&[&import[..], &["--ids", "item", "--out", "views"]].concat()).expect_success();
    let run = ["plugin", "run", "uniform", "--data", "views", "--item", "item", "--count", "4"];
    let shown = dir.rectool(&run).expect_success().stdout;
    assert_eq!(shown.lines().count(), 5, "{shown}");
    for line in shown.lines().skip(1) {
        let fields: Vec<&str> = line.split('\t').collect();
        let drawn: Vec<&str> = fields[1].split(',').collect();
        assert!(drawn.len() == 4 && !drawn.contains(&fields[0]), "{shown}");
    }
}

#[test]
fn mistakes_are_named() {
    let dir = Dir::new();
    let fails = |arguments: &[&str], parts: &[&str]| {
        let arguments = [&["plugin"], arguments].concat();
        dir.rectool(&arguments).expect_code(2).expect_stderr(parts);
    };
    fails(&["inspect", "focl"], &["no plugin `focl`", "did you mean `focal`?"]);
    fails(&["inspect", "nowhere/a.wasm"], &["nowhere/a.wasm"]);
    fails(&["new", "my-plugin", "--lang", "cobol"], &["cobol", "rust", "zig"]);
    fails(&["new", "My_Plugin", "--lang", "c"], &["My_Plugin", "lower-case words"]);
    fails(&["new", "mine", "--lang", "wat", "--kind", "loss"], &["no template", "transform"]);
    fails(&["build", "nowhere"], &["plugin.toml", "rectool plugin new"]);
    fails(&["run", "log1p", "--logits", "1"], &["give `--data DIR`"]);
    fails(&["run", "log1p", "--data", "x", "--set", "negativ=zero"], &["mean `negative`?"]);
    fails(&["run", "bce", "--logits", "1,2", "--labels", "1"], &["2 and 1"]);
    dir.rectool(&["plugin", "new", "mine", "--lang", "c"]).expect_success();
    fails(&["new", "mine", "--lang", "c"], &["exists already"]);
    fails(&["check", "mine"], &["not built yet", "rectool plugin build mine"]);
    let manifest = dir.join("mine/plugin.toml");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("tool = \"clang\"", "tool = \"no-such-cc\"")).unwrap();
    fails(&["build", "mine"], &["no-such-cc", "not on PATH", "hint"]);
    std::fs::write(&manifest, text.replace("language", "langauge")).unwrap();
    fails(&["build", "mine"], &["plugin.toml", "langauge"]);
    dir.write("junk.wasm", "junk");
    fails(&["inspect", "junk.wasm"], &["junk"]);
}
