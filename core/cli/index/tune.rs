//! `rectool index tune`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use rectool_ann::{Index, TuneOptions};
use rectool_comm::threads_available;
use rectool_recipe::index::VectorInput;

use super::input::query_columns;
use super::meter::Meter;
use super::{ThreadArgs, effort_text, failure, open_for_changes};
use crate::failure::{Exit, Failure};
use crate::output::print;

/// Options of `rectool index tune`.
#[derive(Debug, Args)]
pub(super) struct TuneArgs {
    /// The index's folder
    index: PathBuf,

    /// Queries like those to come [default: some of the indexed vectors, which are easier to find]
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,

    /// Its column of vectors, in Arrow and Parquet files
    #[arg(long, value_name = "NAME", default_value = "vector")]
    vector_column: String,

    /// Queries to draw from them
    #[arg(long, value_name = "N", default_value_t = 768, value_parser = sample)]
    sample: usize,

    /// Seed of the choice
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    #[command(flatten)]
    threads: ThreadArgs,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn sample(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(queries @ 1..=100_000) => Ok(queries),
        _ => Err(format!("`{text}` is no number from 1 to 100000")),
    }
}

impl TuneArgs {
    pub(super) fn run(&self) -> Result<Exit, Failure> {
        self.threads.apply(threads_available());
        let columns = query_columns(&self.vector_column, None);
        let queries = self.queries.as_ref();
        let queries = queries.map(|path| VectorInput::open(std::slice::from_ref(path), &columns));
        let queries = queries.transpose().map_err(failure)?;
        let vectors = queries.as_ref().map(VectorInput::vectors).transpose().map_err(failure)?;
        let index = open_for_changes(&self.index)?;
        let usual = index.options().tune_options();
        let options = TuneOptions { queries: self.sample, seed: self.seed, ..usual };
        let meter = Meter::new();
        index.retune(vectors.as_ref(), &options, &meter).map_err(failure)?;
        drop(meter);
        let tuned = Index::open(&self.index).map_err(failure)?;
        let (curve, stats) = (tuned.curve(), tuned.stats());
        let mut text = String::new();
        if self.json {
            text = serde_json::to_string_pretty(&curve).expect("figures are plain data") + "\n";
        } else if curve.is_empty() {
            text.push_str("nothing to tune: the index compares every vector\n");
        }
        for point in curve.iter().filter(|_| !self.json) {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}", effort_text(point, &stats));
        }
        print(&text)?;
        Ok(Exit::Ok)
    }
}
