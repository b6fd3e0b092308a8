//! Speed and results of an index, as a program that a comparison with other libraries can run.
//!
//! `cargo bench -p rectool-ann --bench ann -- --data DIR --out DIR [--threads N] [--leaves L]` reads
//! `base.npy` and `queries.npy` (f32) from the first folder, builds an index in the second, answers the
//! queries with rising effort, writes the ids of each effort beside it, and prints JSON.
//! `--graph` builds a graph, `--degree` says with how many links of a vector, `--tree` a tree of few vectors.
//! `--keep` searches what an earlier run built; `--quick` makes its own small data.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::time::Instant;

use rectool_ann::{
    BuildInput, BuildOptions, Effort, Hit, IndexKind, Metric, Part, Scratch, SearchOptions, Spill,
    Tuning, VectorFile, Vectors, build,
};
use rectool_base::Stream;
use serde_json::{Value, json};

/// Leaves and candidates, from fast to exact.
const EFFORTS: [(usize, usize); 22] = [
    (6, 30),
    (8, 40),
    (10, 40),
    (12, 60),
    (14, 60),
    (16, 60),
    (20, 60),
    (20, 100),
    (24, 60),
    (24, 100),
    (28, 100),
    (32, 100),
    (36, 100),
    (40, 100),
    (48, 100),
    (56, 160),
    (64, 160),
    (80, 160),
    (96, 200),
    (128, 250),
    (160, 250),
    (256, 400),
];
/// Leaves that a search of a graph starts in, and the width of its beam.
const BEAMS: [(usize, usize); 14] = [
    (16, 16),
    (64, 16),
    (64, 24),
    (64, 32),
    (128, 32),
    (128, 40),
    (128, 48),
    (128, 64),
    (128, 96),
    (256, 128),
    (256, 192),
    (256, 256),
    (256, 384),
    (256, 512),
];
/// Queries answered one at a time, and with k = 100.
const FEW: usize = 2000;
/// Passes of each timed run; the best counts.
const PASSES: usize = 3;

struct Args {
    data: Option<PathBuf>,
    out: PathBuf,
    threads: usize,
    options: BuildOptions,
    tuned: bool,
    /// Search what an earlier run built in the folder.
    keep: bool,
    /// One effort instead of all.
    effort: Option<(usize, usize)>,
}

type Fault = Box<dyn std::error::Error>;

fn arguments() -> Result<Args, Fault> {
    let mut args = Args {
        data: None,
        out: std::env::temp_dir(),
        threads: 1,
        options: BuildOptions::default(),
        tuned: false,
        keep: false,
        effort: None,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--data" => args.data = Some(value()?.into()),
            "--out" => args.out = value()?.into(),
            "--threads" => args.threads = value()?.parse()?,
            "--leaves" => args.options.leaves = Some(value()?.parse()?),
            "--spill-weight" => args.options.spill_weight = value()?.parse()?,
            "--metric" => {
                let name = value()?;
                let known = Metric::NAMES.iter().find(|(known, _)| *known == name);
                args.options.metric = known.ok_or(format!("no metric {name}"))?.1;
            }
            "--graph" => args.options.kind = Some(IndexKind::Graph),
            "--degree" => args.options.degree = value()?.parse()?,
            "--tree" => args.options.kind = Some(IndexKind::Ivf),
            "--code-error" => args.options.code_error = value()?.parse()?,
            "--threshold" => args.options.threshold = value()?.parse()?,
            "--no-spill" => args.options.spill = Spill::Off,
            "--no-tuning" => args.options.tuning = Tuning::Off,
            "--effort" => {
                let text = value()?;
                let (leaves, candidates) =
                    text.split_once(',').ok_or("--effort LEAVES,CANDIDATES")?;
                args.effort = Some((leaves.parse()?, candidates.parse()?));
            }
            "--tuned" => args.tuned = true,
            "--keep" => args.keep = true,
            "--quick" | "--bench" => {}
            other => return Err(format!("no option {other}").into()),
        }
    }
    Ok(args)
}

fn main() -> Result<(), Fault> {
    let args = arguments()?;
    rayon::ThreadPoolBuilder::new().num_threads(args.threads).build_global()?;
    let Some(data) = &args.data else {
        let mut stream = Stream::new(1, &[]);
        let values: Vec<f32> = (0..20_000 * 16).map(|_| stream.next_normal()).collect();
        let (base, queries) = (Vectors::new(16, &values)?, Vectors::new(16, &values[..16 * 500])?);
        let folder = tempfile::tempdir()?;
        let args = Args { out: folder.path().to_owned(), tuned: true, ..args };
        return measure(&args, &base, &queries);
    };
    let (base, queries) =
        (VectorFile::open(&data.join("base.npy"))?, VectorFile::open(&data.join("queries.npy"))?);
    measure(&args, &base.vectors()?, &queries.vectors()?)
}

fn measure(args: &Args, base: &Vectors<'_>, queries: &Vectors<'_>) -> Result<(), Fault> {
    let path = args.out.join("index.part");
    let (wall, cpu) = (Instant::now(), cpu_s());
    if !args.keep {
        build(&path, &BuildInput::from(base), &args.options, &())?;
    }
    let (build_s, build_cpu_s) = (wall.elapsed().as_secs_f64(), cpu_s() - cpu);
    let peak = peak_rss_mb();
    let opening = Instant::now();
    let part = Part::open(&path)?;
    let open_ms = opening.elapsed().as_secs_f64() * 1e3;
    let all: Vec<f32> = (0..queries.rows()).flat_map(|row| queries.row(row)).copied().collect();
    let curve = part.curve().iter().map(|point| (point.leaves, point.candidates));
    let efforts: Vec<(usize, usize)> = if args.tuned { curve.collect() } else { EFFORTS.to_vec() };
    let efforts = if part.kind() == IndexKind::Flat { vec![(1, 1)] } else { efforts };
    let efforts =
        if part.kind() == IndexKind::Graph && !args.tuned { BEAMS.to_vec() } else { efforts };
    let efforts = args.effort.map_or(efforts, |effort| vec![effort]);
    let mut runs = Vec::new();
    for (at, (leaves, candidates)) in efforts.into_iter().enumerate() {
        let effort = Effort::Fixed { leaves, candidates };
        let run = run(args, &part, &all, effort, at)?;
        runs.push(json!({ "param": { "leaves": leaves, "candidates": candidates } }));
        let last = runs.len() - 1;
        for (name, value) in run {
            runs[last][name] = value;
        }
    }
    let figures = json!({
        "version": concat!("rectool ", env!("CARGO_PKG_VERSION")),
        "note": format!("{}, {} leaves, opened in {open_ms:.1} ms", part.kind().name(), part.leaves()),
        "build_s": build_s,
        "build_cpu_s": build_cpu_s,
        "index_bytes": part.file_bytes(),
        "peak_rss_mb": peak,
        "runs": runs,
    });
    println!("{figures:#}");
    Ok(())
}

fn run(
    args: &Args,
    part: &Part,
    queries: &[f32],
    effort: Effort,
    at: usize,
) -> Result<Vec<(&'static str, Value)>, Fault> {
    let few = &queries[..queries.len().min(FEW * part.dim())];
    let (ids, batch) = in_batch(args, part, queries, effort, 10)?;
    let file = format!("ids10_{at}.npy");
    write_ids(&args.out.join(&file), &ids, 10)?;
    let single = one_by_one(part, few, effort)?;
    let (ids, mut k100) = in_batch(args, part, few, effort.for_k100(), 100)?;
    let file100 = format!("ids100_{at}.npy");
    write_ids(&args.out.join(&file100), &ids, 100)?;
    k100["ids"] = file100.into();
    Ok(vec![("batch", batch), ("single", single), ("ids", file.into()), ("k100", k100)])
}

/// More candidates for more results, as a search by recall would choose.
trait ForK100 {
    fn for_k100(self) -> Self;
}

impl ForK100 for Effort {
    fn for_k100(self) -> Self {
        match self {
            Self::Fixed { leaves, candidates } => {
                Self::Fixed { leaves: leaves * 2, candidates: candidates * 5 }
            }
            Self::Recall(_) | Self::Exact => self,
        }
    }
}

fn in_batch(
    args: &Args,
    part: &Part,
    queries: &[f32],
    effort: Effort,
    k: usize,
) -> Result<(Vec<Vec<Hit>>, Value), Fault> {
    let count = queries.len() / part.dim();
    let mut best = (f64::INFINITY, f64::INFINITY);
    let mut found = Vec::new();
    for _ in 0..PASSES {
        let (wall, cpu) = (Instant::now(), cpu_s());
        found = part.search_batch(queries, &SearchOptions { effort, ..SearchOptions::new(k) })?;
        best.0 = best.0.min(wall.elapsed().as_secs_f64());
        best.1 = best.1.min((cpu_s() - cpu).max(1e-9));
    }
    let (qps, cpu_qps) = (count as f64 / best.0, (count * args.threads) as f64 / best.1);
    Ok((found, json!({ "n": count, "threads": args.threads, "qps": qps, "cpu_qps": cpu_qps })))
}

fn one_by_one(part: &Part, queries: &[f32], effort: Effort) -> Result<Value, Fault> {
    let (mut scratch, mut out) = (Scratch::default(), Vec::new());
    let options = SearchOptions { effort, ..SearchOptions::new(10) };
    let mut best: Option<(f64, f64, Vec<f64>)> = None;
    for _ in 0..PASSES {
        let (wall, cpu) = (Instant::now(), cpu_s());
        let mut times = Vec::new();
        for query in queries.chunks_exact(part.dim()) {
            let started = Instant::now();
            part.search_with(query, &options, &mut scratch, &mut out)?;
            times.push(started.elapsed().as_secs_f64());
        }
        let (wall, cpu) = (wall.elapsed().as_secs_f64(), (cpu_s() - cpu).max(1e-9));
        let least_cpu = best.as_ref().map_or(cpu, |(_, least, _)| least.min(cpu));
        match &mut best {
            Some((least, cpu, _)) if *least <= wall => *cpu = least_cpu,
            _ => best = Some((wall, least_cpu, times)),
        }
    }
    let (wall, cpu, mut times) = best.ok_or("no pass")?;
    let count = times.len();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((count - 1) as f64 * share) as usize] * 1e6;
    let (qps, cpu_qps) = (count as f64 / wall, count as f64 / cpu);
    Ok(json!({ "n": count, "qps": qps, "cpu_qps": cpu_qps, "p50_us": at(0.5), "p99_us": at(0.99) }))
}

/// Ids as `.npy` of i64 [Q, k]; missing ones are -1.
fn write_ids(path: &Path, found: &[Vec<Hit>], k: usize) -> Result<(), Fault> {
    let (count, order) = (found.len(), "False");
    let text = format!("{{'descr': '<i8', 'fortran_order': {order}, 'shape': ({count}, {k}), }}");
    let text = format!("{text:<117}\n");
    let mut bytes = [&b"\x93NUMPY\x01\x00"[..], &(text.len() as u16).to_le_bytes()].concat();
    bytes.extend(text.as_bytes());
    for hits in found {
        let ids = hits.iter().map(|hit| hit.id as i64).chain(std::iter::repeat(-1));
        ids.take(k).for_each(|id| bytes.extend(id.to_le_bytes()));
    }
    Ok(std::fs::write(path, bytes)?)
}

/// Processor time of this process, all threads, to the nanosecond.
fn cpu_s() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    threads.filter_map(of).sum::<f64>() * 1e-9
}

fn peak_rss_mb() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
    kb.unwrap_or(f64::NAN) / 1024.0
}
