//! The DLRM training step of the peer comparison: same data, model, batches and optimizer as
//! `torch`, `torchrec` and the others, measured through our own loader and trainer.
//!
//!     cargo bench --bench step -- --data DIR --dim 16 --batch 8192 --threads 2 --steps 30
//!     cargo bench --bench step -- --data DIR … --procs 2        starts mpirun itself
//!
//! `DIR` holds `train.parquet`, `test.parquet` and `meta.json`. The last line printed is JSON.

#![expect(clippy::print_stderr, reason = "a bench tells its usage")]

mod peer;

use std::path::{Path, PathBuf};
use std::time::Instant;

use peer::{Flags, emit, peak_rss_mb, quantile};
use rectool::comm::CommExt;
use rectool::data::{ChainSpec, Dataset, Shuffle};
use rectool::embedding::{IndexKind, Init, OptimizerOptions, Pooling, Wire};
use rectool::model::{
    Architecture, DenseOptimizerOptions, DeviceChoice, Environment, EvaluationReport, FeatureSpec,
    IdFeatureSpec, Interaction, LossSpec, MachineLimits, ModelSpec, Observer, Overlap, PhaseTimes,
    Ranker, RowSpec, Schedule, StepReport, TableSpec, TrainJob, TrainSpec, fit,
};
use serde_json::{Value, json};

/// Notes the time of every step.
struct Clock {
    started: Instant,
    ends: Vec<f64>,
    phases: PhaseTimes,
    warmup: usize,
}

impl Observer for Clock {
    fn on_step(&mut self, report: &StepReport) {
        self.ends.push(self.started.elapsed().as_secs_f64());
        if self.ends.len() > self.warmup {
            self.phases.add(&report.phases);
        }
    }
    fn on_evaluation(&mut self, _report: &EvaluationReport) {}
    fn on_checkpoint(&mut self, _path: &Path, _step: u64) {}
}

fn main() {
    let flags = Flags::new();
    if flags.has("--bench") && flags.text("--data").is_none() {
        eprintln!("usage: cargo bench --bench step -- --data DIR [--dim D] [--batch B] …");
        return;
    }
    let data = PathBuf::from(flags.text("--data").expect("--data DIR"));
    let splits = ["train", "test"].map(|name| (name, data.join(format!("{name}.parquet"))));
    let procs: usize = flags.number("--procs", 1);
    let launched = std::env::var_os("OMPI_COMM_WORLD_SIZE").is_some();
    let dataset = peer::dataset(&data, &splits);
    if procs > 1 && !launched {
        relaunch(&flags, procs);
        return;
    }
    run(&flags, &data, &dataset);
}

/// Starts this program again under mpirun.
fn relaunch(flags: &Flags, procs: usize) {
    let program = std::env::current_exe().expect("the running program has a path");
    let mut command = std::process::Command::new("mpirun");
    command.args(["--oversubscribe", "-n", &procs.to_string()]).arg(program).args(flags.all());
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    let status = command.status().expect("mpirun starts");
    assert!(status.success(), "mpirun: {status}");
}

fn model(flags: &Flags, cardinalities: &[u64]) -> ModelSpec {
    let learning_rate = flags.number("--lr", 0.01);
    let (epsilon, initial_accumulator, weight_decay) = (1e-8, 0.0, 0.0);
    let (embedding_optimizer, dense_optimizer) = if flags.text("--optimizer") == Some("sgd") {
        let momentum = 0.0;
        (
            OptimizerOptions::Sgd { learning_rate, momentum, weight_decay },
            DenseOptimizerOptions::Sgd { learning_rate, momentum, weight_decay },
        )
    } else {
        (
            OptimizerOptions::RowWiseAdagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
            DenseOptimizerOptions::Adagrad {
                learning_rate,
                epsilon,
                initial_accumulator,
                weight_decay,
            },
        )
    };
    let names: Vec<String> = (0..cardinalities.len()).map(|at| format!("c{at}")).collect();
    let feature = |(at, name): (usize, &String)| IdFeatureSpec {
        name: name.clone(),
        column: "ids".to_owned(),
        at,
        table: name.clone(),
        pooling: Pooling::Sum,
        weights: None,
    };
    let table = |(&rows, name): (&u64, &String)| TableSpec {
        name: name.clone(),
        index: IndexKind::Dense { rows },
        init: Init::Uniform { bound: (rows as f32).powf(-0.5) },
        dim: None,
        rows: RowSpec::default(),
    };
    let top_mlp = match flags.text("--top") {
        Some("mlperf") => vec![1024, 1024, 512, 256],
        _ => vec![512, 256],
    };
    ModelSpec {
        features: FeatureSpec {
            label: Some("label".to_owned()),
            weight: None,
            negatives: None,
            dense: vec!["dense".to_owned()],
            ids: names.iter().enumerate().map(feature).collect(),
            chain: ChainSpec::default(),
        },
        architecture: Architecture::Dlrm,
        tables: cardinalities.iter().zip(&names).map(table).collect(),
        embedding_dim: flags.number("--dim", 16),
        bottom_mlp: vec![512, 256],
        top_mlp,
        interaction: Interaction::Dot,
        dropout: 0.0,
        embedding_optimizer,
        dense_optimizer,
        loss: LossSpec::Bce,
        heads: Vec::new(),
        retrieval: None,
        seed: flags.number("--seed", 1),
    }
}

/// How the flags want it trained, on a split of `train_rows` rows.
fn training(flags: &Flags, train_rows: u64) -> TrainSpec {
    let batch_size: usize = flags.number("--batch", 8192);
    let whole_steps = train_rows / batch_size as u64;
    TrainSpec {
        batch_size,
        epochs: 1,
        steps_max: match flags.number("--steps", 0) {
            0 => whole_steps,
            steps => whole_steps.min(steps),
        },
        shuffle: Shuffle::None,
        seed: 1,
        schedule: Schedule::default(),
        clip_norm: 0.0,
        eval_every: 0,
        eval_k: 20,
        group_by: None,
        early_stop: None,
        checkpoint_every: 0,
        checkpoints_kept: 1,
        checkpoint_full_every: 0,
        report_every: 1,
        loader_threads: 1,
        overlap: match flags.text("--overlap") {
            Some("off") => Overlap::Off,
            Some("stale") => Overlap::Stale,
            _ => Overlap::Keys,
        },
        wire: Wire::F32,
    }
}

fn run(flags: &Flags, data: &Path, dataset: &Path) {
    let threads: usize = flags.number("--threads", 2);
    let comm = rectool::comm::connect().expect("ranks connect");
    rectool::model::set_threads(threads);
    let meta = std::fs::read_to_string(data.join("meta.json")).expect("meta.json");
    let meta: Value = serde_json::from_str(&meta).expect("meta.json is JSON");
    let cardinalities: Vec<u64> =
        serde_json::from_value(meta["cardinalities"].clone()).expect("cardinalities");

    let started = Instant::now();
    let opened = Dataset::open(dataset).expect("the imported dataset");
    let train = opened.split("train").expect("split train");
    let load_s = started.elapsed().as_secs_f64();
    let started = Instant::now();
    let compute = DeviceChoice::Cpu.resolve(0).expect("the CPU");
    let environment = Environment {
        comm: std::sync::Arc::clone(&comm),
        compute,
        plugins: std::sync::Arc::new(rectool::base::NoPlugins),
    };
    let mut ranker = Ranker::new(model(flags, &cardinalities), opened.schema(), environment)
        .expect("the model fits the data");
    let init_s = started.elapsed().as_secs_f64();

    let spec = training(flags, train.rows());
    let batch_size = spec.batch_size;
    let warmup: usize = flags.number("--warmup", 5);
    let mut clock =
        Clock { started: Instant::now(), ends: Vec::new(), phases: PhaseTimes::default(), warmup };
    let job = TrainJob {
        spec: &spec,
        train: &train,
        valid: None,
        checkpoints: None,
        resume: None,
        recipe: None,
    };
    fit(&mut ranker, &job, &mut clock).expect("training");
    let evaluation = flags.has("--eval").then(|| {
        let test = opened.split("test").expect("split test");
        ranker.evaluate(&test, 8192, 1).expect("evaluation")
    });
    let limits = MachineLimits::measure();
    let limit_s = limits.row_seconds(ranker.row_work()) * batch_size as f64 / comm.size() as f64;
    let peak = comm.sum_f64(peak_rss_mb()).expect("ranks still talk");
    if comm.rank() == 0 {
        report(
            flags,
            &clock,
            limit_s * 1e3,
            json!({ "gflops_limit": limits.gflops, "memory_gb_per_s_limit": limits.memory_gb_per_s,
            "step_gflop": ranker.row_work().flops * batch_size as f64 / 1e9,
            "step_mb": ranker.row_work().bytes * batch_size as f64 / 1e6,
            "load_s": load_s, "init_s": init_s, "peak_rss_mb": peak,
            "test_auc": evaluation.as_ref().and_then(|found| found.auc),
            "test_logloss": evaluation.as_ref().map(|found| found.logloss) }),
        );
    }
    rectool::comm::finish();
}

/// `limit_ms` is the shortest time that a step can take on this machine.
fn report(flags: &Flags, clock: &Clock, limit_ms: f64, mut result: Value) {
    let timed = &clock.ends[clock.warmup.min(clock.ends.len() - 1)..];
    let before = clock.ends[..clock.ends.len() - timed.len()].last().copied().unwrap_or(0.0);
    let total = timed.last().expect("at least one step") - before;
    let previous = std::iter::once(&before).chain(timed);
    let mut steps: Vec<f64> = timed.iter().zip(previous).map(|(a, b)| (a - b) * 1e3).collect();
    let batch: f64 = flags.number("--batch", 8192.0);
    let phases: serde_json::Map<String, Value> = clock
        .phases
        .named()
        .iter()
        .map(|(name, ms)| ((*name).to_owned(), json!(ms / timed.len() as f64)))
        .collect();
    let median = quantile(&mut steps, 0.5);
    let fields = json!({
        "limit_ms": limit_ms, "limit_share": limit_ms / median,
        "peer": "rectool", "task": "dlrm", "config": flags.all().join(" "),
        "samples_per_s": batch * timed.len() as f64 / total, "steps_timed": timed.len(),
        "step_ms_median": median, "step_ms_p95": quantile(&mut steps, 0.95),
        "train_s": clock.ends.last(), "phase_ms": phases,
        "ahead_prepare_ms": clock.phases.ahead_prepare_ms / timed.len() as f64,
        "ahead_exchange_ms": clock.phases.ahead_exchange_ms / timed.len() as f64,
    });
    let merged = result.as_object_mut().expect("an object");
    merged.extend(fields.as_object().expect("an object").clone());
    emit(&result);
}
