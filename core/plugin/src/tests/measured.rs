//! Golden cases, checks and measurements of a transform from end to end.

use std::time::Duration;

use rectool_base::PluginSource;

use super::guest::Guest;
use super::*;
use crate::check::{Outcome, check};
use crate::{Kind, Parameters, PluginError, Plugins, SearchPath, bench, cases};
use rectool_base::Hint;

const CASES: &str = r#"
{"name": "every type", "inputs": [
  {"name": "dense", "type": "f32[2]", "members": ["I1", "I2"], "values": [[1.0, null], [0, 2]]},
  {"name": "id", "type": "i64[1]", "values": [7, null]},
  {"name": "text", "type": "text[1]", "values": ["a", null]},
  {"name": "floats", "type": "f32 list", "values": [[1, 2], []]},
  {"name": "ids", "type": "i64 list", "values": [[], [5]]},
  {"name": "texts", "type": "text list", "values": [["a", null], []]}
], "outputs": [
  {"name": "dense", "type": "f32[2]", "members": ["I1", "I2"], "values": [[2.0, null], [0, 4]]},
  {"name": "id", "type": "i64[1]", "values": [7, null]},
  {"name": "text", "type": "text[1]", "values": ["a", null]},
  {"name": "floats", "type": "f32 list", "values": [[1, 2], []]},
  {"name": "ids", "type": "i64 list", "values": [[], [5]]},
  {"name": "texts", "type": "text list", "values": [["a", null], []]}
]}
{"name": "no such parameter", "parameters": {"factor": 3}, "inputs": [], "error": "no parameter `factor`"}
"#;

fn read(text: &str) -> Vec<cases::Case> {
    // One case may take several lines here, to be readable.
    let text = text.replace("\n  ", " ").replace("\n]", "]");
    cases::read(Kind::Transform, &text).unwrap()
}

#[test]
fn a_good_transform_passes() {
    let plugin = host().load_bytes("double", DOUBLE.into()).unwrap();
    let verdicts = check(&plugin, &read(CASES));
    for verdict in &verdicts {
        assert_eq!(verdict.outcome, Outcome::Passed, "{}", verdict.name);
    }
    assert_eq!(verdicts.len(), 10);
}

#[test]
fn a_transform_with_a_memory_fails() {
    // Adds to every first value how often it was called.
    let guest = Guest::new(Kind::Transform).more("(global $calls (mut f32) (f32.const 0))").work(
        "(global.set $calls (f32.add (global.get $calls) (f32.const 1)))
             (if (local.get 0) (then
               (f32.store (i32.load offset=4 (local.get 1)) (global.get $calls))))
             (i32.store (i32.const 132) (local.get 1)) (i32.store (i32.const 136) (local.get 2))
             (i32.const 128)",
    );
    let plugin = host().load_bytes("forgetful", guest.text().into()).unwrap();
    let case = r#"{"name": "one", "inputs": [{"name": "a", "type": "f32[1]", "values": [3, 4]}],
        "outputs": [{"name": "a", "type": "f32[1]", "values": [1, 4]}]}"#;
    let verdicts = check(&plugin, &read(&case.replace('\n', " ")));
    let failed: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| matches!(verdict.outcome, Outcome::Failed(_)))
        .map(|verdict| verdict.name.as_str())
        .collect();
    assert_eq!(failed, ["same results again", "rows do not depend on each other"]);
    // With one value for two different first rows it is no pure function of the row either.
    let wrong = case.replace("[1, 4]}]", "[3, 4]}]").replace('\n', " ");
    let found = read(&wrong)[0].replay(&plugin).unwrap_err();
    assert_eq!(found, "column `a`: value 0 is 1.0, expected 3.0");
}

#[test]
fn calls_and_starts_are_measured() {
    let folder = tempfile::tempdir().unwrap();
    let options = HostOptions { cache: Some(folder.path().to_owned()), ..HostOptions::default() };
    let host = Host::new(options).unwrap();
    let plugin = host.load_bytes("double", DOUBLE.into()).unwrap();
    let case = r#"{"name": "criteo", "inputs": [{"name": "dense", "type": "f32[13]", "values": [[1,2,3,4,5,6,7,8,9,10,11,12,13]]}], "outputs": []}"#;
    let case = &read(case)[0];
    let figures = bench::calls(&plugin, case, 8_192, Duration::from_millis(200)).unwrap();
    assert_eq!((figures.rows, figures.values), (8_192, 8_192 * 13));
    assert!(figures.calls >= 3 && figures.memory_bytes >= 8_192 * 13 * 4);
    // What crossing the border costs, with a guest that returns its arguments: far above the
    // measured 0.4 ns, far below what a call per value would cost.
    let echo = "(i32.store (i32.const 132) (local.get 1)) (i32.store (i32.const 136) (local.get 2))
        (global.set $free (i32.const 4096)) (i32.const 128)";
    let text = Guest::new(Kind::Transform).work(echo).text();
    let echo = host.load_bytes("echo", text.into()).unwrap();
    let border = bench::calls(&echo, case, 8_192, Duration::from_millis(200)).unwrap();
    assert!(border.ns_per_value() < 20.0, "{} ns per value", border.ns_per_value());
    println!("border: {:.2} ns per value", border.ns_per_value());
    let start = bench::start(&plugin).unwrap();
    assert!(start.cached.unwrap() < start.compile);
    println!("{figures:?}, {:.2} ns per value\n{start:?}", figures.ns_per_value());
}

#[test]
fn plugins_are_found_by_name() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::create_dir(second.path().join("other")).unwrap();
    std::fs::write(second.path().join("double.wat"), DOUBLE).unwrap();
    let other = Guest::new(Kind::Transform).name("other").text();
    std::fs::write(second.path().join("other/other.wasm"), other).unwrap();
    std::fs::write(first.path().join("wrong.wat"), DOUBLE).unwrap();
    let path = SearchPath::new().with(first.path().to_owned()).with(second.path().to_owned());
    let plugins = Plugins::new(host(), path.clone());
    let mut names: Vec<String> = plugins.list().into_keys().collect();
    names.retain(|name| !crate::builtin::PLUGINS.iter().any(|builtin| builtin.name == *name));
    assert_eq!(names, ["double", "other", "wrong"]);
    assert_eq!(plugins.find("other").unwrap().title(), "other 1.0.0");
    let error = plugins.find("duoble").unwrap_err();
    assert_eq!(error.to_string(), "there is no plugin `duoble`");
    assert_eq!(error.hint().unwrap(), "did you mean `double`?");
    assert!(matches!(plugins.find("../double"), Err(PluginError::NotFound { .. })));
    let error = plugins.find("wrong").unwrap_err().to_string();
    assert!(
        error.ends_with("wrong.wat: found plugin `double`, expected plugin `wrong`"),
        "{error}"
    );

    let call = plugins.call("double", &Parameters::new()).unwrap();
    assert_eq!((call.name.as_str(), call.version.as_str()), ("double", "1.0.0"));
    assert_eq!(plugins.transform(&call).unwrap().name(), "double");
    assert_eq!(plugins.content(&call.sha256).unwrap()[..], *DOUBLE.as_bytes());
    // Somebody edits the file: what the call names is gone, unless a checkpoint brings it.
    std::fs::write(second.path().join("double.wat"), format!("{DOUBLE} ")).unwrap();
    let plugins = Plugins::new(host(), path);
    let fault = plugins.transform(&call).err().unwrap();
    assert!(fault.message.starts_with("found double 1.0.0 with SHA-256 "), "{fault}");
    plugins.add("double", DOUBLE.as_bytes()).unwrap();
    assert!(plugins.transform(&call).is_ok());
}

#[test]
fn a_recipe_searches_beside_itself_first() {
    let path = SearchPath::for_recipe(Some("scripts/dlrm.rhai".as_ref()), &["mine".into()]);
    let folders: Vec<&str> = path.folders().iter().filter_map(|folder| folder.to_str()).collect();
    assert_eq!(folders[..3], ["scripts", "plugins", "mine"]);
    assert!(folders[3..].iter().all(|folder| folder.ends_with("rectool/plugins")));
    let here = SearchPath::for_recipe(Some("dlrm.rhai".as_ref()), &[]);
    assert_eq!(here.folders()[0].to_str(), Some("."));
}
