//! Plugins in training: a loss as good as the native one, and faults that end every rank at once.

use crate::harness::{Dir, root};

/// The recipe, with the options of `dlrm` and `train` that a test adds.
fn recipe(model: &str, train: &str) -> String {
    format!(
        "let data = dataset(\"log\");\n\
         let chain = [impute(\"dense\", 0.0), log1p(\"dense\")];\n\
         let model = dlrm(#{{\n\
           features: features(data, #{{dense: [\"dense\"], ids: [\"ids\"], chain: chain}}),\n\
           embedding_dim: 4, bottom: [16], top: [16], seed: 1, {model}\n\
           embedding_optimizer: adagrad(#{{learning_rate: 0.05}}),\n\
           dense_optimizer: sgd(#{{learning_rate: 0.1}}),\n\
         }});\n\
         train(model, #{{train: data.train, valid: data.valid, {train}}});\n\
         evaluate(model, data.test);\n"
    )
}

/// A folder with data and the loss in text form, changed by replacing `from` with `to`.
fn prepared(rows: usize, from: &str, to: &str) -> Dir {
    let dir = Dir::new();
    dir.synth("log", rows);
    let text = std::fs::read_to_string(root().join("tests/plugins/bce-text.wat")).unwrap();
    assert!(text.contains(from));
    dir.write("losses/bce-text.wat", &text.replace(from, to));
    dir
}

/// The dense weights in the last checkpoint of a run, as they stand in the file.
fn weights(dir: &Dir, run: &str) -> Vec<f32> {
    let path = rectool::model::latest(&dir.join(run).join("checkpoints")).unwrap();
    let bytes = std::fs::read(path.join("dense.safetensors")).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let values = bytes[8 + header..].chunks_exact(4);
    values.map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

#[test]
fn a_loss_in_wasm_trains_as_the_native_one() {
    let dir = prepared(20_000, "Binary", "Binary");
    let train = "batch_size: 256, epochs: 1";
    dir.write("native.rhai", &recipe("", train));
    dir.write("wasm.rhai", &recipe("loss: plugin(\"bce-text\"),", train));
    dir.rectool(&["run", "native.rhai", "--run-dir", "native"]).expect_success();
    let run = ["run", "wasm.rhai", "--run-dir", "wasm", "--plugin-path", "losses"];
    dir.rectool(&run).expect_success();
    let (native, wasm) = (dir.result("native"), dir.result("wasm"));
    let metric = |name: &str| {
        let of = |result: &serde_json::Value| result["metrics"][name].as_f64().unwrap();
        (of(&native), of(&wasm))
    };
    let (own, other) = metric("test_auc");
    assert!(own > 0.6 && (own - other).abs() <= 1e-6, "AUC {own} and {other}");
    let (own, other) = metric("test_logloss");
    assert!((own - other).abs() <= 1e-6, "log loss {own} and {other}");
    let loss = wasm["metrics"]["test_loss"].as_f64().unwrap();
    assert!((loss - other).abs() < 1e-6, "{loss} and {other}");
    let (own, other) = (weights(&dir, "native"), weights(&dir, "wasm"));
    assert_eq!(own.len(), other.len());
    let differ = own.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    println!("greatest difference of {} weights: {differ:e}", own.len());
    assert!(differ <= 1e-6, "weights differ by {differ}");

    // Who it was, and that it is kept.
    let sha256 = wasm["plugins"]["bce-text"]["sha256"].as_str().unwrap();
    assert_eq!(wasm["plugins"]["bce-text"]["version"], "1.0.0");
    let shown = dir.rectool(&["ckpt", "inspect", "wasm"]).expect_success();
    assert!(shown.stdout.contains(sha256), "{}", shown.stdout);
    dir.rectool(&["ckpt", "verify", "wasm"]).expect_success();
    let path = rectool::model::latest(&dir.join("wasm/checkpoints")).unwrap();
    let kept = std::fs::read(path.join(format!("plugins/{sha256}.wat"))).unwrap();
    assert_eq!(kept, std::fs::read(dir.join("losses/bce-text.wat")).unwrap());
    let shown = dir.rectool(&["check", "wasm.rhai", "--plugin-path", "losses"]).expect_success();
    for part in ["bce-text", "loss", &sha256[..12], "losses/bce-text.wat"] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }

    // Other code under its name does not go on where it stopped.
    let text = String::from_utf8(kept).unwrap().replace("by hand", "by another hand");
    dir.write("losses/bce-text.wat", &text);
    let path = path.to_str().unwrap();
    let resume = ["run", "wasm.rhai", "--plugin-path", "losses", "--resume", path];
    let parts = ["plugin `bce-text` is 1.0.0", sha256, "expected 1.0.0", "hint:", ".wat"];
    dir.rectool(&resume).expect_code(2).expect_stderr(&parts);
}

#[test]
fn mistakes_are_found_before_training() {
    let dir = prepared(1_000, "Binary", "Binary");
    for (loss, parts) in [
        ("plugin(\"bce-txt\")", ["r.rhai:5:", "there is no plugin `bce-txt`", "`bce-text`"]),
        ("plugin(\"bce-text\", #{a: 1})", ["r.rhai:5:", "no parameter `a`", "no parameters"]),
    ] {
        dir.write("r.rhai", &recipe(&format!("loss: {loss},"), "batch_size: 64"));
        for command in ["check", "run"] {
            let words = [command, "r.rhai", "--plugin-path", "losses"];
            dir.rectool(&words).expect_code(2).expect_stderr(&parts);
        }
    }
    assert!(!dir.join("runs").exists());
}

/// A trap when the rank has three rows of the batch.
const TRAP: (&str, &str) = (
    "(local.set $end (i32.shl (local.get $rows) (i32.const 2)))",
    "(if (i32.eq (local.get $rows) (i32.const 3)) (then (unreachable)))
     (local.set $end (i32.shl (local.get $rows) (i32.const 2)))",
);

#[test]
fn a_trap_ends_the_run_with_its_own_exit_code() {
    let dir = prepared(1_000, TRAP.0, TRAP.1);
    // 800 rows: the last batch of the epoch has three.
    dir.write("r.rhai", &recipe("loss: plugin(\"bce-text\"),", "batch_size: 797"));
    let run = ["run", "r.rhai", "--run-dir", "out", "--plugin-path", "losses"];
    let parts = ["loss plugin `bce-text 1.0.0`", "epoch 0, step 1, rows 0 to 3", "stopped itself"];
    dir.rectool(&run).expect_code(3).expect_stderr(&parts);
    let result = dir.result("out");
    assert_eq!(result["status"], "failed");
    assert!(result["error"].as_str().unwrap().contains("bce-text 1.0.0"), "{result}");
}

#[test]
fn a_trap_on_one_rank_ends_all_with_one_message() {
    let dir = prepared(1_000, TRAP.0, TRAP.1);
    // The last batch has five rows: rank 0 gets two of them, rank 1 three.
    dir.write("r.rhai", &recipe("loss: plugin(\"bce-text\"),", "batch_size: 159"));
    let run = ["run", "r.rhai", "--run-dir", "out", "--plugin-path", "losses"];
    let Some(ran) = dir.mpirun(2, &run) else { return };
    let ran = ran.expect_code(3).expect_stderr(&["rank 1/2", "rows 2 to 5", "stopped itself"]);
    let messages = ran.stderr.matches("loss plugin `bce-text 1.0.0`").count();
    assert_eq!(messages, 1, "{}", ran.stderr);
    assert_eq!(dir.result("out")["status"], "failed");
}

#[test]
fn the_recipe_of_standard_plugins_trains() {
    let dir = Dir::new();
    dir.synth("log", 20_000);
    let script = Dir::script("dlrm_plugins.rhai");
    let run = ["run", &script, "--set", "data=log", "--set", "batch_size=256", "--run-dir", "out"];
    dir.rectool(&run).expect_success();
    let result = dir.result("out");
    for name in ["log1p", "hash", "focal"] {
        assert_eq!(result["plugins"][name]["version"], "1.0.0", "{name}");
    }
    assert!(result["metrics"]["test_auc"].as_f64().unwrap() > 0.6, "{result}");
}

#[test]
fn choices_are_told_from_what_a_standard_sampler_draws() {
    let dir = Dir::new();
    // Users of two groups, who choose items of their group only.
    let rows = (0..4_000).map(|at| {
        let (user, pick) = (at * 7 % 40, at * 13 % 10);
        format!("1,{user},{}\n", 100 + (user % 2) * 10 + pick)
    });
    let rows: String = rows.collect();
    dir.write("views.csv", &format!("label,user,item\n{rows}"));
    let import = ["data", "import", "csv", "--split", "train=views.csv", "--label", "label"];
    dir.rectool(&[&import[..], &["--ids", "user,item", "--out", "views"]].concat())
        .expect_success();
    let recipe = |loss: &str| {
        format!(
            "let data = dataset(\"views\");\n\
             let features = features(data, #{{ids: [\"ids\"], negatives: #{{\n\
               sampler: plugin(\"popularity\", #{{alpha: 0.5}}), item: \"item\", per_row: 4,\n\
               group: \"group\", log_q: \"log_q\"}}}});\n\
             let model = dlrm(#{{features: features, embedding_dim: 8, top: [16], {loss}\n\
               embedding_optimizer: adagrad(#{{learning_rate: 0.1}}),\n\
               dense_optimizer: adam(#{{learning_rate: 0.01}})}});\n\
             train(model, #{{train: data.train, batch_size: 256, epochs: 4}});\n\
             evaluate(model, data.train);\n"
        )
    };
    let losses = ["", "loss: plugin(\"sampled-softmax\", #{group: \"group\", log_q: \"log_q\"}),"];
    for (at, loss) in losses.iter().enumerate() {
        let (script, run) = (format!("{at}.rhai"), format!("run-{at}"));
        dir.write(&script, &recipe(loss));
        dir.rectool(&["run", &script, "--run-dir", &run]).expect_success();
        let metrics = dir.result(&run)["metrics"].clone();
        // A half of the negatives are of the user's own group: they cannot be told apart.
        assert!(metrics["train_auc"].as_f64().unwrap() > 0.7, "{loss}: {metrics}");
    }
}
