//! One shuffled epoch of a click log, as the training loop receives it: the peer comparison of
//! loaders.
//!
//!     cargo bench --bench loader -- --data DIR --batch 8192 --workers 1
//!
//! `DIR` holds `parquet/train.parquet` and `meta.json`. The last line printed is JSON.

#![expect(clippy::print_stderr, reason = "a bench tells its usage")]

mod peer;

use std::path::PathBuf;
use std::time::Instant;

use peer::{Flags, emit, peak_rss_mb, quantile};
use rectool::base::{Batch, Column};
use rectool::data::{Dataset, Loader, LoaderOptions, OrderOptions, ReaderState, Shuffle};
use serde_json::json;

/// Touches every value; the sums prove that each row came once.
fn consume(batch: &Batch, sums: &mut [f64; 3]) {
    for column in &batch.columns {
        match column {
            Column::F32 { width: 1, values } => {
                sums[2] += values.iter().map(|&value| f64::from(value)).sum::<f64>();
            }
            Column::F32 { values, .. } => {
                sums[0] += values.iter().map(|&value| f64::from(value)).sum::<f64>();
            }
            Column::I64 { values, .. } => sums[1] += values.iter().sum::<i64>() as f64,
            _ => (),
        }
    }
}

fn main() {
    let flags = Flags::new();
    let Some(data) = flags.text("--data").map(PathBuf::from) else {
        eprintln!("usage: cargo bench --bench loader -- --data DIR [--batch B] [--workers N]");
        return;
    };
    let source = [("train", data.join("parquet/train.parquet"))];
    let dataset = peer::dataset(&data, &source);
    let batch_size: usize = flags.number("--batch", 8192);
    let shuffle = if flags.has("--whole") {
        Shuffle::Block { block_rows: 1 << 16, window_blocks: 1 << 16 }
    } else {
        Shuffle::default()
    };
    let order = OrderOptions { seed: flags.number("--seed", 1), shuffle };
    let options = || LoaderOptions {
        threads: flags.number("--workers", 1),
        order,
        ..LoaderOptions::new(batch_size)
    };

    let started = Instant::now();
    let split = Dataset::open(&dataset).and_then(|opened| opened.split("train")).expect("train");
    let mut loader = Loader::start(&split, options()).expect("a loader");
    let open_ms = started.elapsed().as_secs_f64() * 1e3;
    let (mut ends, mut sums, mut rows) = (Vec::new(), [0.0; 3], 0);
    while let Some(batch) = loader.next() {
        let batch = batch.expect("a batch");
        consume(&batch, &mut sums);
        rows += batch.rows;
        loader.recycle(batch);
        ends.push(started.elapsed().as_secs_f64());
    }
    let total = *ends.last().expect("at least one batch");
    drop(loader);

    let half = ReaderState {
        step: ends.len() as u64 / 2,
        ..ReaderState::new(order.seed, batch_size as u64)
    };
    let resumed = Instant::now();
    let split = Dataset::open(&dataset).and_then(|opened| opened.split("train")).expect("train");
    let mut loader =
        Loader::start(&split, LoaderOptions { start: Some(half), ..options() }).expect("a loader");
    let first = loader.next().expect("more batches").expect("a batch");
    let resume_ms = resumed.elapsed().as_secs_f64() * 1e3;
    let rest: usize = first.rows + loader.map(|batch| batch.expect("a batch").rows).sum::<usize>();

    let steady = (rows - batch_size.min(rows)) as f64 / (total - ends[0]);
    let mut gaps: Vec<f64> = ends.windows(2).map(|pair| (pair[1] - pair[0]) * 1e3).collect();
    emit(&json!({
        "peer": "rectool", "task": "loader", "config": flags.all().join(" "),
        "samples_per_s": rows as f64 / total, "steady_samples_per_s": steady,
        "open_ms": open_ms, "first_batch_ms": ends[0] * 1e3,
        "batch_ms_median": quantile(&mut gaps, 0.5), "batch_ms_max": quantile(&mut gaps, 1.0),
        "resume_first_batch_ms": resume_ms,
        "resume_rows_ok": rest == rows - half.step as usize * batch_size,
        "peak_rss_mb": peak_rss_mb(), "sums": sums, "rows": rows,
    }));
}
