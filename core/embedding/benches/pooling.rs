//! What each kind of pooling costs beside the plain path, in time and per byte moved.
//!
//!     cargo bench -p rectool-embedding --bench pooling -- [--dim 64] [--batch 8192] [--threads 2]
//!
//! 8 tables of 100,000 ids, skewed. The lists have 0 to 20 ids and are the same for all kinds; `single`
//! has one id per row, and as many ids in all. The cases take turns; figures are medians.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use rectool_base::Stream;
use rectool_comm::Solo;
use rectool_embedding::{
    EmbeddingCollection, FeatureOptions, Ids, Keep, Layout, Mode, OptimizerOptions, Pooling,
    TableOptions,
};

const TABLES: usize = 8;
const IDS: f64 = 100_000.0;
const LENGTH_MAX: u64 = 20;

struct Sizes {
    dim: usize,
    batch: usize,
    threads: usize,
    rounds: usize,
}

/// One kind of pooling with its tables and its batch.
struct Case {
    name: &'static str,
    collection: EmbeddingCollection,
    features: Vec<List>,
    rows: usize,
    layout: Layout,
    out: Vec<f32>,
    gradient: Vec<f32>,
    /// Milliseconds of prepare, forward and backward in each round.
    times: Vec<[f64; 3]>,
    /// Bytes that forward and backward read and write.
    bytes: [f64; 2],
}

#[derive(Clone)]
struct List {
    offsets: Vec<u32>,
    values: Vec<i64>,
    weights: Option<Vec<f32>>,
}

fn main() {
    let flags: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let at = flags.iter().position(|flag| flag == name);
        at.map_or(default, |at| flags[at + 1].parse().expect("a number after the flag"))
    };
    let sizes = if flags.iter().any(|flag| flag == "--bench") {
        let (dim, batch) = (number("--dim", 64), number("--batch", 8192));
        Sizes { dim, batch, threads: number("--threads", 2), rounds: number("--rounds", 21) }
    } else {
        Sizes { dim: 16, batch: 64, threads: 2, rounds: 2 }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(sizes.threads).build();
    pool.expect("threads start").install(|| run(&sizes));
}

fn run(sizes: &Sizes) {
    let mut stream = Stream::new(1, &[]);
    let lists: Vec<List> = (0..TABLES).map(|_| draw(&mut stream, sizes.batch)).collect();
    let weighted: Vec<List> = lists
        .iter()
        .map(|list| {
            let weights = list.values.iter().map(|_| 0.5 + stream.next_f32()).collect();
            List { weights: Some(weights), ..list.clone() }
        })
        .collect();
    let sequence = Pooling::Sequence { length: LENGTH_MAX as usize, keep: Keep::First };
    let mut cases = vec![
        Case::new("single", Pooling::Sum, single(&lists), sizes),
        Case::new("sum", Pooling::Sum, lists.clone(), sizes),
        Case::new("mean", Pooling::Mean, lists.clone(), sizes),
        Case::new("sqrtn", Pooling::SqrtN, lists.clone(), sizes),
        Case::new("sum, weighted", Pooling::Sum, weighted.clone(), sizes),
        Case::new("mean, weighted", Pooling::Mean, weighted.clone(), sizes),
        Case::new("sequence", sequence, lists, sizes),
        Case::new("sequence, weighted", sequence, weighted, sizes),
    ];
    // The first round makes the rows.
    for _ in 0..=sizes.rounds {
        cases.iter_mut().for_each(Case::step);
    }
    let ids: usize = cases[0].features.iter().map(|list| list.values.len()).sum();
    println!("D = {}, B = {}, {ids} ids, {} threads", sizes.dim, sizes.batch, sizes.threads);
    println!("{:<20}prepare ms  forward ms   GB/s  backward ms   GB/s", "");
    for case in &mut cases {
        let [prepare, forward, backward] = [0, 1, 2].map(|phase| case.median(phase));
        let [forward_rate, backward_rate] = case.bytes.map(|bytes| bytes / 1e6);
        println!(
            "{:<20}{prepare:>10.2}{forward:>12.2}{:>7.1}{backward:>13.2}{:>7.1}",
            case.name,
            forward_rate / forward,
            backward_rate / backward
        );
    }
}

/// Lists of 0 to [`LENGTH_MAX`] ids; low ids are frequent.
fn draw(stream: &mut Stream, rows: usize) -> List {
    let (mut offsets, mut values) = (vec![0], Vec::new());
    for _ in 0..rows {
        let count = stream.below(LENGTH_MAX + 1);
        values.extend((0..count).map(|_| IDS.powf(f64::from(stream.next_f32())) as i64));
        offsets.push(values.len() as u32);
    }
    List { offsets, values, weights: None }
}

/// The same ids, cut to equal numbers, as one per row.
fn single(lists: &[List]) -> Vec<List> {
    let rows = lists.iter().map(|list| list.values.len()).min().unwrap_or_default();
    let cut = |list: &List| List {
        offsets: Vec::new(),
        values: list.values[..rows].to_vec(),
        weights: None,
    };
    lists.iter().map(cut).collect()
}

impl Case {
    fn new(name: &'static str, pooling: Pooling, features: Vec<List>, sizes: &Sizes) -> Self {
        let optimizer = OptimizerOptions::RowWiseAdagrad {
            learning_rate: 0.01,
            epsilon: 1e-8,
            initial_accumulator: 0.0,
            weight_decay: 0.0,
        };
        let table =
            |t: usize| TableOptions::new(format!("table {t}"), sizes.dim, optimizer.clone());
        let feature = |t: usize| FeatureOptions::new(format!("{t}"), format!("table {t}"), pooling);
        let tables = (0..TABLES).map(table).collect();
        let collection =
            EmbeddingCollection::new(tables, (0..TABLES).map(feature).collect(), 1, Arc::new(Solo));
        let collection = collection.expect("the options are valid");
        let rows = match features[0].offsets.len() {
            0 => features[0].values.len(),
            ends => ends - 1,
        };
        let layout = Layout::packed(collection.widths().iter().copied());
        let out = vec![0.0; rows * layout.row_stride];
        let gradient = vec![1e-3; out.len()];
        let (times, bytes) = (Vec::new(), [0.0; 2]);
        Self { name, collection, features, rows, layout, out, gradient, times, bytes }
    }

    fn step(&mut self) {
        let ids: Vec<Ids<'_>> = self.features.iter().map(List::ids).collect();
        let start = Instant::now();
        let batch = self.collection.prepare(&ids, self.rows, 0);
        let mut batch = batch.expect("the ids are valid");
        let prepared = Instant::now();
        self.collection
            .forward(&mut batch, Mode::Train, &mut self.out, &self.layout)
            .expect("one rank");
        let pooled = Instant::now();
        self.collection.backward(&mut batch, &self.gradient, &self.layout, 1.0).expect("one rank");
        let milliseconds = |from: Instant, to: Instant| (to - from).as_secs_f64() * 1e3;
        self.times.push([
            milliseconds(start, prepared),
            milliseconds(prepared, pooled),
            milliseconds(pooled, Instant::now()),
        ]);
        let row = 4.0 * self.collection.dims()[0] as f64;
        let (lookups, keys) = (batch.lookups() as f64, batch.keys_distinct() as f64);
        let out = 4.0 * self.out.len() as f64;
        // Rows are gathered, then read once for each id; gradients are read once for each id, then
        // the rows are read and written with 4 bytes of state.
        self.bytes =
            [2.0 * keys * row + lookups * row + out, lookups * row + 2.0 * keys * (row + 4.0)];
        self.collection.recycle(batch);
    }

    /// Of the rounds after the first.
    fn median(&self, phase: usize) -> f64 {
        let mut times: Vec<f64> = self.times[1..].iter().map(|times| times[phase]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }
}

impl List {
    fn ids(&self) -> Ids<'_> {
        let Self { offsets, values, weights } = self;
        if offsets.is_empty() {
            Ids::Fixed { values, width: 1, at: 0 }
        } else {
            Ids::List { offsets, values, weights: weights.as_deref() }
        }
    }
}
