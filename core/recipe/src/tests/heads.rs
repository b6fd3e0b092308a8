//! Models with several labels, models of classes, and evaluations within groups of rows.

use rectool_base::{Column, ColumnKind, ColumnSchema, Hint, Schema, Stream};
use rectool_comm::on_ranks;
use rectool_data::{DatasetWriter, WriterOptions};

use super::data::Fixture;
use crate::{RunOptions, RunOutcome, Silent, check, run};

/// With FUNCTION, and the options of its own at OPTIONS.
const SCRIPT: &str = r#"
let data = dataset("TASKS");
let model = FUNCTION(#{
    features: features(data, #{dense: ["dense"], ids: ["user", "item"]}),
    embedding_dim: 4, OPTIONS, seed: 5,
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
let found = train(model, #{
    train: data.train, valid: data.valid, epochs: 4, batch_size: 100, seed: 5, STOP
});
let judged = evaluate(model, data.test, #{EVALUATION});
"#;

const HEADS: &str = r#"heads: [
    #{label: "click"},
    #{label: "stars", loss: "softmax", classes: 4, weight: 0.5},
    #{label: "dwell", loss: "mse", weight: 0.1},
]"#;

/// A dataset whose labels go with how near user and item are; every fifth row has no stars.
pub(super) fn tasks() -> Fixture {
    let fixture = Fixture::new();
    let i64 = |name: &str| ColumnSchema::plain(name, ColumnKind::I64 { width: 1 });
    let f32 = |name: &str| ColumnSchema::plain(name, ColumnKind::F32 { width: 1 });
    let floats = ["dense", "click", "stars", "dwell", "away"].map(f32);
    let columns = ["user", "item"].map(i64).into_iter().chain(floats).collect();
    let (path, schema) = (fixture.path("tasks"), Schema::new(columns).unwrap());
    let mut writer = DatasetWriter::create(&path, schema, WriterOptions::default()).unwrap();
    for (split, rows, seed) in [("train", 2000, 1), ("valid", 400, 2), ("test", 400, 3)] {
        let mut stream = Stream::new(seed, &[]);
        let mut ids = || (0..rows).map(|_| stream.below(12) as i64).collect::<Vec<_>>();
        let (user, item) = (ids(), ids());
        let dense: Vec<f32> = (0..rows).map(|_| stream.next_f32()).collect();
        let score: Vec<f32> = (0..rows)
            .map(|row| (user[row] - item[row]) as f32 / 4.0 + 0.5 * stream.next_normal())
            .collect();
        let of = |label: &dyn Fn(f32) -> f32| Column::F32 {
            width: 1,
            values: score.iter().map(|score| label(*score)).collect(),
        };
        let mut stars = of(&|score| (score + 2.0).floor().clamp(0.0, 3.0));
        if let Column::F32 { values, .. } = &mut stars {
            values.iter_mut().step_by(5).for_each(|value| *value = f32::NAN);
        }
        let ids = [user, item].map(|values| Column::I64 { width: 1, values });
        let (dwell, away) = (of(&|score| 2.0 * score), of(&|score| -score));
        let rest = [of(&|score| f32::from(score > 0.0)), stars, dwell, away];
        let dense = [Column::F32 { width: 1, values: dense }];
        writer.write(split, ids.into_iter().chain(dense).chain(rest).collect()).unwrap();
    }
    writer.finish().unwrap();
    fixture
}

/// A script of FUNCTION, OPTIONS, STOP and EVALUATION.
fn script(fixture: &Fixture, [function, options, stop, evaluation]: [&str; 4]) -> String {
    let path = fixture.path("tasks").display().to_string();
    let script = SCRIPT.replace("TASKS", &path).replace("FUNCTION", function);
    script.replace("OPTIONS", options).replace("STOP", stop).replace("EVALUATION", evaluation)
}

/// What rank 0 of `ranks` has of a script, which is written once: a rank that reads it while another
/// writes it sees half of it.
pub(super) fn ran(fixture: &Fixture, ranks: usize, script: &str, out: &str) -> RunOutcome {
    let recipe = fixture.recipe(script, &[]);
    let run_dir = Some(fixture.path(out));
    let options = RunOptions { recipe, run_dir, threads: Some(1), ..RunOptions::default() };
    on_ranks(ranks, |comm| run(&options, &comm, Box::new(Silent)).unwrap()).remove(0)
}

#[test]
fn every_kind_with_many_outputs_learns_all_labels() {
    let fixture = tasks();
    let stop = "early_stop: #{metric: \"accuracy_stars\", patience: 3}";
    for (function, options) in [
        ("dlrm", "bottom: [8], top: [16]"),
        ("dcnv2", "hidden: [16], cross_layers: 2"),
        ("dcnv2", "hidden: [16], cross_layers: 2, structure: \"parallel\""),
    ] {
        let options = format!("{options}, {HEADS}");
        let text = script(&fixture, [function, &options, stop, "group_by: \"user\""]);
        let show = "\nreport(#{best: found.accuracy_stars, groups: judged.gauc_groups_click});";
        let out = format!("{function}-{}", options.len());
        let outcome = ran(&fixture, 1, &(text + show), &out);
        let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
        assert!(metric("test_auc_click") > 0.9, "{function}: {}", metric("test_auc_click"));
        assert!(metric("test_accuracy_stars") > 0.5, "{function}");
        assert!(metric("test_rmse_dwell") < 2.0, "{function}: {}", metric("test_rmse_dwell"));
        assert!(metric("test_logloss_stars") < 1.386, "{function}");
        assert!(metric("test_gauc_click") > 0.85, "{function}");
        assert_eq!(outcome.metrics["test_samples"], 400);
        assert_eq!(outcome.metrics["best"], outcome.metrics["valid_accuracy_stars"]);
        let left_out = outcome.metrics["test_gauc_groups_left_out_click"].as_i64().unwrap();
        assert_eq!(outcome.metrics["groups"].as_i64().unwrap() + left_out, 12);
        let page = std::fs::read_to_string(fixture.path(&out).join("report.html")).unwrap();
        for part in ["Validation auc_click", "Validation accuracy_stars", "test auc click"] {
            assert!(page.contains(part), "{part}");
        }
        let lines = std::fs::read_to_string(fixture.path(&out).join("metrics.jsonl")).unwrap();
        assert!(lines.contains(r#""heads":[{"label":"click","loss":"#), "{lines}");
    }
}

#[test]
fn classes_are_one_label() {
    let fixture = tasks();
    let options = "bottom: [8], top: [16], loss: \"softmax\", classes: 4";
    let mut text = script(&fixture, ["dlrm", options, "", ""]);
    // Two of the four classes never come.
    text = text.replace("ids: [\"user\", \"item\"]", "ids: [\"user\", \"item\"], label: \"click\"");
    let outcome = ran(&fixture, 1, &text, "classes");
    let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
    assert!(metric("test_accuracy") > 0.8 && metric("test_logloss") < 0.5);
    assert!(outcome.metrics.get("test_auc").is_none());
}

#[test]
fn training_watches_the_auc_within_groups() {
    let fixture = tasks();
    let options = format!("bottom: [8], top: [16], {HEADS}");
    let stop = "group_by: \"user\", eval_every: 10, \
                early_stop: #{metric: \"gauc_click\", patience: 20}";
    let text = script(&fixture, ["dlrm", &options, stop, ""]);
    let again = "\nlet again = evaluate(model, data.valid, #{group_by: \"user\"});";
    let show = "\nreport(#{kept: found.gauc_click, again: again.gauc_click});";
    let outcome = ran(&fixture, 1, &(text + again + show), "watched");
    let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
    assert_eq!(metric("kept"), metric("again"));
    let lines = std::fs::read_to_string(fixture.path("watched").join("metrics.jsonl")).unwrap();
    let gauc = |line: &str| -> Option<f64> {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["evaluation"]["heads"][0]["evaluation"]["gauc"]["value"].as_f64()
    };
    let best = lines.lines().filter_map(gauc).fold(0.0, f64::max);
    assert!(best > 0.85 && metric("kept") == best, "{best}, {}", metric("kept"));
}

#[test]
fn ranks_agree_on_heads_and_groups() {
    let fixture = tasks();
    let options = format!("bottom: [8], top: [16], {HEADS}");
    let text = script(&fixture, ["dlrm", &options, "", "group_by: \"user\""]);
    let one = ran(&fixture, 1, &text, "one");
    let two = ran(&fixture, 2, &text, "two");
    for (name, value) in &one.metrics {
        let (a, b) = (value.as_f64().unwrap(), two.metrics[name].as_f64().unwrap());
        assert!((a - b).abs() < 2e-3 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
    assert_eq!(one.metrics["test_gauc_groups_click"], two.metrics["test_gauc_groups_click"]);
}

#[test]
fn mistakes_are_named() {
    let fixture = tasks();
    let dlrm = |options: &str| ["dlrm".to_owned(), format!("bottom: [8], top: [16], {options}")];
    let heads = |head: &str| dlrm(&format!("heads: [#{{label: \"click\"}}, #{{{head}}}]"));
    let deep = ["deepfm".to_owned(), format!("hidden: [8], {HEADS}")];
    let wide = "hidden: [8], loss: \"softmax\", classes: 3".to_owned();
    for ([function, options], message, hint) in [
        (heads("label: \"strs\""), "dlrm: 'heads' names 'strs', which", "did you mean 'stars'?"),
        (heads("label: \"user\""), "dlrm: 'heads' expects a column of type f32[1]", ""),
        (heads("label: \"click\""), "head `click`: `label` is that of another", "copy the column"),
        (heads("loss: \"bce\""), "dlrm: 'heads[1]' needs the option 'label'", ""),
        (
            heads("label: \"stars\", loss: \"sofmax\""),
            "dlrm: 'heads[1].loss' is 'sofmax', expected \"bce\", \"mse\", \"softmax\" or a plugin",
            "did you mean 'softmax'?",
        ),
        (
            heads("label: \"stars\", loss: \"focal\""),
            "'heads[1].loss' is 'focal'",
            "write loss: plugin(\"focal\")",
        ),
        (heads("label: \"stars\", loss: 3"), "'heads[1].loss' expects \"bce\", \"mse\"", ""),
        (
            heads("label: \"stars\", loss: \"softmax\""),
            "'heads[1].loss' is 'softmax' without 'classes'",
            "classes: 5",
        ),
        (
            heads("label: \"stars\", loss: \"softmax\", classes: 1"),
            "'heads[1].classes' is 1, expected 2 to",
            "from 0",
        ),
        (
            heads("label: \"stars\", loss: \"mse\", classes: 4"),
            "'heads[1].classes' goes with the loss \"softmax\", found 'mse'",
            "write loss: \"softmax\"",
        ),
        (heads("label: \"dwell\", weight: -0.5"), "head `dwell`: `weight` is -0.5", "not learned"),
        (heads("label: \"dwell\", wight: 1"), "'heads[1]' has no option 'wight'", "'weight'"),
        (dlrm("heads: []"), "dlrm: 'heads' is empty", "leave it out"),
        (dlrm(&format!("loss: \"bce\", {HEADS}")), "'heads' have losses of their own", "the head"),
        (deep, "a `deepfm` learns one label with one output", "`dlrm`, `dcnv2`, `din`"),
        (["wide_deep".to_owned(), wide], "a `wide_deep` learns one label", "`dlrm`"),
        (dlrm("loss: \"softmax\""), "dlrm: 'loss' is 'softmax' without 'classes'", "classes: 5"),
        (dlrm("loss: \"softmax\", classes: 1"), "dlrm: 'classes' is 1, expected 2", "from 0"),
        (dlrm("classes: 3"), "'classes' goes with the loss \"softmax\", found 'bce'", "softmax"),
        (dlrm("loss: \"softmax\", classes: 2.5"), "'classes' expects a whole number", ""),
    ] {
        let text = script(&fixture, [&function, &options, "", ""]);
        // A model without heads is to have a label.
        let label = "item\"], label: \"click\"";
        expect(&fixture, &text.replace("item\"]", label), message, hint);
    }
}

#[test]
fn mistakes_of_those_who_judge_are_named() {
    let fixture = tasks();
    let options = &format!("bottom: [8], top: [16], {HEADS}");
    for (stop, evaluation, message, hint) in [
        ("early_stop: #{metric: \"auc\", patience: 1}", "", "watches 'auc', which this", ""),
        (
            "early_stop: #{metric: \"auc_clic\", patience: 1}",
            "",
            "it has `auc_click`, `logloss_click`, `accuracy_click`, `logloss_stars`",
            "did you mean 'auc_click'?",
        ),
        (
            "early_stop: #{metric: \"gauc_click\", patience: 1}",
            "",
            "'early_stop' watches the AUC within groups without 'group_by'",
            "group_by: \"user\"",
        ),
        ("group_by: \"itm\"", "", "train: 'group_by' names 'itm'", "did you mean 'item'?"),
        ("", "group_by: \"usr\"", "'group_by' names 'usr', expected ids", "did you mean 'user'?"),
        ("", "group_by: \"dense\"", "the split has `user`, `item`", ""),
        ("", "group: \"user\"", "evaluate has no option 'group'", "group_by"),
    ] {
        let text = script(&fixture, ["dlrm", options, stop, evaluation]);
        expect(&fixture, &text, message, hint);
    }
    let regression = "hidden: [8], loss: \"mse\"";
    let text = script(&fixture, ["deepfm", regression, "", "group_by: \"user\""]);
    let text = text.replace("item\"]", "item\"], label: \"dwell\"");
    expect(&fixture, &text, "nothing that the model says of a row has an AUC", "\"bce\"");
}

pub(super) fn expect(fixture: &Fixture, script: &str, message: &str, hint: &str) {
    let Err(error) = check(&fixture.recipe(script, &[]), 1) else { panic!("no error: {message}") };
    let text = error.to_string();
    assert!(text.contains("recipe.rhai:") && text.contains(message), "{message}: {text}");
    let found = error.hint().unwrap_or_default();
    assert!(found.contains(hint), "{message}: {found}");
    assert_eq!(error.exit_code(), 2, "{message}");
}

#[test]
fn a_plan_shows_what_may_be_read() {
    let fixture = tasks();
    let options = format!("bottom: [8], top: [16], {HEADS}");
    let text = script(&fixture, ["dlrm", &options, "", "group_by: \"user\""]);
    let show = "\nlet all = [found.auc_click, judged.logloss_stars, judged.gauc_click];";
    let plan = check(&fixture.recipe(&(text + show), &[]), 2).unwrap();
    let last = plan.trainings[0].layers.last().unwrap();
    assert_eq!(last, &("top.1".to_owned(), 16, 6));
}

/// Users like the items below them; the first head learns the contrary.
const TWO_STAGES: &str = r#"
let data = dataset("TASKS");
let tables = #{embedding_optimizer: adagrad(#{learning_rate: 0.3}), dense_optimizer: adam(#{learning_rate: 0.01})};
let inputs = features(data, #{ids: ["user", "item"], label: "click"});
let towers = two_tower(tables + #{
    features: inputs, embedding_dim: 4,
    query: #{id: "user", ids: ["user"]}, candidate: #{id: "item", ids: ["item"]},
});
train(towers, #{train: data.train, steps_max: 1, batch_size: 50});
let ranker = dlrm(tables + #{
    features: inputs, embedding_dim: 4, top: [16],
    heads: [
        #{label: "away", loss: "mse"}, #{label: "click"},
        #{label: "stars", loss: "softmax", classes: 4, weight: 0.0},
    ],
});
train(ranker, #{train: data.train, epochs: 6, batch_size: 50});
let how = #{k: [3], seen: [], candidates: 12};
let good = evaluate_two_stage(towers, ranker, data.test, how + #{head: "click"});
let bad = evaluate_two_stage(towers, ranker, data.test, how + #{head: "away"});
report(#{good: good["recall@3"], bad: bad["recall@3"]});
"#;

#[test]
fn a_head_orders_what_was_retrieved() {
    let fixture = tasks();
    let text = TWO_STAGES.replace("TASKS", &fixture.path("tasks").display().to_string());
    for ranks in [1, 2] {
        let out = format!("stages-{ranks}");
        let found = ran(&fixture, ranks, &text, &out);
        let metric = |name: &str| found.metrics[name].as_f64().unwrap();
        assert!(metric("good") > metric("bad") + 0.1, "{} {}", metric("good"), metric("bad"));
    }
    for (head, message, hint) in [
        ("", "'head' is absent, and the second model has 6 scores", "head: \"away\""),
        ("head: \"stars\"", "'head' names 'stars'; heads of the second", ""),
        ("head: \"clik\"", "that order: `away`, `click`", "did you mean 'click'?"),
    ] {
        expect(&fixture, &text.replace("head: \"click\"", head), message, hint);
    }
    let (before, heads) = text.split_once("heads: [").unwrap();
    let (_, after) = heads.split_once("],\n});").unwrap();
    let classes = format!("{before}loss: \"softmax\", classes: 4,\n}});{after}");
    let classes = classes.replace("head: \"click\"", "");
    expect(&fixture, &classes, "the second model has 4 scores", "in no order");
}
