//! Several labels at once: from a table of text to a checkpoint, and what it says of rows.

use std::fmt::Write as _;
use std::fs::File;

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_ipc::reader::FileReader;

use crate::harness::Dir;

const RECIPE: &str = r#"
let data = dataset("visits");
let model = dlrm(#{
    features: features(data, #{dense: ["dense"], ids: ["ids"]}),
    heads: [
        #{label: "click"},
        #{label: "stars", loss: "softmax", classes: 3, weight: 0.5},
        #{label: "dwell", loss: "mse", weight: 0.1},
    ],
    embedding_dim: 4, bottom: [8], top: [16], seed: 3,
    embedding_optimizer: adagrad(#{learning_rate: 0.1}),
    dense_optimizer: adam(#{learning_rate: 0.01}),
});
train(model, #{
    train: data.train, valid: data.valid, epochs: param("epochs", 6), batch_size: 100, seed: 3,
    early_stop: #{metric: "auc_click", patience: 5},
});
evaluate(model, data.test, #{group_by: "user_id"});
"#;

/// Visits of twelve users to twelve items; those that were no clicks have no stars.
fn visits(dir: &Dir) {
    let mut text = String::from("user_id,movie_id,price,click,stars,dwell\n");
    for row in 0..3000_u32 {
        let draw = |salt: u32| (row.wrapping_mul(2_654_435_761).wrapping_add(salt * 97) >> 9) % 97;
        let (user, item, price) = (draw(1) % 12, draw(5) * 7 % 12, f64::from(draw(3)) / 97.0);
        let score = f64::from(user) - f64::from(item) + 2.0 * price;
        let stars = if score > 6.0 {
            "2"
        } else if score > 2.0 {
            "1"
        } else {
            "0"
        };
        let stars = if score > 0.0 { stars } else { "" };
        let (click, dwell) = (u8::from(score > 0.0), score / 2.0);
        writeln!(text, "{user},{item},{price:.3},{click},{stars},{dwell:.3}").unwrap();
    }
    dir.write("visits.csv", &text);
    let words = ["data", "import", "csv", "visits.csv", "--out", "visits", "--dense", "price"];
    let columns = ["--ids", "user_id,movie_id", "--plain-floats", "click,stars,dwell"];
    dir.rectool(&[&words[..], &columns].concat()).expect_success();
    dir.write("heads.rhai", RECIPE);
}

fn read(dir: &Dir, name: &str) -> RecordBatch {
    let file = File::open(dir.join(name)).unwrap();
    FileReader::try_new(file, None).unwrap().next().unwrap().unwrap()
}

#[test]
fn three_labels_are_learned_judged_and_scored() {
    let dir = Dir::new();
    visits(&dir);
    let ran = dir.rectool(&["run", "heads.rhai", "--run-dir", "out"]).expect_success();
    for part in ["loss ", "(click ", "click: AUC 0.", "; stars: log loss ", "; dwell: RMSE "] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    let result = dir.result("out");
    let metric = |name: &str| result["metrics"][name].as_f64().unwrap();
    assert!(metric("test_auc_click") > 0.95, "{}", ran.stdout);
    assert!(metric("test_accuracy_stars") > 0.6, "{}", ran.stdout);
    assert!(metric("test_rmse_dwell") < 1.5, "{}", ran.stdout);
    assert!(metric("test_gauc_click") > 0.9, "{}", ran.stdout);
    let groups = metric("test_gauc_groups_click") + metric("test_gauc_groups_left_out_click");
    assert!(groups > 1.0 && groups <= 12.0);
    dir.rectool(&["ckpt", "verify", "out"]).expect_success();
    let ran = dir.rectool(&["ckpt", "inspect", "out"]).expect_success();
    assert!(ran.stdout.contains("click: AUC"), "{}", ran.stdout);

    let score = ["score", "out", "--data", "visits", "--split", "test", "--out", "scores.arrow"];
    dir.rectool(&score).expect_success();
    let scores = read(&dir, "scores.arrow");
    let names: Vec<&str> = scores.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    let of_heads = ["score_click", "probability_click", "probabilities_stars", "score_dwell"];
    assert_eq!(names, [&["row"][..], &of_heads].concat());
    assert_eq!(scores.num_rows() as f64, metric("test_samples"));
    let floats = |at: usize| scores.column(at).as_primitive::<Float32Type>().values();
    for (logit, chance) in floats(1).iter().zip(floats(2)) {
        assert!((1.0 / (1.0 + (-logit).exp()) - chance).abs() < 1e-6);
    }
    let stars = scores.column(3).as_fixed_size_list();
    assert_eq!(stars.value_length(), 3);
    for row in stars {
        let sum: f32 = row.unwrap().as_primitive::<Float32Type>().values().iter().sum();
        assert!((sum - 1.0).abs() < 1e-5);
    }
}

#[test]
fn ranks_agree_and_a_run_goes_on_with_its_heads() {
    let dir = Dir::new();
    visits(&dir);
    let run = |out: &'static str| ["run", "heads.rhai", "--run-dir", out];
    dir.rectool(&run("one")).expect_success();
    let Some(ran) = dir.mpirun(2, &run("two")) else { return };
    ran.expect_success();
    let (one, two) = (dir.result("one"), dir.result("two"));
    for (name, value) in one["metrics"].as_object().unwrap() {
        let (a, b) = (value.as_f64().unwrap(), two["metrics"][name].as_f64().unwrap());
        assert!((a - b).abs() < 0.05 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
    let score = |out: &'static str| {
        let words = ["score", "two", "--data", "visits", "--split", "valid", "--out"];
        [&words[..], &[out]].concat()
    };
    dir.rectool(&score("one.arrow")).expect_success();
    dir.mpirun(2, &score("two.arrow")).unwrap().expect_success();
    assert_eq!(read(&dir, "one.arrow"), read(&dir, "two.arrow"));
}

#[test]
fn a_head_learns_by_a_loss_in_wasm_as_by_the_native_one() {
    let dir = Dir::new();
    visits(&dir);
    let by_plugin = "#{label: \"click\", loss: plugin(\"bce\")}";
    dir.write("plugin.rhai", &RECIPE.replace("#{label: \"click\"}", by_plugin));
    dir.rectool(&["run", "heads.rhai", "--run-dir", "native"]).expect_success();
    let run = |out: &'static str| ["run", "plugin.rhai", "--run-dir", out];
    dir.rectool(&run("plugin")).expect_success();
    let (native, plugin) = (dir.result("native"), dir.result("plugin"));
    let metrics = |result: &serde_json::Value| result["metrics"].as_object().unwrap().clone();
    for (name, value) in metrics(&native) {
        let (a, b) = (value.as_f64().unwrap(), plugin["metrics"][&name].as_f64().unwrap());
        assert!((a - b).abs() < 1e-4 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
    let metric = |name: &str| plugin["metrics"][name].as_f64().unwrap();
    assert!((metric("test_loss_click") - metric("test_logloss_click")).abs() < 1e-5);
    dir.rectool(&["ckpt", "verify", "plugin"]).expect_success();

    let Some(ran) = dir.mpirun(2, &run("two")) else { return };
    ran.expect_success();
    let two = dir.result("two");
    for (name, value) in metrics(&plugin) {
        let (a, b) = (value.as_f64().unwrap(), two["metrics"][&name].as_f64().unwrap());
        assert!((a - b).abs() < 0.05 * (1.0 + a.abs()), "{name}: {a} and {b}");
    }
}

#[test]
fn labels_out_of_range_end_a_run_with_their_row() {
    let dir = Dir::new();
    visits(&dir);
    let few = RECIPE.replace("classes: 3", "classes: 2");
    dir.write("few.rhai", &few);
    let ran = dir.rectool(&["run", "few.rhai", "--run-dir", "few"]);
    let parts = ["the label `stars` is 2, expected the number of a class", "hint:", "classes"];
    ran.expect_code(1).expect_stderr(&parts);
}

#[test]
fn the_recipe_of_two_labels_learns_both_or_either() {
    let dir = Dir::new();
    visits(&dir);
    let script = Dir::script("multi_task.rhai");
    let run = ["run", &script, "--set", "data=visits", "--set", "batch_size=100"];
    for (labels, metrics) in [
        ("both", &["test_auc_click", "test_gauc_click", "test_accuracy_stars"][..]),
        ("click", &["test_auc_click", "test_gauc_click"]),
        ("stars", &["test_accuracy_stars"]),
    ] {
        let labels_are = format!("labels={labels}");
        let words = [&run[..], &["--set", &labels_are, "--run-dir", labels]].concat();
        dir.rectool(&words).expect_success();
        let found = &dir.result(labels)["metrics"];
        assert!(metrics.iter().all(|name| found[*name].as_f64().unwrap() > 0.6), "{found}");
        assert_eq!(found.get("test_auc_click").is_some(), labels != "stars");
    }
}
