//! Negatives in recipes: what may be said of them, and a run.

use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Schema, Stream};
use rectool_comm::{Solo, on_ranks};
use rectool_data::{DatasetWriter, WriterOptions};

use super::data::Fixture;
use super::plugins::native;
use crate::run::{check_with, run_with};
use crate::{RunOptions, Silent};

/// Users choose items that are near them; every row is a choice.
const SCRIPT: &str = r#"
let data = dataset("CHOICES");
let model = dlrm(#{
    features: features(data, #{label: "click", ids: ["user", "item", "kind"], negatives: #{
        sampler: plugin("uniform", #{power: 0.5}), item: "item", per_row: 3, item_columns: ["kind"],
        log_q: "log_q", group: "row"}}),
    embedding_dim: 4, top: [16],
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, valid: data.valid, epochs: 4, batch_size: 50});
evaluate(model, data.valid);
"#;

fn script(fixture: &Fixture) -> String {
    let path = fixture.path("choices");
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let members = vec!["item".to_owned(), "kind".to_owned()];
    let columns = vec![
        i64("user"),
        ColumnSchema::packed("items", ColumnKind::I64 { width: 2 }, members),
        ColumnSchema::plain("click", ColumnKind::F32 { width: 1 }),
    ];
    let schema = Schema::new(columns).unwrap();
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 1_000), ("valid", 200)].map(|(s, n)| (s, n, n as u64)) {
        let mut stream = Stream::new(seed, &[]);
        let user: Vec<i64> = (0..rows).map(|_| stream.below(12) as i64).collect();
        let item = |user: &i64| (user + (user * 7) % 3) % 12;
        let items = user.iter().flat_map(|user| [item(user), item(user) % 2]).collect();
        let click = Column::F32 { width: 1, values: vec![1.0; rows] };
        let (user, items) =
            (Column::I64 { width: 1, values: user }, Column::I64 { width: 2, values: items });
        writer.write(split, vec![user, items, click]).unwrap();
    }
    writer.finish().unwrap();
    SCRIPT.replace("CHOICES", &path.display().to_string())
}

#[test]
fn choices_train_with_negatives() {
    let fixture = Fixture::new();
    let recipe = fixture.recipe(&script(&fixture), &[]);
    let plan = check_with(&recipe, 1, native()).unwrap();
    assert_eq!(plan.plugins[0].kind, "sampler");
    assert!(plan.to_text().contains("50 samples and 3 negatives to each"), "{}", plan.to_text());
    let run_dir = Some(fixture.path("out"));
    let options = RunOptions { recipe, run_dir, threads: Some(2), ..RunOptions::default() };
    let comm: Arc<dyn rectool_comm::Comm> = Arc::new(Solo);
    let outcome = run_with(&options, &comm, Box::new(Silent), native()).unwrap();
    assert_eq!(outcome.metrics["valid_samples"], 800);
    let auc = outcome.metrics["valid_auc"].as_f64().unwrap();
    assert!(auc > 0.9, "{auc}");
}

/// Heads in place of the label: one learns what was chosen, one what came of it.
fn with_heads(script: &str, heads: &str) -> String {
    let script = script.replace("label: \"click\", ids", "ids");
    let script = script.replace("log_q: \"log_q\"", "label: \"chosen\"");
    script.replace("top: [16],", &format!("top: [16], heads: [{heads}],"))
}

#[test]
fn heads_learn_what_was_chosen_and_what_came_of_it() {
    let fixture = Fixture::new();
    let script = script(&fixture);
    let heads = "#{label: \"chosen\", loss: plugin(\"bce\")}, #{label: \"click\", loss: \"mse\"}";
    let recipe = fixture.recipe(&with_heads(&script, heads), &[]);
    let run_dir = Some(fixture.path("out"));
    let options = RunOptions { recipe, run_dir, threads: Some(1), ..RunOptions::default() };
    let run = |comm| run_with(&options, &comm, Box::new(Silent), native()).unwrap().metrics;
    let found = on_ranks(2, run).remove(0);
    assert_eq!(found["valid_samples"], 800);
    let metric = |name: &str| found[name].as_f64().unwrap();
    assert!(metric("valid_auc_chosen") > 0.9, "{found:?}");
    assert!((metric("valid_loss_chosen") - metric("valid_logloss_chosen")).abs() < 1e-6);
    // Where something was chosen it is always 1, and elsewhere it is not known.
    assert!(metric("valid_rmse_click") < 0.1, "{found:?}");
    for (heads, message, hint) in [
        (
            "#{label: \"click\"}",
            "found none with the label `chosen` of the negatives",
            "into `heads`",
        ),
        (
            "#{label: \"chosen\", loss: plugin(\"uniform\")}",
            "'heads[0].loss' expects a plugin that is a loss; 'uniform' is a sampler",
            "",
        ),
        (
            "#{label: \"chosen\", loss: plugin(\"bce\"), classes: 3}",
            "'heads[0].classes' goes with the loss \"softmax\", found 'bce'",
            "softmax",
        ),
    ] {
        let recipe = fixture.recipe(&with_heads(&script, heads), &[]);
        let Err(error) = check_with(&recipe, 1, native()) else { panic!("no error: {heads}") };
        let text = error.to_string();
        assert!(text.contains("recipe.rhai:4:") || text.contains("recipe.rhai:7:"), "{text}");
        assert!(text.contains(message), "{heads}: {text}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{:?}", error.hint());
    }
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let fixture = Fixture::new();
    let script = script(&fixture);
    for (from, to, message, hint) in [
        ("item: \"item\"", "item: \"itm\"", "5:52: features: 'negatives.item' names 'itm'", "item"),
        ("item: \"item\"", "item: \"items\"", "expects one value per row of type i64[1]", ""),
        ("item: \"item\"", "item: \"click\"", "'click' is f32[1]", ""),
        ("item: \"item\"", "itm: \"item\"", "features: 'negatives' has no option 'itm'", "'item'"),
        ("per_row: 3", "per_row: 0", "'negatives.per_row' is 0, expected 1 to 10000", ""),
        ("[\"kind\"],\n", "[\"kin\"],\n", "'negatives.item_columns' names 'kin'", "'kind'"),
        ("group: \"row\"", "group: \"user\"", "'negatives.group' adds column 'user'", "another"),
        ("sampler: plugin(\"uniform\", #{power: 0.5}), ", "", "needs the option 'sampler'", ""),
        (
            "\"uniform\", #{power: 0.5}",
            "\"bce\"",
            "a plugin that is a sampler; 'bce' is a loss",
            "",
        ),
        ("plugin(\"uniform\", #{power: 0.5})", "5", "expects a plugin such as", ""),
        ("epochs: 4", "negatives: #{}", "train: 'negatives' belongs into features", "chain"),
    ] {
        assert!(script.contains(from), "{from}");
        let recipe = fixture.recipe(&script.replace(from, to), &[]);
        let Err(error) = check_with(&recipe, 1, native()) else { panic!("no error: {to}") };
        let text = error.to_string();
        assert!(text.contains("recipe.rhai:") && text.contains(message), "{to}: {text}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{to}: {found}");
        assert_eq!(error.exit_code(), 2, "{to}");
    }
}
