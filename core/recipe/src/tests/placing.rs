//! Where tables live: chosen, wished for, refused, and used.

use std::fs;
use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::{Comm, Solo, on_ranks};
use rectool_embedding::{
    Expiry, KeyCurve, OptimizerOptions, RowsFrom, Sharding, ShardingKind, TableOptions,
};
use serde_json::Value;

use super::data::{Fixture, SMALL};
use crate::placement::kept_rows;
use crate::{Plan, RecipeError, RunOptions, Silent, check, check_on, run};

/// The small recipe with further options of its model.
fn with(options: &str) -> String {
    SMALL.replace("embedding_dim: 4,", &format!("embedding_dim: 4,\n    {options}"))
}

fn plan(script: &str, ranks: usize) -> Result<Plan, RecipeError> {
    let fixture = Fixture::new();
    check(&fixture.recipe(script, &[]), ranks)
}

fn places(plan: &Plan) -> Vec<&'static str> {
    let tables = &plan.trainings[0].placement.plan.tables;
    tables.iter().map(|table| table.sharding.kind()).collect()
}

#[test]
fn a_plan_says_where_tables_live_and_why() {
    let plan = plan(SMALL, 2).unwrap();
    let placed = &plan.trainings[0].placement.plan;
    let names: Vec<&str> = placed.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["user", "item", "genres"]);
    let user = &placed.tables[0];
    // The range of ids is 20, and the sample has them all.
    assert_eq!((user.rows, user.rows_from), (20, RowsFrom::Bound));
    assert_eq!(user.ids, 100.0);
    assert!(user.keys > 18.0 && user.keys <= 20.0, "{} users", user.keys);
    // A row has 0, 1 or 2 genres.
    assert!((placed.tables[2].ids - 100.0).abs() < 10.0, "{}", placed.tables[2].ids);
    assert_eq!(placed.ranks.len(), 2);
    assert!(placed.ranks.iter().all(|rank| rank.lookup_ms > 0.0 && rank.exchange_ms > 0.0));
    let alternatives: Vec<&str> = user.alternatives.iter().map(|it| it.kind.name()).collect();
    assert_eq!(alternatives.len(), 4);
    let text = plan.to_text();
    for part in ["placement", "user", "why: a step takes", "if data_parallel", "there is one node"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    for part in ["rank 0", "rank 1", "memory per rank", "no limit set", "all-reduce of the layers"]
    {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
}

#[test]
fn wishes_for_places_are_fulfilled() {
    let chosen = plan(&with("sharding: \"data_parallel\","), 2).unwrap();
    assert_eq!(places(&chosen), ["data_parallel"; 3]);
    let chosen = plan(&with("sharding: \"auto\", memory_per_rank: \"1GiB\","), 2).unwrap();
    let placed = &chosen.trainings[0].placement.plan;
    assert_eq!(placed.memory_bytes_max, Some(1 << 30));
    assert!(chosen.to_text().contains("of 1.1 GB allowed"), "{}", chosen.to_text());
    let each = "sharding: #{user: \"table_wise\", item: #{kind: \"table_wise\", rank: 1}, \
                genres: \"auto\"},";
    let chosen = plan(&with(each), 3).unwrap();
    let tables = &chosen.trainings[0].placement.plan.tables;
    assert_eq!(ShardingKind::of(&tables[0].sharding), ShardingKind::TableWise);
    assert_eq!(tables[1].sharding, Sharding::TableWise { rank: 1 });
    assert!(chosen.to_text().contains("table_wise on 1"), "{}", chosen.to_text());
}

#[test]
fn expected_rows_are_believed() {
    let script = SMALL.replace(
        "[\"ids\", \"genres\"]",
        "[\"ids\", \"genres\"], tables: #{user: #{rows_expected: 1_000_000}}",
    );
    let plan = plan(&script, 2).unwrap();
    let user = &plan.trainings[0].placement.plan.tables[0];
    assert_eq!((user.rows, user.rows_from), (1_000_000, RowsFrom::Recipe));
    // Header, four values, four accumulators and the hash entry.
    assert_eq!(user.bytes.iter().sum::<u64>(), 1_000_000 * 56);
}

#[test]
fn rows_that_expiry_gives_up_need_no_memory() {
    let rows = |expiry: &str| {
        let tables = format!("tables: #{{user: #{{rows_expected: 1_000_000{expiry}}}}}");
        let script =
            SMALL.replace("[\"ids\", \"genres\"]", &format!("[\"ids\", \"genres\"], {tables}"));
        plan(&script, 2).unwrap().trainings[0].placement.plan.tables[0].rows
    };
    let capped = rows(", expiry: #{rows_max: 1_000, every_steps: 1}");
    assert!((1_000..10_000).contains(&capped), "{capped}");
    assert_eq!(rows(", expiry: #{rows_max: 2_000_000}"), 1_000_000);
    let plan_of = |expiry: &str| {
        let tables = format!("tables: #{{user: #{{expiry: #{{rows_max: 9{expiry}}}}}}}");
        let script =
            SMALL.replace("[\"ids\", \"genres\"]", &format!("[\"ids\", \"genres\"], {tables}"));
        plan(&script, 2).unwrap().trainings[0].placement.notes.clone()
    };
    let late = &plan_of("")[0];
    assert!(late.contains("no rows of `user` expire within"), "{late}");
    assert_eq!(plan_of(", every_steps: 10"), Vec::<String>::new());
    // More come between two looks.
    let keys = KeyCurve::zipf(1 << 30, 1.0, 1.0);
    let kept = |every_steps| {
        let expiry = Expiry { rows_max: Some(1_000), every_steps, ..Expiry::default() };
        let options =
            TableOptions { expiry, ..TableOptions::new("t", 1, OptimizerOptions::sgd(0.1)) };
        kept_rows(&options, &keys, 100).unwrap()
    };
    assert!(kept(1) > 1_050 && kept(1) <= 1_100, "{}", kept(1));
    assert!(kept(50) > kept(1) + 2_000 && kept(50) <= 6_000, "{}", kept(50));
}

/// Options, line and column within the recipe, message and hint.
type Refusal = (&'static str, (usize, usize), &'static str, Option<&'static str>);

const REFUSED: &[Refusal] = &[
    (
        "sharding: \"row_wse\",",
        (8, 5),
        "dlrm: 'sharding' is 'row_wse', expected one of",
        Some("did you mean 'row_wise'?"),
    ),
    (
        "sharding: #{user: \"auto\", item: \"row_wise\", gnres: \"auto\"},",
        (8, 49),
        "dlrm: 'sharding' names 'gnres', which is no table of the model",
        Some("did you mean 'genres'?"),
    ),
    (
        "sharding: #{user: \"auto\"},",
        (8, 5),
        "dlrm: 'sharding' leaves out 2 of 3 tables: `item`, `genres`",
        Some("add item: \"auto\" to let the planner place it"),
    ),
    (
        "sharding: #{user: 3, item: \"auto\", genres: \"auto\"},",
        (8, 17),
        "dlrm: 'sharding.user' expects \"auto\", a kind",
        None,
    ),
    (
        "sharding: #{user: #{kind: \"table_wise\", rnk: 1}, item: \"auto\", genres: \"auto\"},",
        (8, 17),
        "dlrm: 'sharding.user' is no place: ",
        None,
    ),
    (
        "sharding: #{user: #{kind: \"table_wise\", rank: 2}, item: \"auto\", genres: \"auto\"},",
        (8, 5),
        "sharding plan: table `user`, table_wise: found rank 2, expected ranks below 2",
        Some("start more ranks"),
    ),
    (
        "memory_per_rank: \"4 gigs\",",
        (8, 5),
        "dlrm: 'memory_per_rank' expects a size such as \"4GiB\" or \"500MB\", found string \"4 gigs\"",
        None,
    ),
    (
        "memory_per_rank: \"20kB\",",
        (8, 5),
        "for the rest), 20.0 kB are available",
        Some("raise `memory_per_rank` to"),
    ),
];

#[test]
fn wrong_wishes_are_refused_where_they_stand() {
    for (options, place, message, hint) in REFUSED {
        let error = plan(&with(options), 2).unwrap_err();
        let text = error.to_string();
        let (line, column) = place;
        assert!(text.contains(&format!("recipe.rhai:{line}:{column}: ")), "{options}: {text}");
        assert!(text.contains(message), "{options}: {text}");
        assert_eq!(error.exit_code(), 2, "{options}: {text}");
        if let Some(hint) = hint {
            assert!(error.hint().is_some_and(|found| found.contains(hint)), "{:?}", error.hint());
        }
    }
    let script = SMALL.replace(
        "[\"ids\", \"genres\"]",
        "[\"ids\", \"genres\"], tables: #{user: #{index: \"dense\", rows_expected: 5}}",
    );
    let error = plan(&script, 1).unwrap_err().to_string();
    assert!(error.contains("'tables' expects rows of table 'user'"), "{error}");
}

#[test]
fn ranks_of_a_job_plan_the_same() {
    let fixture = Fixture::new();
    let options = fixture.recipe(&with("sharding: \"column_wise\","), &[]);
    let plans = on_ranks(3, |comm| check_on(&options, &comm).unwrap());
    assert_eq!(plans[0], plans[1]);
    assert_eq!(plans[0], plans[2]);
    assert_eq!(plans[0].ranks, 3);
}

fn solo() -> Arc<dyn Comm> {
    Arc::new(Solo)
}

#[test]
fn a_run_uses_the_plan_and_compares_it() {
    let fixture = Fixture::new();
    let options = |options: &str, run_dir: &str| RunOptions {
        recipe: fixture.recipe(&with(options), &["epochs=1"]),
        run_dir: Some(fixture.path(run_dir)),
        threads: Some(2),
        ..RunOptions::default()
    };
    let alone = run(&options("", "1"), &solo(), Box::new(Silent)).unwrap();
    let each = "sharding: #{user: #{kind: \"table_wise\", rank: 1}, item: \"data_parallel\", \
                genres: \"row_wise\"},";
    let two = options(each, "2");
    let outcomes = on_ranks(2, |comm| run(&two, &comm, Box::new(Silent)).unwrap());
    let auc = |metrics: &serde_json::Map<String, Value>| metrics["test_auc"].as_f64().unwrap();
    let (one, other) = (auc(&alone.metrics), auc(&outcomes[0].metrics));
    assert!((one - other).abs() < 1e-3, "{one} {other}");
    let result = |out: &str| -> Value {
        let text = fs::read_to_string(fixture.path(out).join("result.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let (single, result) = (result("1"), result("2"));
    for (one, two) in
        single["tables"].as_array().unwrap().iter().zip(result["tables"].as_array().unwrap())
    {
        // A row that both ranks hold is one row.
        assert_eq!(one["rows"], two["rows"], "{two}");
    }
    let placed = &result["embedding_plan"];
    assert_eq!(placed["steps"], 40);
    assert_eq!(placed["tables"][0]["place"], "table_wise on 1");
    assert_eq!(placed["tables"][2]["place"], "row_wise");
    for phase in placed["phases"].as_array().unwrap() {
        assert!(phase["predicted_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{phase}");
        assert!(phase["measured_ms"].as_f64().is_some_and(|ms| ms > 0.0), "{phase}");
    }
    let page = fs::read_to_string(&outcomes[0].report).unwrap();
    for part in ["predicted and measured", "table_wise on 1", "data_parallel", "exchange"] {
        assert!(page.contains(part), "no {part}");
    }
    // The checkpoint knows nothing of the plan: it is the starting point of any other.
    let checkpoint = rectool_model::latest(&fixture.path("2/checkpoints")).unwrap();
    let manifest = fs::read_to_string(checkpoint.join("manifest.json")).unwrap();
    assert!(!manifest.contains("table_wise"), "{manifest}");
    let mut resumed = options("sharding: \"row_wise\",", "3");
    resumed.resume = Some(crate::Resume::From(checkpoint));
    let again = run(&resumed, &solo(), Box::new(Silent)).unwrap();
    assert!((auc(&again.metrics) - other).abs() < 1e-6, "{:?}", again.metrics);
}
