//! Filters, and searches while an index changes.
//!
//! `cargo bench -p rectool-ann --bench ann_live -- --data DIR --out DIR [--seconds S]` reads `base.npy`
//! and `queries.npy` (f32) from the first folder, builds an index with tokens that 1 %, 10 % and 50 % of
//! the vectors have in the second, and prints JSON: recall and speed under each filter beside those
//! without; and latencies at half the peak speed, without and with one vector in a hundred replaced
//! per second, those of queries during a rebuild also on their own, and recall before and after. `--keep` takes the index that an
//! earlier run left, `--no-filters` measures latencies only, `--graph` builds a graph. `--quick` makes its own small data.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rectool_ann::{
    Attributes, BuildInput, BuildOptions, Effort, Hit, Index, IndexKind, Item, Maintenance,
    Scratch, SearchOptions, VectorFile, Vectors,
};
use rectool_base::Stream;
use serde_json::{Value, json};

/// Vectors with a token, per hundred.
const SHARES: [u64; 3] = [1, 10, 50];
/// Queries of a measurement.
const QUERIES: usize = 1000;
/// Passes of each timed run; the best counts.
const PASSES: usize = 10;
/// Vectors replaced by one call.
const BATCH: usize = 200;
const K: usize = 10;
/// Queries per second for whose latencies there is room.
const ROOM: f64 = 50_000.0;

type Fault = Box<dyn std::error::Error + Send + Sync>;

struct Args {
    data: Option<PathBuf>,
    out: Option<PathBuf>,
    seconds: f64,
    keep: bool,
    filters: bool,
    kind: Option<IndexKind>,
}

fn arguments() -> Result<Args, Fault> {
    let mut args =
        Args { data: None, out: None, seconds: 20.0, keep: false, filters: true, kind: None };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or(format!("{name} needs a value"));
        match name.as_str() {
            "--data" => args.data = Some(value()?.into()),
            "--out" => args.out = Some(value()?.into()),
            "--seconds" => args.seconds = value()?.parse()?,
            "--keep" => args.keep = true,
            "--no-filters" => args.filters = false,
            "--graph" => args.kind = Some(IndexKind::Graph),
            "--quick" | "--bench" => {}
            other => return Err(format!("no option {other}").into()),
        }
    }
    Ok(args)
}

fn main() -> Result<(), Fault> {
    let args = arguments()?;
    let folder = tempfile::tempdir()?;
    let out = args.out.as_deref().unwrap_or(folder.path()).join("index");
    let Some(data) = &args.data else {
        let mut stream = Stream::new(1, &[]);
        let values: Vec<f32> = (0..30_000 * 16).map(|_| stream.next_normal()).collect();
        let (base, queries) = (Vectors::new(16, &values)?, Vectors::new(16, &values[..16 * 500])?);
        let args = Args { seconds: args.seconds.min(2.0), ..args };
        return measure(&args, &out, &base, &queries);
    };
    let (base, queries) =
        (VectorFile::open(&data.join("base.npy"))?, VectorFile::open(&data.join("queries.npy"))?);
    measure(&args, &out, &base.vectors()?, &queries.vectors()?)
}

fn measure(
    args: &Args,
    out: &Path,
    base: &Vectors<'_>,
    queries: &Vectors<'_>,
) -> Result<(), Fault> {
    // Efforts are measured on the second half of the queries, results on the first.
    let half = queries.rows() / 2;
    let flat: Vec<f32> = (0..queries.rows()).flat_map(|row| queries.row(row)).copied().collect();
    if !args.keep {
        let queries = Vectors::new(queries.dim(), &flat[half * queries.dim()..])?;
        create(out, args.kind, base, &queries)?;
    }
    let asked = &flat[..half.min(QUERIES) * queries.dim()];
    let filters = args.filters.then(|| filters(&Index::open(out)?, asked)).transpose()?;
    let index = Index::open_for_changes(out, Maintenance::Background)?;
    let updates = updates(&index, base, asked, args.seconds)?;
    let figures =
        json!({ "rows": base.rows(), "dim": base.dim(), "filters": filters, "updates": updates });
    println!("{figures:#}");
    Ok(())
}

fn create(
    out: &Path,
    kind: Option<IndexKind>,
    base: &Vectors<'_>,
    queries: &Vectors<'_>,
) -> Result<(), Fault> {
    let mut attributes = Attributes::new(base.rows());
    let mut stream = Stream::new(2, &[]);
    for share in SHARES {
        let has = (0..base.rows()).map(|_| stream.below(100) < share);
        let tokens: Vec<Vec<&str>> =
            has.map(|has| if has { vec!["yes"] } else { vec![] }).collect();
        attributes.add_tokens(&format!("share{share}"), &tokens)?;
    }
    let input = BuildInput {
        attributes: Some(&attributes),
        queries: Some(queries),
        ..BuildInput::from(base)
    };
    let _ = std::fs::remove_dir_all(out);
    Index::create(out, &input, &BuildOptions { kind, ..BuildOptions::default() }, &())?;
    Ok(())
}

/// Recall@10 and queries per second, one by one, under each filter.
fn filters(index: &Index, queries: &[f32]) -> Result<Value, Fault> {
    let plain = index.search_options(K);
    let mut rows = vec![json!({ "share": 100 })];
    rows.extend(
        SHARES.map(|share| json!({ "share": share, "filter": format!("share{share}=yes") })),
    );
    for row in &mut rows {
        let filter = row["filter"].as_str().map(str::parse).transpose()?;
        let options = SearchOptions { filter, ..plain.clone() };
        row["recall10"] = recall(index, queries, &options)?.into();
        let (mut scratch, mut hits, mut best) = (Scratch::default(), Vec::new(), f64::INFINITY);
        for _ in 0..PASSES {
            let started = Instant::now();
            for query in queries.chunks_exact(index.dim()) {
                index.search_with(query, &options, &mut scratch, &mut hits)?;
            }
            best = best.min(started.elapsed().as_secs_f64());
        }
        row["qps"] = ((queries.len() / index.dim()) as f64 / best).into();
    }
    Ok(rows.into())
}

/// Recall@10 beside a comparison with every vector.
fn recall(index: &Index, queries: &[f32], options: &SearchOptions) -> Result<f64, Fault> {
    let exact = SearchOptions { effort: Effort::Exact, ..options.clone() };
    let truth = index.search_batch(queries, &exact)?;
    let found = index.search_batch(queries, options)?;
    let of = |(found, truth): (&Vec<Hit>, &Vec<Hit>)| {
        truth.iter().filter(|hit| found.iter().any(|other| other.id == hit.id)).count()
    };
    let hits: usize = found.iter().zip(&truth).map(of).sum();
    Ok(hits as f64 / truth.iter().map(Vec::len).sum::<usize>().max(1) as f64)
}

/// Latencies of one searching thread at half its peak speed: alone, and while vectors are replaced.
fn updates(
    index: &Index,
    base: &Vectors<'_>,
    queries: &[f32],
    seconds: f64,
) -> Result<Value, Fault> {
    let options = index.search_options(K);
    let before = recall(index, queries, &options)?;
    let peak = steady(index, queries, f64::INFINITY, seconds / 4.0)?;
    let rate = peak["qps"].as_f64().unwrap_or(1.0) / 2.0;
    let alone = steady(index, queries, rate, seconds / 2.0)?;
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let busy = std::thread::scope(|scope| {
        let writer = scope.spawn(|| replace(index, base, (&stop, &written)));
        let busy = steady(index, queries, rate, seconds);
        stop.store(true, Ordering::Release);
        writer.join().map_err(|_| "the writer panicked")??;
        busy
    })?;
    let stats = index.stats();
    let after = recall(index, queries, &options)?;
    Ok(json!({
        "recall10 before and after": [before, after],
        "peak": peak,
        "half of the peak": alone,
        "with updates": busy,
        "replaced per second": written.load(Ordering::Acquire) as f64 / seconds,
        "vectors": stats.vectors,
        "changed at the end": stats.parts.iter().map(|part| part.changed_rows).sum::<usize>(),
    }))
}

/// Replaces a hundredth of the vectors per second until told to stop.
fn replace(
    index: &Index,
    base: &Vectors<'_>,
    (stop, written): (&AtomicBool, &AtomicU64),
) -> Result<(), Fault> {
    let mut stream = Stream::new(4, &[]);
    let each = Duration::from_secs_f64(BATCH as f64 / (0.01 * base.rows() as f64));
    let mut due = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let items = (0..BATCH).map(|_| {
            let row = stream.below(base.rows() as u64);
            let moved = base.row(row as usize).iter().map(|v| v + 0.01 * stream.next_normal());
            Item::new(row, moved.collect())
        });
        let items: Vec<Item> = items.collect();
        index.upsert(&items)?;
        written.fetch_add(BATCH as u64, Ordering::AcqRel);
        due += each;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// Searches at a rate for some seconds. A query's latency counts from when it was due.
fn steady(index: &Index, queries: &[f32], rate: f64, seconds: f64) -> Result<Value, Fault> {
    let options = index.search_options(K);
    let (mut scratch, mut hits) = (Scratch::default(), Vec::new());
    // Written once, so that the system need not find memory for it while queries are timed.
    let room = (seconds * if rate.is_finite() { rate } else { ROOM }) as usize + 1;
    let (mut times, mut during) = (vec![1.0; room], vec![1.0; room]);
    times.clear();
    during.clear();
    let (mut rebuilds, mut rebuild_s, mut since) = (0, 0.0, None);
    let started = Instant::now();
    for (at, query) in queries.chunks_exact(index.dim()).cycle().enumerate() {
        let due = if rate.is_finite() { at as f64 / rate } else { started.elapsed().as_secs_f64() };
        while started.elapsed().as_secs_f64() < due {
            std::hint::spin_loop();
        }
        let rebuilding = index.is_rebuilding();
        index.search_with(query, &options, &mut scratch, &mut hits)?;
        let now = started.elapsed().as_secs_f64();
        times.push(now - due);
        if rebuilding {
            during.push(now - due);
            since.get_or_insert(now);
        } else if let Some(since) = since.take() {
            rebuilds += 1;
            rebuild_s += now - since;
        }
        if now > seconds {
            break;
        }
    }
    let whole = started.elapsed().as_secs_f64();
    let by_second = times.chunks((times.len() as f64 / whole).ceil() as usize);
    let mut p99: Vec<f64> = by_second.map(|times| percentile(&mut times.to_vec(), 0.99)).collect();
    let mut figures = latencies(&mut times);
    figures["qps"] = (times.len() as f64 / whole).into();
    figures["p99_us of the median second"] = (percentile(&mut p99, 0.5) * 1e6).into();
    if !during.is_empty() {
        figures["during a rebuild"] = latencies(&mut during);
        figures["rebuilds"] = rebuilds.into();
        figures["seconds of a rebuild"] = (rebuild_s / f64::from(rebuilds.max(1))).into();
    }
    Ok(figures)
}

fn latencies(times: &mut [f64]) -> Value {
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|share| percentile(times, share) * 1e6);
    json!({ "queries": times.len(), "p50_us": p50, "p99_us": p99, "p999_us": p999, "max_us": max })
}

/// The time that this share of `times` does not exceed.
fn percentile(times: &mut [f64], share: f64) -> f64 {
    let at = ((times.len() - 1) as f64 * share) as usize;
    *times.select_nth_unstable_by(at, f64::total_cmp).1
}
