//! `two_tower` and `evaluate_retrieval`: options, mistakes and runs.

use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Jagged, Schema, Stream};
use rectool_comm::{Comm, on_ranks};
use rectool_data::{DatasetWriter, WriterOptions};

use super::data::Fixture;
use super::plugins::native;
use crate::run::{check_with, run_with};
use crate::{RunOptions, Silent, check, run};

const SCRIPT: &str = r#"
let data = dataset("CHOICES");
let model = two_tower(#{
    features: features(data, #{ids: ["user", "item", "kind"]}),
    embedding_dim: 8, OPTIONS
    query: #{id: "user", ids: ["user"]},
    candidate: #{id: "item", ids: ["item", "kind"], mlp: [8]},
    embedding_optimizer: adagrad(#{learning_rate: 0.3}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, valid: data.valid, epochs: 8, batch_size: 50, eval_k: 3});
let found = evaluate_retrieval(model, data.valid, #{k: [2, 3], seen: [], JUDGED});
report(#{best: found["recall@3"]});
"#;

/// Users choose items that are near them; each row lists what they are to be ranked among.
fn script(fixture: &Fixture, options: &str, judged: &str) -> String {
    let path = fixture.path("choices");
    if !path.exists() {
        let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
        let lists = ColumnSchema::plain("others", ColumnKind::I64List);
        let schema = Schema::new(vec![i64("user"), i64("item"), i64("kind"), lists]).unwrap();
        let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
        for (split, rows) in [("train", 1_000), ("valid", 200)] {
            let mut stream = Stream::new(rows, &[]);
            let user: Vec<i64> = (0..rows).map(|_| stream.below(12) as i64).collect();
            let near = |user: &i64| (user + stream.below(3) as i64) % 12;
            let item: Vec<i64> = user.iter().map(near).collect();
            let kind = item.iter().map(|item| item % 4).collect();
            let mut others = Jagged::new();
            for item in &item {
                others.push_row(&[(item + 5) % 12, (item + 6) % 12]);
            }
            let i64 = |values| Column::I64 { width: 1, values };
            let columns = vec![i64(user), i64(item), i64(kind), Column::I64List(others)];
            writer.write(split, columns).unwrap();
        }
        writer.finish().unwrap();
    }
    let script = SCRIPT.replace("CHOICES", &path.display().to_string());
    let user = if options.contains("normalize: true") { ", mlp: [8]" } else { "" };
    let script = script.replace("ids: [\"user\"]}", &format!("ids: [\"user\"]{user}}}"));
    script.replace("OPTIONS", options).replace("JUDGED", judged)
}

#[test]
fn towers_find_what_users_take_with_every_objective() {
    let objectives =
        ["", "objective: \"bpr\",", "log_q: false, normalize: true, temperature: 0.2,"];
    let ccl = "objective: #{kind: \"ccl\", margin: 0.2, negative_weight: 2.0},";
    for objective in objectives.into_iter().chain([ccl]) {
        let fixture = Fixture::new();
        let judged = "baselines: true, negatives: \"others\"";
        let recipe = fixture.recipe(&script(&fixture, objective, judged), &[]);
        let run_dir = fixture.path("out");
        let options = RunOptions {
            recipe,
            run_dir: Some(run_dir.clone()),
            threads: Some(2),
            ..RunOptions::default()
        };
        let comm: Arc<dyn Comm> = Arc::new(rectool_comm::Solo);
        let outcome = run(&options, &comm, Box::new(Silent)).unwrap();
        let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
        assert!(metric("valid_recall@3") > 0.85, "{objective}: {}", metric("valid_recall@3"));
        assert_eq!(metric("best"), metric("valid_recall@3"));
        assert!(metric("valid_sampled_hit_rate@2") > 0.9);
        assert!(metric("valid_loss").is_finite());
        let text = std::fs::read_to_string(run_dir.join("result.json")).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        let judged = &result["retrieval"][0];
        let figure = &judged["full"]["metrics"]["recall@3"];
        assert!(figure["low"].as_f64() <= figure["mean"].as_f64());
        assert_eq!(judged["baselines"][0]["name"], "popularity");
        let popular = &judged["baselines"][0]["full"]["metrics"]["recall@3"]["mean"];
        assert!(popular.as_f64().unwrap() < 0.5);
        let page = std::fs::read_to_string(run_dir.join("report.html")).unwrap();
        assert!(page.contains("implicit ALS") && page.contains("Validation recall"));
    }
}

#[test]
fn ranks_agree_on_what_is_found() {
    let fixture = Fixture::new();
    let recipe = fixture.recipe(&script(&fixture, "", "baselines: false"), &[]);
    let run_dir = Some(fixture.path("out"));
    let options = RunOptions { recipe, run_dir, threads: Some(1), ..RunOptions::default() };
    let found = on_ranks(2, |comm| run(&options, &comm, Box::new(Silent)).unwrap().metrics);
    assert_eq!(found[0], found[1]);
    assert!(found[0]["valid_recall@3"].as_f64().unwrap() > 0.85);
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let fixture = Fixture::new();
    let good = script(&fixture, "", "baselines: false");
    check(&fixture.recipe(&good, &[]), 1).unwrap();
    for (from, to, message, hint) in [
        ("query: #{id: \"user\",", "query: #{id: \"usr\",", "'query' names 'usr'", "'user'"),
        ("query: #{id: \"user\", ids", "query: #{ids", "'query' needs the option 'id'", ""),
        ("id: \"item\",", "id: \"others\",", "'candidate' has id 'others' of type", ""),
        ("ids: [\"user\"]}", "ids: [\"usr\"]}", "`query.ids` is usr", ""),
        ("ids: [\"user\"]}", "ids: []}", "`query.ids` is empty", ""),
        ("mlp: [8]", "mlp: [9]", "9", ""),
        ("embedding_dim: 8,", "embedding_dim: 8, temperature: 0.0,", "`temperature` is 0", ""),
        ("embedding_dim: 8,", "embedding_dim: 8, objective: \"sofmax\",", "'sofmax'", "'softmax'"),
        ("embedding_dim: 8,", "embedding_dim: 8, objective: \"pairs\",", "option 'label'", "bpr"),
        ("embedding_dim: 8,", "embedding_dim: 8, loss: \"mse\",", "`loss` is given", ""),
        ("k: [2, 3]", "k: [0]", "'k' is 0, expected 1 to 10000", ""),
        ("k: [2, 3]", "k: []", "'k' is empty", ""),
        ("seen: []", "seen: [data.trian]", "trian", "`train`"),
        ("seen: []", "sen: []", "no option 'sen'", "'seen'"),
        ("baselines: false", "negatives: 0", "'negatives' is 0", ""),
        (
            "evaluate_retrieval(model, data.valid, #{k: [2, 3], seen: [], baselines: false})",
            "evaluate(model, data.valid)",
            "score no rows",
            "evaluate_retrieval",
        ),
    ] {
        let text = good.replace(from, to);
        assert_ne!(text, good, "{from}");
        let error = check(&fixture.recipe(&text, &[]), 1).unwrap_err();
        let found = error.to_string();
        assert!(found.contains(message), "{to}: {found}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{to}: {:?}", error.hint());
    }
    // A list that the test split does not have shows when it is read.
    let text = good.replace("baselines: false", "negatives: \"item\"");
    let run_dir = Some(fixture.path("out"));
    let recipe = fixture.recipe(&text, &[]);
    let options = RunOptions { recipe, run_dir, ..RunOptions::default() };
    let comm: Arc<dyn Comm> = Arc::new(rectool_comm::Solo);
    let error = run(&options, &comm, Box::new(Silent)).unwrap_err();
    assert!(error.to_string().contains("evaluate_retrieval") || error.exit_code() == 1, "{error}");
}

/// The ranker is told which of two kinds of items each user likes; the towers are not.
const TWO_STAGES: &str = r#"
let data = dataset("CHOICES");
let tables = #{embedding_optimizer: adagrad(#{learning_rate: 0.3}), dense_optimizer: adam(#{learning_rate: 0.01})};
let towers = two_tower(tables + #{
    features: features(data, #{ids: ["user", "item"]}), embedding_dim: 4,
    query: #{id: "user", ids: ["user"]}, candidate: #{id: "item", ids: ["item"]},
});
train(towers, #{train: data.train, epochs: 1, batch_size: 50});
let ranker = dlrm(tables + #{
    features: features(data, #{ids: ["user", "item", "kind"], negatives: #{
        sampler: plugin("uniform", #{power: 0.5}), item: "item", per_row: 3, item_columns: ["kind"],
        label: "label"}}),
    embedding_dim: 4, top: [16],
});
train(ranker, #{train: data.train, epochs: 6, batch_size: 50});
let how = #{k: [3], seen: []};
let alone = evaluate_retrieval(towers, data.valid, how);
let ranked = evaluate_two_stage(towers, ranker, data.valid, how + #{candidates: 10, item_columns: ["kind"]});
report(#{gain: ranked["ndcg@3"] - alone["ndcg@3"]});
"#;

#[test]
fn a_second_stage_orders_what_the_first_one_found() {
    let fixture = Fixture::new();
    script(&fixture, "", "");
    let text = TWO_STAGES.replace("CHOICES", &fixture.path("choices").display().to_string());
    let recipe = fixture.recipe(&text, &[]);
    let found = |ranks: usize, out: &str| {
        let options = RunOptions {
            recipe: recipe.clone(),
            run_dir: Some(fixture.path(out)),
            threads: Some(1),
            ..RunOptions::default()
        };
        let run = |comm| run_with(&options, &comm, Box::new(Silent), native()).unwrap().metrics;
        on_ranks(ranks, run).pop().unwrap()
    };
    let alone = found(1, "one");
    assert!(alone["gain"].as_f64().unwrap() > 0.05, "{alone:?}");
    assert!(alone["valid_ranked_recall@3"].as_f64().unwrap() > 0.8, "{alone:?}");
    let near = |name: &str, other: &serde_json::Map<String, serde_json::Value>| {
        (alone[name].as_f64().unwrap() - other[name].as_f64().unwrap()).abs() < 0.05
    };
    assert!(near("valid_ranked_recall@3", &found(2, "two")));
    for (from, to, message) in [
        ("candidates: 10", "candidates: 2", "'candidates' is 2, expected 3 to 10000"),
        ("towers, ranker, data", "towers, towers, data", "scores no rows"),
        ("towers, ranker, data", "ranker, towers, data", "expects a model of two towers"),
    ] {
        let error = check_with(&fixture.recipe(&text.replace(from, to), &[]), 1, native());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}
