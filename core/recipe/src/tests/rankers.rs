//! The functions that make a model which scores rows: options, plans, mistakes and runs.

use std::sync::Arc;

use rectool_base::Hint;
use rectool_comm::{Comm, Solo};

use super::data::Fixture;
use crate::{RunOptions, Silent, check, run};

/// With FUNCTION, and options of its own at OPTIONS.
const SCRIPT: &str = r#"
let data = dataset("DATA");
let model = FUNCTION(#{
    features: features(data, #{dense: ["dense"], ids: IDS, chain: [log1p("dense")]}),
    embedding_dim: 4, OPTIONS, seed: 5,
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{train: data.train, valid: data.valid, epochs: 6, batch_size: 100, seed: 5});
evaluate(model, data.test);
"#;

const POOLED: &str = r#"["ids", "genres"]"#;
/// The genres stand for a history of the genre that the item is taken to be of.
const SEQUENCE: &str =
    r#"["ids", #{column: "genres", table: "item", pooling: "sequence", length: 3}]"#;
const DIN: &str = r#"hidden: [16], history: "genres", target: "item", attention: [8]"#;

fn script(function: &str, ids: &str, options: &str) -> String {
    SCRIPT.replace("FUNCTION", function).replace("IDS", ids).replace("OPTIONS", options)
}

const KINDS: [(&str, &str, &str); 6] = [
    ("deepfm", POOLED, "hidden: [16], dropout: 0.1"),
    ("wide_deep", POOLED, "hidden: [16]"),
    ("dcnv2", POOLED, "hidden: [16], cross_layers: 2"),
    ("dcnv2", POOLED, "hidden: [16], cross_layers: 2, rank: 3, structure: \"parallel\""),
    ("din", SEQUENCE, DIN),
    ("dlrm", POOLED, "bottom: [8], top: [16]"),
];

#[test]
fn every_kind_learns() {
    for (function, ids, options) in KINDS {
        let fixture = Fixture::new();
        let recipe = fixture.recipe(&script(function, ids, options), &[]);
        let run_dir = Some(fixture.path("out"));
        let options = RunOptions { recipe, run_dir, threads: Some(2), ..RunOptions::default() };
        let comm: Arc<dyn Comm> = Arc::new(Solo);
        let outcome = run(&options, &comm, Box::new(Silent)).unwrap();
        let auc = outcome.metrics["test_auc"].as_f64().unwrap();
        assert!(auc > 0.72, "{function}: {auc}");
    }
}

#[test]
fn what_is_planned_is_what_is_declared() {
    let fixture = Fixture::new();
    let plan = |at: usize| {
        let (function, ids, options) = KINDS[at];
        let plan = check(&fixture.recipe(&script(function, ids, options), &[]), 2).unwrap();
        plan.trainings[0].clone()
    };
    let names = |at: usize| {
        let layers = plan(at).layers.into_iter();
        layers.map(|(name, inputs, outputs)| format!("{name} {inputs} {outputs}")).collect()
    };
    let found: [Vec<String>; 3] = [0, 3, 4].map(names);
    // Two dense values, three vectors of four; behind each vector of a DeepFM is a number.
    assert_eq!(found[0], ["dense.0 2 5", "deep.0 14 16", "deep.1 16 1"]);
    let low_rank = ["cross.0.0 14 3", "cross.0.1 3 14", "cross.1.0 14 3", "cross.1.1 3 14"];
    let rest = ["cross.out.0 14 1", "deep.0 14 16", "deep.1 16 1"];
    assert_eq!(found[1], [&low_rank[..], &rest].concat());
    assert_eq!(found[2], ["attention.0 16 8", "attention.1 8 1", "deep.0 14 16", "deep.1 16 1"]);
    assert_eq!(plan(0).dense_parameters, 10 + 15 * 16 + 17);
    // Header, five values, five accumulators and the hash entry.
    assert_eq!(plan(0).table_bytes(), 59 * (8 + 8 * 5 + 16));
}

#[test]
fn mistakes_are_named() {
    let fixture = Fixture::new();
    for ((function, ids, options), message, hint) in [
        (("deepfm", POOLED, "top: [8]"), "deepfm has no option 'top'", "it has"),
        (("deepfm", POOLED, "dropout: 0.5"), "deepfm needs the option 'hidden'", ""),
        (("deepfm", POOLED, "hidden: [0]"), "deepfm: 'hidden' is 0, expected 1 to", ""),
        (("deepfm", SEQUENCE, "hidden: [8]"), "from each feature of a `deepfm`", "`din`"),
        (("wide_deep", "[]", "hidden: [8]"), "`ids` is 0 features, expected at least one", ""),
        (("dcnv2", POOLED, "hidden: [8]"), "dcnv2 needs the option 'cross_layers'", ""),
        (("dcnv2", POOLED, "hidden: [8], cross_layers: 0"), "`cross_layers` is 0, expected 1", ""),
        (
            ("dcnv2", POOLED, "hidden: [8], cross_layers: 1, structure: \"stakced\""),
            "dcnv2: 'structure' is 'stakced', expected one of `stacked`, `parallel`",
            "did you mean 'stacked'?",
        ),
        (
            ("din", SEQUENCE, &DIN.replace("\"item\"", "\"itm\"")),
            "`target` is itm, expected the name of an id feature",
            "",
        ),
        (("din", POOLED, DIN), "`history` is genres, expected a feature pooled as a sequence", ""),
        (
            ("din", SEQUENCE, &DIN.replace("[8]", "[8], embedding_init: 0")),
            "`tables.item.init` is zero",
            "",
        ),
    ] {
        let recipe = fixture.recipe(&script(function, ids, options), &[]);
        let Err(error) = check(&recipe, 1) else { panic!("no error: {function} {options}") };
        let text = error.to_string();
        assert!(text.contains("recipe.rhai:") && text.contains(message), "{options}: {text}");
        let found = error.hint().unwrap_or_default();
        assert!(found.contains(hint), "{options}: {found}");
        assert_eq!(error.exit_code(), 2, "{options}");
    }
}
