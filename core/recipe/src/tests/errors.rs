//! Every mistake a recipe can make has its place, its words and, where there is one, its remedy.

use std::fs;

use rectool_base::Hint;

use super::data::{Fixture, SMALL};
use crate::{RecipeError, RecipeOptions, check};

/// Message without the folder, and hint.
fn mistake(fixture: &Fixture, options: &RecipeOptions) -> (String, String, u8) {
    let Err(error) = check(options, 1) else {
        panic!("no error: {}", fs::read_to_string(&options.recipe).unwrap());
    };
    let folder = format!("{}/", fixture.folder.path().display());
    let text = error.to_string().replace(&folder, "");
    (text, error.hint().unwrap_or_default(), error.exit_code())
}

/// Checks each script's message and that its hint contains a text.
fn expect(cases: &[(&str, &str, &str)]) {
    let fixture = Fixture::new();
    for (script, message, hint) in cases {
        let (text, found, code) = mistake(&fixture, &fixture.recipe(script, &[]));
        assert_eq!(text, *message, "{script}");
        assert!(found.contains(hint), "{script}\nhint: {found}\nexpected: {hint}");
        assert_eq!(code, 2, "{script}");
    }
}

#[test]
fn typos_are_named_where_they_stand() {
    expect(&[
        (
            "\n\n  let o = adagrad(#{lerning_rate: 0.1});",
            "recipe.rhai:3:21: adagrad has no option 'lerning_rate'",
            "did you mean 'learning_rate'?",
        ),
        (
            "let options = #{lerning_rate: 0.1};\nadagrad(options);",
            "recipe.rhai:2:1: adagrad has no option 'lerning_rate'",
            "did you mean 'learning_rate'?",
        ),
        (
            "let o = adagad(#{learning_rate: 0.1});",
            "recipe.rhai:1:9: there is no function 'adagad'",
            "did you mean 'adagrad'?",
        ),
        (
            "let o = adagrad(0.1);",
            "recipe.rhai:1:9: adagrad does not take (float)",
            "write adagrad(#{",
        ),
        ("let seed = 1;\nlet x = sed;", "recipe.rhai:2:9: there is no variable 'sed'", ""),
        ("let x = 1 +;", "recipe.rhai:1:12: unexpected ';'", ""),
        ("let m = #{a: 1};\nlet x = m.b;", "recipe.rhai:2:11: there is no property 'b'", ""),
        ("eval(\"1\");", "recipe.rhai:1:1: recipes have no 'eval'", ""),
        ("sleep(1);", "recipe.rhai:1:1: recipes have no 'sleep'", ""),
        ("exit(1);", "recipe.rhai:1:1: recipes have no 'exit'", ""),
        ("try { 1 } catch { 2 }", "recipe.rhai:1:1: recipes have no 'try'", "one rank"),
        ("let x = timestamp();", "recipe.rhai:1:9: there is no function 'timestamp'", ""),
        ("fn f(a) { a.b }\nf(#{});", "recipe.rhai:1:13: there is no property 'b'", ""),
        ("throw \"no luck\";", "recipe.rhai:1:1: no luck", ""),
        (
            "fn f(x) { f(x) }\nf(1);",
            "recipe.rhai:2:1: calls between script functions are nested too deeply",
            "",
        ),
    ]);
}

#[test]
fn an_endless_loop_ends() {
    let fixture = Fixture::new();
    let (text, hint, _) = mistake(&fixture, &fixture.recipe("loop { }", &[]));
    assert!(text.contains("runs for too long") && hint.contains("chain"), "{text}");
}

#[test]
fn option_values_are_checked() {
    expect(&[
        (
            "adagrad(#{learning_rate: \"fast\"});",
            "recipe.rhai:1:11: adagrad: 'learning_rate' expects a number, found string \"fast\"",
            "",
        ),
        (
            "adam(#{beta1: 1});",
            "recipe.rhai:1:8: adam: 'beta1' is 1, expected at least 0 and below 1",
            "",
        ),
        (
            "adam(#{decay: \"exakt\"});",
            "recipe.rhai:1:8: adam: 'decay' is 'exakt', expected one of `lazy`, `exact`",
            "did you mean 'exact'?",
        ),
        (
            "sgd(#{learning_rate: -0.5});",
            "recipe.rhai:1:7: sgd: 'learning_rate' is -0.5, expected above 0",
            "",
        ),
        (
            "warmup_decay(#{warmup_steps: 10,\n decay_start: 5, decay_steps: 5});",
            "recipe.rhai:2:2: warmup_decay: 'decay_start' is 5, expected at least `warmup_steps`",
            "",
        ),
        (
            "warmup_decay(#{shape: \"lineer\"});",
            "recipe.rhai:1:16: warmup_decay: 'shape' is 'lineer', expected one of `quadratic`, \
             `linear`, `cosine`",
            "did you mean 'linear'?",
        ),
        (
            "truncate(\"genres\", 0);",
            "recipe.rhai:1:1: `truncate`: `max` is 0, expected 1 or more",
            "",
        ),
        (
            "modulo(\"ids\", -1);",
            "recipe.rhai:1:1: modulo expects a whole number, 1 or more, found int -1",
            "",
        ),
    ]);
}

/// Script lines after `let d = dataset(…);`, the message after the file's name, and the hint.
const COLUMN_MISTAKES: &[(&str, &str, &str)] = &[
    (
        "features(d, #{ids: [\"usr\"]});",
        "2:15: features: 'ids' names 'usr', which the dataset does not have; it has `ids`, \
             `user`, `item`, `genres`",
        "did you mean 'user'?",
    ),
    (
        "features(d, #{ids: [\"ids\"], dense: [\"ids\"]});",
        "2:29: features: 'dense' expects float columns; 'ids' is i64[2]",
        "",
    ),
    (
        "features(d, #{label: \"dense\", ids: [\"ids\"]});",
        "2:15: features: 'label' expects a column of type f32[1], found f32[2]",
        "",
    ),
    (
        "features(d, #{ids: [\"user\", #{column: \"ids\"}]});",
        "2:15: features: 'ids' has two features 'user'",
        "another name",
    ),
    (
        "features(d, #{ids: [\"user\", #{colum: \"item\"}]});",
        "2:31: features: 'ids[1]' has no option 'colum'",
        "did you mean 'column'?",
    ),
    (
        "features(d, #{ids: [\"user\"], chain: [log1p(\"dens\")]});",
        "2:30: features: 'chain' names column 'dens', which is not there; there are `label`, \
             `dense`, `ids`, `genres`",
        "did you mean 'dense'?",
    ),
    (
        "features(d, #{ids: [\"ids\"], chain: [\"dense\"]});",
        "2:29: features: 'chain' expects chain steps such as log1p(\"dense\"), found string \
             \"dense\"",
        "",
    ),
    (
        "features(d, #{ids: [\"item\"], tables: #{item: #{index: \"dense\", rows: 5}}});",
        "2:30: features: 'tables' has table 'item', which takes ids from 0 to 4, but \
             those of 'item' reach from 100 to 129",
        "modulo",
    ),
    (
        "features(d, #{ids: [\"item\"], tables: #{itm: #{}}});",
        "2:30: features: 'tables' names 'itm', which no feature uses; they use `item`",
        "did you mean 'item'?",
    ),
    (
        "features(d, #{ids: [\"item\"], tables: #{item: #{expiry: #{every_steps: 10}}}});",
        "2:48: features: 'tables.item.expiry' gives up no rows without 'after_steps' or 'rows_max'",
        "add after_steps",
    ),
    (
        "features(d, #{ids: [\"item\"], tables: #{item: #{expiry: #{rows_max: 0}}}});",
        "2:58: features: 'tables.item.expiry.rows_max' is 0, expected at least 1",
        "leave it out",
    ),
    (
        "features(d, #{ids: [\"user\", #{column: \"item\", table: \"a/b\"}]});",
        "2:15: features: 'ids[1]' has the table \"a/b\", expected a name that a folder can have: \
         1 to 200 bytes, not \".\" or \"..\", without '/'",
        "#{column: \"item\", table: \"a_b\"}",
    ),
    ("d.trian;", "2:2: dataset `DATA` has no split `trian`; there are", "did you mean `train`?"),
    ("dataset(\"nowhere\");", "2:1: `nowhere`: no dataset here", ""),
];

#[test]
fn columns_are_checked_against_the_dataset() {
    let lead = "let d = dataset(\"DATA\");\n";
    let fixture = Fixture::new();
    for (script, message, hint) in COLUMN_MISTAKES {
        let options = fixture.recipe(&format!("{lead}{script}"), &[]);
        let (text, found, _) = mistake(&fixture, &options);
        let exact = !message.contains("DATA") && !message.contains("no dataset");
        if exact {
            assert_eq!(text, format!("recipe.rhai:{message}"), "{script}");
        } else {
            let place = message.split(": ").next().unwrap();
            assert!(text.starts_with(&format!("recipe.rhai:{place}: ")), "{text}");
        }
        assert!(found.contains(hint), "{script}\nhint: {found}");
    }
}

#[test]
fn models_and_trainings_are_checked() {
    let fixture = Fixture::new();
    for (from, to, message, hint) in [
        ("embedding_dim: 4", "embedding_dim: 0", "'embedding_dim' is 0, expected 1 to 4096", ""),
        ("bottom: [8]", "bottom: [8, 0]", "dlrm: 'bottom' is 0, expected 1 to 65536", ""),
        ("seed: seed,\n    emb", "dropout: 1.0,\n    emb", "'dropout' is 1, expected", ""),
        ("dense_optimizer: adam", "dense_optimizer: rowwise_adagrad", "for embedding tables", ""),
        ("dense_optimizer: adam", "dense_optimizer: ftrl", "is ftrl, which is for embedding", ""),
        (
            "adam(#{learning_rate: 0.01}",
            "adamw(#{decay: \"exact\"}",
            "dlrm: 'dense_optimizer' is adamw with decay \"exact\", which is for embedding tables",
            "",
        ),
        ("adagrad(#{learning_rate", "ftrl(#{rate", "ftrl has no option 'rate'", ""),
        ("valid: data.valid", "wire: \"f8\"", "'wire'", ""),
        (
            "dense_optimizer",
            "dens_optimizer",
            "dlrm needs the option 'dense_optimizer'",
            "dens_opt",
        ),
        ("features: features", "x: 1, features: features", "dlrm has no option 'x'", "it has"),
        ("batch_size: 100", "batch_size: 4001", "has only 4000 rows", "4000 or less"),
        ("batch_size: 100, ", "", "train needs the option 'batch_size'", ""),
        ("train: data.train", "train: 5", "train: 'train' expects a split such as", ""),
        ("valid: data.valid", "early_stop: #{patience: 1}", "needs 'valid'", ""),
        ("valid: data.valid", "schedule: adam()", "found optimizer", ""),
        ("epochs: epochs", "epochs: 1.5", "'epochs' expects a whole number", ""),
        (
            "dense: [\"dense\"], ",
            "",
            "features: 'chain' makes `dense`, which no feature uses; they use `label`, `ids`, \
             `genres`",
            "",
        ),
        ("bottom: [8]", "loss: \"bec\"", "dlrm: 'loss' is 'bec', expected \"bce\"", "'bce'"),
        ("bottom: [8]", "loss: 5", "dlrm: 'loss' expects \"bce\", \"mse\", \"softmax\" or a", ""),
        (
            "valid: data.valid",
            "valid: data.valid, early_stop: #{patience: 1, metric: \"rmse\"}",
            "train: 'early_stop' watches 'rmse', which this model does not have; it has `auc`",
            "",
        ),
        ("report(#{v", "report(#{m: model, v", "report: 'm' is model, expected a plain", ""),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let (text, found, code) = mistake(&fixture, &fixture.recipe(&SMALL.replace(from, to), &[]));
        assert!(text.starts_with("recipe.rhai:") && text.contains(message), "{to}: {text}");
        assert!(found.contains(hint), "{to}: {found}");
        assert_eq!(code, 2, "{to}");
    }
}

#[test]
fn set_must_fit_a_parameter() {
    let fixture = Fixture::new();
    let script = "let a = param(\"rate\", 0.5, #{min: 0, max: 2});\nlet b = param(\"widths\", [4, 2]);\n\
                  let c = param(\"seed\", 1);\nlet d = param(\"on\", true);\n\
                  let e = param(\"kind\", \"dot\", #{one_of: [\"dot\", \"cat\"]});";
    for (set, message, hint) in [
        ("rte=1", "recipe.rhai has no parameter 'rte'; it has `rate`, `widths`", "mean 'rate'?"),
        ("rate=fast", "recipe.rhai:1:9: param 'rate' expects a number, found 'fast'", "0.5"),
        ("rate=3", "recipe.rhai:1:9: param 'rate' is 3.0, expected 0 to 2", ""),
        ("seed=1.5", "recipe.rhai:3:9: param 'seed' expects a whole number, found '1.5'", ""),
        ("widths=7", "recipe.rhai:2:9: param 'widths' expects an array such as", ""),
        ("widths=[1,\"a\"]", "recipe.rhai:2:9: param 'widths' expects an array, each", ""),
        ("on=yes", "recipe.rhai:4:9: param 'on' expects true or false, found 'yes'", ""),
        ("kind=dat", "recipe.rhai:5:9: param 'kind' is 'dat', expected one of", "mean"),
        ("rate", "--set 'rate' is not name=value", ""),
    ] {
        let (text, found, code) = mistake(&fixture, &fixture.recipe(script, &[set]));
        assert!(text.starts_with(message), "{set}: {text}");
        assert!(found.contains(hint), "{set}: {found}");
        assert_eq!(code, 2);
    }
    let twice = fixture.recipe(script, &["seed=1", "seed=2"]);
    assert!(matches!(check(&twice, 1), Err(RecipeError::SetTwice { .. })));
    let set = ["rate=1", "widths=[1, 2,3]", "seed=1_000", "on=false", "kind=cat"];
    let plan = check(&fixture.recipe(script, &set), 1).unwrap();
    let values: Vec<String> = plan.parameters.iter().map(|one| one.value.to_string()).collect();
    assert_eq!(values, ["1.0", "[1,2,3]", "1000", "false", "\"cat\""]);
    let (text, ..) = mistake(
        &fixture,
        &fixture.recipe("param(\"a\", 1);\nparam(\"a\", 1);\nparam(\"a\", 2);", &[]),
    );
    assert_eq!(text, "recipe.rhai:3:1: param 'a' is declared twice: 1, then 2");
}

#[test]
fn an_unknown_set_is_found_before_anything_else() {
    let fixture = Fixture::new();
    let script = "let a = param(\"data\", \"nowhere\");\nlet d = dataset(a);";
    let (text, ..) = mistake(&fixture, &fixture.recipe(script, &["dta=clicks"]));
    assert!(text.contains("no parameter 'dta'"), "{text}");
    // Names that are computed are known only when the script has run up to its first action.
    let script = SMALL.replace("param(\"epochs\", 3)", "param(\"epo\" + \"chs\", 3)");
    let (text, ..) = mistake(&fixture, &fixture.recipe(&script, &["epoch=2"]));
    assert!(text.contains("no parameter 'epoch'"), "{text}");
    assert!(check(&fixture.recipe(&script, &["epochs=2"]), 1).is_ok());
}

#[test]
fn modules_come_from_the_search_path_only() {
    let fixture = Fixture::new();
    let shared = fixture.path("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(fixture.path("own.rhai"), "fn rate() { param(\"rate\", 0.5) }").unwrap();
    fs::write(shared.join("net.rhai"), "fn make() {\n    adam(#{beta: 1})\n}").unwrap();
    fs::write(shared.join("broken.rhai"), "let a = 1;\nlet b = ;").unwrap();
    fs::write(shared.join("loop.rhai"), "import \"loop\" as again;").unwrap();
    std::os::unix::fs::symlink("/etc/hostname", shared.join("out.rhai")).unwrap();
    let with = |script: &str, set: &[&str]| {
        let mut options = fixture.recipe(script, set);
        options.recipe_paths = vec![shared.clone()];
        options
    };
    let plan =
        check(&with("import \"own\" as own;\nlet r = own::rate();", &["rate=1"]), 1).unwrap();
    assert_eq!((plan.parameters[0].name.as_str(), plan.parameters[0].set), ("rate", true));
    for (script, message, hint) in [
        (
            "import \"net\" as n;\nn::make();",
            "shared/net.rhai:2:12: adam has no option 'beta'",
            "beta1",
        ),
        ("import \"broken\" as b;", "shared/broken.rhai:2:9: unexpected ';'", ""),
        ("import \"nett\" as n;", "recipe.rhai:1:8: there is no module 'nett'", "'net'"),
        ("import \"../own\" as n;", "recipe.rhai:1:8: import of '../own': a module's name", ".."),
        ("import \"/etc/x\" as n;", "recipe.rhai:1:8: import of '/etc/x': a module's name", ".."),
        ("import \"out\" as n;", "recipe.rhai:1:8: import of 'out': shared/out.rhai leads out", ""),
        ("import \"loop\" as n;", "shared/loop.rhai:1:8: import of 'loop': shared/loop.rhai", ""),
        ("import \"own\" as o;\no::rat();", "recipe.rhai:2:4: there is no function 'o::rat'", ""),
    ] {
        let (text, found, _) = mistake(&fixture, &with(script, &[]));
        assert!(text.starts_with(message), "{script}: {text}");
        assert!(found.contains(hint), "{script}: {found}");
    }
    let missing = RecipeOptions { recipe: fixture.path("none.rhai"), ..RecipeOptions::default() };
    assert!(matches!(check(&missing, 1), Err(RecipeError::Read { .. })));
}

#[test]
fn tables_have_names_that_folders_can_have() {
    let fixture = Fixture::new();
    let entry = |rest: &str| {
        let script = format!(
            "let d = dataset(\"DATA\");\nfeatures(d, #{{ids: [#{{column: \"item\", {rest}}}]}});"
        );
        check(&fixture.recipe(&script, &[]), 1)
    };
    for name in ["", ".", "..", "a/b", "/", "a\0b", &"n".repeat(201)] {
        for rest in [format!("table: \"{name}\""), format!("name: \"{name}\"")] {
            let error = entry(&rest).expect_err(&rest);
            let text = error.to_string();
            assert!(text.contains("recipe.rhai:2:15: features: 'ids[0]' has the table"), "{text}");
            assert!(
                error.hint().unwrap().contains("give the table a plain name: #{column: \"item")
            );
        }
    }
    for name in ["...", "a b", "ä", &"n".repeat(200)] {
        entry(&format!("table: \"{name}\"")).expect(name);
    }
    // Only the table is a folder.
    entry("name: \"a/b\", table: \"a_b\"").unwrap();
}
