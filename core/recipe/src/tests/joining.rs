//! Side tables in recipes.

use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Jagged, Schema};
use rectool_comm::{Comm, Solo};
use rectool_data::{DatasetWriter, WriterOptions};

use super::data::Fixture;
use crate::{RecipeOptions, RunOptions, Silent, check, run};

/// Of the fixture's items, 100 to 129, all but the last: year, a price that falls with it, two tags.
fn movies(fixture: &Fixture, keys: &[i64]) -> String {
    let path = fixture.path("movies");
    let id = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let price = ColumnSchema::plain("price", ColumnKind::F32 { width: 1 });
    let tags = ColumnSchema::plain("tags", ColumnKind::I64List);
    let schema = Schema::new(vec![id("movie"), id("year"), price, tags]).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    let mut lists = Jagged::new();
    for key in keys {
        lists.push_row(&[key % 3, key % 5]);
    }
    let columns = vec![
        Column::I64 { width: 1, values: keys.to_vec() },
        Column::I64 { width: 1, values: keys.iter().map(|key| 1_900 + key % 7).collect() },
        Column::F32 { width: 1, values: keys.iter().map(|key| 1.0 / *key as f32).collect() },
        Column::I64List(lists),
    ];
    writer.write("all", columns).unwrap();
    writer.finish().unwrap();
    path.display().to_string()
}

const SCRIPT: &str = r#"
let movies = dataset("MOVIES");
let data = dataset("DATA").join(movies, #{key: "item", table_key: "movie", prefix: "movie_"});
let table = data.side("item");
report(#{movies: table.all.rows, columns: table.schema.len()});
let model = dlrm(#{
    features: features(data, #{
        dense: ["dense", "movie_price"], ids: ["user", "movie_year", "movie_tags"],
        chain: [impute("movie_price", 0.0)],
    }),
    embedding_dim: 4, bottom: [8], top: [16],
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, valid: data.valid, epochs: 3, batch_size: 100});
evaluate(model, data.test);
"#;

fn solo() -> Arc<dyn Comm> {
    Arc::new(Solo)
}

fn options(fixture: &Fixture, recipe: RecipeOptions) -> RunOptions {
    let run_dir = Some(fixture.path("run"));
    RunOptions { recipe, run_dir, threads: Some(2), ..RunOptions::default() }
}

fn script(fixture: &Fixture) -> String {
    let keys: Vec<i64> = (100..129).collect();
    SCRIPT.replace("MOVIES", &movies(fixture, &keys))
}

#[test]
fn joined_columns_are_features_like_others() {
    let fixture = Fixture::new();
    let recipe = fixture.recipe(&script(&fixture), &[]);
    let plan = check(&recipe, 2).unwrap();
    assert!(plan.to_text().contains("movie_tags"), "{}", plan.to_text());
    let outcome = run(&options(&fixture, recipe), &solo(), Box::new(Silent)).unwrap();
    // Users, the dense values, and what years and tags say together of an item.
    let auc = outcome.metrics["test_auc"].as_f64().unwrap();
    assert!(auc > 0.75, "{auc}");
    assert_eq!((&outcome.metrics["movies"], &outcome.metrics["columns"]), (&29.into(), &4.into()));
}

#[test]
fn what_cannot_be_joined_is_told_where_it_stands() {
    let fixture = Fixture::new();
    let script = script(&fixture);
    let expect = |from: &str, to: &str, message: &str, hint: &str| {
        let script = script.replace(from, to);
        let Err(error) = check(&fixture.recipe(&script, &[]), 1) else { panic!("no error: {to}") };
        let text = error.to_string();
        assert!(text.contains(message), "{text}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{found}");
        assert!(text.contains("recipe.rhai:"), "{text}");
    };
    let options = "key: \"item\", table_key: \"movie\", prefix: \"movie_\"";
    expect("prefix:", "prefxi:", "join has no option 'prefxi'", "prefix");
    expect(options, "prefix: \"m\"", "key", "");
    expect(options, "key: \"item\"", "no column `item`; there are `movie`", "");
    expect("prefix: \"movie_\"", "columns: [\"yaer\"]", "no column `yaer`", "did you mean `year`?");
    expect("\"item\", t", "\"itme\", t", "no column `itme`", "did you mean `item`?");
    expect("prefix:", "missing: \"warn\", prefix:", "missing", "");
    expect(
        "side(\"item\")",
        "side(\"itme\")",
        "no table is joined by 'itme'",
        "did you mean 'item'",
    );
    expect("join(movies", "join(dataset(\"DATA\")", "the table has 3 splits", "table.train");
    expect("movie_price\"],", "movie_prize\"],", "movie_prize", "movie_price");
    // A missing id is none of the rows of a table by number.
    let dense = "tables: #{movie_year: #{index: \"dense\"}}, chain:";
    expect("chain:", dense, "'movie_year'", "index: \"hash\"");

    std::fs::remove_dir_all(fixture.path("movies")).unwrap();
    movies(&fixture, &[5, 6, 5]);
    expect("", "", "column `movie`: key 5 in rows 0 and 2", "one row per key");
}

#[test]
fn an_absent_key_ends_the_run_where_it_is_asked_to() {
    let fixture = Fixture::new();
    let script = script(&fixture).replace("prefix:", "missing: \"error\", prefix:");
    let options = options(&fixture, fixture.recipe(&script, &[]));
    let error = run(&options, &solo(), Box::new(Silent)).unwrap_err().to_string();
    assert!(error.contains("column `item`: expected a key of"), "{error}");
    assert!(error.contains("found 129"), "{error}");
}

/// Users take items of their kind, of which training has eight; the table has twelve.
const COLD: &str = r#"
let data = dataset("CHOICES").join(dataset("ITEMS"), #{key: "item"});
let model = two_tower(#{
    features: features(data, #{ids: ["user", "item", "kind"]}),
    embedding_dim: 8,
    query: #{id: "user", ids: ["user"]},
    candidate: #{id: "item", ids: ["item", "kind"], mlp: [8]},
    embedding_optimizer: adagrad(#{learning_rate: 0.3}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, epochs: 8, batch_size: 50});
evaluate_retrieval(model, data.test, #{
    k: [6], seen: [], items: [data.side("item").train], names: "title", baselines: false,
});
"#;

fn cold_items(fixture: &Fixture) -> String {
    let id = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let ids = |values: Vec<i64>| Column::I64 { width: 1, values };
    let create = |name: &str, columns: Vec<ColumnSchema>| {
        let schema = Schema::new(columns).unwrap();
        DatasetWriter::create(&fixture.path(name), schema, WriterOptions::default()).unwrap()
    };
    let title = ColumnSchema::plain("title", ColumnKind::Text { width: 1 });
    let mut items = create("items", vec![id("item"), id("kind"), title]);
    let titles: Vec<String> = (0..12).map(|item| format!("Film {item}")).collect();
    let titles = titles.iter().map(|title| Some(title.as_str())).collect();
    let kinds = (0..12).map(|item| item % 4).collect();
    let texts = Column::Text { width: 1, values: titles };
    items.write("train", vec![ids((0..12).collect()), ids(kinds), texts]).unwrap();
    items.finish().unwrap();
    let mut choices = create("choices", vec![id("user"), id("item")]);
    let users: Vec<i64> = (0..800).map(|row| row % 40).collect();
    let known = |row: i64| row % 40 % 4 + 4 * (row / 40 % 2);
    choices.write("train", vec![ids(users), ids((0..800).map(known).collect())]).unwrap();
    let cold = (0..40).map(|user| 8 + user % 4).collect();
    choices.write("test", vec![ids((0..40).collect()), ids(cold)]).unwrap();
    choices.finish().unwrap();
    let path = |name: &str| fixture.path(name).display().to_string();
    COLD.replace("CHOICES", &path("choices")).replace("ITEMS", &path("items"))
}

#[test]
fn items_that_no_row_has_are_found_by_their_columns() {
    let fixture = Fixture::new();
    let recipe = fixture.recipe(&cold_items(&fixture), &[]);
    let outcome = run(&options(&fixture, recipe), &solo(), Box::new(Silent)).unwrap();
    let recall = outcome.metrics["test_recall@6"].as_f64().unwrap();
    assert!(recall > 0.9, "{recall}");
    let page = std::fs::read_to_string(fixture.path("run").join("report.html")).unwrap();
    assert!(page.contains("Film 11"), "the report names items of the table");
}
