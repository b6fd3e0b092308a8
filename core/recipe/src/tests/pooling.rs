//! Pooled and weighted lists in recipes: what may be said of them, and a run.

use std::sync::Arc;

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Jagged, Schema, Stream};
use rectool_comm::{Comm, Solo};
use rectool_data::{DatasetWriter, WriterOptions};

use super::data::Fixture;
use crate::{RunOptions, Silent, check, run};

const SCRIPT: &str = r#"
let data = dataset("TAGGED");
let model = dlrm(#{
    features: features(data, #{dense: ["age"], chain: [
        truncate("tags", 3), truncate("tag_weights", 3)], ids: ["user",
        #{column: "tags", pooling: "sqrtn", weights: "tag_weights"},
        #{column: "tags", name: "any_tag", table: "tags", pooling: "mean"}]}),
    embedding_dim: 4, bottom: [8], top: [8],
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, valid: data.valid, epochs: 4, batch_size: 50});
evaluate(model, data.valid);
"#;

/// Clicks where the weighted tags of a row are even rather than odd; `extra` more weights in row 7 of
/// the training split.
fn script(fixture: &Fixture, extra: usize) -> String {
    let path = fixture.path("tagged");
    let schema = Schema::new(vec![
        ColumnSchema::plain("user", ColumnKind::I64 { width: 1 }),
        ColumnSchema::plain("age", ColumnKind::F32 { width: 1 }),
        ColumnSchema::plain("label", ColumnKind::F32 { width: 1 }),
        ColumnSchema::plain("tags", ColumnKind::I64List),
        ColumnSchema::plain("tag_weights", ColumnKind::F32List),
    ]);
    let mut writer =
        DatasetWriter::create(&path, schema.unwrap(), WriterOptions::default()).unwrap();
    for (split, rows) in [("train", 2_000), ("valid", 400)] {
        let mut stream = Stream::new(rows as u64, &[]);
        let (mut label, mut user, mut age) = (Vec::new(), Vec::new(), Vec::new());
        let (mut tags, mut weights) = (Jagged::new(), Jagged::new());
        for row in 0..rows {
            let ids: Vec<i64> = (0..=stream.below(3)).map(|_| stream.below(10) as i64).collect();
            let mut own: Vec<f32> = ids.iter().map(|_| 2.0 * stream.next_f32() - 1.0).collect();
            let sign = |id: &i64| if id % 2 == 0 { 1.0 } else { -1.0 };
            let score: f32 =
                ids.iter().zip(&own).rev().take(3).map(|(id, weight)| sign(id) * weight).sum();
            label.push(f32::from(score > 0.0));
            user.push(stream.below(5) as i64);
            age.push(stream.next_f32());
            if split == "train" && row == 7 {
                own.extend(vec![1.0; extra]);
            }
            tags.push_row(&ids);
            weights.push_row(&own);
        }
        let f32 = |values| Column::F32 { width: 1, values };
        let user = Column::I64 { width: 1, values: user };
        let lists = [Column::I64List(tags), Column::F32List(weights)];
        let columns = [user, f32(age), f32(label)].into_iter().chain(lists);
        writer.write(split, columns.collect()).unwrap();
    }
    writer.finish().unwrap();
    SCRIPT.replace("TAGGED", &path.display().to_string())
}

fn options(fixture: &Fixture, script: &str) -> RunOptions {
    let run_dir = Some(fixture.path("out"));
    let recipe = fixture.recipe(script, &[]);
    RunOptions { recipe, run_dir, threads: Some(2), ..RunOptions::default() }
}

#[test]
fn weighted_tags_are_learnt() {
    let fixture = Fixture::new();
    let options = options(&fixture, &script(&fixture, 0));
    let tables = check(&options.recipe, 1).unwrap().trainings.remove(0).tables;
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["user", "tags"]);
    let comm: Arc<dyn Comm> = Arc::new(Solo);
    let outcome = run(&options, &comm, Box::new(Silent)).unwrap();
    let auc = outcome.metrics["valid_auc"].as_f64().unwrap();
    assert!(auc > 0.9, "{auc}");
}

#[test]
fn a_row_with_too_few_weights_ends_the_run() {
    let fixture = Fixture::new();
    let script =
        script(&fixture, 2).replace("truncate(\"tags\", 3), truncate(\"tag_weights\", 3)", "");
    let comm: Arc<dyn Comm> = Arc::new(Solo);
    let error = run(&options(&fixture, &script), &comm, Box::new(Silent)).err().unwrap();
    let text = error.to_string();
    assert!(text.contains("of the batch: feature `tags` has"), "{text}");
    assert!(text.contains("weights in `tag_weights`"), "{text}");
    assert!(error.hint().unwrap().contains("`truncate`"));
}

#[test]
fn mistakes_are_named_where_they_stand() {
    let fixture = Fixture::new();
    let script = script(&fixture, 0);
    let pooling = "pooling: \"sqrtn\", weights: \"tag_weights\"";
    for (from, to, message, hint) in [
        ("\"sqrtn\"", "\"sqrt\"", "features: 'ids[1].pooling' is 'sqrt', expected one of", "sqrtn"),
        (
            "weights: \"tag_weights\"",
            "weights: \"tag_weight\"",
            "'tag_weight', which",
            "tag_weights",
        ),
        (
            "weights: \"tag_weights\"",
            "weights: \"age\"",
            "f32 list; 'age' is f32[1]",
            "--float-lists",
        ),
        (
            "weights: \"tag_weights\"",
            "wieghts: \"age\"",
            "'ids[1]' has no option 'wieghts'",
            "weights",
        ),
        (
            "ids: [\"user\",",
            "ids: [#{column: \"user\", weights: \"tag_weights\"},",
            "gives weights to 'user', which is i64[1]; only lists of ids",
            "",
        ),
        (
            pooling,
            "pooling: \"sequence\"",
            "'ids[1]' is a sequence and needs the option 'length'",
            "50",
        ),
        (
            pooling,
            "pooling: \"sequence\", length: 0",
            "'ids[1]' has the length 0, expected 1 to 65536",
            "",
        ),
        (pooling, "keep: \"last\"", "'ids[1]' pools its ids, but 'length' and 'keep'", "sequence"),
        (
            pooling,
            "pooling: \"sequence\", length: 3, keep: \"last\"",
            "feature `tags` is a sequence of 3 vectors, expected one vector from each feature",
            "`sqrtn`",
        ),
        (
            ", weights: \"tag_weights\"",
            "",
            "features: 'chain' makes `tag_weights`, which no feature uses",
            "",
        ),
    ] {
        assert!(script.contains(from), "{from}");
        let recipe = fixture.recipe(&script.replace(from, to), &[]);
        let Err(error) = check(&recipe, 1) else { panic!("no error: {to}") };
        let text = error.to_string();
        assert!(text.contains("recipe.rhai:") && text.contains(message), "{to}: {text}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{to}: {found}");
        assert_eq!(error.exit_code(), 2, "{to}");
    }
}
