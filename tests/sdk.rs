//! Templates of the SDKs: made, built, checked, and trained with, as a user would.

use std::collections::BTreeMap;

use crate::harness::{Dir, root};

/// Makes `name` from a language's template.
fn made(name: &str, language: &str, kind: &str) -> Dir {
    let dir = Dir::new();
    dir.rectool(&["plugin", "new", name, "--lang", language, "--kind", kind]).expect_success();
    dir
}

/// Whether the plugin in `dir` was built; not where the language's tools are missing.
fn built(dir: &Dir, name: &str) -> bool {
    let ran = dir.rectool(&["plugin", "build", name]);
    if ran.code == Some(2) && ran.stderr.contains("is not on PATH") {
        println!("skipped: {}", ran.stderr);
        return false;
    }
    ran.expect_success();
    true
}

/// Replays the golden cases and makes all other checks, then trains a step or two with the plugin.
fn template_holds(language: &str, kind: &str) {
    let dir = made("my-plugin", language, kind);
    if !built(&dir, "my-plugin") {
        return;
    }
    let text = std::fs::read_to_string(dir.join("my-plugin/cases.jsonl")).unwrap();
    assert!(text.lines().count() >= 4, "{language}: only {} cases", text.lines().count());
    let checked = dir.rectool(&["plugin", "check", "my-plugin"]).expect_success();
    assert!(checked.stdout.contains("ok: my-plugin 0.1.0"), "{}", checked.stdout);
    dir.synth("log", 2_000);
    let (chain, model) = match kind {
        "transform" => ("apply(\"dense\", plugin(\"my-plugin\", #{factor: 0.01}))", ""),
        "loss" => ("log1p(\"dense\")", "loss: plugin(\"my-plugin\"),"),
        _ => return,
    };
    let recipe = format!(
        "let data = dataset(\"log\");\n\
         let chain = [impute(\"dense\", 0.0), {chain}];\n\
         let features = features(data, #{{dense: [\"dense\"], ids: [\"ids\"], chain: chain}});\n\
         let model = dlrm(#{{features: features, embedding_dim: 4, bottom: [8], top: [8], {model}\n\
           embedding_optimizer: sgd(#{{learning_rate: 0.1}}),\n\
           dense_optimizer: sgd(#{{learning_rate: 0.1}})}});\n\
         train(model, #{{train: data.train, batch_size: 256}});\n\
         evaluate(model, data.test);\n"
    );
    dir.write("train.rhai", &recipe);
    let run = ["run", "train.rhai", "--run-dir", "run", "--plugin-path", "."];
    dir.rectool(&run).expect_success();
    assert!(dir.result("run")["plugins"]["my-plugin"]["sha256"].is_string());
}

macro_rules! templates {
    ($($name:ident: $language:literal $kind:literal,)+) => {
        const TESTED: &[(&str, &str)] = &[$(($language, $kind)),+];
        $(
            #[test]
            fn $name() {
                template_holds($language, $kind);
            }
        )+
    };
}

templates! {
    rust: "rust" "transform",
    rust_loss: "rust" "loss",
    rust_sampler: "rust" "sampler",
    c: "c" "transform",
    c_loss: "c" "loss",
    c_sampler: "c" "sampler",
    cpp: "cpp" "transform",
    cpp_loss: "cpp" "loss",
    cpp_sampler: "cpp" "sampler",
    zig: "zig" "transform",
    zig_loss: "zig" "loss",
    zig_sampler: "zig" "sampler",
    go: "go" "transform",
    go_loss: "go" "loss",
    go_sampler: "go" "sampler",
    javascript: "js" "transform",
    javascript_loss: "js" "loss",
    javascript_sampler: "js" "sampler",
    typescript: "ts" "transform",
    python: "python" "transform",
    python_loss: "python" "loss",
    python_sampler: "python" "sampler",
    assemblyscript: "assemblyscript" "transform",
    assemblyscript_loss: "assemblyscript" "loss",
    assemblyscript_sampler: "assemblyscript" "sampler",
    wat: "wat" "transform",
}

/// A plugin that takes every type of column and parameter through its language's binding.
fn echo(language: &str, file: &str) {
    let folder = root().join("tests").join("echo");
    let dir = made("echo", language, "transform");
    let ending = file.rsplit_once('.').unwrap().1;
    dir.write(
        &format!("echo/plugin.{ending}"),
        &std::fs::read_to_string(folder.join(file)).unwrap(),
    );
    if !built(&dir, "echo") {
        return;
    }
    let check = |name: &str| {
        let cases = folder.join(name);
        dir.rectool(&["plugin", "check", "echo", "--cases", cases.to_str().unwrap()])
    };
    check("cases.jsonl").expect_success();
    let large_ids = check("large-ids.jsonl");
    if language == "js" {
        let refused = large_ids.expect_code(3);
        assert!(refused.stdout.contains("2^53"), "{}", refused.stdout);
    } else {
        large_ids.expect_success();
    }
}

macro_rules! echoes {
    ($($name:ident: $language:literal $file:literal,)+) => {
        $(
            #[test]
            fn $name() {
                echo($language, $file);
            }
        )+
    };
}

echoes! {
    c_echo: "c" "plugin.c",
    cpp_echo: "cpp" "plugin.cpp",
    zig_echo: "zig" "plugin.zig",
    go_echo: "go" "plugin.go",
    javascript_echo: "js" "plugin.js",
    python_echo: "python" "plugin.py",
    assemblyscript_echo: "assemblyscript" "plugin.ts",
}

/// The folder of a template below `sdk/`.
fn folder(language: &str, kind: &str) -> String {
    let folder = if language == "ts" { "js/template-ts" } else { &format!("{language}/template") };
    if kind == "transform" { folder.to_owned() } else { format!("{folder}-{kind}") }
}

/// The same template in every language has the same cases, so that they stay comparable.
#[test]
fn templates_of_a_kind_share_their_cases() {
    let mut seen: BTreeMap<&str, BTreeMap<String, &str>> = BTreeMap::new();
    for (language, kind) in TESTED {
        let file = root().join("sdk").join(folder(language, kind)).join("cases.jsonl");
        let text = std::fs::read_to_string(file).unwrap();
        // Draws differ between languages that have other random streams; all else is the same.
        let text = text.replace(r#""ids": [5, 3, 13, 8], "#, "");
        seen.entry(kind).or_default().insert(text, language);
    }
    for (kind, texts) in seen {
        assert_eq!(texts.len(), 1, "{kind}: cases differ: {:?}", texts.values());
    }
}

#[test]
fn every_template_is_tested() {
    let sdk = root().join("sdk");
    let tested: Vec<String> =
        TESTED.iter().map(|(language, kind)| folder(language, kind)).collect();
    for language in std::fs::read_dir(&sdk).unwrap() {
        let language = language.unwrap().path();
        let Ok(entries) = std::fs::read_dir(&language) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            let folder = path.strip_prefix(&sdk).unwrap().to_str().unwrap().to_owned();
            let is_template = path.join("plugin.toml").is_file();
            assert!(!is_template || tested.contains(&folder), "{folder} is not tested");
        }
    }
}
