//! One shuffled epoch of a click log, as the training loop receives it: the peer comparison of
//! loaders.
//!
//!     cargo bench --bench loader -- --data DIR --batch 8192 --workers 1
//!
//! `DIR` holds `parquet/train.parquet` and `meta.json`. With `--join` each row gets four floats and a list of
//! ids from a table that is found by the first id. The last line printed is JSON.

#![expect(clippy::print_stderr, reason = "a bench tells its usage")]

mod peer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use peer::{Flags, emit, peak_rss_mb, quantile};
use rectool::base::{Batch, Column, ColumnKind, ColumnSchema, Jagged, Schema};
use rectool::data::{
    Dataset, DatasetWriter, Loader, LoaderOptions, OrderOptions, ReaderState, Shuffle, SideOptions,
    SideTable, Split, WriterOptions,
};
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

/// A table with a row for each value of the id `key`, joined to the rows.
fn joined(dataset: &Dataset, key: &str) -> Dataset {
    let items = dataset.split("train").and_then(|split| split.item_statistics(key, None));
    let ids = items.expect("ids").ids;
    let floats = ids.iter().flat_map(|id| [*id as f32; 4]).collect();
    let mut lists = Jagged::new();
    for id in &ids {
        lists.push_row(&[*id, 1, 2][..=id.rem_euclid(3) as usize]);
    }
    let schema = Schema::new(vec![
        ColumnSchema::plain(key, ColumnKind::I64 { width: 1 }),
        ColumnSchema::plain("side_floats", ColumnKind::F32 { width: 4 }),
        ColumnSchema::plain("side_ids", ColumnKind::I64List),
    ]);
    let folder = dataset.path().join("../loader-side-table");
    let options = WriterOptions { overwrite: true, ..WriterOptions::default() };
    let writer = DatasetWriter::create(&folder, schema.expect("names differ"), options);
    let mut writer = writer.expect("a writer");
    let keys = Column::I64 { width: 1, values: ids };
    let floats = Column::F32 { width: 4, values: floats };
    writer.write("train", vec![keys, floats, Column::I64List(lists)]).expect("rows");
    writer.finish().expect("a dataset");
    let table = Dataset::open(&folder)
        .and_then(|table| SideTable::load(&table, "train", &SideOptions::by(key)));
    dataset.join(Arc::new(table.expect("a table"))).expect("a join")
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

    let table = flags.has("--join").then(|| {
        let plain = Dataset::open(&dataset).expect("a dataset");
        let ids = plain.schema().column("ids").expect("ids");
        joined(&plain, &ids.member_name(0))
    });
    let open = || -> Split {
        let opened = Dataset::open(&dataset).expect("a dataset");
        let tables = table.iter().flat_map(Dataset::side_tables);
        let opened =
            tables.fold(opened, |opened, table| opened.join(table.clone()).expect("a join"));
        opened.split("train").expect("train")
    };
    let started = Instant::now();
    let split = open();
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
    let split = open();
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
