//! Under mpirun: the same metrics for any number of ranks, and failures that end the whole job.

use crate::harness::Dir;

const RUN: [&str; 8] = [
    "--set",
    "data=log",
    "--set",
    "batch_size=256",
    "--set",
    "embedding_dim=8",
    "--set",
    "top=[32]",
];

#[test]
fn collectives_keep_their_promises() {
    for ranks in [1, 2, 3] {
        let dir = Dir::new();
        let Some(ran) = dir.mpirun(ranks, &["doctor", "--collectives"]) else { return };
        ran.expect_success();
    }
}

#[test]
fn ranks_agree_on_the_metrics() {
    let dir = Dir::new();
    dir.synth("log", 20_000);
    let script = Dir::script("dlrm.rhai");
    let auc = |out: &str| dir.result(out)["metrics"]["test_auc"].as_f64().unwrap();
    let arguments = |out: &str| {
        let run = ["run", &script, "--run-dir", out];
        [&run[..], &RUN].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let words = arguments("one");
    dir.rectool(&words.iter().map(String::as_str).collect::<Vec<_>>()).expect_success();
    for ranks in [2, 4] {
        let out = format!("ranks{ranks}");
        let words = arguments(&out);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let Some(ran) = dir.mpirun(ranks, &words) else { return };
        ran.expect_success();
        assert_eq!(dir.result(&out)["ranks"], ranks);
        let (one, many) = (auc("one"), auc(&out));
        assert!((one - many).abs() < 1e-4, "test AUC {one} on 1 rank, {many} on {ranks}");
    }
}

#[test]
fn a_checkpoint_of_two_ranks_loads_on_one_and_three() {
    let dir = Dir::new();
    dir.synth("log", 6_000);
    let script = Dir::script("dlrm.rhai");
    let first = ["run", &script, "--run-dir", "two", "--set", "checkpoint_every=10"];
    let Some(ran) = dir.mpirun(2, &[&first[..], &RUN].concat()) else { return };
    ran.expect_success();
    let middle = dir.join("two/checkpoints/step-00000010");
    let middle = middle.to_str().unwrap();
    let resume = |out: &'static str| {
        let words = ["run", &script, "--run-dir", out, "--resume", middle];
        [&words[..], &RUN].concat().iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
    };
    let auc = |out: &str| dir.result(out)["metrics"]["test_auc"].as_f64().unwrap();
    for (ranks, out) in [(1, "one"), (3, "three")] {
        let words = resume(out);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        dir.mpirun(ranks, &words).unwrap().expect_success();
        assert!((auc("two") - auc(out)).abs() < 1e-4, "{} and {}", auc("two"), auc(out));
    }
}

#[test]
fn one_failing_rank_ends_all_with_one_message() {
    let dir = Dir::new();
    let Some(ran) = dir.mpirun(2, &["run", "nowhere.rhai"]) else { return };
    assert_ne!(ran.code, Some(0));
    let messages = ran.stderr.matches("nowhere.rhai").count();
    assert_eq!(messages, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("rank 0/2"), "{}", ran.stderr);
}

/// While ranks are within a step, threads of theirs exchange the keys of the next batch.
#[test]
fn a_rank_that_fails_within_a_step_ends_all() {
    let dir = Dir::new();
    dir.synth("log", 20_000);
    std::fs::create_dir(dir.join("rows")).unwrap();
    dir.write("filed.rhai", FILED);
    // One rank may make no file of the size that tables take.
    let script = "if [ \"$OMPI_COMM_WORLD_RANK\" = 1 ]; then trap '' XFSZ; ulimit -f 60000; fi; \
                  exec timeout 100 \"$@\"";
    let Some(ran) = dir.mpirun_through(script, 2, &["run", "filed.rhai"]) else { return };
    assert!(ran.code.is_some_and(|code| code != 0 && code != 124), "{:?} {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("no place in a file in `rows`"), "{}", ran.stderr);
}

const FILED: &str = r#"
let data = dataset("log");
let model = dlrm(#{
    features: features(data, #{dense: ["dense"], ids: ["ids"], tables: #{C1: #{folder: "rows"}},
                               chain: [impute("dense", 0.0), log1p("dense")]}),
    embedding_dim: 8, bottom: [16], top: [16], sharding: "row_wise",
    embedding_optimizer: rowwise_adagrad(#{learning_rate: 0.02}),
    dense_optimizer: adam(#{learning_rate: 0.001}),
});
train(model, #{train: data.train, epochs: 1, batch_size: 256});
"#;
