//! Two towers with heads: options, mistakes and runs.

use rectool_base::Hint;

use super::data::Fixture;
use super::heads::{expect, ran, tasks};
use crate::check;

const SCRIPT: &str = r#"
let data = dataset("TASKS");
let model = two_tower(#{
    features: features(data, #{dense: ["dense"], ids: ["user", "item"]}),
    embedding_dim: 4, OPTIONS, seed: 5,
    query: #{id: "user", ids: ["user"], dense: ["dense"], mlp: [8]},
    candidate: #{id: "item", ids: ["item"], mlp: [8]},
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
let found = train(model, #{
    train: data.train, valid: data.valid, epochs: 4, batch_size: 100, eval_k: 3, seed: 5, STOP
});
let judged = evaluate(model, data.test, #{EVALUATION});
let retrieved = evaluate_retrieval(model, data.test, #{k: [3], seen: []});
"#;

const HEADS: &str = r#"objective_weight: 0.5, heads: [
    #{label: "click", layers: [16]},
    #{label: "stars", loss: "softmax", classes: 4, weight: 0.5, layers: [16, 8]},
    #{label: "dwell", loss: "mse", weight: 0.3},
]"#;

/// The script with OPTIONS, STOP and EVALUATION.
fn script(fixture: &Fixture, [options, stop, evaluation]: [&str; 3]) -> String {
    let script = SCRIPT.replace("TASKS", &fixture.path("tasks").display().to_string());
    let script = script.replace("OPTIONS", options).replace("STOP", stop);
    script.replace("EVALUATION", evaluation)
}

#[test]
fn heads_are_learned_beside_the_objective_and_shown_with_it() {
    let fixture = tasks();
    let stop = "early_stop: #{metric: \"rmse_dwell\", patience: 3}, group_by: \"user\"";
    let text = script(&fixture, [HEADS, stop, "group_by: \"user\""]);
    let show =
        "\nreport(#{best: found.rmse_dwell, recall: retrieved[\"recall@3\"], own: judged.loss});";
    let outcome = ran(&fixture, 1, &(text + show), "out");
    let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
    assert!(metric("test_auc_click") > 0.9, "{}", metric("test_auc_click"));
    assert!(metric("test_accuracy_stars") > 0.5, "{}", metric("test_accuracy_stars"));
    assert!(metric("test_rmse_dwell") < 1.5, "{}", metric("test_rmse_dwell"));
    assert!(metric("test_gauc_click") > 0.85);
    for (one, other) in
        [("best", "valid_rmse_dwell"), ("recall", "test_recall@3"), ("own", "test_loss")]
    {
        assert_eq!(metric(one), metric(other));
    }
    // Users have seen all there is, so that nothing is left to be found.
    assert_eq!(metric("valid_recall"), 0.0);
    assert!(outcome.metrics.get("test_recall").is_none());
    let page = std::fs::read_to_string(fixture.path("out").join("report.html")).unwrap();
    for part in
        ["Validation recall", "Validation auc_click", "Validation rmse_dwell", "test auc click"]
    {
        assert!(page.contains(part), "{part}");
    }
    let lines = std::fs::read_to_string(fixture.path("out").join("metrics.jsonl")).unwrap();
    assert!(lines.contains(r#""objective":"#), "{lines}");
    assert!(lines.contains(r#""heads":[{"label":"click","loss":"#), "{lines}");
    assert!(lines.contains(r#""recall":"#) && lines.contains(r#""rmse":"#), "{lines}");
}

#[test]
fn ranks_agree_on_towers_with_heads() {
    let fixture = tasks();
    let text = script(&fixture, [HEADS, "", "group_by: \"user\""]);
    let one = ran(&fixture, 1, &text, "one");
    let two = ran(&fixture, 2, &text, "two");
    for (name, value) in &one.metrics {
        let (a, b) = (value.as_f64().unwrap(), two.metrics[name].as_f64().unwrap());
        assert!((a - b).abs() < 0.02 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
}

#[test]
fn pairs_keep_their_loss_and_label_beside_heads() {
    let fixture = tasks();
    let options =
        "objective: \"pairs\", loss: \"bce\", heads: [#{label: \"dwell\", loss: \"mse\"}]";
    let text = script(&fixture, [options, "early_stop: #{patience: 9}", ""]);
    let text = text.replace("\"item\"]})", "\"item\"], label: \"click\"})");
    let show = "\nreport(#{watched: found.auc});";
    let outcome = ran(&fixture, 1, &(text.clone() + show), "out");
    let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
    assert!(metric("test_auc") > 0.85 && metric("test_rmse_dwell") < 1.5, "{:?}", outcome.metrics);
    // Without a label pairs have nothing to tell apart.
    expect(&fixture, &text.replace(", label: \"click\"", ""), "option 'label'", "\"softmax\"");
}

/// The towers find items, and one of their heads orders these: the other one learns the contrary.
const TWO_STAGES: &str = r#"
let how = #{k: [3], seen: [], candidates: 12};
let good = evaluate_two_stage(model, model, data.test, how + #{head: "click"});
let bad = evaluate_two_stage(model, model, data.test, how + #{head: "away"});
report(#{good: good["recall@3"], bad: bad["recall@3"]});
"#;

#[test]
fn a_head_of_towers_orders_what_they_found() {
    let fixture = tasks();
    let heads = "heads: [#{label: \"click\"}, #{label: \"away\", loss: \"mse\"}]";
    let text = script(&fixture, [heads, "", ""]) + TWO_STAGES;
    let text = text.replace("\"item\"]})", "\"item\"], label: \"click\"})");
    let outcome = ran(&fixture, 1, &text, "out");
    let metric = |name: &str| outcome.metrics[name].as_f64().unwrap();
    assert!(metric("good") > metric("bad"), "{:?}", outcome.metrics);
    let head = text.replace("how + #{head: \"click\"}", "how");
    expect(&fixture, &head, "is absent, and the second model has 2 scores", "head: \"click\"");
}

#[test]
fn mistakes_are_named() {
    let fixture = tasks();
    let heads = |head: &str| format!("heads: [#{{label: \"click\"}}, #{{{head}}}]");
    for (options, message, hint) in [
        (heads("label: \"strs\""), "two_tower: 'heads' names 'strs', which", "'stars'?"),
        (heads("label: \"user\""), "'heads' expects a column of type f32[1]", ""),
        (heads("label: \"click\""), "head `click`: `label` is that of another", "copy"),
        (heads("label: \"stars\", loss: \"msee\""), "'heads[1].loss' is 'msee'", "'mse'?"),
        (heads("label: \"stars\", loss: \"softmax\""), "without 'classes'", "classes: 5"),
        (heads("label: \"dwell\", weight: -0.5"), "head `dwell`: `weight` is -0.5", "not learned"),
        (heads("label: \"dwell\", weight: \"1\""), "'heads[1].weight' expects", ""),
        (heads("label: \"dwell\", layers: 64"), "'heads[1].layers' expects", ""),
        (heads("label: \"dwell\", layers: [64, 0]"), "'heads[1].layers' is 0, expected 1 to", ""),
        (heads("label: \"dwell\", layer: [64]"), "'heads[1]' has no option 'layer'", "'layers'"),
        ("heads: []".to_owned(), "two_tower: 'heads' is empty", "leave it out"),
        (format!("loss: \"mse\", {HEADS}"), "`loss` is given", ""),
        (HEADS.replace("0.5, heads", "-1.0, heads"), "`objective_weight` is -1", ""),
        (HEADS.replace("objective_weight", "objectiv_weight"), "'objectiv_weight'", "_weight'?"),
        ("objective_weight: 0.5".to_owned(), "`objective_weight` is 0.5, expected 1", ""),
    ] {
        expect(&fixture, &script(&fixture, [&options, "", ""]), message, hint);
    }
    for (stop, evaluation, message, hint) in [
        ("early_stop: #{metric: \"rmse_dwel\", patience: 1}", "", "`mae_dwell`", "'rmse_dwell'?"),
        ("early_stop: #{metric: \"auc\", patience: 1}", "", "it has `recall`, `ndcg`", ""),
        ("", "group_by: \"usr\"", "'group_by' names 'usr'", "'user'?"),
    ] {
        expect(&fixture, &script(&fixture, [HEADS, stop, evaluation]), message, hint);
    }
    let plain = script(&fixture, ["seed: 1", "", ""]).replace("seed: 1, ", "");
    expect(&fixture, &plain, "score no rows", "give the towers heads");
    let text = script(&fixture, [HEADS, "", ""]);
    let dlrm = "dlrm(#{features: features(data, #{ids: [\"user\", \"item\"]}), embedding_dim: 4, \
                top: [8], heads: [#{label: \"click\", layers: [8]}], \
                embedding_optimizer: adagrad(#{}), dense_optimizer: adam(#{})});";
    let error = check(&fixture.recipe(&(text + dlrm), &[]), 1).unwrap_err();
    assert!(error.to_string().contains("head `click`: `layers` is [8], expected none"), "{error}");
    assert!(error.hint().unwrap().contains("two_tower"), "{:?}", error.hint());
}

#[test]
fn a_plan_shows_the_layers_of_heads() {
    let fixture = tasks();
    let show = "\nlet all = [found.recall, found.auc_click, judged.loss, judged.rmse_dwell];";
    let text = script(&fixture, [HEADS, "", ""]) + show;
    let plan = check(&fixture.recipe(&text, &[]), 2).unwrap();
    let layers = &plan.trainings[0].layers;
    let layer = |name: &str, inputs, outputs| (name.to_owned(), inputs, outputs);
    let of_heads = [
        layer("head.click.0", 24, 16),
        layer("head.click.1", 16, 1),
        layer("head.stars.0", 24, 16),
        layer("head.stars.1", 16, 8),
        layer("head.stars.2", 8, 4),
        layer("head.dwell.0", 24, 1),
    ];
    assert!(layers.ends_with(&of_heads), "{layers:?}");
}
