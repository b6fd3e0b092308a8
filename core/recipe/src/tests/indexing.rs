//! `index` and `search` in scripts.

use std::path::Path;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::{Comm, Solo, on_ranks};

use super::data::Fixture;
use crate::{RunOptions, Silent, check, run};

const SCRIPT: &str = r#"
let folder = param("folder", "");
let items = index(#{vectors: folder + "/items.fbin", metric: "cosine", recall_target: 0.9});
let found = search(items, #{queries: folder + "/items.fbin", k: 3, out: folder + "/found.arrow"});
report(#{rows: items.rows, queries: found.queries, results: found.results, recall: found.recall});
"#;

/// 200 vectors of width 4.
fn write_items(folder: &Path) {
    let mut draw = rectool_base::Stream::new(3, &[]);
    let mut bytes: Vec<u8> = [200u32, 4].iter().flat_map(|number| number.to_le_bytes()).collect();
    bytes.extend((0..800).flat_map(|_| draw.next_normal().to_le_bytes()));
    std::fs::write(folder.join("items.fbin"), bytes).unwrap();
}

fn options(fixture: &Fixture, script: &str, run_dir: &str) -> RunOptions {
    let set = format!("folder={}", fixture.folder.path().display());
    RunOptions {
        recipe: fixture.recipe(script, &[&set]),
        run_dir: Some(fixture.path(run_dir)),
        threads: Some(1),
        ..RunOptions::default()
    }
}

#[test]
fn a_script_builds_and_searches_an_index_on_any_number_of_ranks() {
    let fixture = Fixture::new();
    write_items(fixture.folder.path());
    for ranks in [1, 2] {
        let run_dir = format!("out-{ranks}");
        let options = options(&fixture, SCRIPT, &run_dir);
        let outcomes = on_ranks(ranks, |comm| run(&options, &comm, Box::new(Silent)));
        for outcome in outcomes {
            let metrics = outcome.unwrap().metrics;
            assert_eq!((&metrics["rows"], &metrics["queries"]), (&200.into(), &200.into()));
            assert_eq!((&metrics["results"], &metrics["recall"]), (&600.into(), &1.0.into()));
        }
        let index = rectool_ann::Index::open(&fixture.path(&run_dir).join("index")).unwrap();
        assert_eq!(index.stats().parts.len(), ranks);
        assert!(fixture.path("found.arrow").exists());
    }
}

#[test]
fn a_plan_says_what_would_be_indexed() {
    let fixture = Fixture::new();
    let options = options(&fixture, SCRIPT, "out");
    let plan = check(&options.recipe, 1).unwrap();
    assert!(
        plan.to_text().contains("vectors that are not there yet, cosine"),
        "{}",
        plan.to_text()
    );
    write_items(fixture.folder.path());
    let text = check(&options.recipe, 1).unwrap().to_text();
    assert!(text.contains("index in the run's folder: 200 vectors of width 4, cosine"), "{text}");
    assert!(!fixture.path("out").exists());
}

#[test]
fn wrong_options_are_named() {
    let fixture = Fixture::new();
    write_items(fixture.folder.path());
    let refused = [
        ("index(#{vectors: []});", "empty array", None),
        (
            "index(#{vectors: \"a\", recal_target: 0.9});",
            "no option 'recal_target'",
            Some("recall_target"),
        ),
        ("index(#{vectors: \"a\", recall_target: 2.0});", "is 2, expected 0.1 to 1", None),
        ("index(#{vectors: \"a\", degree: 2});", "is 2, expected 4 to 256", None),
        ("index(#{metric: \"cosine\"});", "needs the option 'vectors'", None),
        (
            "index(#{vectors: \"a\", metric: \"cosin\"});",
            "'cosin', expected one of",
            Some("cosine"),
        ),
    ];
    for (script, part, hint) in refused {
        let script = format!("param(\"folder\", \"\");\n{script}");
        let error = check(&options(&fixture, &script, "out").recipe, 1).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        let shown = error.hint().unwrap_or_default();
        assert!(hint.is_none_or(|hint| shown.contains(hint)), "{shown}");
    }
    let script = "let i = index(#{vectors: param(\"folder\", \"\") + \"/items.fbin\"});\n\
                  search(i, #{queries: \"none.fbin\", filter: \"a b\"});";
    let error = check(&options(&fixture, script, "out").recipe, 1).unwrap_err().to_string();
    assert!(error.contains("2:") && error.contains("filter `a b`, character 3"), "{error}");
    let missing = script.replace(", filter: \"a b\"", "");
    let comm: Arc<dyn Comm> = Arc::new(Solo);
    let error = run(&options(&fixture, &missing, "out"), &comm, Box::new(Silent)).unwrap_err();
    assert!(error.to_string().contains("none.fbin") && error.exit_code() == 1, "{error}");
}
