//! `rectool index bench`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rectool_ann::{
    AnnError, Index, IndexKind, MeasureOptions, Measured, chart, chart_svg, measure,
};
use rectool_comm::threads_available;
use rectool_recipe::index::VectorInput;

use super::input::query_columns;
use super::{ThreadArgs, failure};
use crate::failure::{Exit, Failure};
use crate::output::print;

/// Options of `rectool index bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// The index's folder
    index: PathBuf,

    /// A file of queries
    #[arg(long, value_name = "FILE")]
    queries: PathBuf,

    /// Its column of vectors, in Arrow and Parquet files
    #[arg(long, value_name = "NAME", default_value = "vector")]
    vector_column: String,

    /// Results whose recall is measured
    #[arg(long, short, value_name = "N", default_value_t = 10)]
    k: usize,

    /// Queries at most
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: usize,

    /// Seconds for each effort, one query at a time and again in batches
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    seconds: f64,

    /// Write the curve: a page (.html) or a picture (.svg)
    #[arg(long, value_name = "FILE", value_parser = curve_file)]
    out: Option<PathBuf>,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Refuses files of another kind before anything is measured.
fn curve_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    match path.extension().and_then(OsStr::to_str) {
        Some("html" | "svg") => Ok(path),
        _ => Err("expected a name that ends with .html or .svg".to_owned()),
    }
}

impl BenchArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        if !(0.0..=3600.0).contains(&self.seconds) {
            return Err(Failure::asked(format!(
                "`--seconds` is {}, expected 0 to 3600",
                self.seconds
            )));
        }
        self.threads.apply(threads_available());
        let index = Index::open(&self.index).map_err(failure)?;
        let columns = query_columns(&self.vector_column, None);
        let queries = VectorInput::open(std::slice::from_ref(&self.queries), &columns);
        let queries = queries.map_err(failure)?;
        let vectors = queries.vectors().map_err(failure)?;
        let (k, queries_max, seconds) = (self.k, self.count, self.seconds);
        let options = MeasureOptions { k, queries_max, seconds };
        let measured = measure(&index, &vectors, &options).map_err(failure)?;
        if let Some(path) = &self.out {
            let picture = path.extension().is_some_and(|extension| extension == "svg");
            let title = format!("{}, recall@{k}", self.index.display());
            let text =
                if picture { chart_svg(&measured) } else { chart(&title, index.kind(), &measured) };
            std::fs::write(path, text).map_err(|source| {
                failure(AnnError::Io { action: "write", path: path.clone(), source })
            })?;
        }
        print(&if self.json { as_json(&measured) } else { table(index.kind(), &measured) })?;
        Ok(Exit::Ok)
    }
}

fn as_json(measured: &[Measured]) -> String {
    serde_json::to_string_pretty(measured).expect("figures are plain data") + "\n"
}

fn table(kind: IndexKind, measured: &[Measured]) -> String {
    let [leaves, candidates] = Measured::effort_names(kind);
    let heads = ["recall", leaves, candidates, "queries/s", "p50 us", "p99 us", "in batches"];
    let mut text = String::new();
    for head in heads {
        // Writing to a string does not fail.
        let _ = write!(text, "{head:>11}");
    }
    text.push('\n');
    for Measured { leaves, candidates, recall, single_qps, p50_us, p99_us, batch_qps } in measured {
        let _ = writeln!(
            text,
            "{recall:>11.4}{leaves:>11}{candidates:>11}{single_qps:>11.0}{p50_us:>11.0}{p99_us:>11.0}\
             {batch_qps:>11.0}"
        );
    }
    text
}
