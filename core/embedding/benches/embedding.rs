//! Lookup, pooling, backward pass and fused row-wise Adagrad of 26 tables, beside FBGEMM's
//! table-batched embedding with the same optimizer.
//!
//!     cargo bench -p rectool-embedding --bench embedding -- --python VENV/bin/python
//!
//! Flags: `--dims 16,64,128`, `--threads 1,2`, `--batch`, `--rounds`, `--steps`, `--index dense|hash`,
//! `--storage f32|bf16|f16`. Prints one JSON line per width and number of threads. Rounds of ours and
//! of the peer take turns; figures are medians over all steps, on the clock and in processor time. On
//! a machine that others use too, only the latter says much, and only with one thread, since idle
//! threads of the peer spin. `limit_ms` is the time that the least number of bytes takes at the speed
//! of a plain copy of memory with as many threads; `accesses_ms` what reading gradients and ids, writing the output,
//! and reading and writing as many rows here and there in memory take by themselves.

#![expect(clippy::print_stdout, reason = "the result is lines on stdout")]

#[path = "embedding/ids.rs"]
mod ids;
#[path = "embedding/memory.rs"]
mod memory;
#[path = "embedding/peer.rs"]
mod peer;

use std::path::PathBuf;
use std::sync::Arc;

use rectool_base::Stream;
use rectool_comm::Solo;
use rectool_embedding::{
    EmbeddingCollection, FeatureOptions, Ids, IndexKind, Layout, Mode, OptimizerOptions, Pooling,
    Storage, TableOptions,
};

use ids::CARDINALITIES;
use memory::{Accesses, Moment};
use peer::Peer;

const LEARNING_RATE: f32 = 0.01;
const EPSILON: f32 = 1e-8;

/// What to measure.
struct Job {
    dim: usize,
    threads: usize,
    batch: usize,
    rounds: usize,
    steps: usize,
    index: String,
    storage: Storage,
    python: Option<PathBuf>,
    /// To measure memory with: far beyond the caches.
    copy_floats: usize,
}

fn flag(name: &str) -> Option<String> {
    let flags: Vec<String> = std::env::args().collect();
    let at = flags.iter().position(|flag| flag == name)?;
    flags.get(at + 1).cloned()
}

fn number(name: &str, default: usize) -> usize {
    flag(name).map_or(default, |text| text.parse().expect("a number"))
}

fn list(name: &str, default: &str) -> Vec<usize> {
    let text = flag(name).unwrap_or_else(|| default.to_owned());
    text.split(',').map(|item| item.parse().expect("a number")).collect()
}

fn main() {
    let small = std::env::args().all(|flag| flag != "--bench");
    let storage = match flag("--storage").as_deref() {
        Some("bf16") => Storage::Bf16,
        Some("f16") => Storage::F16,
        _ => Storage::F32,
    };
    for dim in list("--dims", if small { "16" } else { "16,64,128" }) {
        for threads in list("--threads", "1,2") {
            let job = Job {
                dim,
                threads,
                batch: number("--batch", if small { 64 } else { 8192 }),
                rounds: number("--rounds", if small { 1 } else { 7 }),
                steps: number("--steps", if small { 2 } else { 8 }),
                index: flag("--index").unwrap_or_else(|| "dense".to_owned()),
                storage,
                python: flag("--python").map(PathBuf::from),
                copy_floats: if small { 1 << 10 } else { 64 << 20 },
            };
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads start").install(|| job.run());
        }
    }
}

/// Milliseconds of each step, by phase: on the clock, and of all processors together.
#[derive(Default)]
struct Times {
    prepare: Vec<[f64; 2]>,
    forward: Vec<[f64; 2]>,
    backward: Vec<[f64; 2]>,
    step: Vec<[f64; 2]>,
}

/// Medians.
fn median(values: &[[f64; 2]]) -> [f64; 2] {
    [0, 1].map(|which| {
        let mut sorted: Vec<f64> = values.iter().map(|value| value[which]).collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).map_or(f64::NAN, |x| (x * 1000.0).round() / 1000.0)
    })
}

impl Job {
    fn tables(&self) -> EmbeddingCollection {
        let optimizer = OptimizerOptions::RowWiseAdagrad {
            learning_rate: LEARNING_RATE,
            epsilon: EPSILON,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        let table = |(at, rows): (usize, &u64)| TableOptions {
            index: match self.index.as_str() {
                "hash" => IndexKind::Hash,
                _ => IndexKind::Dense { rows: *rows },
            },
            storage: self.storage,
            ..TableOptions::new(format!("t{at}"), self.dim, optimizer.clone())
        };
        let feature =
            |at: usize| FeatureOptions::new(format!("f{at}"), format!("t{at}"), Pooling::Sum);
        let tables = CARDINALITIES.iter().enumerate().map(table).collect();
        let features = (0..CARDINALITIES.len()).map(feature).collect();
        EmbeddingCollection::new(tables, features, 1, Arc::new(Solo)).expect("the options fit")
    }

    fn run(&self) {
        let features = CARDINALITIES.len();
        let batches: Vec<Vec<i64>> = (0..16).map(|at| ids::batch(at, self.batch)).collect();
        let width = features * self.dim;
        let mut stream = Stream::new(5, &[]);
        let gradient: Vec<f32> = (0..self.batch * width).map(|_| stream.next_f32() - 0.5).collect();
        let mut peer = self.python.as_deref().map(|python| {
            let shape = [self.dim, self.threads, self.batch];
            Peer::start(python, shape, &batches, &gradient)
        });
        let mut tables = self.tables();
        let mut out = vec![0.0; self.batch * width];
        let (mut times, mut peer_ms) = (Times::default(), Vec::new());
        let mut distinct = 0;
        let mut step = 0;
        // One round over all batches first, so that every row is there.
        for round in 0..=self.rounds {
            let steps = if round == 0 { batches.len() } else { self.steps };
            if round == 0 {
                times = Times::default();
            }
            for _ in 0..steps {
                let ids = &batches[step % batches.len()];
                distinct = self.step(&mut tables, ids, (&mut out, &gradient), &mut times);
                step += 1;
            }
            if round == 0 {
                times = Times::default();
            }
            if let Some(peer) = &mut peer {
                let ms = peer.run(steps);
                peer_ms.extend_from_slice(if round == 0 { &[] } else { &ms });
            }
        }
        let sum: f64 = out.iter().map(|x| f64::from(*x).abs()).sum();
        drop((tables, out));
        let peer_sum = peer.map(Peer::finish);
        self.report((&times, &peer_ms), (&batches, distinct), (sum, peer_sum));
    }

    /// Takes a step; returns the number of distinct keys.
    fn step(
        &self,
        tables: &mut EmbeddingCollection,
        ids: &[i64],
        (out, gradient): (&mut [f32], &[f32]),
        times: &mut Times,
    ) -> usize {
        let layout = Layout::packed(vec![self.dim; CARDINALITIES.len()]);
        let columns: Vec<Ids<'_>> =
            ids.chunks(self.batch).map(|values| Ids::Fixed { values, width: 1, at: 0 }).collect();
        let start = Moment::now();
        let mut batch = tables.prepare(&columns, self.batch, 0).expect("ids fit");
        let prepared = Moment::now();
        tables.forward(&mut batch, Mode::Train, out, &layout).expect("forward");
        let looked_up = Moment::now();
        tables.backward(&mut batch, gradient, &layout, 1.0).expect("backward");
        let distinct = batch.keys_distinct();
        tables.recycle(batch);
        let end = Moment::now();
        times.prepare.push(prepared.since(start));
        times.forward.push(looked_up.since(prepared));
        times.backward.push(end.since(looked_up));
        times.step.push(end.since(start));
        distinct
    }

    fn report(
        &self,
        (times, peer): (&Times, &[[f64; 2]]),
        (batches, distinct): (&[Vec<i64>], usize),
        sums: (f64, Option<f64>),
    ) {
        let copy_gb_s = memory::copy_gb_s(self.copy_floats);
        let ids = self.batch * CARDINALITIES.len();
        let values = self.dim * self.storage.bytes();
        // Read: ids, rows twice, gradient. Written: output, rows.
        let bytes = ids * (8 + 8 * self.dim) + distinct * (values + 2 * (values + 12));
        let limit_ms = bytes as f64 / copy_gb_s / 1e6;
        let stride = (values + 12).div_ceil(4);
        let accesses = Accesses {
            read: ids * (2 + self.dim),
            written: ids * self.dim,
            tables: &CARDINALITIES,
            stride,
            batches,
        };
        let accesses_ms = accesses.ms();
        let ([step, step_cpu], [peer, peer_cpu]) = (median(&times.step), median(peer));
        let round = |x: f64| (x * 1000.0).round() / 1000.0;
        println!(
            "{}",
            serde_json::json!({
                "dim": self.dim, "threads": self.threads, "batch": self.batch,
                "index": self.index, "storage": self.storage,
                "ms_and_cpu_ms": {
                    "prepare": median(&times.prepare), "forward": median(&times.forward),
                    "backward": median(&times.backward), "step": [step, step_cpu],
                    "fbgemm": [peer, peer_cpu],
                },
                "times_faster": round(peer / step), "times_less_cpu": round(peer_cpu / step_cpu),
                "keys_distinct": distinct, "least_mb": bytes / 1_000_000,
                "copy_gb_s": round(copy_gb_s), "limit_ms": round(limit_ms),
                "of_limit": round(limit_ms / step),
                "accesses_ms": round(accesses_ms), "of_accesses": round(accesses_ms / step),
                "of_limit_by_cpu": round(limit_ms * self.threads as f64 / step_cpu),
                "output_sum": sums.0, "fbgemm_output_sum": sums.1,
            })
        );
    }
}
